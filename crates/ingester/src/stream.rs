//! One stream: its rule of order, its open chunk, its closed chunks, and what it has stored of late. All under one
//! lock, so that a reader sees every entry in exactly one of these places. It must not know other streams.

use crate::block::HeldBlock;
use crate::chunk::{ClosedChunk, OpenChunk};
use crate::rates::Bucket;
use crate::settings::Settings;
use crate::wal::segment::Hold;
use format::ChunkRef;
use model::batch::BatchEntry;
use model::{Fingerprint, Labels, Result, StreamBatch, TimeRange};
use parking_lot::{Mutex, MutexGuard};
use runtime::memory::Reservation;
use std::ops::Deref;
use std::sync::Arc;

/// What a stream is reckoned with, apart from its data: measured at some 15 labels.
pub const STREAM_BYTES: u64 = 2 << 10;

/// What a stream is called, and where.
pub struct Names {
    pub labels: Labels,
    /// Canonical text of the labels.
    pub text: Box<str>,
    /// Hash of the labels as it came with the push.
    pub hash: Fingerprint,
    /// `hash`, or a substitute where another stream has it.
    pub fingerprint: Fingerprint,
    /// Where the stream is on the ring.
    pub token: u32,
}

pub struct Stream {
    names: Names,
    /// Number in the tenant's label index.
    pub id: u32,
    state: Mutex<StreamState>,
    _memory: Option<Reservation>,
}

impl Deref for Stream {
    type Target = Names;
    fn deref(&self) -> &Names {
        &self.names
    }
}

pub struct StreamState {
    /// `i64::MIN` before the first entry.
    pub newest_ts_ns: i64,
    pub bucket: Bucket,
    /// Wall clock.
    pub appended_ns: i64,
    pub open: Option<Box<OpenChunk>>,
    pub closing: Vec<Arc<ClosedChunk>>,
    pub flushed: Vec<Flushed>,
    /// The stream is out of its tenant's map: look it up again.
    pub forgotten: bool,
}

/// A stored chunk.
pub struct Flushed {
    pub chunk: ChunkRef,
    /// Wall clock of shipping; `None` before.
    pub shipped_ns: Option<i64>,
}

/// What decides where blocks and chunks end. The hash is the one that came with the push: every replica has it.
struct Cuts<'a> {
    settings: &'a Settings,
    block_size: u64,
    fingerprint: Fingerprint,
}

/// What applying entries leaves to do outside of the lock.
#[derive(Default)]
pub struct Applied {
    pub cut: Vec<Arc<HeldBlock>>,
    pub closed: Vec<Arc<ClosedChunk>>,
    pub opened: u64,
}

impl Stream {
    pub fn new(names: Names, id: u32, now_ns: i64, memory: Option<Reservation>) -> Self {
        let state = StreamState {
            newest_ts_ns: i64::MIN,
            bucket: Bucket::new(),
            appended_ns: now_ns,
            open: None,
            closing: Vec::new(),
            flushed: Vec::new(),
            forgotten: false,
        };
        Stream { names, id, state: Mutex::new(state), _memory: memory }
    }

    pub fn lock(&self) -> MutexGuard<'_, StreamState> {
        self.state.lock()
    }
}

impl StreamState {
    /// The oldest timestamp that Loki's rule of order accepts.
    pub fn oldest_accepted_ns(newest_ts_ns: i64, settings: &Settings, unordered_writes: bool) -> i64 {
        match (newest_ts_ns, unordered_writes) {
            (i64::MIN, _) => i64::MIN,
            (newest, false) => newest,
            (newest, true) => newest.saturating_sub((settings.max_chunk_age.as_nanos() / 2) as i64),
        }
    }

    /// Takes logged entries into memory, all of them. `memory` is what was reserved for them.
    pub fn apply(
        &mut self,
        part: &StreamBatch<'_>,
        hold: &Hold,
        mut memory: Reservation,
        now_ns: i64,
        settings: &Settings,
        block_size: u64,
    ) -> Result<Applied> {
        let mut applied = Applied::default();
        let cuts = Cuts { settings, block_size, fingerprint: part.fingerprint };
        if let Some(open) = &mut self.open {
            open.hold(hold);
        }
        self.appended_ns = now_ns;
        let outcome = part.for_each(|e| self.apply_entry(&e, hold, &mut memory, now_ns, &cuts, &mut applied));
        if let Some(open) = &mut self.open {
            open.keep(memory);
        }
        outcome.map(|()| applied)
    }

    fn apply_entry(
        &mut self,
        e: &BatchEntry<'_>,
        hold: &Hold,
        memory: &mut Reservation,
        now_ns: i64,
        cuts: &Cuts<'_>,
        applied: &mut Applied,
    ) {
        let Cuts { settings, block_size, fingerprint } = *cuts;
        let ended = self.open.as_mut().and_then(|open| open.ends_before(e, fingerprint, settings));
        if let Some(reason) = ended {
            applied.closed.extend(self.close(reason));
        }
        let open = self.open.get_or_insert_with(|| {
            applied.opened += 1;
            Box::new(OpenChunk::new(settings, fingerprint, e.ts_ns, now_ns, hold.clone()))
        });
        open.push(e);
        applied.cut.extend(open.cut_if_full(block_size, settings, memory));
        self.newest_ts_ns = self.newest_ts_ns.max(e.ts_ns);
    }

    /// Closes the open chunk, if there is one.
    pub fn close(&mut self, reason: &'static str) -> Option<Arc<ClosedChunk>> {
        let closed = Arc::new(self.open.take()?.close(reason));
        self.closing.push(closed.clone());
        Some(closed)
    }

    /// A closed chunk has been stored as `chunk`.
    pub fn stored(&mut self, closed: &Arc<ClosedChunk>, chunk: ChunkRef) {
        self.closing.retain(|c| !Arc::ptr_eq(c, closed));
        self.flushed.push(Flushed { chunk, shipped_ns: None });
    }

    pub fn shipped(&mut self, chunk: &ChunkRef, now_ns: i64) {
        for f in self.flushed.iter_mut().filter(|f| f.chunk == *chunk) {
            f.shipped_ns.get_or_insert(now_ns);
        }
    }

    /// Whether anything here, in memory or stored of late, may lie in the range.
    pub fn overlaps(&self, range: &TimeRange) -> bool {
        self.open.as_ref().is_some_and(|c| range.overlaps(c.min_ts_ns, c.max_ts_ns))
            || self.closing.iter().any(|c| range.overlaps(c.min_ts_ns, c.max_ts_ns))
            || self.flushed.iter().any(|f| flushed_overlaps(&f.chunk, range))
    }
}

pub fn flushed_overlaps(chunk: &ChunkRef, range: &TimeRange) -> bool {
    chunk.from_ms <= range.through_ms() && chunk.through_ms >= range.from_ms()
}

/// Loki's size of an entry: its line and 8 for each pair.
pub fn entry_bytes(e: &BatchEntry<'_>) -> u64 {
    e.line.len() as u64 + 8 * e.pairs
}
