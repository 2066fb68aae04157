//! The log's writer: a thread that takes all the records that wait, writes them with one call, syncs once, and then
//! answers. What is not synced is never answered with success.

use super::disk::{Disk, LogFile};
use super::segment::{Hold, Segments};
use crate::metrics::Metrics;
use crate::settings::WalSettings;
use model::{Batch, Error, Result, TenantId};
use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};

/// Slices given to one write call; the kernel takes at most 1024.
const SLICES_PER_WRITE: usize = 1024;

pub enum Command {
    Append { tenant: TenantId, batch: Batch, done: oneshot::Sender<Result<Hold>> },
    Roll { done: oneshot::Sender<()> },
}

struct Append {
    tenant: TenantId,
    batch: Batch,
    done: oneshot::Sender<Result<Hold>>,
}

pub struct Writer {
    settings: WalSettings,
    segments: Arc<Segments>,
    disk: Arc<dyn Disk>,
    metrics: Metrics,
    open: Option<Open>,
}

/// The segment that is written.
struct Open {
    hold: Hold,
    file: Box<dyn LogFile>,
    /// Bytes known to be synced.
    bytes: u64,
}

impl Writer {
    pub fn new(settings: WalSettings, segments: Arc<Segments>, disk: Arc<dyn Disk>, metrics: Metrics) -> Self {
        Writer { settings, segments, disk, metrics, open: None }
    }

    /// Runs until every sender is gone.
    pub fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        let mut group = vec![];
        while let Some(command) = queue.blocking_recv() {
            let roll = self.gather(command, &mut queue, &mut group);
            if !group.is_empty() {
                let outcome = self.commit(&group);
                for append in group.drain(..) {
                    let _ = append.done.send(outcome.clone());
                }
            }
            if let Some(done) = roll {
                self.open = None;
                let _ = done.send(());
            }
        }
    }

    /// Takes what waits, up to a group's bytes or to a roll.
    fn gather(
        &self,
        first: Command,
        queue: &mut mpsc::Receiver<Command>,
        group: &mut Vec<Append>,
    ) -> Option<oneshot::Sender<()>> {
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(command) = next {
            match command {
                Command::Roll { done } => return Some(done),
                Command::Append { tenant, batch, done } => {
                    bytes += batch.data.len();
                    group.push(Append { tenant, batch, done });
                }
            }
            next = if bytes < self.settings.group_bytes { queue.try_recv().ok() } else { None };
        }
        None
    }

    fn commit(&mut self, group: &[Append]) -> Result<Hold> {
        let mut open = match self.open.take() {
            Some(open) if open.bytes < self.settings.segment_bytes => open,
            _ => self.begin()?,
        };
        let salt = open.hold.segment().salt;
        let heads = group.iter().map(|a| format::wal::head(salt, &a.tenant, &a.batch.data));
        let heads = heads.collect::<Result<Vec<_>>>()?;
        let mut parts: Vec<IoSlice<'_>> =
            heads.iter().zip(group).flat_map(|(head, a)| [IoSlice::new(head), IoSlice::new(&a.batch.data)]).collect();
        let bytes: u64 = parts.iter().map(|p| p.len() as u64).sum();
        if let Err(e) = write_all(&mut *open.file, &mut parts) {
            let error = self.write_failed(&e);
            // What was written in part must not stand before the next record; a file that cannot be cut is left.
            if open.file.truncate(open.bytes).is_ok() {
                self.open = Some(open);
            }
            return Err(error);
        }
        if let Err(e) = self.timed_sync(&mut *open.file) {
            // The kernel may have dropped the pages that it could not write: this file is not trusted any more.
            let _ = open.file.truncate(open.bytes);
            return Err(self.write_failed(&e));
        }
        open.bytes += bytes;
        open.hold.segment().set_bytes(open.bytes);
        self.metrics.wal_bytes_written.inc_by(bytes);
        self.metrics.wal_records_logged.inc_by(group.len() as u64);
        let hold = open.hold.clone();
        self.open = Some(open);
        Ok(hold)
    }

    fn begin(&self) -> Result<Open> {
        let hold = self.segments.begin();
        let file = self.disk.create(&hold.segment().path).map_err(|e| self.write_failed(&e))?;
        Ok(Open { hold, file, bytes: 0 })
    }

    fn timed_sync(&self, file: &mut dyn LogFile) -> io::Result<()> {
        #[allow(clippy::disallowed_methods, reason = "measures the disk, decides nothing")]
        let started = Instant::now();
        let outcome = file.sync();
        self.metrics.wal_fsync_seconds.observe(started.elapsed().as_secs_f64());
        outcome
    }

    fn write_failed(&self, e: &io::Error) -> Error {
        let dir = self.segments.dir().display();
        if matches!(e.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) {
            self.metrics.wal_disk_full_failures.inc();
            return Error::unavailable(format!(
                "wal volume full: {dir} takes no more writes (setting: ingester.wal.dir): {e}"
            ));
        }
        self.metrics.wal_write_failures.inc();
        tracing::error!(dir = %dir, error = %e, "the write-ahead log cannot be written");
        Error::unavailable(format!("cannot write the write-ahead log in {dir} (setting: ingester.wal.dir): {e}"))
    }
}

fn write_all(file: &mut dyn LogFile, parts: &mut [IoSlice<'_>]) -> io::Result<()> {
    let mut rest = parts;
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        match file.write(&rest[..rest.len().min(SLICES_PER_WRITE)]) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(bytes) => IoSlice::advance_slices(&mut rest, bytes),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
