//! The compactor of a process, and the delete API where retention is on.

use super::stores::Stores;
use crate::node::{Base, Parts};
use api::deletes::DeletesApi;
use compactor::{Compactor, DeleteRequests, Metrics, Settings};
use rpc::deletes::Deletes;
use std::sync::Arc;

/// Answers what is to be hidden from queries, where retention is on.
pub fn compactor(base: &Base, stores: &Stores, parts: &mut Parts) -> Result<Option<Arc<dyn Deletes>>, String> {
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
    base.services.add("compactor").running();
    if !own.retention_enabled {
        return Ok(None);
    }
    let api = DeletesApi {
        deletes: deletes.clone(),
        auth_enabled: base.settings.auth_enabled.unwrap_or(true),
        clock: base.clock.clone(),
    };
    parts.http = std::mem::take(&mut parts.http).merge(api::deletes::router(api));
    Ok(Some(deletes))
}
