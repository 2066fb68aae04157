//! The ingesters as the distributor and the querier see them: replicas of a stream by the ring, everybody for a read.

use crate::members::own_id;
use crate::node::Base;
use cluster::members::{Member, Members};
use cluster::pool::Pool;
use cluster::ring::{Ring, majority};
use distributor::replicas::{ReplicaView, Replicas};
use model::{Error, Result};
use parking_lot::Mutex;
use querier::source::Ingesters;
use rpc::ingester::Ingester;
use rpc::wire::IngesterClient;
use std::sync::Arc;

/// The name of the role on the ring.
const INGESTER: &str = "ingester";

pub struct IngesterRing {
    members: Arc<dyn Members>,
    pool: Pool<dyn Ingester>,
    replication: usize,
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
        let local = local.map(|ingester| (own_id(&base.settings), ingester));
        let connector = base.connectors.ingester_client.clone();
        let connect = move |address: &str| -> Result<Arc<dyn Ingester>> {
            Ok(Arc::new(IngesterClient::connect(&connector, address)?))
        };
        IngesterRing {
            members: base.members.clone(),
            pool: Pool::new(local, Box::new(connect)),
            replication: base.settings.common.replication_factor.unwrap_or(1),
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
        let ingesters: Vec<Member> = all.iter().filter(|m| m.plays(INGESTER)).cloned().collect();
        if ingesters.is_empty() {
            return Err(Error::unavailable("no ingester is in the ring (setting: common.ring.static_members)"));
        }
        let clients = ingesters.iter().map(|m| self.pool.get(m)).collect::<Result<Vec<_>>>()?;
        let view = Arc::new(View { ring: Ring::new(ingesters), ingesters: clients, replication: self.replication });
        *last = Some((all, view.clone()));
        Ok(view)
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

    fn quorum(&self, _replicas: usize) -> usize {
        majority(self.replication)
    }
}

impl Ingesters for IngesterRing {
    fn members(&self) -> (Vec<Arc<dyn Ingester>>, usize) {
        match self.current() {
            Ok(view) => (view.ingesters.clone(), self.replication - majority(self.replication)),
            Err(_) => (vec![], 0),
        }
    }
}
