//! Stores closed chunks. A chunk stays readable in memory until the store has it, and then its reference takes its
//! place under the same lock; it is tried for ever and never dropped. It must not know where chunks are stored.

use crate::block::disjoint;
use crate::chunk::ClosedChunk;
use crate::core::Core;
use crate::metrics::{Metrics, ReasonLabel};
use crate::ship::Shipment;
use crate::stream::Stream;
use async_trait::async_trait;
use bytes::Bytes;
use foldhash::fast::FixedState;
use format::ChunkRef;
use format::chunk::{ChunkParts, encode};
use model::{Labels, Result, TenantId};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Where chunks and their references go.
#[async_trait]
pub trait ChunkSink: Send + Sync {
    /// Stores a chunk's object. Repeating it is harmless.
    async fn put(&self, tenant: &TenantId, labels: &Labels, chunk: &ChunkRef, object: Bytes) -> Result<()>;
    /// Makes stored chunks known to the index; `Ok` when that survives the loss of this node. Repeating it is harmless.
    async fn ship(&self, entries: Vec<(TenantId, Labels, ChunkRef)>) -> Result<()>;
}

/// A closed chunk and whose it is.
#[derive(Clone)]
pub struct Closed {
    pub tenant: TenantId,
    pub stream: Arc<Stream>,
    pub chunk: Arc<ClosedChunk>,
}

const MILLIS_PER_HOUR: f64 = 3_600_000.0;

/// Chunks that wait to be stored. It has no bound of its own: the chunks are in memory anyway, and the memory budget
/// bounds them.
#[derive(Default)]
pub struct FlushQueue {
    jobs: Mutex<VecDeque<Closed>>,
    ready: Notify,
}

impl FlushQueue {
    pub fn push(&self, tenant: &TenantId, stream: &Arc<Stream>, chunk: Arc<ClosedChunk>, metrics: &Metrics) {
        self.jobs.lock().push_back(Closed { tenant: tenant.clone(), stream: stream.clone(), chunk });
        metrics.flush_queue_length.inc();
        self.ready.notify_one();
    }

    async fn next(&self) -> Closed {
        loop {
            let ready = self.ready.notified();
            let (job, more) = {
                let mut jobs = self.jobs.lock();
                (jobs.pop_front(), !jobs.is_empty())
            };
            if let Some(job) = job {
                // Several chunks may have come with one notice.
                if more {
                    self.ready.notify_one();
                }
                return job;
            }
            ready.await;
        }
    }
}

/// One of `concurrent_flushes` workers, until the ingester stops.
pub async fn work(core: Arc<Core>) {
    let stop = core.stop.clone();
    let work = async {
        loop {
            let job = core.flushes.next().await;
            store(&core, job).await;
        }
    };
    tokio::select! {
        () = work => {}
        () = stop.cancelled() => {}
    }
}

async fn store(core: &Arc<Core>, job: Closed) {
    let encoded =
        retry(core, "a chunk cannot be encoded", &core.metrics.flush_failures, || encode_chunk(core, &job)).await;
    let (chunk, object) = encoded;
    retry(core, "a chunk cannot be stored", &core.metrics.flush_failures, || {
        core.sink.put(&job.tenant, &job.stream.labels, &chunk, object.clone())
    })
    .await;
    job.stream.lock().stored(&job.chunk, chunk);
    core.shipments.push(Shipment {
        tenant: job.tenant.clone(),
        stream: job.stream.clone(),
        chunk,
        hold: job.chunk.hold.clone(),
    });
    count(core, &job.chunk, &chunk, object.len());
    // Let go of the chunk's log segment first: who waits for this may look at the log.
    let stored = job.chunk.stored.clone();
    drop(job);
    stored.send_replace(true);
}

fn count(core: &Core, chunk: &ClosedChunk, stored: &ChunkRef, object_bytes: usize) {
    let m = &core.metrics;
    m.flush_queue_length.dec();
    m.memory_chunks.dec();
    m.chunks_flushed.get_or_create(&ReasonLabel { reason: chunk.reason }).inc();
    m.chunk_size_bytes.observe(object_bytes as f64);
    m.chunk_utilization.observe(object_bytes as f64 / core.settings.chunk_target_size.max(1) as f64);
    m.chunk_bounds_hours.observe(stored.through_ms.saturating_sub(stored.from_ms) as f64 / MILLIS_PER_HOUR);
    m.chunk_entries.observe(chunk.entries as f64);
    m.chunk_age_seconds.observe((core.clock.now_ns() - chunk.born_ns) as f64 / 1e9);
}

/// Compresses what is still raw and puts the object together, on a thread that compresses.
async fn encode_chunk(core: &Arc<Core>, job: &Closed) -> Result<(ChunkRef, Bytes)> {
    let (job, codec, settings) = (job.clone(), core.settings.chunk_encoding, core.settings.clone());
    let encode = move || {
        let sealed = job.chunk.blocks.iter().map(|b| b.seal(codec)).collect::<Result<Vec<_>>>()?;
        let blocks = disjoint(sealed, codec, settings.chunk_block_size)?;
        encode(&ChunkParts {
            tenant: &job.tenant,
            labels: &job.stream.labels,
            fingerprint: job.stream.fingerprint,
            codec,
            layout: settings.chunk_layout,
            symbols: &job.chunk.symbols,
            blocks: &blocks,
        })
    };
    core.seals.run(encode).await
}

/// Calls `f` until it succeeds, waiting twice as long each time, up to the setting, with a quarter of jitter.
pub async fn retry<T, F: Future<Output = Result<T>>>(
    core: &Core,
    what: &str,
    failures: &prometheus_client::metrics::counter::Counter,
    mut f: impl FnMut() -> F,
) -> T {
    let (first, longest) = core.settings.flush_op_backoff;
    let mut wait = first;
    let mut attempt = 0u64;
    loop {
        match f().await {
            Ok(value) => return value,
            Err(e) => {
                failures.inc();
                attempt += 1;
                tracing::warn!(error = %e, attempt, wait = ?wait, "{what}; trying again");
            }
        }
        tokio::time::sleep(jittered(wait, attempt ^ core.clock.now_ns() as u64)).await;
        wait = (wait * 2).min(longest);
    }
}

fn jittered(wait: Duration, seed: u64) -> Duration {
    let part = FixedState::default().hash_one(seed) % 512;
    wait.mul_f64(0.75 + part as f64 / 1024.0)
}
