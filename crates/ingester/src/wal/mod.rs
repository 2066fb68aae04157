//! The write-ahead log: what makes a push survive a crash of this replica. Batches go in as they came, one record each
//! (`format::wal`); a writer thread commits all that wait with one write and one fsync. It must not know streams.
//!
//! A record is kept until nobody holds its segment any more: who has entries in memory only holds the oldest segment
//! that they are logged in, and segments go from the oldest on.

pub mod append;
pub mod disk;
pub mod replay;
pub mod segment;

use crate::metrics::Metrics;
use crate::settings::WalSettings;
use append::{Command, Writer};
use disk::Disk;
use format::wal::BODY_BYTES_MAX;
use model::{Batch, Error, Result, TenantId};
use segment::{Hold, Segments};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

pub struct Wal {
    commands: mpsc::Sender<Command>,
    segments: Arc<Segments>,
    budget_bytes: u64,
    metrics: Metrics,
}

impl Wal {
    /// Opens the log in its directory. The second part holds what earlier processes left, oldest first, for replay.
    /// Blocks on the disk.
    pub fn open(settings: &WalSettings, disk: Arc<dyn Disk>, metrics: &Metrics) -> Result<(Wal, Vec<Hold>)> {
        let (segments, old) = Segments::open(&settings.dir)?;
        let segments = Arc::new(segments);
        let (commands, queue) = mpsc::channel(settings.queue_records);
        let writer = Writer::new(settings.clone(), segments.clone(), disk, metrics.clone());
        std::thread::Builder::new()
            .name("wal".into())
            .spawn(move || writer.run(queue))
            .map_err(|e| Error::unavailable(format!("no thread for the write-ahead log: {e}")))?;
        metrics.wal_disk_bytes.set(segments.bytes() as i64);
        Ok((Wal { commands, segments, budget_bytes: settings.budget_bytes, metrics: metrics.clone() }, old))
    }

    /// Returns when the batch is on disk. `Unavailable` when it is not: then it will not be replayed for certain, nor
    /// is it promised to vanish.
    pub async fn append(&self, tenant: TenantId, batch: Batch) -> Result<Hold> {
        if batch.data.len() + tenant.as_str().len() + 8 > BODY_BYTES_MAX {
            return Err(Error::too_large(format!("a batch of {} bytes", batch.data.len())));
        }
        let used = self.segments.bytes();
        if used + batch.data.len() as u64 > self.budget_bytes {
            return Err(Error::unavailable(format!(
                "the write-ahead log in {} has grown to its budget of {} bytes (setting: ingester.wal.budget_bytes): \
                 chunks wait to be stored",
                self.segments.dir().display(),
                self.budget_bytes
            )));
        }
        let (done, committed) = oneshot::channel();
        let stopped = |_| Error::unavailable("the write-ahead log has stopped");
        let send = self.commands.send(Command::Append { tenant, batch, done });
        send.await.map_err(|_| Error::unavailable("the write-ahead log has stopped"))?;
        committed.await.map_err(stopped)?
    }

    /// Ends the segment that is written, so that it can go when what it holds is stored.
    pub async fn roll(&self) {
        let (done, rolled) = oneshot::channel();
        if self.commands.send(Command::Roll { done }).await.is_ok() {
            let _ = rolled.await;
        }
    }

    /// Removes the oldest segments that nobody holds.
    pub fn retain(&self) {
        self.segments.retain();
        self.metrics.wal_disk_bytes.set(self.segments.bytes() as i64);
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.segments.bytes()
    }

    /// Whether the log has grown to three quarters of its budget.
    pub fn is_short(&self) -> bool {
        self.segments.bytes() > self.budget_bytes / 4 * 3
    }

    /// When the log is short: the newest segment that must go for it to shrink to half of its budget.
    pub fn overdue(&self) -> Option<u64> {
        self.is_short().then(|| self.segments.newest_of_excess(self.budget_bytes / 2)).flatten()
    }
}
