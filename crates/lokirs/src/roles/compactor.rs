//! The compactor of a process, which works when it is its turn.

use super::owner::{self, COMPACTOR};
use super::stores::Stores;
use crate::node::Base;
use compactor::{Compactor, DeleteRequests, Metrics, Settings};
use std::sync::Arc;
use storage::objects::Objects;

/// Compacts whenever it is this member's turn. `deletes` are the requests in `state`, the bucket of the newest period.
pub fn compactor(base: &Base, stores: &Stores, state: Objects, deletes: Arc<DeleteRequests>, metrics: Metrics) {
    let own = &base.settings.compactor;
    let settings = Settings {
        compaction_interval: own.compaction_interval,
        retention_enabled: own.retention_enabled,
        retention_delete_delay: own.retention_delete_delay,
        delete_request_cancel_period: own.delete_request_cancel_period,
        merge_chunks_below_bytes: own.merge_chunks_below,
    };
    let (members, id) = (base.members.clone(), base.id.clone());
    let turn = move || owner::compactor(&*members).is_some_and(|member| member.id == id);
    let compactor = Compactor::new(
        compactor::Parts {
            places: stores.places.clone(),
            chunks: stores.chunks.clone(),
            state,
            limits: base.limits.clone(),
            deletes,
            clock: base.clock.clone(),
            metrics,
            turn: Arc::new(turn),
            id: base.id.clone(),
        },
        settings,
    );
    let stop = base.tasks.stopping();
    base.tasks.spawn("compactor", async move { compactor.run(stop).await });
    base.services.add(COMPACTOR).running();
}
