//! Which roles a process plays, and what each needs of the others: built bottom up, what is called before its caller.

mod absent;
mod compactor;
mod deletes;
mod gateway;
mod lifecycle;
pub(crate) mod owner;
mod queue;
mod read;
mod results;
mod ring;
mod role_ring;
mod ruler;
pub(crate) mod stores;
mod write;

use crate::node::{Base, Parts};
use crate::query_log::QueryMetrics;
use crate::targets::Role;
use read::Read;
use rpc::index::Index;
use rpc::ingester::Ingester;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Adds the roles' routes, calls and ways to stop to `parts`.
pub async fn add(roles: &BTreeSet<Role>, base: &Base, parts: &mut Parts) -> Result<(), String> {
    let (serves_queries, evaluates) = (roles.contains(&Role::Querier), roles.contains(&Role::Ruler));
    let reads = serves_queries || evaluates;
    let stores = stores::Stores::open(base, reads || roles.contains(&Role::Ingester))?;
    let serves_index = roles.contains(&Role::IndexGateway);
    let reader = if reads || serves_index { Some(stores.reader(base)?) } else { None };
    let mut local: Option<Arc<dyn Ingester>> = None;
    if roles.contains(&Role::Ingester) {
        local = Some(write::ingester(base, &stores, reader.clone(), parts).await?);
    }
    let ring = Arc::new(ring::IngesterRing::new(base, local));
    if roles.contains(&Role::Distributor) {
        write::distributor(base, ring.clone(), parts);
    }
    let compacts = roles.contains(&Role::Compactor);
    let is_frontend = roles.contains(&Role::QueryFrontend);
    let asks = reads || is_frontend;
    let deletes = if compacts || asks { deletes::serve(base, &stores, compacts, parts)? } else { None };
    let query_metrics = QueryMetrics::new(&base.metrics);
    let schedules = roles.contains(&Role::QueryScheduler);
    let queues = schedules || is_frontend;
    let queue = queues.then(|| queue::serve(base, schedules, parts));
    if let Some(reader) = reader {
        if serves_index {
            gateway::serve(base, reader.clone(), parts);
        }
        let index: Arc<dyn Index> = if serves_index { reader } else { gateway::asked(base, reader) };
        let metrics = query_metrics.clone();
        let read = Read { index, ring, deletes: deletes.clone(), queue: queue.clone(), is_frontend, metrics };
        let engine = reads.then(|| read::engine(base, &stores, &read));
        if let Some(engine) = engine.clone().filter(|_| serves_queries) {
            read::querier(base, engine, read, parts)?;
        }
        if let Some(engine) = engine.filter(|_| evaluates) {
            ruler::serve(base, &stores, engine, query_metrics.clone(), parts)?;
        }
    }
    if let Some(queue) = queue.filter(|_| is_frontend && !serves_queries) {
        read::query_frontend(base, queue, deletes, query_metrics, parts)?;
    }
    for role in [Role::IndexGateway, Role::QueryScheduler, Role::QueryFrontend, Role::Ruler] {
        if roles.contains(&role) {
            base.services.add(role.name()).running();
        }
    }
    Ok(())
}
