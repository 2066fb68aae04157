//! Local copies of index files: downloaded once, decompressed under a cap, verified, mapped, and dropped least recently
//! used first. A file that does not verify is remembered by name and not fetched again for a while.
//! It must not know which tables or tenants there are.

use super::{IndexMetrics, IndexSettings, map};
use crate::objects::{ObjectMeta, Objects};
use flate2::read::MultiGzDecoder;
use format::tsdb::Index;
use memmap2::Mmap;
use model::{Error, Kind, Result};
use runtime::clock::SharedClock;
use std::collections::HashMap;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{OnceCell, Semaphore};

/// Files that are mapped at a time; Linux allows a process 65,530 maps.
const FILES_MAX: usize = 16_384;
/// How long a bad file is not fetched again. Loki's filesystem store shows files before they are complete.
const QUARANTINE: Duration = Duration::from_secs(300);
/// Bad files that are remembered; beyond, the oldest is forgotten and fetched again.
const BAD_FILES_MAX: usize = 10_000;
/// Directories below the cache directory: object store, path prefix, table, tenant. A path prefix may have several.
const CACHE_DEPTH_MAX: usize = 16;

pub(super) type IndexFile = Index<Mmap>;

/// The local copies.
pub(super) struct Files {
    dir: PathBuf,
    bytes_max: u64,
    clock: SharedClock,
    downloads: Semaphore,
    state: Mutex<State>,
    temporaries: AtomicU64,
    metrics: IndexMetrics,
}

#[derive(Default)]
struct State {
    /// By path below the directory.
    copies: HashMap<String, Copy>,
    bad: HashMap<String, Bad>,
    bytes: u64,
    uses: u64,
}

/// A local copy; one that is being made has no bytes yet.
#[derive(Default)]
struct Copy {
    file: Arc<OnceCell<Arc<IndexFile>>>,
    bytes: u64,
    used: u64,
}

struct Bad {
    size: u64,
    since_ns: i64,
    error: Error,
}

impl Files {
    /// Takes over the copies that an earlier process left in the cache directory.
    pub(super) fn open(settings: &IndexSettings, clock: SharedClock, metrics: IndexMetrics) -> Result<Arc<Self>> {
        let dir = settings.cache_dir.clone();
        let mut state = State::default();
        let fail = |e: io::Error| Error::unavailable(format!("index cache {}: {e}", dir.display()));
        fs::create_dir_all(&dir).map_err(fail)?;
        adopt(&dir, &dir, CACHE_DEPTH_MAX, &mut state).map_err(fail)?;
        metrics.cached_bytes.set(state.bytes as i64);
        Ok(Arc::new(Files {
            dir,
            bytes_max: settings.cache_bytes,
            clock,
            downloads: Semaphore::new(settings.parallel_fetches_max.clamp(1, Semaphore::MAX_PERMITS)),
            state: Mutex::new(state),
            temporaries: AtomicU64::new(0),
            metrics,
        }))
    }

    /// The file that `listed` names: `Corrupt` or `TooLarge` when it cannot be used, `NotFound` when it is gone.
    pub(super) async fn get(
        self: &Arc<Self>,
        store: &str,
        objects: &Objects,
        listed: &ObjectMeta,
    ) -> Result<Arc<IndexFile>> {
        let place = place(store, &listed.key);
        let cell = self.copy(&place, listed)?;
        let opened = cell.get_or_try_init(|| self.load(&place, objects, listed)).await.cloned();
        match &opened {
            Err(e) if matches!(e.kind, Kind::Corrupt | Kind::TooLarge) => self.condemn(&place, listed.size, e),
            Err(_) => self.drop_empty(&place),
            Ok(_) => {}
        }
        opened
    }

    /// Notes that an opened file gave a corrupt answer. The first time the copy is dropped, for the disk may be at
    /// fault; a fresh copy that is no better stays, for its other series.
    pub(super) fn suspect(&self, store: &str, key: &str, error: &Error) {
        let place = place(store, key);
        let mut state = self.lock();
        let suspected = Bad { size: 0, since_ns: i64::MIN, error: error.clone() };
        if !state.bad.contains_key(&place) {
            self.metrics.bad_files.inc();
            state.remember_bad(place.clone(), suspected);
            let path = state.remove(&place).then(|| self.dir.join(&place));
            self.metrics.cached_bytes.set(state.bytes as i64);
            drop(state);
            remove_files(path);
        }
    }

    /// The cell of the copy, made when there is none; the error of a file known to be bad.
    fn copy(&self, place: &str, listed: &ObjectMeta) -> Result<Arc<OnceCell<Arc<IndexFile>>>> {
        let now_ns = self.clock.now_ns();
        let mut state = self.lock();
        if let Some(bad) = state.bad.get(place) {
            let recent = now_ns.saturating_sub(bad.since_ns) < QUARANTINE.as_nanos() as i64;
            if bad.size == listed.size && recent {
                return Err(bad.error.clone());
            }
        }
        state.uses += 1;
        let used = state.uses;
        let copy = state.copies.entry(place.to_string()).or_default();
        copy.used = used;
        Ok(copy.file.clone())
    }

    async fn load(self: &Arc<Self>, place: &str, objects: &Objects, listed: &ObjectMeta) -> Result<Arc<IndexFile>> {
        let path = self.dir.join(place);
        let (files, at) = (self.clone(), place.to_string());
        if let Some(file) = blocking(move || Ok(files.reopen(&at))).await? {
            return Ok(file);
        }
        let _permit = self.downloads.acquire().await.map_err(|_| Error::unavailable("the index is shut down"))?;
        let object = objects.get(&listed.key).await?;
        self.metrics.downloads.inc();
        self.metrics.downloaded_bytes.inc_by(object.len() as u64);
        let (files, at, compressed) = (self.clone(), place.to_string(), listed.key.ends_with(".gz"));
        let opened = blocking(move || {
            files.unpack(&path, &object, compressed)?;
            let file = open_file(&path)?;
            files.admit(&at, file.as_bytes().len() as u64);
            Ok(file)
        });
        opened.await.map_err(|e| e.context(format!("index file {}", listed.key)))
    }

    /// The copy as an earlier use left it, if it is there and whole.
    fn reopen(&self, place: &str) -> Option<Arc<IndexFile>> {
        let path = self.dir.join(place);
        match open_file(&path) {
            Ok(file) => {
                self.admit(place, file.as_bytes().len() as u64);
                Some(file)
            }
            Err(_) => {
                // Not there, or damaged here: the object is fetched, and then says which.
                remove_files([path]);
                None
            }
        }
    }

    /// Writes the file under another name and renames it, so that a copy is whole or not there.
    fn unpack(&self, path: &Path, object: &[u8], compressed: bool) -> Result<()> {
        let fail = |e: io::Error| Error::unavailable(format!("cannot write {}: {e}", path.display()));
        fs::create_dir_all(path.parent().unwrap_or(&self.dir)).map_err(fail)?;
        let temporary = path.with_extension(format!("tmp{}", self.temporaries.fetch_add(1, Ordering::Relaxed)));
        let written = write_unpacked(&temporary, object, compressed, self.bytes_max)
            .and_then(|()| fs::rename(&temporary, path).map_err(fail));
        if written.is_err() {
            remove_files([temporary]);
        }
        written
    }

    /// Counts a copy in, and drops others until all are within the limits.
    fn admit(&self, place: &str, bytes: u64) {
        let mut dropped = Vec::new();
        let mut state = self.lock();
        let copy = state.copies.entry(place.to_string()).or_default();
        let before = std::mem::replace(&mut copy.bytes, bytes);
        state.bytes = state.bytes.saturating_sub(before).saturating_add(bytes);
        while state.bytes > self.bytes_max || state.copies.len() > FILES_MAX {
            let others = state.copies.iter().filter(|(other, copy)| copy.bytes > 0 && *other != place);
            let Some(oldest) = others.min_by_key(|(_, copy)| copy.used).map(|(other, _)| other.clone()) else { break };
            state.remove(&oldest);
            dropped.push(self.dir.join(oldest));
        }
        self.metrics.cached_bytes.set(state.bytes as i64);
        drop(state);
        remove_files(dropped);
    }

    fn condemn(&self, place: &str, size: u64, error: &Error) {
        let bad = Bad { size, since_ns: self.clock.now_ns(), error: error.clone() };
        let mut state = self.lock();
        if state.copies.get(place).is_some_and(|copy| copy.file.get().is_some()) {
            return;
        }
        if !state.bad.contains_key(place) {
            self.metrics.bad_files.inc();
        }
        state.remember_bad(place.to_string(), bad);
        state.remove(place);
        drop(state);
        remove_files([self.dir.join(place)]);
    }

    fn drop_empty(&self, place: &str) {
        let mut state = self.lock();
        if state.copies.get(place).is_some_and(|copy| copy.file.get().is_none()) {
            state.remove(place);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl State {
    fn remove(&mut self, place: &str) -> bool {
        let removed = self.copies.remove(place);
        self.bytes = self.bytes.saturating_sub(removed.as_ref().map_or(0, |copy| copy.bytes));
        removed.is_some()
    }

    fn remember_bad(&mut self, place: String, bad: Bad) {
        if self.bad.len() >= BAD_FILES_MAX {
            let oldest = self.bad.iter().min_by_key(|(_, bad)| bad.since_ns).map(|(place, _)| place.clone());
            oldest.map(|place| self.bad.remove(&place));
        }
        self.bad.insert(place, bad);
    }
}

/// Where the copy of an object lies below the cache directory. Keys come from listings: no segment is empty, `.` or `..`.
fn place(store: &str, key: &str) -> String {
    format!("{store}/{}", key.strip_suffix(".gz").unwrap_or(key))
}

fn open_file(path: &Path) -> Result<Arc<IndexFile>> {
    let fail = |e: io::Error| Error::unavailable(format!("cannot map {}: {e}", path.display()));
    let file = fs::File::open(path).map_err(fail)?;
    Index::open(map::map(&file).map_err(fail)?).map(Arc::new)
}

fn write_unpacked(path: &Path, object: &[u8], compressed: bool, bytes_max: u64) -> Result<()> {
    let fail = |e: io::Error| Error::unavailable(format!("cannot write {}: {e}", path.display()));
    let mut file = fs::File::create(path).map_err(fail)?;
    if !compressed {
        return file.write_all(object).map_err(fail);
    }
    let mut unpacked = MultiGzDecoder::new(object).take(bytes_max + 1);
    let (mut buffer, mut bytes) = (vec![0; 256 << 10], 0);
    loop {
        let n = unpacked.read(&mut buffer).map_err(|e| Error::corrupt(format!("gzip: {e}")))?;
        if n == 0 {
            return Ok(());
        }
        bytes += n as u64;
        if bytes > bytes_max {
            return Err(Error::too_large(format!(
                "more than {bytes_max} bytes when decompressed (setting: the index cache's size)"
            )));
        }
        file.write_all(&buffer[..n]).map_err(fail)?;
    }
}

/// Enters the index files below `dir` as copies, and removes what else an earlier process left there.
fn adopt(root: &Path, dir: &Path, depth: usize, state: &mut State) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() && depth > 0 {
            adopt(root, &path, depth - 1, state)?;
        } else if kind.is_file() && path.extension().is_some_and(|e| e.to_string_lossy().starts_with("tmp")) {
            fs::remove_file(&path)?;
        } else if let (true, Some(place)) = (kind.is_file(), path.strip_prefix(root).ok().and_then(Path::to_str)) {
            let bytes = entry.metadata()?.len();
            state.bytes += bytes;
            state.copies.insert(place.to_string(), Copy { bytes, ..Copy::default() });
        }
    }
    Ok(())
}

/// A copy that cannot be removed costs disk until the next start, nothing else.
fn remove_files(paths: impl IntoIterator<Item = PathBuf>) {
    paths.into_iter().for_each(|path| drop(fs::remove_file(path)));
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::internal(format!("index file: {e}")))?
}
