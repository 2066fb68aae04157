//! The ingesters as the distributor and the querier see them: replicas of a stream by the ring, everybody for a read.

use super::absent::Absent;
use crate::node::Base;
use ::ingester::Compressor;
use cluster::members::{Member, Members};
use cluster::pool::Pool;
use cluster::ring::{Ring, may_miss};
use distributor::replicas::{ReplicaView, Replicas};
use model::{Error, Result};
use parking_lot::Mutex;
use querier::ingesters::{Ingesters, ReadSet};
use rpc::ingester::Ingester;
use rpc::wire::IngesterClient;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The name of the role on the ring.
const INGESTER: &str = "ingester";

pub struct IngesterRing {
    members: Arc<dyn Members>,
    pool: Pool<dyn Ingester>,
    replication: usize,
    /// Whether a stream's replicas are in different zones.
    zone_awareness: bool,
    /// Whose ingesters are not in the ring.
    excluded_zones: Vec<String>,
    /// The view of an unchanged cluster is kept.
    last: Mutex<Option<Seen>>,
}

/// The members as they were, and the view made of them.
type Seen = (Arc<[Member]>, Arc<View>);

struct View {
    ring: Ring,
    /// One for each of the ring's members, in its order.
    ingesters: Vec<Arc<dyn Ingester>>,
    replication: usize,
}

impl IngesterRing {
    /// `local` is the ingester of this process, if it plays the role.
    pub fn new(base: &Base, local: Option<Arc<dyn Ingester>>) -> Self {
        let local = local.map(|ingester| (base.id.clone(), ingester));
        let connector = base.connectors.ingester_client.clone();
        let connect = move |address: &str| -> Result<Arc<dyn Ingester>> {
            Ok(Arc::new(IngesterClient::connect(&connector, address)?))
        };
        let ring = &base.settings.ingester.lifecycler.ring;
        IngesterRing {
            members: base.members.clone(),
            pool: Pool::new(local, Box::new(connect)),
            replication: base.settings.common.replication_factor.unwrap_or(1),
            zone_awareness: ring.zone_awareness_enabled,
            excluded_zones: ring.excluded_zones.clone(),
            last: Mutex::default(),
        }
    }

    fn current(&self) -> Result<Arc<View>> {
        let all = self.members.all();
        let mut last = self.last.lock();
        if let Some((_, view)) = last.as_ref().filter(|(seen, _)| Arc::ptr_eq(seen, &all)) {
            return Ok(view.clone());
        }
        self.pool.keep(&all);
        let in_ring = |m: &&Member| m.plays(INGESTER) && !self.excluded_zones.contains(&m.zone);
        let ingesters: Vec<Member> = all.iter().filter(in_ring).cloned().collect();
        if ingesters.is_empty() {
            let settings = "memberlist.join_members, common.ring.static_members";
            return Err(Error::unavailable(format!("no ingester is in the ring (settings: {settings})")));
        }
        let clients = ingesters.iter().map(|m| self.client(m)).collect::<Result<Vec<_>>>()?;
        let ring = if self.zone_awareness { Ring::of_zones(ingesters) } else { Ring::new(ingesters) };
        let view = Arc::new(View { ring, ingesters: clients, replication: self.replication });
        *last = Some((all, view.clone()));
        Ok(view)
    }

    /// Which of the ingesters that hold the stream at `token` compresses its blocks: the first that takes writes. An
    /// ingester that is none of them does it for itself.
    pub fn compressor(&self, own_id: &str, token: u32) -> Compressor {
        let alone = Compressor::Here(vec![]);
        let Ok(view) = self.current() else { return alone };
        let mut replicas = vec![];
        if view.of_token(token, &mut replicas).is_err() {
            return alone;
        }
        let is_own = |at: &usize| view.ring.members()[*at].id == own_id;
        match replicas.split_first() {
            Some((first, others)) if is_own(first) => {
                Compressor::Here(others.iter().map(|at| view.ingesters[*at].clone()).collect())
            }
            Some(_) if replicas.iter().any(is_own) => Compressor::Elsewhere,
            _ => alone,
        }
    }

    fn client(&self, member: &Member) -> Result<Arc<dyn Ingester>> {
        match member.state.answers_reads() {
            true => self.pool.get(member),
            false => Ok(Arc::new(Absent::new(format!("the ingester {} is unhealthy", member.id)))),
        }
    }

    /// Whose data may be missing since they were forgotten, once they are more than replication covers.
    fn warnings(&self) -> Vec<String> {
        let forgotten = self.members.forgotten();
        let ids: Vec<&str> = forgotten.iter().filter(|m| m.plays(INGESTER)).map(|m| m.id.as_str()).collect();
        if ids.len() <= may_miss(self.replication) {
            return vec![];
        }
        let ids = ids.join(", ");
        vec![format!("partial answer: the ingesters {ids} are gone, and what they had not stored may be missing")]
    }
}

impl Replicas for IngesterRing {
    fn view(&self) -> Result<Arc<dyn ReplicaView>> {
        Ok(self.current()?)
    }
}

impl ReplicaView for View {
    fn ingesters(&self) -> &[Arc<dyn Ingester>] {
        &self.ingesters
    }

    fn of_token(&self, token: u32, out: &mut Vec<usize>) -> Result<()> {
        self.ring.writers(token, self.replication, out)
    }

    fn replication(&self) -> usize {
        self.replication
    }
}

impl Ingesters for IngesterRing {
    fn members(&self) -> ReadSet {
        match self.current() {
            Ok(view) => ReadSet { warnings: self.warnings(), ..view.read_set() },
            Err(error) => ReadSet::of_each(vec![Arc::new(Absent::new(error.message))], 0),
        }
    }
}

impl View {
    fn read_set(&self) -> ReadSet {
        let set = ReadSet::of_each(self.ingesters.clone(), may_miss(self.replication));
        if !self.ring.spans_zones(self.replication) {
            return set;
        }
        let zones: BTreeSet<&str> = self.ring.members().iter().map(|m| m.zone.as_str()).collect();
        let group = |m: &Member| zones.iter().position(|zone| *zone == m.zone).unwrap_or_default();
        ReadSet { groups: self.ring.members().iter().map(group).collect(), ..set }
    }
}

#[cfg(test)]
#[path = "ring_tests.rs"]
mod tests;
