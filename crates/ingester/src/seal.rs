//! Compresses off the way of a push: a few threads behind a bounded queue. Who cuts blocks faster than they are
//! compressed waits. The threads are few and our own because each keeps a compressor of megabytes. It must not know
//! chunks.

use crate::block::HeldBlock;
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::spill::Spill;
use format::Codec;
use model::{Error, Result};
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

pub struct SealQueue {
    jobs: mpsc::Sender<Job>,
}

enum Job {
    Seal(Arc<HeldBlock>),
    /// Work that compresses, and answers by itself.
    Run(Box<dyn FnOnce() + Send>),
}

impl SealQueue {
    /// Its threads end when the queue is dropped.
    pub fn start(settings: &Settings, spill: Spill, metrics: &Metrics) -> Result<SealQueue> {
        let spill = Arc::new(spill);
        let (jobs, queue) = mpsc::channel(settings.seal_queue_blocks);
        let queue = Arc::new(Mutex::new(queue));
        for i in 0..settings.seal_workers {
            let (queue, spill, metrics) = (queue.clone(), spill.clone(), metrics.clone());
            let codec = settings.chunk_encoding;
            let work = move || {
                while let Some(job) = next(&queue) {
                    match job {
                        Job::Run(work) => work(),
                        Job::Seal(block) => seal(&block, codec, &spill, &metrics),
                    }
                }
            };
            let thread = std::thread::Builder::new().name(format!("seal-{i}")).spawn(work);
            thread.map_err(|e| Error::unavailable(format!("no thread to compress blocks: {e}")))?;
        }
        Ok(SealQueue { jobs })
    }

    pub async fn submit(&self, blocks: Vec<Arc<HeldBlock>>) {
        for block in blocks {
            // A block that no thread takes stays raw, and is compressed when its chunk is stored.
            let _ = self.jobs.send(Job::Seal(block)).await;
        }
    }

    /// Does `work` on one of the threads.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let ended = || Error::unavailable("the threads that compress have ended");
        let (answer, answered) = oneshot::channel();
        let job = Job::Run(Box::new(move || {
            // Who does not wait any more does not need the answer.
            let _ = answer.send(work());
        }));
        self.jobs.send(job).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }

    /// [`SealQueue::submit`] from a thread that may block.
    pub fn submit_blocking(&self, blocks: Vec<Arc<HeldBlock>>) {
        for block in blocks {
            let _ = self.jobs.blocking_send(Job::Seal(block));
        }
    }
}

fn seal(block: &HeldBlock, codec: Codec, spill: &Spill, metrics: &Metrics) {
    match block.seal(codec) {
        Ok(_) => {
            metrics.blocks_sealed.inc();
            block.spill(spill);
        }
        Err(e) => tracing::error!(error = %e, "a block is not compressed"),
    }
}

fn next(queue: &Mutex<mpsc::Receiver<Job>>) -> Option<Job> {
    queue.lock().blocking_recv()
}
