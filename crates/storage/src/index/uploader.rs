//! The name under which a process ships index files, and the seconds in the names of its files. Both live on disk, so
//! that no name is used twice.

use model::{Error, Result};
use runtime::clock::SharedClock;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Loki's file, below its `active_index_directory`: a name in it stays, whoever wrote it.
const NAME_FILE: &str = "name";
/// The seconds of the last file that was named.
const SECONDS_FILE: &str = "seconds";
const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// A source of file names.
pub struct Uploader {
    name: String,
    dir: PathBuf,
    clock: SharedClock,
    last_seconds: Mutex<i64>,
}

impl Uploader {
    /// Reads `<dir>/uploader/name`, or makes it: `<id>-<nanoseconds since the epoch>`.
    pub fn open(dir: &Path, id: &str, clock: SharedClock) -> Result<Self> {
        let dir = dir.join("uploader");
        let fail = |e: io::Error| Error::unavailable(format!("index uploader {}: {e}", dir.display()));
        fs::create_dir_all(&dir).map_err(fail)?;
        let name = match read(&dir.join(NAME_FILE)).map_err(fail)? {
            Some(name) => name,
            None => {
                let name = format!("{id}-{}", clock.now_ns());
                write(&dir, NAME_FILE, &name).map_err(fail)?;
                name
            }
        };
        if name.is_empty() || name.contains(['/', '\\', '\0', '\n']) {
            return Err(Error::invalid(format!("index uploader name {name:?} cannot be part of a file's name")));
        }
        let last_seconds = match read(&dir.join(SECONDS_FILE)).map_err(fail)? {
            None => 0,
            Some(text) => text.parse().map_err(|_| {
                Error::corrupt(format!("{}: {text:?} is no number of seconds", dir.join(SECONDS_FILE).display()))
            })?,
        };
        Ok(Uploader { name, dir, clock, last_seconds: Mutex::new(last_seconds) })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The seconds of the next file: now, or more if now is taken. Blocks for a write to disk.
    pub(super) fn next_seconds(&self) -> Result<i64> {
        let mut last = self.last_seconds.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let next = (self.clock.now_ns() / NANOS_PER_SECOND).max(*last + 1);
        write(&self.dir, SECONDS_FILE, &next.to_string())
            .map_err(|e| Error::unavailable(format!("index uploader {}: {e}", self.dir.display())))?;
        *last = next;
        Ok(next)
    }
}

fn read(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim().to_string())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Durable when it answers.
fn write(dir: &Path, name: &str, text: &str) -> io::Result<()> {
    let temporary = dir.join(format!("{name}.tmp"));
    let mut file = fs::File::create(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, dir.join(name))?;
    fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::clock::ManualClock;

    #[test]
    fn a_name_stays_and_seconds_never_come_twice() {
        let dir = tempfile::tempdir().unwrap();
        let clock = ManualClock::at(1_795_409_560_161_455_003);
        let uploader = Uploader::open(dir.path(), "vm", clock.clone()).unwrap();
        assert_eq!(uploader.name(), "vm-1795409560161455003");
        let seconds = |u: &Uploader| u.next_seconds().unwrap() - 1_795_409_560;
        assert_eq!([(); 3].map(|()| seconds(&uploader)), [0, 1, 2]);
        let uploader = Uploader::open(dir.path(), "other", clock.clone()).unwrap();
        assert_eq!(uploader.name(), "vm-1795409560161455003");
        assert_eq!(seconds(&uploader), 3, "a restart within the second");
        clock.advance(10 * NANOS_PER_SECOND);
        assert_eq!(seconds(&uploader), 10);
        clock.set(0);
        assert_eq!(seconds(&uploader), 11, "a clock that went back");
        assert!(Uploader::open(&dir.path().join("x"), "a/b", clock.clone()).is_err());
        std::fs::write(dir.path().join("uploader/seconds"), "junk").unwrap();
        assert!(Uploader::open(dir.path(), "vm", clock).is_err());
    }
}
