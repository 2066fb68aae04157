//! Stored chunks, as the engine reads them: fetched ahead of the scan, a bounded number at a time.

use crate::notes::{Notes, add};
use format::ChunkRef;
use format::chunk::Chunk;
use logql::source::{Block, Frames};
use model::time::NANOS_PER_MILLI;
use model::{Error, Kind, Outline, RawBlock, Result, TenantId};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Instant;
use storage::chunks::ChunkStore;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// Fetches the chunks of one selection in the order in which they will be read.
pub struct Fetcher {
    store: Arc<ChunkStore>,
    notes: Arc<Notes>,
    runtime: Handle,
    chunks_ahead: usize,
    wanted: Vec<(TenantId, ChunkRef)>,
    slots: Vec<Mutex<Slot>>,
}

enum Slot {
    Idle,
    Running(JoinHandle<Result<Arc<Chunk>>>),
    /// It was in memory.
    Ready(Arc<Chunk>),
    /// Handed out; another load fetches anew.
    Taken,
}

impl Fetcher {
    pub fn new(
        store: Arc<ChunkStore>,
        notes: Arc<Notes>,
        chunks_ahead: usize,
        wanted: Vec<(TenantId, ChunkRef)>,
    ) -> Arc<Self> {
        let slots = wanted.iter().map(|_| Mutex::new(Slot::Idle)).collect();
        Arc::new(Fetcher { store, notes, runtime: Handle::current(), chunks_ahead, wanted, slots })
    }

    /// The chunk in place `index`; starts fetching those after it. Blocks the calling thread.
    fn chunk(&self, index: usize) -> Result<Arc<Chunk>> {
        let end = self.slots.len().min(index + 1 + self.chunks_ahead);
        for i in index..end {
            let mut slot = self.slots[i].lock();
            if matches!(*slot, Slot::Idle) || (i == index && matches!(*slot, Slot::Taken)) {
                *slot = self.start(i);
            }
        }
        let taken = std::mem::replace(&mut *self.slots[index].lock(), Slot::Taken);
        match taken {
            Slot::Ready(chunk) => Ok(chunk),
            Slot::Running(task) => self.finish(task),
            Slot::Idle | Slot::Taken => self.finish(self.fetch(index)),
        }
    }

    fn start(&self, index: usize) -> Slot {
        let (tenant, chunk) = &self.wanted[index];
        match self.store.cached(tenant, chunk) {
            Some(chunk) => Slot::Ready(chunk),
            None => Slot::Running(self.fetch(index)),
        }
    }

    fn finish(&self, task: JoinHandle<Result<Arc<Chunk>>>) -> Result<Arc<Chunk>> {
        let joined = self.runtime.block_on(task);
        joined.map_err(|e| Error::internal(format!("fetching a chunk failed: {e}")))?
    }

    fn fetch(&self, index: usize) -> JoinHandle<Result<Arc<Chunk>>> {
        let (store, notes) = (self.store.clone(), self.notes.clone());
        let (tenant, chunk) = self.wanted[index].clone();
        self.runtime.spawn(async move {
            let start = Instant::now();
            let got = store.get(&tenant, &chunk).await;
            add(&notes.chunks_download_nanos, start.elapsed().as_nanos() as u64);
            add(&notes.chunks_downloaded, 1);
            got
        })
    }
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        for slot in &self.slots {
            if let Slot::Running(task) = &*slot.lock() {
                task.abort();
            }
        }
    }
}

/// One stored chunk; its blocks are the frames.
pub struct StoredPart {
    pub fetcher: Arc<Fetcher>,
    pub index: usize,
}

impl Block for StoredPart {
    fn bounds_ns(&self) -> (i64, i64) {
        let chunk = &self.fetcher.wanted[self.index].1;
        (chunk.from_ms.saturating_mul(NANOS_PER_MILLI), chunk.through_ms.saturating_mul(NANOS_PER_MILLI))
    }

    fn entries(&self) -> u64 {
        u64::from(self.fetcher.wanted[self.index].1.entries)
    }

    fn open(&self) -> Result<Arc<dyn Frames>> {
        let chunk = self.fetcher.chunk(self.index)?;
        add(&self.fetcher.notes.compressed_bytes, chunk.object_bytes() as u64);
        Ok(Arc::new(OpenPart { chunk, fetcher: self.fetcher.clone(), index: self.index }))
    }
}

struct OpenPart {
    chunk: Arc<Chunk>,
    fetcher: Arc<Fetcher>,
    index: usize,
}

/// What was found while the entries were read is told when nobody reads them any more.
impl Drop for OpenPart {
    fn drop(&mut self) {
        self.fetcher.notes.watch(&self.chunk.symbols, || {
            let (tenant, chunk) = &self.fetcher.wanted[self.index];
            let key = self.fetcher.store.key(tenant, chunk);
            format!("partial answer: chunk {key}: structured metadata that is not there")
        });
    }
}

impl Frames for OpenPart {
    fn bounds_ns(&self) -> Vec<(i64, i64)> {
        self.chunk.blocks().iter().map(|block| (block.min_ts_ns, block.max_ts_ns)).collect()
    }

    fn entries(&self, frame: usize) -> Option<u64> {
        self.chunk.blocks().get(frame).map(|block| block.entries)
    }

    fn outline(&self, frame: usize) -> Option<Outline> {
        self.chunk.outline(frame)
    }

    fn load(&self, frame: usize, memory: Vec<u8>) -> Result<RawBlock> {
        let store = &self.fetcher.store;
        let (tenant, chunk) = &self.fetcher.wanted[self.index];
        let loaded = store.block(tenant, chunk, &self.chunk, frame, memory);
        loaded.map_err(|e| e.context(format!("partial answer: chunk {}", store.key(tenant, chunk))))
    }
}

/// Whether a query goes on without a part that failed like this, saying so in a warning.
pub fn is_skippable(e: &Error) -> bool {
    matches!(e.kind, Kind::Corrupt | Kind::NotFound)
}
