//! Ships the references of stored chunks to the index, in batches. Only then may the log forget their entries.

use crate::core::Core;
use crate::flush::retry;
use crate::stream::Stream;
use crate::wal::segment::Hold;
use format::ChunkRef;
use model::TenantId;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::Notify;

/// References in one call.
const ENTRIES_MAX: usize = 10_000;

/// A stored chunk that the index does not know yet.
pub struct Shipment {
    pub tenant: TenantId,
    pub stream: Arc<Stream>,
    pub chunk: ChunkRef,
    pub hold: Hold,
}

/// What waits to be shipped: bounded by the log, which is not truncated and refuses pushes meanwhile.
#[derive(Default)]
pub struct Shipments {
    waiting: Mutex<Vec<Shipment>>,
    /// One batch at a time, so that who has the turn knows that all before is shipped.
    turn: tokio::sync::Mutex<()>,
    /// The log is short: ship before the interval is over.
    pub hurry: Notify,
}

impl Shipments {
    pub fn push(&self, shipment: Shipment) {
        self.waiting.lock().push(shipment);
    }

    fn take(&self) -> Vec<Shipment> {
        let mut waiting = self.waiting.lock();
        let batch = waiting.len().min(ENTRIES_MAX);
        waiting.drain(..batch).collect()
    }
}

/// Ships all that waits and lets the log go as far as it may; returns when that is done.
pub async fn ship_all(core: &Core) {
    let _turn = core.shipments.turn.lock().await;
    loop {
        let batch = core.shipments.take();
        if batch.is_empty() {
            break;
        }
        let entries: Vec<_> = batch.iter().map(|s| (s.tenant.clone(), s.stream.labels.clone(), s.chunk)).collect();
        retry(core, "the index cannot be shipped", &core.metrics.ship_failures, || core.sink.ship(entries.clone()))
            .await;
        let now_ns = core.clock.now_ns();
        for shipment in batch {
            shipment.stream.lock().shipped(&shipment.chunk, now_ns);
        }
    }
    core.wal.retain();
}

/// Ships on schedule until the ingester stops.
pub async fn work(core: Arc<Core>) {
    let stop = core.stop.clone();
    let work = async {
        loop {
            tokio::select! {
                () = tokio::time::sleep(core.settings.index_ship_interval) => {}
                () = core.shipments.hurry.notified() => {}
            }
            ship_all(&core).await;
        }
    };
    tokio::select! {
        () = work => {}
        () = stop.cancelled() => {}
    }
}
