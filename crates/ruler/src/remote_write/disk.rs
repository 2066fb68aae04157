//! The writer's way to its spool: off the threads that must not wait. A disk that fails costs what is on it, never the
//! samples in memory.

use super::spool::{Position, Spool};
use super::writer::{Round, SharedSpool, Writer};
use crate::sample::Sample;
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;

impl Writer {
    pub(super) async fn open_spool(&self) {
        let Some(dir) = self.place.spool_dir.clone() else { return };
        match blocking(move || Spool::open(&dir)).await {
            Ok(spool) => {
                self.metrics.pending.inc_by(spool.len() as i64);
                *self.spool.lock() = Some(Arc::new(Mutex::new(spool)));
            }
            Err(error) => self.disk_fails(&error),
        }
    }

    /// Samples on disk.
    pub(super) fn spooled(&self) -> u64 {
        self.shared().map_or(0, |spool| spool.lock().len())
    }

    pub(super) fn has_disk(&self) -> bool {
        self.spool.lock().is_some()
    }

    fn shared(&self) -> Option<SharedSpool> {
        self.spool.lock().clone()
    }

    /// Samples wait in memory alone from now on.
    pub(super) fn give_disk_up(&self) {
        self.lost(self.spooled());
        *self.spool.lock() = None;
    }

    /// Writes `first` and what waits in memory to disk; what does not go there goes back to memory.
    pub(super) async fn spill(&self, first: Vec<Sample>) {
        let Some(spool) = self.shared() else { return };
        let mut samples = first;
        samples.extend(self.queue.take(usize::MAX));
        if samples.is_empty() {
            return;
        }
        let work = move || {
            let dropped = spool.lock().append(&samples);
            Ok((dropped, samples))
        };
        match blocking(work).await {
            Ok((Ok(dropped), _)) => self.lost(dropped),
            Ok((Err(error), samples)) => {
                self.disk_fails(&error);
                let dropped = self.queue.put_back(samples);
                self.lost(dropped as u64);
            }
            Err(error) => self.disk_fails(&error),
        }
    }

    /// The oldest samples on disk that are not too old.
    pub(super) async fn unspool(&self, max: usize) -> Option<Round> {
        let spool = self.shared()?;
        let chunk = match blocking(move || spool.lock().read(max)).await {
            Ok(chunk) => chunk,
            Err(error) => {
                self.disk_fails(&error);
                return None;
            }
        };
        self.lost(chunk.lost);
        let oldest_ms = (self.clock.now_ns() / 1_000_000).saturating_sub(self.place.max_age.as_millis() as i64);
        let all = chunk.samples.len();
        let samples: Vec<Sample> =
            chunk.samples.into_iter().filter(|sample| sample.timestamp_ms >= oldest_ms).collect();
        let too_old = (all - samples.len()) as u64;
        self.metrics.too_old.inc_by(too_old);
        self.metrics.pending.dec_by(too_old as i64);
        Some(Round { samples, next: Some(chunk.next) })
    }

    /// A round that came from disk need not be sent again.
    pub(super) async fn sent(&self, next: Option<Position>) {
        let (Some(spool), Some(next)) = (self.shared(), next) else { return };
        if let Err(error) = blocking(move || spool.lock().advance(next)).await {
            self.disk_fails(&error);
        }
    }

    fn disk_fails(&self, error: &io::Error) {
        if let Some(count) = self.disk_failed.say(1) {
            let (tenant, remote_name) = (&self.place.tenant, &self.place.remote_name);
            tracing::error!(tenant, remote_name, %error, count, "the disk on which samples wait fails (ruler.wal.dir)");
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}
