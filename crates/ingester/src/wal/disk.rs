//! The disk as the log's writer needs it, so that tests can make it full or failing.

use std::fs::{File, OpenOptions};
use std::io::{IoSlice, Result, Write};
use std::path::Path;

pub trait Disk: Send + Sync {
    /// A new file to append to, whose name survives a crash when this returns.
    fn create(&self, path: &Path) -> Result<Box<dyn LogFile>>;
}

pub trait LogFile: Send {
    /// Appends a prefix of `parts` and returns its length.
    fn write(&mut self, parts: &[IoSlice<'_>]) -> Result<usize>;
    /// Returns when everything written is on stable storage.
    fn sync(&mut self) -> Result<()>;
    /// Cuts the file to `bytes`; the next write appends there.
    fn truncate(&mut self, bytes: u64) -> Result<()>;
}

/// The file system. Segments are not preallocated: without `fallocate` that would mean writing them twice, and an
/// appending `fdatasync` costs one journal commit for a whole group of pushes.
pub struct FileSystem;

impl Disk for FileSystem {
    fn create(&self, path: &Path) -> Result<Box<dyn LogFile>> {
        let file = OpenOptions::new().append(true).create_new(true).open(path)?;
        if let Some(dir) = path.parent() {
            File::open(dir)?.sync_all()?;
        }
        Ok(Box::new(file))
    }
}

/// No disk at all: what is written is gone, and every write succeeds.
pub struct Nowhere;

impl Disk for Nowhere {
    fn create(&self, _: &Path) -> Result<Box<dyn LogFile>> {
        Ok(Box::new(Nowhere))
    }
}

impl LogFile for Nowhere {
    fn write(&mut self, parts: &[IoSlice<'_>]) -> Result<usize> {
        Ok(parts.iter().map(|part| part.len()).sum())
    }
    fn sync(&mut self) -> Result<()> {
        Ok(())
    }
    fn truncate(&mut self, _: u64) -> Result<()> {
        Ok(())
    }
}

impl LogFile for File {
    fn write(&mut self, parts: &[IoSlice<'_>]) -> Result<usize> {
        self.write_vectored(parts)
    }
    fn sync(&mut self) -> Result<()> {
        self.sync_data()
    }
    fn truncate(&mut self, bytes: u64) -> Result<()> {
        self.set_len(bytes)
    }
}
