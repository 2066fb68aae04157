//! Compresses off the way of a push: a few threads behind a bounded queue. Who cuts blocks faster than they are
//! compressed waits. The threads are few and our own because each keeps a compressor of megabytes. What another
//! replica compresses waits for its offer meanwhile, in no queue. It must not know chunks.

use crate::block::HeldBlock;
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::share::{Compressor, Compressors, Met, Outgoing, Share, adopt};
use crate::spill::Spill;
use format::Codec;
use model::{Error, Result};
use parking_lot::Mutex;
use rpc::ingester::{Ingester, OfferedBlock};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

pub struct SealQueue {
    jobs: mpsc::Sender<Job>,
    work: Arc<Work>,
}

enum Job {
    /// Compress, and offer the result to these replicas.
    Seal(Arc<HeldBlock>, Vec<Arc<dyn Ingester>>),
    /// Another replica compresses it.
    Expect(Arc<HeldBlock>),
    Adopt(Arc<HeldBlock>, OfferedBlock),
    /// Work that compresses, and answers by itself.
    Run(Box<dyn FnOnce() + Send>),
}

/// What the threads share.
struct Work {
    codec: Codec,
    spill: Spill,
    share: Share,
    outbox: mpsc::Sender<Outgoing>,
    metrics: Metrics,
}

/// A block that was just cut, and its stream's token on the ring.
pub struct Cut {
    pub block: Arc<HeldBlock>,
    pub token: u32,
}

impl SealQueue {
    /// Its threads end when the queue is dropped. What is to be offered to other replicas comes out at the other end of
    /// `outbox`.
    pub fn start(
        settings: &Settings,
        spill: Spill,
        outbox: mpsc::Sender<Outgoing>,
        metrics: &Metrics,
    ) -> Result<SealQueue> {
        let (jobs, queue) = mpsc::channel(settings.seal_queue_blocks);
        let queue = Arc::new(Mutex::new(queue));
        let (codec, metrics) = (settings.chunk_encoding, metrics.clone());
        let work = Arc::new(Work { codec, spill, share: Share::default(), outbox, metrics });
        for i in 0..settings.seal_workers {
            let (queue, work) = (queue.clone(), work.clone());
            let run = move || {
                while let Some(job) = next(&queue) {
                    work.does(job);
                }
            };
            let thread = std::thread::Builder::new().name(format!("seal-{i}")).spawn(run);
            thread.map_err(|e| Error::unavailable(format!("no thread to compress blocks: {e}")))?;
        }
        Ok(SealQueue { jobs, work })
    }

    /// Has blocks compressed, here or by the replica that `compressors` names.
    pub async fn submit(&self, blocks: Vec<Cut>, compressors: &Compressors) {
        for Cut { block, token } in blocks {
            let job = match compressors(token) {
                Compressor::Here(replicas) => Job::Seal(block, replicas),
                Compressor::Elsewhere => Job::Expect(block),
            };
            self.send(job).await;
        }
    }

    /// Another replica's offers.
    pub async fn offered(&self, offers: Vec<OfferedBlock>) {
        for offer in offers {
            if let Some((block, offer)) = self.work.share.offered(offer) {
                self.send(Job::Adopt(block, offer)).await;
            }
        }
    }

    /// To be called every [`crate::share::WAIT`]: compresses what nobody has offered, or compressed meanwhile for its chunk.
    pub async fn give_up_waiting(&self) {
        let given_up = self.work.share.turn();
        for block in given_up.into_iter().filter(|block| block.sealed_bytes().is_none()) {
            self.send(Job::Seal(block, vec![])).await;
        }
    }

    async fn send(&self, job: Job) {
        // A block that no thread takes stays raw, and is compressed when its chunk is stored.
        let _ = self.jobs.send(job).await;
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

    /// Has blocks compressed here; from a thread that may block.
    pub fn submit_blocking(&self, blocks: Vec<Cut>) {
        for Cut { block, .. } in blocks {
            let _ = self.jobs.blocking_send(Job::Seal(block, vec![]));
        }
    }
}

impl Work {
    fn does(&self, job: Job) {
        match job {
            Job::Run(work) => work(),
            Job::Seal(block, replicas) => self.seal(&block, replicas),
            Job::Expect(block) => self.expect(&block),
            Job::Adopt(block, offer) => self.adopt(&block, &offer),
        }
    }

    fn seal(&self, block: &HeldBlock, replicas: Vec<Arc<dyn Ingester>>) {
        let digest = if replicas.is_empty() { Ok(None) } else { block.digest() };
        match digest.and_then(|digest| Ok((digest, block.seal(self.codec)?))) {
            Ok((digest, sealed)) => {
                self.metrics.blocks_sealed.inc();
                if let Some(digest) = digest {
                    let offer = OfferedBlock { digest, codec: self.codec, payload: sealed.payload };
                    // Where the queue is full the others compress too.
                    let _ = self.outbox.try_send(Outgoing { replicas, offer });
                }
                block.spill(&self.spill);
            }
            Err(e) => tracing::error!(error = %e, "a block is not compressed"),
        }
    }

    fn expect(&self, block: &Arc<HeldBlock>) {
        let Ok(Some(digest)) = block.digest() else { return };
        match self.share.expect(digest, block) {
            Met::Waits => {}
            Met::Adopt(offer) => self.adopt(block, &offer),
            Met::SealHere => self.seal(block, vec![]),
        }
    }

    fn adopt(&self, block: &HeldBlock, offer: &OfferedBlock) {
        match adopt(block, offer, self.codec, &self.metrics) {
            true => block.spill(&self.spill),
            false => self.seal(block, vec![]),
        }
    }
}

fn next(queue: &Mutex<mpsc::Receiver<Job>>) -> Option<Job> {
    queue.lock().blocking_recv()
}
