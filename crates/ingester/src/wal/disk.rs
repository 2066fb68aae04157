//! The disk as the log's writer needs it, so that tests can make it full or failing.

use format::wal::PAGE_BYTES;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, IoSlice, Result};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

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

/// The file system. Segments are not preallocated: an appending `fdatasync` costs one journal commit for a whole group of
/// pushes, and what `fallocate` saves of that is lost to marking extents as written.
pub struct FileSystem;

impl Disk for FileSystem {
    fn create(&self, path: &Path) -> Result<Box<dyn LogFile>> {
        let file = PagedFile::create(path)?;
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

/// What is written with one call. Larger calls save nothing.
const STAGE_BYTES: usize = 2 << 20;

/// A file that is written in whole pages, past the kernel's cache where the file system can do that: what is synced at
/// once and read only after a crash gains nothing from a cache, and the way through it costs ten times the CPU. A page
/// that is not full yet ends in zeros, and is written again with what follows: the bytes that it had stay the same, so that a
/// write that is torn harms nothing that was synced.
struct PagedFile {
    file: File,
    path: PathBuf,
    direct: bool,
    /// Bytes appended so far.
    bytes: u64,
    stage: Stage,
}

/// Memory at a page's boundary. It begins with the `tail` bytes that the file's last page has so far.
struct Stage {
    memory: Vec<u8>,
    start: usize,
    tail: usize,
}

impl Stage {
    fn new() -> Stage {
        let memory = vec![0; STAGE_BYTES + PAGE_BYTES];
        let start = memory.as_ptr().align_offset(PAGE_BYTES).min(PAGE_BYTES);
        Stage { memory, start, tail: 0 }
    }

    fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + STAGE_BYTES]
    }

    /// Puts a prefix of `parts` behind the tail, and zeros up to the end of a page; tells the end of both.
    fn fill(&mut self, parts: &[IoSlice<'_>]) -> (usize, usize) {
        let mut filled = self.tail;
        let bytes = self.bytes();
        for part in parts {
            let taken = part.len().min(bytes.len() - filled);
            bytes[filled..filled + taken].copy_from_slice(&part[..taken]);
            filled += taken;
        }
        let whole = filled.next_multiple_of(PAGE_BYTES);
        bytes[filled..whole].fill(0);
        (filled, whole)
    }

    /// The first `filled` bytes are in the file: what is of a page that is not full becomes the tail.
    fn keep_tail(&mut self, filled: usize) {
        self.tail = filled % PAGE_BYTES;
        self.bytes().copy_within(filled / PAGE_BYTES * PAGE_BYTES..filled, 0);
    }
}

impl PagedFile {
    fn create(path: &Path) -> Result<PagedFile> {
        let (file, direct) = match direct(OpenOptions::new().write(true).create_new(true)).open(path) {
            // Refused after the file was made, on file systems that need the cache.
            Err(e) if e.kind() == ErrorKind::InvalidInput => (buffered(path)?, false),
            opened => (opened?, true),
        };
        Ok(PagedFile { file, path: path.into(), direct, bytes: 0, stage: Stage::new() })
    }

    fn write_pages(&mut self, whole: usize) -> Result<()> {
        let at = self.bytes - self.stage.tail as u64;
        match self.file.write_all_at(&self.stage.bytes()[..whole], at) {
            // A device with larger blocks than pages.
            Err(e) if e.kind() == ErrorKind::InvalidInput && self.direct => {
                (self.file, self.direct) = (buffered(&self.path)?, false);
                self.file.write_all_at(&self.stage.bytes()[..whole], at)
            }
            written => written,
        }
    }
}

#[cfg(target_os = "linux")]
fn direct(options: &mut OpenOptions) -> &mut OpenOptions {
    std::os::unix::fs::OpenOptionsExt::custom_flags(options, libc::O_DIRECT)
}

#[cfg(not(target_os = "linux"))]
fn direct(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

fn buffered(path: &Path) -> Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).open(path)
}

impl LogFile for PagedFile {
    fn write(&mut self, parts: &[IoSlice<'_>]) -> Result<usize> {
        let (filled, whole) = self.stage.fill(parts);
        self.write_pages(whole)?;
        let written = filled - self.stage.tail;
        self.stage.keep_tail(filled);
        self.bytes += written as u64;
        Ok(written)
    }

    fn sync(&mut self) -> Result<()> {
        self.file.sync_data()
    }

    fn truncate(&mut self, bytes: u64) -> Result<()> {
        self.file.set_len(bytes)?;
        let tail = (bytes % PAGE_BYTES as u64) as usize;
        File::open(&self.path)?.read_exact_at(&mut self.stage.bytes()[..tail], bytes - tail as u64)?;
        (self.bytes, self.stage.tail) = (bytes, tail);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_what_was_appended_and_zeros_to_the_end_of_a_page() {
        let dir = tempfile::tempdir().unwrap();
        for cached in [false, true] {
            let path = dir.path().join(format!("cached-{cached}"));
            let mut file = PagedFile::create(&path).unwrap();
            if cached {
                (file.file, file.direct) = (buffered(&path).unwrap(), false);
            }
            let mut expected: Vec<u8> = vec![];
            let check = |expected: &[u8]| {
                let found = std::fs::read(&path).unwrap();
                assert!(found.len() < expected.len() + PAGE_BYTES);
                assert!(found.starts_with(expected), "{} bytes, cached: {cached}", expected.len());
                assert!(found[expected.len()..].iter().all(|byte| *byte == 0));
            };
            let sizes = [1, 4094, 1, 1, 4095, 4096, 12_000, STAGE_BYTES - 1, STAGE_BYTES, STAGE_BYTES + 1, 0, 77];
            for (i, bytes) in sizes.into_iter().enumerate() {
                let part = vec![i as u8 + 1; bytes];
                let (a, b) = part.split_at(bytes / 3);
                let mut written = 0;
                while written < bytes {
                    let rest =
                        [IoSlice::new(&a[written.min(a.len())..]), IoSlice::new(&b[written.saturating_sub(a.len())..])];
                    written += file.write(&rest).unwrap();
                }
                file.sync().unwrap();
                expected.extend(part);
                check(&expected);
                // What a write that failed left is cut away, and appending goes on there.
                file.write(&[IoSlice::new(&[0xff; 5000])]).unwrap();
                file.truncate(expected.len() as u64).unwrap();
                check(&expected);
            }
        }
    }
}
