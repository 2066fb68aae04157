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
pub(crate) mod stores;
mod write;

use crate::node::{Base, Parts};
use crate::targets::Role;
use api::rules::RulesApi;
use read::Read;
use rpc::index::Index;
use rpc::ingester::Ingester;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Adds the roles' routes, calls and ways to stop to `parts`.
pub async fn add(roles: &BTreeSet<Role>, base: &Base, parts: &mut Parts) -> Result<(), String> {
    let reads = roles.contains(&Role::Querier);
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
    let asks = reads || roles.contains(&Role::QueryFrontend);
    let deletes = if compacts || asks { deletes::serve(base, &stores, compacts, parts)? } else { None };
    let schedules = roles.contains(&Role::QueryScheduler);
    let queues = schedules || roles.contains(&Role::QueryFrontend);
    let queue = queues.then(|| queue::serve(base, schedules, parts));
    if let Some(reader) = reader {
        if serves_index {
            gateway::serve(base, reader.clone(), parts);
        }
        if reads {
            let index: Arc<dyn Index> = if serves_index { reader } else { gateway::asked(base, reader) };
            let read = Read { index, ring, deletes: deletes.clone(), queue: queue.clone() };
            read::querier(base, &stores, read, parts)?;
        }
    }
    if let Some(queue) = queue.filter(|_| !reads && roles.contains(&Role::QueryFrontend)) {
        read::query_frontend(base, queue, deletes, parts)?;
    }
    if roles.contains(&Role::Ruler) {
        let rules = RulesApi { auth_enabled: base.settings.auth_enabled.unwrap_or(true) };
        parts.http = std::mem::take(&mut parts.http).merge(api::rules::router(rules));
    }
    for role in [Role::IndexGateway, Role::QueryScheduler, Role::QueryFrontend, Role::Ruler] {
        if roles.contains(&role) {
            base.services.add(role.name()).running();
        }
    }
    Ok(())
}
