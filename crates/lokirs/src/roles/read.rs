//! The read path of a process: the querier behind the query API, and the limits that a tenant may read.

use super::ring::IngesterRing;
use super::stores::Stores;
use crate::node::{Base, Parts};
use crate::admin::VERSION;
use api::limits::LimitsApi;
use api::query::ReadApi;
use querier::querier::Querier;
use querier::settings::Settings;
use std::sync::Arc;
use storage::index::IndexReader;

pub fn querier(base: &Base, stores: &Stores, reader: Arc<IndexReader>, ring: Arc<IngesterRing>, parts: &mut Parts) {
    let stored = querier::source::Stores { ingesters: ring, index: reader, chunks: stores.chunks.clone() };
    let own = &base.settings.querier;
    let settings = Settings {
        max_concurrent: own.max_concurrent,
        multi_tenant_queries_enabled: own.multi_tenant_queries_enabled,
        ..Settings::default()
    };
    let querier = Querier::new(stored, base.limits.clone(), base.memory.clone(), base.clock.clone(), settings);
    let api = ReadApi {
        queries: Arc::new(querier),
        limits: base.limits.clone(),
        auth_enabled: base.settings.auth_enabled.unwrap_or(true),
        clock: base.clock.clone(),
    };
    let limits = LimitsApi {
        limits: base.limits.clone(),
        auth_enabled: api.auth_enabled,
        pattern_ingester_enabled: base.settings.pattern_ingester.enabled,
        version: VERSION,
    };
    parts.http = std::mem::take(&mut parts.http).merge(api::query::router(api)).merge(api::limits::router(limits));
    base.services.add("querier").running();
}
