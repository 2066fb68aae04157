//! Where a stream's replicas are: what the distributor needs to know of the ring. It must not know how members find
//! each other.

use model::Result;
use rpc::ingester::Ingester;
use std::sync::Arc;

/// The ingesters that take writes.
pub trait Replicas: Send + Sync {
    /// The ring as one push sees it, from its first stream to its last. An error when no ingester is there.
    fn view(&self) -> Result<Arc<dyn ReplicaView>>;
}

pub trait ReplicaView: Send + Sync {
    fn ingesters(&self) -> &[Arc<dyn Ingester>];

    /// Puts into `out` which of [`ReplicaView::ingesters`] hold the stream at `token`; an error, `Unavailable` with Loki's
    /// text, when fewer are there than must acknowledge.
    fn of_token(&self, token: u32, out: &mut Vec<usize>) -> Result<()>;

    /// How many replicas a stream should have: a majority of them must acknowledge.
    fn replication(&self) -> usize;
}

/// A single ingester, which holds every stream.
pub struct OneIngester(Arc<One>);

struct One {
    ingester: [Arc<dyn Ingester>; 1],
}

impl OneIngester {
    pub fn new(ingester: Arc<dyn Ingester>) -> Self {
        OneIngester(Arc::new(One { ingester: [ingester] }))
    }
}

impl Replicas for OneIngester {
    fn view(&self) -> Result<Arc<dyn ReplicaView>> {
        Ok(self.0.clone())
    }
}

impl ReplicaView for One {
    fn ingesters(&self) -> &[Arc<dyn Ingester>] {
        &self.ingester
    }
    fn of_token(&self, _token: u32, out: &mut Vec<usize>) -> Result<()> {
        out.push(0);
        Ok(())
    }
    fn replication(&self) -> usize {
        1
    }
}
