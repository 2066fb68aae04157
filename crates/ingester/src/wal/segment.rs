//! The log's files: their names, who still needs them, and their removal. It must not know what is in them.
//!
//! Name: `<sequence, 16 decimal digits>-<salt, 16 hexadecimal digits>.wal`. The salt is in the name because the log's
//! contents come from clients and must not give it away.

use model::{Error, Result};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long to wait for the process before us to let go of the directory.
const LOCK_WAIT: Duration = Duration::from_secs(5);
const LOCK_POLL: Duration = Duration::from_millis(20);
const LOCK_FILE: &str = "lock";
const EXTENSION: &str = ".wal";

#[derive(Debug)]
pub struct Segment {
    pub sequence: u64,
    pub salt: u64,
    pub path: PathBuf,
    bytes: AtomicU64,
}

impl Segment {
    fn new(dir: &Path, sequence: u64, salt: u64, bytes: u64) -> Self {
        let path = dir.join(format!("{sequence:016}-{salt:016x}{EXTENSION}"));
        Segment { sequence, salt, path, bytes: AtomicU64::new(bytes) }
    }
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
    pub fn set_bytes(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }
}

/// Keeps a segment, and with it every newer one, from being removed.
#[derive(Clone, Debug)]
pub struct Hold(Arc<Segment>);

impl Hold {
    pub fn segment(&self) -> &Segment {
        &self.0
    }
    /// The hold on the older of two segments.
    pub fn older(self, other: Hold) -> Hold {
        if other.0.sequence < self.0.sequence { other } else { self }
    }
}

pub struct Segments {
    dir: PathBuf,
    list: Mutex<VecDeque<Arc<Segment>>>,
    next: AtomicU64,
    /// Locked for as long as this process may write here.
    _lock: File,
}

impl Segments {
    /// The segments found in `dir` (made if need be) and a hold on each, oldest first.
    pub fn open(dir: &Path) -> Result<(Self, Vec<Hold>)> {
        let fail = |what: &str, e: std::io::Error| {
            Error::unavailable(format!("{what} {} (setting: ingester.wal.dir): {e}", dir.display()))
        };
        fs::create_dir_all(dir).map_err(|e| fail("cannot make the write-ahead log's directory", e))?;
        let lock = File::create(dir.join(LOCK_FILE)).map_err(|e| fail("cannot write to", e))?;
        lock_within(&lock, LOCK_WAIT).map_err(|e| fail("another process uses", e))?;
        let mut found = vec![];
        for entry in fs::read_dir(dir).map_err(|e| fail("cannot list", e))? {
            let entry = entry.map_err(|e| fail("cannot list", e))?;
            if let Some((sequence, salt)) = entry.file_name().to_str().and_then(parse_name) {
                let bytes = entry.metadata().map_err(|e| fail("cannot list", e))?.len();
                found.push(Arc::new(Segment { path: entry.path(), ..Segment::new(dir, sequence, salt, bytes) }));
            }
        }
        found.sort_by_key(|s| s.sequence);
        let next = found.last().map_or(1, |s| s.sequence.saturating_add(1));
        let holds = found.iter().cloned().map(Hold).collect();
        let list = Mutex::new(found.into());
        Ok((Segments { dir: dir.into(), list, next: AtomicU64::new(next), _lock: lock }, holds))
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Enters a new segment after all others, empty and without a file yet.
    pub fn begin(&self) -> Hold {
        let sequence = self.next.fetch_add(1, Ordering::Relaxed);
        let salt = RandomState::new().hash_one(sequence);
        let segment = Arc::new(Segment::new(&self.dir, sequence, salt, 0));
        self.list.lock().push_back(segment.clone());
        Hold(segment)
    }

    pub fn bytes(&self) -> u64 {
        self.list.lock().iter().map(|s| s.bytes()).sum()
    }

    /// The newest segment that has to go for the rest to fit in `target_bytes`; the newest of all stays.
    pub fn newest_of_excess(&self, target_bytes: u64) -> Option<u64> {
        let list = self.list.lock();
        let mut rest: u64 = list.iter().map(|s| s.bytes()).sum();
        let mut newest = None;
        for segment in list.iter().take(list.len().saturating_sub(1)) {
            if rest <= target_bytes {
                break;
            }
            rest -= segment.bytes();
            newest = Some(segment.sequence);
        }
        newest
    }

    /// Removes from the oldest on until a segment is held. New holds are made from existing ones only, so a segment
    /// that only this list knows stays unheld.
    pub fn retain(&self) {
        let mut list = self.list.lock();
        while let Some(oldest) = list.front().filter(|s| Arc::strong_count(s) == 1) {
            match fs::remove_file(&oldest.path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    tracing::warn!(segment = %oldest.path.display(), error = %e, "cannot remove a wal segment");
                    return;
                }
                _ => list.pop_front(),
            };
        }
    }
}

fn lock_within(file: &File, wait: Duration) -> std::io::Result<()> {
    let mut waited = Duration::ZERO;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(fs::TryLockError::Error(e)) => return Err(e),
            Err(fs::TryLockError::WouldBlock) if waited >= wait => {
                return Err(std::io::ErrorKind::WouldBlock.into());
            }
            Err(fs::TryLockError::WouldBlock) => {
                std::thread::sleep(LOCK_POLL);
                waited += LOCK_POLL;
            }
        }
    }
}

fn parse_name(name: &str) -> Option<(u64, u64)> {
    let (sequence, salt) = name.strip_suffix(EXTENSION)?.split_once('-')?;
    Some((sequence.parse().ok()?, u64::from_str_radix(salt, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequences(segments: &Segments) -> Vec<u64> {
        segments.list.lock().iter().map(|s| s.sequence).collect()
    }

    #[test]
    fn segments_go_from_the_oldest_on_and_never_past_a_held_one() {
        let dir = tempfile::tempdir().unwrap();
        let (segments, old) = Segments::open(dir.path()).unwrap();
        assert!(old.is_empty());
        let mut holds: Vec<_> = (0..4).map(|_| Some(segments.begin())).collect();
        for hold in holds.iter().flatten() {
            fs::write(&hold.segment().path, b"1234567890").unwrap();
            hold.segment().set_bytes(10);
        }
        assert_eq!((segments.bytes(), segments.newest_of_excess(25)), (40, Some(2)));
        holds[1] = None;
        segments.retain();
        assert_eq!(sequences(&segments), [1, 2, 3, 4], "the second must not go before the first");
        holds[0] = None;
        segments.retain();
        assert_eq!(sequences(&segments), [3, 4]);
        drop(segments);
        let (segments, old) = Segments::open(dir.path()).unwrap();
        assert_eq!(old.iter().map(|h| h.segment().sequence).collect::<Vec<_>>(), [3, 4]);
        assert_eq!(segments.begin().segment().sequence, 5);
    }

    #[test]
    fn names_that_are_not_ours_are_left_alone() {
        for (name, parsed) in [
            ("0000000000000007-00000000000000ff.wal", Some((7, 255))),
            ("lock", None),
            ("7.wal", None),
            ("x-ff.wal", None),
            ("7-ff.wal.bak", None),
        ] {
            assert_eq!(parse_name(name), parsed, "{name}");
        }
    }
}
