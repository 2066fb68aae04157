//! Live tails: who wants to be told of pushes, and what waits to be told. A push that nobody tails costs one load of a
//! counter. A reader that is too slow loses entries, and is told which. It must not know streams' data, nor how a tail
//! is shown.

use crate::metrics::Metrics;
use crate::stream::Stream;
use format::Codec;
use futures::stream::{BoxStream, StreamExt, unfold};
use logql::source::Shard;
use model::matcher::all_match;
use model::{Batch, BlockBuilder, Error, Labels, Layout, Matcher, Result, StreamBatch, SymbolsBuilder, TenantId};
use parking_lot::{Mutex, RwLock};
use rpc::ingester::{DroppedEntries, RecentBlock, RecentRequest, RecentStream, Tailed};
use runtime::memory::{Budget, Reservation};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::Notify;

/// Tails of all tenants: each is looked at in every push of its tenant.
const TAILS_MAX: usize = 10_000;
/// Bytes of entries that wait for one reader: about a second of a busy tenant, for a reader that asks for history first.
const WAITING_BYTES_MAX: u64 = 8 << 20;
/// Entries are handed over in blocks of about this size, so that a large push does not drop as a whole.
const BLOCK_BYTES_MAX: usize = 256 << 10;
/// Notes of dropped entries that wait for one reader; further ones are added to the last.
const DROPPED_MAX: usize = 1000;
/// Streams of which a tail remembers whether they satisfy its matchers; more, and it begins anew.
const REMEMBERED_STREAMS_MAX: usize = 100_000;

/// The tails of an ingester.
pub struct Tails {
    open: AtomicUsize,
    /// Written under the lock of `tenants`.
    closed: AtomicBool,
    tenants: RwLock<HashMap<TenantId, Arc<[Arc<Tail>]>>>,
    budget: Arc<Budget>,
    layout: Layout,
    metrics: Metrics,
}

struct Tail {
    matchers: Vec<Matcher>,
    shard: Option<Shard>,
    /// By fingerprint, which within a tenant is of one stream.
    matched: Mutex<HashMap<u64, bool>>,
    queue: Mutex<Queue>,
    /// Something waits, or the tail is closed.
    changed: Notify,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<(RecentStream, Reservation)>,
    bytes: u64,
    dropped: VecDeque<DroppedEntries>,
    closed: bool,
}

impl Tails {
    pub fn new(budget: Arc<Budget>, layout: Layout, metrics: Metrics) -> Arc<Self> {
        Arc::new(Tails {
            open: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            tenants: RwLock::default(),
            budget,
            layout,
            metrics,
        })
    }

    /// Every push that is published after this is told. `max` is the tenant's limit, 0 is none.
    pub fn open(self: &Arc<Self>, request: RecentRequest, max: usize) -> Result<BoxStream<'static, Result<Tailed>>> {
        let tail = Arc::new(Tail {
            matchers: request.matchers,
            shard: request.shard,
            matched: Mutex::default(),
            queue: Mutex::default(),
            changed: Notify::new(),
        });
        let mut tenants = self.tenants.write();
        if self.closed.load(Ordering::Relaxed) {
            return Err(shutting_down());
        }
        if self.open.load(Ordering::Relaxed) >= TAILS_MAX {
            return Err(Error::unavailable("too many tail requests at once"));
        }
        let open = tenants.get(&request.tenant).map_or(&[][..], |tails| tails);
        if max > 0 && open.len() >= max {
            let count = open.len() + 1;
            return Err(Error::invalid(format!(
                "max concurrent tail requests limit exceeded, count > limit ({count} > {max})"
            )));
        }
        let all = open.iter().chain([&tail]).cloned().collect();
        tenants.insert(request.tenant.clone(), all);
        self.open.fetch_add(1, Ordering::Release);
        drop(tenants);
        self.metrics.tails.inc();
        let reader = Reader { tails: self.clone(), tenant: request.tenant, tail };
        Ok(unfold(Some(reader), Reader::read).boxed())
    }

    /// Tells of a batch that is in memory and logged; `streams` are those of its parts.
    pub fn publish(&self, tenant: &TenantId, batch: &Batch, streams: &[Arc<Stream>]) -> Result<()> {
        if self.open.load(Ordering::Acquire) == 0 {
            return Ok(());
        }
        let Some(tails) = self.tenants.read().get(tenant).cloned() else { return Ok(()) };
        for (part, stream) in batch.streams().zip(streams) {
            let part = part?;
            let mut wanting = tails.iter().filter(|tail| tail.wants(stream)).peekable();
            if wanting.peek().is_none() {
                continue;
            }
            let pieces = pieces(&part, &stream.labels, stream.fingerprint.0, self.layout)?;
            for tail in wanting {
                let dropped = tail.tell(&pieces, &self.budget);
                self.metrics.tail_entries_dropped.inc_by(dropped);
            }
        }
        Ok(())
    }

    /// Ends every tail: its reader gets what waits and then an error.
    pub fn close(&self) {
        let tenants = self.tenants.write();
        self.closed.store(true, Ordering::Relaxed);
        for tail in tenants.values().flat_map(|tails| tails.iter()) {
            tail.queue.lock().closed = true;
            tail.changed.notify_one();
        }
    }
}

impl Tail {
    /// Matches once for each stream.
    fn wants(&self, stream: &Stream) -> bool {
        let mut matched = self.matched.lock();
        if let Some(known) = matched.get(&stream.fingerprint.0) {
            return *known;
        }
        if matched.len() >= REMEMBERED_STREAMS_MAX {
            matched.clear();
        }
        let wants = self.shard.is_none_or(|shard| shard.contains(stream.fingerprint))
            && all_match(&self.matchers, &stream.labels);
        matched.insert(stream.fingerprint.0, wants);
        wants
    }

    /// Queues the pieces that have room; how many entries had none.
    fn tell(&self, pieces: &[RecentStream], budget: &Arc<Budget>) -> u64 {
        let mut dropped = 0;
        let mut queue = self.queue.lock();
        for piece in pieces {
            let (bytes, entries, ts_ns) =
                piece.blocks.first().map_or((0, 0, 0), |b| (b.raw_bytes, b.entries, b.min_ts_ns));
            let room = queue.bytes + bytes <= WAITING_BYTES_MAX || queue.waiting.is_empty();
            match room.then(|| budget.reserve(bytes, "a live tail")) {
                Some(Ok(memory)) => {
                    queue.bytes += bytes;
                    queue.waiting.push_back((piece.clone(), memory));
                }
                _ => {
                    dropped += entries;
                    queue.note_dropped(DroppedEntries { labels: piece.labels.clone(), ts_ns, entries });
                }
            }
        }
        drop(queue);
        self.changed.notify_one();
        dropped
    }
}

impl Queue {
    fn note_dropped(&mut self, note: DroppedEntries) {
        let full = self.dropped.len() >= DROPPED_MAX;
        match self.dropped.back_mut() {
            Some(last) if full || last.labels == note.labels => {
                last.entries += note.entries;
                last.ts_ns = last.ts_ns.min(note.ts_ns);
            }
            _ => self.dropped.push_back(note),
        }
    }

    /// Notes of what is dropped come first: a reader that never catches up must learn of it too.
    fn take(&mut self) -> Option<Tailed> {
        if let Some(dropped) = self.dropped.pop_front() {
            return Some(Tailed::Dropped(dropped));
        }
        let (stream, memory) = self.waiting.pop_front()?;
        self.bytes = self.bytes.saturating_sub(memory.bytes());
        Some(Tailed::Pushed(stream))
    }
}

/// A tail's reading end; without it the tail is gone.
struct Reader {
    tails: Arc<Tails>,
    tenant: TenantId,
    tail: Arc<Tail>,
}

impl Reader {
    async fn read(this: Option<Reader>) -> Option<(Result<Tailed>, Option<Reader>)> {
        let this = this?;
        loop {
            let (taken, closed) = {
                let mut queue = this.tail.queue.lock();
                (queue.take(), queue.closed)
            };
            match taken {
                Some(tailed) => return Some((Ok(tailed), Some(this))),
                None if closed => return Some((Err(shutting_down()), None)),
                None => this.tail.changed.notified().await,
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut tenants = self.tails.tenants.write();
        if let Some(tails) = tenants.get_mut(&self.tenant) {
            *tails = tails.iter().filter(|t| !Arc::ptr_eq(t, &self.tail)).cloned().collect();
            if tails.is_empty() {
                tenants.remove(&self.tenant);
            }
        }
        self.tails.open.fetch_sub(1, Ordering::Release);
        self.tails.metrics.tails.dec();
    }
}

fn shutting_down() -> Error {
    Error::unavailable("ingester is shutting down")
}

/// A part of a batch as streams of one block each.
fn pieces(part: &StreamBatch<'_>, labels: &Labels, fingerprint: u64, layout: Layout) -> Result<Vec<RecentStream>> {
    let mut pieces = vec![];
    let (mut block, mut symbols) = (BlockBuilder::new(layout), SymbolsBuilder::default());
    let mut cut = |block: BlockBuilder, symbols: SymbolsBuilder| {
        let (entries, min_ts_ns, max_ts_ns) = (block.entries, block.min_ts_ns, block.max_ts_ns);
        let payload: bytes::Bytes = block.into_data().into();
        let raw_bytes = payload.len() as u64;
        let symbols = Arc::new(symbols.finish());
        let codec = Codec::None;
        let block = RecentBlock { codec, layout, payload, symbols, entries, min_ts_ns, max_ts_ns, raw_bytes };
        let fingerprint = model::Fingerprint(fingerprint);
        pieces.push(RecentStream { labels: labels.clone(), fingerprint, blocks: vec![block], flushed: vec![] });
    };
    part.for_each(|e| {
        block.push_from(&e, &mut symbols);
        if block.data().len() >= BLOCK_BYTES_MAX {
            let full = std::mem::replace(&mut block, BlockBuilder::new(layout));
            cut(full, std::mem::take(&mut symbols));
        }
    })?;
    if !block.is_empty() {
        cut(block, symbols);
    }
    Ok(pieces)
}
