//! Keeps compressed blocks out of memory: in files beside the log, until their chunk is stored. It must not know blocks.
//!
//! A file has no name from its first byte on, so that a crash leaves nothing of it: what it holds is in the log as well.
//! That bounds the files too: a chunk whose log segment is to go is stored, and with it goes its part of them. Nothing
//! is synced; a volume without room only means that blocks stay in memory.

use crate::metrics::Metrics;
use bytes::Bytes;
use memmap2::Mmap;
use model::{Error, Result};
use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use runtime::memory::Budget;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// A file that is full is followed by a new one; it goes with the last block in it.
const FILE_BYTES: u64 = 32 << 20;
/// The name that a file has for a moment.
const FILE_NAME: &str = "spill";

pub struct Spill {
    dir: PathBuf,
    above_bytes: u64,
    budget: Arc<Budget>,
    metrics: Metrics,
    /// The file that is written, and where its free part begins.
    open: Mutex<Option<(Arc<SpillFile>, u64)>>,
}

struct SpillFile {
    file: File,
    map: OnceLock<Mmap>,
    files: Gauge,
}

/// Some bytes of a file. The file lives as long as one of them.
#[derive(Clone)]
pub struct Extent {
    file: Arc<SpillFile>,
    offset: u64,
    pub bytes: usize,
}

/// Lends the bytes of an extent where they are.
struct Mapped(Extent);

impl Spill {
    /// Files in `dir`, written while more than `above_bytes` of `budget` are in use.
    pub fn new(dir: &Path, above_bytes: u64, budget: Arc<Budget>, metrics: Metrics) -> Self {
        Spill { dir: dir.into(), above_bytes, budget, metrics, open: Mutex::new(None) }
    }

    /// Writes `bytes` to a file if memory is in demand; `None` when they are to stay where they are.
    pub fn write(&self, bytes: &[u8]) -> Option<Extent> {
        if self.budget.used_bytes() <= self.above_bytes || bytes.len() as u64 > FILE_BYTES {
            return None;
        }
        match self.try_write(bytes) {
            Ok(extent) => {
                self.metrics.spills.inc();
                self.metrics.spilled_bytes.inc_by(bytes.len() as u64);
                Some(extent)
            }
            Err(e) => {
                // The blocks that a file holds keep it; the next one may find room.
                self.open.lock().take();
                self.metrics.spill_failures.inc();
                tracing::debug!(dir = %self.dir.display(), error = %e, "a block stays in memory");
                None
            }
        }
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<Extent> {
        let extent = self.place(bytes.len())?;
        extent.file.file.write_all_at(bytes, extent.offset)?;
        Ok(extent)
    }

    /// Room for so many bytes, in a new file if need be.
    fn place(&self, bytes: usize) -> io::Result<Extent> {
        let mut open = self.open.lock();
        let (file, offset) = match open.take().filter(|(_, end)| end + bytes as u64 <= FILE_BYTES) {
            Some(found) => found,
            None => (Arc::new(SpillFile::create(&self.dir, &self.metrics.spill_files)?), 0),
        };
        *open = Some((file.clone(), offset + bytes as u64));
        Ok(Extent { file, offset, bytes })
    }
}

impl SpillFile {
    /// The file has its full length at once, which costs nothing where nothing is written: a map of it stays valid.
    fn create(dir: &Path, files: &Gauge) -> io::Result<Self> {
        let path = dir.join(FILE_NAME);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
        std::fs::remove_file(&path)?;
        file.set_len(FILE_BYTES)?;
        files.inc();
        Ok(SpillFile { file, map: OnceLock::new(), files: files.clone() })
    }

    #[allow(unsafe_code, reason = "a map's bytes change under the reader if the file is written: these never are")]
    fn map(&self) -> io::Result<&Mmap> {
        if let Some(map) = self.map.get() {
            return Ok(map);
        }
        // SAFETY: the file has no name, so nobody else opens it; it is never cut, and a part of it that a reader has an
        // extent of is not written again.
        let map = unsafe { Mmap::map(&self.file) }?;
        Ok(self.map.get_or_init(|| map))
    }
}

impl Drop for SpillFile {
    fn drop(&mut self) {
        self.files.dec();
    }
}

impl Extent {
    /// A copy of the bytes: for who needs them once.
    pub fn read(&self) -> Result<Bytes> {
        let mut bytes = vec![0; self.bytes];
        self.file.file.read_exact_at(&mut bytes, self.offset).map_err(|e| lost(&e))?;
        Ok(bytes.into())
    }

    /// The bytes as the kernel has them in its cache: a reader of everything takes no memory for it.
    pub fn lend(&self) -> Result<Bytes> {
        self.file.map().map_err(|e| lost(&e))?;
        Ok(Bytes::from_owner(Mapped(self.clone())))
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        let start = self.0.offset as usize;
        self.0.file.map.get().and_then(|map| map.get(start..start + self.0.bytes)).unwrap_or_default()
    }
}

fn lost(e: &io::Error) -> Error {
    Error::unavailable(format!("a block cannot be read back from beside the write-ahead log: {e}"))
}
