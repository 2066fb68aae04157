//! A cache on other machines, as who uses it sees it: a look-up is awaited, what is to be stored waits in a bounded queue
//! and is written behind everybody's back. It must not know which servers there are.

use crate::Cache;
use crate::metrics::Counts;
use crate::settings::Writeback;
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::unfold;
use runtime::metrics::Gauge;
use runtime::tasks::Tasks;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio_util::sync::CancellationToken;

/// Entries that are written together at most.
const BATCH_ENTRIES_MAX: usize = 16;
/// Batches that are written at a time, whatever `writeback_goroutines` says.
const WRITERS_MAX: usize = 256;
/// Entries that wait, whatever `writeback_buffer` says.
const BUFFER_ENTRIES_MAX: usize = 10_000_000;
/// How long what waits is still written when the process stops.
const LAST_WRITES_WITHIN: Duration = Duration::from_secs(2);

/// Servers of caches: both calls come back after a bounded time, whatever the servers do.
#[async_trait]
pub trait Remote: Send + Sync + 'static {
    /// The values of `keys`, in their order.
    async fn fetch(&self, keys: &[String]) -> Vec<Option<Bytes>>;
    async fn store(&self, entries: Vec<(String, Bytes)>);
}

pub struct Background<R> {
    remote: Arc<R>,
    queue: Sender<Waiting>,
    bytes: Arc<AtomicU64>,
    bytes_max: u64,
    counts: Counts,
}

/// An entry in the queue or being written; what it takes is given back when it is dropped.
struct Waiting {
    entry: (String, Bytes),
    held: Held,
}

struct Held {
    size: u64,
    bytes: Arc<AtomicU64>,
    queue_length: Gauge,
    queue_bytes: Gauge,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.bytes.fetch_sub(self.size, Ordering::Relaxed);
        self.queue_bytes.dec_by(self.size as i64);
        self.queue_length.dec();
    }
}

impl<R: Remote> Background<R> {
    pub fn new(remote: R, settings: &Writeback, counts: Counts, tasks: &Tasks) -> Self {
        let (queue, waiting) = channel(settings.writeback_buffer.clamp(1, BUFFER_ENTRIES_MAX));
        let remote = Arc::new(remote);
        let writers = settings.writeback_goroutines.clamp(1, WRITERS_MAX);
        tasks.spawn("cache writeback", write(remote.clone(), waiting, writers, tasks.stopping()));
        Background { remote, queue, bytes: Arc::default(), bytes_max: settings.writeback_size_limit, counts }
    }

    /// `None`: too many bytes wait.
    fn hold(&self, size: u64) -> Option<Held> {
        let fits = |used: u64| used.checked_add(size).filter(|sum| *sum <= self.bytes_max);
        self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        self.counts.queue_bytes.inc_by(size as i64);
        self.counts.queue_length.inc();
        let (queue_length, queue_bytes) = (self.counts.queue_length.clone(), self.counts.queue_bytes.clone());
        Some(Held { size, bytes: self.bytes.clone(), queue_length, queue_bytes })
    }
}

#[async_trait]
impl<R: Remote> Cache for Background<R> {
    async fn fetch(&self, keys: &[String]) -> Vec<Option<Bytes>> {
        self.remote.fetch(keys).await
    }

    fn store(&self, entries: Vec<(String, Bytes)>) {
        for entry in entries {
            let size = (entry.0.len() + entry.1.len()) as u64;
            let held = self.hold(size);
            if held.and_then(|held| self.queue.try_send(Waiting { entry, held }).ok()).is_none() {
                self.counts.dropped.inc();
                self.counts.dropped_bytes.inc_by(size);
            }
        }
    }
}

/// Writes until the process stops, and then what still waits, but not for long.
async fn write<R: Remote>(remote: Arc<R>, waiting: Receiver<Waiting>, writers: usize, stopping: CancellationToken) {
    let entries = unfold((waiting, stopping.clone()), |(mut waiting, stopping)| async move {
        let next = tokio::select! {
            next = waiting.recv() => next,
            () = stopping.cancelled(), if !waiting.is_closed() => {
                waiting.close();
                waiting.recv().await
            }
        };
        next.map(|next| (next, (waiting, stopping)))
    });
    let entries = std::pin::pin!(entries);
    let batches = entries.ready_chunks(BATCH_ENTRIES_MAX);
    let written = batches.for_each_concurrent(writers, |batch| async {
        let (entries, held): (Vec<_>, Vec<_>) = batch.into_iter().map(|next| (next.entry, next.held)).unzip();
        remote.store(entries).await;
        drop(held);
    });
    tokio::select! {
        () = written => {}
        () = async { stopping.cancelled().await; tokio::time::sleep(LAST_WRITES_WITHIN).await } => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use parking_lot::Mutex;
    use tokio::sync::Semaphore;

    /// Writes as many entries as it is given permits.
    struct Slow {
        permits: Semaphore,
        written: Mutex<Vec<String>>,
    }

    #[async_trait]
    impl Remote for Arc<Slow> {
        async fn fetch(&self, keys: &[String]) -> Vec<Option<Bytes>> {
            vec![None; keys.len()]
        }
        async fn store(&self, entries: Vec<(String, Bytes)>) {
            for (key, _) in entries {
                self.permits.acquire().await.unwrap().forget();
                self.written.lock().push(key);
            }
        }
    }

    fn slow() -> Arc<Slow> {
        Arc::new(Slow { permits: Semaphore::new(0), written: Mutex::default() })
    }

    fn start(remote: &Arc<Slow>, buffer: usize, bytes: u64) -> (Background<Arc<Slow>>, Tasks) {
        let registry = runtime::metrics::Metrics::default();
        let tasks = Tasks::new(&registry);
        let settings = Writeback { writeback_goroutines: 2, writeback_buffer: buffer, writeback_size_limit: bytes };
        let counts = Metrics::new(&registry).of("test");
        (Background::new(remote.clone(), &settings, counts, &tasks), tasks)
    }

    fn entries(range: std::ops::Range<usize>) -> Vec<(String, Bytes)> {
        range.map(|i| (format!("k{i}"), Bytes::from_static(b"12345678"))).collect()
    }

    #[tokio::test]
    async fn the_queue_is_bounded_by_entries_and_by_bytes_and_what_is_dropped_is_counted() {
        for (buffer, bytes, kept) in [(3, 1000, 3), (1000, 50, 5), (0, 1000, 1), (1000, 9, 0)] {
            let remote = slow();
            let (cache, tasks) = start(&remote, buffer, bytes);
            cache.store(entries(0..10));
            assert_eq!(cache.counts.dropped.get(), 10 - kept, "{buffer} {bytes}");
            assert_eq!(cache.counts.dropped_bytes.get(), 10 * (10 - kept));
            assert_eq!(
                (cache.counts.queue_length.get(), cache.counts.queue_bytes.get()),
                (kept as i64, 10 * kept as i64)
            );
            remote.permits.add_permits(10);
            assert!(tasks.stop(Duration::from_secs(5)).await.is_empty());
            assert_eq!(remote.written.lock().len(), kept as usize, "what waits is written when the process stops");
            assert_eq!((cache.counts.queue_length.get(), cache.counts.queue_bytes.get()), (0, 0));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_hangs_does_not_hold_up_the_end() {
        let remote = slow();
        let (cache, tasks) = start(&remote, 1000, 1000);
        cache.store(entries(0..10));
        assert!(tasks.stop(Duration::from_secs(5)).await.is_empty());
        assert_eq!(cache.counts.queue_length.get(), 0);
        cache.store(entries(0..1));
        assert_eq!(cache.counts.dropped.get(), 1);
    }
}
