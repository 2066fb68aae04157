//! Compresses cut blocks off the way of a push: a few threads behind a bounded queue. Who cuts blocks faster than they
//! are compressed waits. It must not know chunks.

use crate::block::HeldBlock;
use crate::metrics::Metrics;
use crate::settings::Settings;
use model::{Error, Result};
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::mpsc;

pub struct SealQueue {
    blocks: mpsc::Sender<Arc<HeldBlock>>,
}

impl SealQueue {
    /// Its threads end when the queue is dropped.
    pub fn start(settings: &Settings, metrics: &Metrics) -> Result<SealQueue> {
        let (blocks, queue) = mpsc::channel(settings.seal_queue_blocks);
        let queue = Arc::new(Mutex::new(queue));
        for i in 0..settings.seal_workers {
            let (queue, metrics, codec) = (queue.clone(), metrics.clone(), settings.chunk_encoding);
            let work = move || {
                while let Some(block) = next(&queue) {
                    match block.seal(codec) {
                        Ok(_) => metrics.blocks_sealed.inc(),
                        Err(e) => {
                            tracing::error!(error = %e, "a block is not compressed");
                            0
                        }
                    };
                }
            };
            let thread = std::thread::Builder::new().name(format!("seal-{i}")).spawn(work);
            thread.map_err(|e| Error::unavailable(format!("no thread to compress blocks: {e}")))?;
        }
        Ok(SealQueue { blocks })
    }

    pub async fn submit(&self, blocks: Vec<Arc<HeldBlock>>) {
        for block in blocks {
            // A block that no thread takes stays raw, and is compressed when its chunk is stored.
            let _ = self.blocks.send(block).await;
        }
    }

    /// The same from a thread that may block.
    pub fn submit_blocking(&self, blocks: Vec<Arc<HeldBlock>>) {
        for block in blocks {
            let _ = self.blocks.blocking_send(block);
        }
    }
}

fn next(queue: &Mutex<mpsc::Receiver<Arc<HeldBlock>>>) -> Option<Arc<HeldBlock>> {
    queue.lock().blocking_recv()
}
