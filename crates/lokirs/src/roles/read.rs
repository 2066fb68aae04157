//! The read path of a process: the querier behind the query API, and the limits that a tenant may read.

use super::ring::IngesterRing;
use super::stores::Stores;
use crate::admin::VERSION;
use crate::node::{Base, Parts};
use crate::query_log::{QueryLog, QueryMetrics};
use api::limits::LimitsApi;
use api::query::ReadApi;
use api::tail::TailApi;
use frontend::limit::Limit;
use frontend::shard::Shard;
use frontend::split::Split;
use querier::querier::Querier;
use querier::settings::Settings;
use querier::tail::Tailer;
use rpc::deletes::Deletes;
use rpc::index::Index;
use rpc::queries::Queries;
use std::sync::Arc;
use std::time::Duration;

/// How long open tails may take to say goodbye.
const TAILS_STOP_WITHIN: Duration = Duration::from_secs(2);

pub fn querier(
    base: &Base,
    stores: &Stores,
    index: Arc<dyn Index>,
    ring: Arc<IngesterRing>,
    deletes: Option<Arc<dyn Deletes>>,
    parts: &mut Parts,
) {
    let stored = querier::source::Stores { ingesters: ring.clone(), index, chunks: stores.chunks.clone(), deletes };
    let own = &base.settings.querier;
    let settings = Settings {
        max_concurrent: own.max_concurrent,
        multi_tenant_queries_enabled: own.multi_tenant_queries_enabled,
        patterns_enabled: base.settings.pattern_ingester.enabled,
        ..Settings::default()
    };
    let querier =
        Arc::new(Querier::new(stored, base.limits.clone(), base.memory.clone(), base.clock.clone(), settings));
    tails(base, querier.clone(), ring, parts);
    let own = &base.settings.frontend;
    let metrics = QueryMetrics::new(&base.metrics);
    let logged =
        QueryLog::new("querier", frontend(base, querier), own.log_queries_longer_than, base.clock.clone(), metrics);
    let api = ReadApi {
        queries: Arc::new(logged),
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

/// Live tail: pushes come straight from the ingesters, the history from the querier.
fn tails(base: &Base, querier: Arc<Querier>, ring: Arc<IngesterRing>, parts: &mut Parts) {
    let tails = Tailer {
        ingesters: ring,
        queries: querier,
        limits: base.limits.clone(),
        clock: base.clock.clone(),
        duration_max: base.settings.querier.tail_max_duration,
    };
    let tasks = base.tasks.child();
    let api = TailApi {
        tails: Arc::new(tails),
        limits: base.limits.clone(),
        auth_enabled: base.settings.auth_enabled.unwrap_or(true),
        clock: base.clock.clone(),
        tasks: tasks.clone(),
    };
    parts.http = std::mem::take(&mut parts.http).merge(api::tail::router(api));
    parts.on_stop("live tails", async move { drop(tasks.stop(TAILS_STOP_WITHIN).await) });
}

/// The stages before a query is run: what is refused, parts by time, parts by streams.
fn frontend(base: &Base, querier: Arc<dyn Queries>) -> Arc<dyn Queries> {
    let (limits, budget, clock) = (base.limits.clone(), base.memory.clone(), base.clock.clone());
    let shard = Shard { next: querier, limits: limits.clone(), budget: budget.clone(), clock: clock.clone() };
    let split = Split { next: Arc::new(shard), limits: limits.clone(), budget, clock };
    Arc::new(Limit { next: Arc::new(split), limits })
}
