//! What waits for one client: where there is a directory for it on disk, else in memory. Samples come to memory and
//! are moved to disk at once, off the threads that must not wait; a disk that fails leaves them in memory. It must not
//! know how samples are sent.

use super::metrics::ClientMetrics;
use super::queue::Queue;
use super::spool::{Position, Spool};
use crate::sample::Sample;
use crate::seldom::Seldom;
use parking_lot::Mutex;
use runtime::clock::SharedClock;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// Whose samples, and where they may wait.
pub(super) struct Place {
    pub tenant: String,
    pub remote_name: String,
    pub spool_dir: Option<PathBuf>,
    pub max_age: Duration,
}

pub(super) struct Backlog {
    pub(super) place: Place,
    queue: Queue,
    disk: Option<Disk>,
    /// Samples on their way that are in no other place than memory.
    taken: AtomicU64,
    more: Notify,
    metrics: ClientMetrics,
    /// Held while what waits is shown, so that the newest number stays.
    showing: Mutex<()>,
    clock: SharedClock,
    failed: Seldom,
}

struct Disk {
    dir: PathBuf,
    /// Opened by the first who needs it.
    spool: Mutex<Option<Spool>>,
    len: AtomicU64,
    failing: AtomicBool,
}

/// What is sent before anything else is taken.
pub(super) struct Round {
    pub samples: Vec<Sample>,
    /// Of a round from disk: what to begin with after it.
    pub next: Option<Position>,
}

impl Backlog {
    /// `capacity`: samples in memory. Where there is a disk, they are in memory for a moment, bounded in bytes alone.
    pub(super) fn new(place: Place, capacity: usize, metrics: ClientMetrics, clock: SharedClock) -> Self {
        let capacity = if place.spool_dir.is_some() { usize::MAX } else { capacity };
        let disk = |dir: &PathBuf| Disk {
            dir: dir.clone(),
            spool: Mutex::default(),
            len: AtomicU64::new(0),
            failing: AtomicBool::new(false),
        };
        Backlog {
            disk: place.spool_dir.as_ref().map(disk),
            place,
            queue: Queue::new(capacity),
            taken: AtomicU64::new(0),
            more: Notify::new(),
            metrics,
            showing: Mutex::default(),
            clock,
            failed: Seldom::default(),
        }
    }

    /// Never waits. How many had to be dropped, the oldest first.
    pub(super) fn push(&self, samples: Vec<Sample>) -> u64 {
        let dropped = self.queue.push(samples) as u64;
        self.metrics.queue_full.inc_by(dropped);
        self.show();
        dropped
    }

    /// Samples that can be taken.
    pub(super) fn len(&self) -> usize {
        self.queue.len() + self.disk.as_ref().map_or(0, |disk| disk.len.load(Ordering::Relaxed) as usize)
    }

    /// Whether something waits or is on its way.
    pub(super) fn is_busy(&self) -> bool {
        self.len() > 0 || self.taken.load(Ordering::Relaxed) > 0
    }

    /// Returns when there may be more to take.
    pub(super) async fn more(&self) {
        self.more.notified().await;
    }

    /// Whether the last write to disk succeeded. `None`: there is no disk.
    pub(super) fn is_ready(&self) -> Option<bool> {
        self.disk.as_ref().map(|disk| !disk.failing.load(Ordering::Relaxed))
    }

    pub(super) fn dir(&self) -> Option<&Path> {
        self.disk.as_ref().map(|disk| disk.dir.as_path())
    }

    /// Takes up what an earlier process has left. Nobody else may use the directory from now on.
    pub(super) async fn open(self: &Arc<Self>) {
        if let Some(Err(_)) = self.on_disk(|_, _| Ok(())).await {
            self.set_failing(true);
        }
        self.show();
    }

    /// Moves what comes to disk as it comes, for as long as it is polled.
    pub(super) async fn keep(self: &Arc<Self>) {
        loop {
            self.queue.filled().await;
            self.spill().await;
            self.more.notify_one();
        }
    }

    /// The oldest samples, about `max`: first what is on disk and not too old, then what no disk takes.
    pub(super) async fn next(self: &Arc<Self>, max: usize) -> io::Result<Option<Round>> {
        let all_on_disk = self.spill().await;
        let read = self.on_disk(move |spool, backlog| backlog.read(spool, max)).await.unwrap_or(Ok(None));
        if all_on_disk || matches!(read, Ok(Some(_))) {
            return read;
        }
        let samples = self.queue.take(max);
        if samples.is_empty() {
            return read;
        }
        self.taken.store(samples.len() as u64, Ordering::Relaxed);
        self.show();
        Ok(Some(Round { samples, next: None }))
    }

    /// The round is done with: what came from disk may leave it.
    pub(super) async fn done(self: &Arc<Self>, next: Option<Position>) {
        self.taken.store(0, Ordering::Relaxed);
        if let Some(next) = next {
            self.on_disk(move |spool, _| spool.advance(next)).await;
        }
        self.show();
    }

    /// What was taken from memory and not sent.
    pub(super) fn put_back(&self, samples: Vec<Sample>) {
        self.taken.store(0, Ordering::Relaxed);
        self.metrics.queue_full.inc_by(self.queue.put_back(samples) as u64);
        self.show();
    }

    /// Nothing more is taken: what no disk takes is lost. How much that is.
    pub(super) async fn end(self: &Arc<Self>) -> usize {
        self.spill().await;
        let lost = self.queue.take(usize::MAX).len();
        self.metrics.queue_full.inc_by(lost as u64);
        self.show();
        lost
    }

    /// Drops segments on disk up to the one with this number. How many samples that costs.
    pub(super) fn drop_through(&self, number: u64, reason: &'static str) -> io::Result<u64> {
        let Some(disk) = &self.disk else { return Ok(0) };
        let mut spool = disk.spool.lock();
        let Some(spool) = &mut *spool else { return Ok(0) };
        let dropped = spool.drop_through(number)?;
        disk.len.store(spool.len(), Ordering::Relaxed);
        self.metrics.dropped(reason, dropped);
        self.show();
        Ok(dropped)
    }

    /// Whether nothing is left in memory.
    async fn spill(self: &Arc<Self>) -> bool {
        if self.disk.is_none() || self.queue.len() == 0 {
            return self.disk.is_some();
        }
        // What is on its way may come back, and is older.
        if self.taken.load(Ordering::Relaxed) > 0 {
            return false;
        }
        let moved = self.on_disk(|spool, backlog| {
            let samples = backlog.queue.take(usize::MAX);
            if samples.is_empty() {
                return Ok(());
            }
            let written = spool.append(&samples);
            if written.is_err() {
                backlog.metrics.queue_full.inc_by(backlog.queue.put_back(samples) as u64);
            }
            written
        });
        let moved = moved.await.is_some_and(|moved| moved.is_ok());
        self.set_failing(!moved);
        self.show();
        moved
    }

    fn read(&self, spool: &mut Spool, max: usize) -> io::Result<Option<Round>> {
        let oldest_ms = (self.clock.now_ns() / 1_000_000).saturating_sub(self.place.max_age.as_millis() as i64);
        while !spool.is_empty() {
            let chunk = spool.read(max)?;
            let all = chunk.samples.len();
            let samples: Vec<Sample> =
                chunk.samples.into_iter().filter(|sample| sample.timestamp_ms >= oldest_ms).collect();
            self.metrics.unreadable.inc_by(chunk.lost);
            self.metrics.too_old.inc_by((all - samples.len()) as u64);
            if !samples.is_empty() {
                return Ok(Some(Round { samples, next: Some(chunk.next) }));
            }
            spool.advance(chunk.next)?;
        }
        Ok(None)
    }

    /// Does `work` on a thread that may wait. `None`: there is no disk.
    async fn on_disk<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut Spool, &Backlog) -> io::Result<T> + Send + 'static,
    ) -> Option<io::Result<T>> {
        self.disk.as_ref()?;
        let backlog = self.clone();
        let done = tokio::task::spawn_blocking(move || backlog.disk.as_ref().map(|disk| disk.with(&backlog, work)));
        let done = done.await.unwrap_or_else(|error| Some(Err(io::Error::other(error))));
        if let Some(Err(error)) = &done {
            self.metrics.disk_failures.inc();
            if let Some(count) = self.failed.say(1) {
                let Place { tenant, remote_name, .. } = &self.place;
                tracing::error!(tenant, remote_name, %error, count, "the disk of samples fails (ruler.wal.dir)");
            }
        }
        done
    }

    fn set_failing(&self, failing: bool) {
        if let Some(disk) = &self.disk {
            disk.failing.store(failing, Ordering::Relaxed);
        }
    }

    fn show(&self) {
        let _showing = self.showing.lock();
        self.metrics.pending.set(self.len() as i64 + self.taken.load(Ordering::Relaxed) as i64);
    }
}

impl Disk {
    fn with<T>(&self, backlog: &Backlog, work: impl FnOnce(&mut Spool, &Backlog) -> io::Result<T>) -> io::Result<T> {
        let mut opened = self.spool.lock();
        let spool = match &mut *opened {
            Some(spool) => spool,
            none => none.insert(Spool::open(&self.dir)?),
        };
        let done = work(spool, backlog);
        backlog.metrics.wal_full.inc_by(spool.take_dropped());
        self.len.store(spool.len(), Ordering::Relaxed);
        done
    }
}
