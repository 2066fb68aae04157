//! The compactor of a process, and the delete API where retention is on.

use super::stores::Stores;
use crate::node::{Base, Parts};
use api::deletes::DeletesApi;
use compactor::{Compactor, DeleteRequests, Metrics, Settings};
use std::sync::Arc;

pub fn compactor(base: &Base, stores: &Stores, parts: &mut Parts) -> Result<(), String> {
    let own = &base.settings.compactor;
    let newest = stores.schema.periods().last().ok_or("schema_config: there is no period")?;
    let state = stores.places.objects(newest).clone();
    let metrics = base.metrics.with_registry(Metrics::register);
    let deletes = Arc::new(DeleteRequests::new(
        state.clone(),
        base.limits.clone(),
        base.clock.clone(),
        own.delete_request_cancel_period,
        metrics.clone(),
    ));
    let settings = Settings {
        compaction_interval: own.compaction_interval,
        retention_enabled: own.retention_enabled,
        retention_delete_delay: own.retention_delete_delay,
        delete_request_cancel_period: own.delete_request_cancel_period,
    };
    let compactor = Compactor::new(
        compactor::Parts {
            places: stores.places.clone(),
            chunks: stores.chunks.clone(),
            state,
            limits: base.limits.clone(),
            deletes: deletes.clone(),
            clock: base.clock.clone(),
            metrics,
        },
        settings,
    );
    let stop = base.tasks.stopping();
    base.tasks.spawn("compactor", async move { compactor.run(stop).await });
    if own.retention_enabled {
        let api =
            DeletesApi { deletes, auth_enabled: base.settings.auth_enabled.unwrap_or(true), clock: base.clock.clone() };
        parts.http = std::mem::take(&mut parts.http).merge(api::deletes::router(api));
    }
    base.services.add("compactor").running();
    Ok(())
}
