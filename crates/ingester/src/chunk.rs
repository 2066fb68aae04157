//! A stream's chunk while it fills, and when it is closed and waits to be stored. It must not know its stream.

use crate::block::{HeldBlock, recent_raw};
use crate::head::Head;
use crate::order::is_full;
use crate::settings::Settings;
use crate::stream::entry_bytes;
use crate::wal::segment::Hold;
use model::batch::BatchEntry;
use model::{Fingerprint, Result, Symbols, SymbolsBuilder, TimeRange};
use rpc::ingester::RecentBlock;
use runtime::memory::Reservation;
use std::sync::Arc;
use tokio::sync::watch;

/// Raw bytes at which a chunk is full however well they compress: a quarter of what a reader takes.
const CHUNK_RAW_BYTES_MAX: u64 = (format::chunk::CHUNK_RAW_BYTES_MAX / 4) as u64;
/// Blocks of an open chunk that may still be on their way to be compressed where replicas must agree on its fill.
const BLOCKS_ESTIMATED: usize = 2;
/// What a block not compressed yet is expected to shrink to, as a divisor. Only the estimate of a chunk's fill rests on it.
const RATIO_EXPECTED: u64 = 5;

pub struct OpenChunk {
    head: Head,
    symbols: SymbolsBuilder,
    /// The symbols as readers last got them; symbols only grow, so a longer list serves all blocks.
    shared: Option<Arc<Symbols>>,
    blocks: Vec<Arc<HeldBlock>>,
    /// Compressed size of `blocks`, estimated where they wait.
    blocks_bytes: u64,
    /// The part of it that is not estimated any more, where replicas must agree.
    settled_bytes: u64,
    blocks_raw_bytes: u64,
    /// The next moment at which replicas end the chunk.
    sync_ns: i64,
    pub min_ts_ns: i64,
    pub max_ts_ns: i64,
    pub born_ns: i64,
    hold: Hold,
}

impl OpenChunk {
    /// A chunk that begins with an entry of `ts_ns`.
    pub fn new(settings: &Settings, fingerprint: Fingerprint, ts_ns: i64, now_ns: i64, hold: Hold) -> Self {
        OpenChunk {
            head: Head::new(settings.chunk_layout),
            symbols: SymbolsBuilder::default(),
            shared: None,
            blocks: Vec::new(),
            blocks_bytes: 0,
            settled_bytes: 0,
            blocks_raw_bytes: 0,
            sync_ns: settings.sync.map_or(i64::MAX, |sync| sync.next_ns(fingerprint, ts_ns)),
            min_ts_ns: i64::MAX,
            max_ts_ns: i64::MIN,
            born_ns: now_ns,
            hold,
        }
    }

    /// Why the entry is to go into the next chunk, in Loki's words.
    pub fn ends_before(
        &mut self,
        e: &BatchEntry<'_>,
        fingerprint: Fingerprint,
        settings: &Settings,
    ) -> Option<&'static str> {
        if self.is_full(entry_bytes(e), settings) {
            return Some("full");
        }
        let sync = settings.sync.filter(|_| e.ts_ns >= self.sync_ns)?;
        self.sync_ns = sync.next_ns(fingerprint, e.ts_ns);
        let used = self.filled_bytes() as f64 > sync.min_utilization * settings.chunk_target_size as f64;
        // Before the next moment it would be closed for its age, and each replica looks at that when it likes.
        let old = self.sync_ns.saturating_sub(self.min_ts_ns) > settings.max_chunk_age.as_nanos() as i64;
        (used || old).then_some("synced")
    }

    /// By Loki's rule: compressed blocks, symbols and the raw head together.
    fn filled_bytes(&self) -> u64 {
        self.symbols.symbols().text_bytes() as u64 + self.blocks_bytes + self.head.block().size_bytes
    }

    fn is_full(&self, bytes: u64, settings: &Settings) -> bool {
        let head = self.head.block();
        let raw = self.blocks_raw_bytes + head.data().len() as u64 + bytes;
        let empty = self.blocks.is_empty() && head.is_empty();
        !empty && (self.filled_bytes() + bytes >= settings.chunk_target_size || raw >= CHUNK_RAW_BYTES_MAX)
    }

    pub fn push(&mut self, e: &BatchEntry<'_>) {
        self.head.push(e, &mut self.symbols);
        self.min_ts_ns = self.min_ts_ns.min(e.ts_ns);
        self.max_ts_ns = self.max_ts_ns.max(e.ts_ns);
    }

    /// Holds a segment that entries of this chunk are in.
    pub fn hold(&mut self, hold: &Hold) {
        if hold.segment().sequence < self.hold.segment().sequence {
            self.hold = hold.clone();
        }
    }

    pub fn oldest_segment(&self) -> u64 {
        self.hold.segment().sequence
    }

    pub fn keep(&mut self, memory: Reservation) {
        self.head.keep(memory);
    }

    /// Cuts the head if it has grown to a block; what is not reserved for it yet is taken from `memory`.
    pub fn cut_if_full(
        &mut self,
        block_size: u64,
        settings: &Settings,
        memory: &mut Reservation,
    ) -> Option<Arc<HeldBlock>> {
        if !is_full(self.head.block(), block_size) {
            return None;
        }
        self.head.keep(memory.split(self.head.unreserved_bytes()));
        let block = self.head.cut_full()?;
        let block = self.add(block);
        self.blocks_bytes = match settings.sync {
            None => self.blocks.iter().map(|b| b.sealed_bytes().unwrap_or_else(|| expected_bytes(b))).sum(),
            Some(_) => self.agreed_bytes(settings),
        };
        Some(block)
    }

    fn add(&mut self, block: HeldBlock) -> Arc<HeldBlock> {
        let block = Arc::new(block);
        self.blocks.push(block.clone());
        self.blocks_raw_bytes += block.raw_bytes;
        block
    }

    /// The compressed size of the blocks as every replica has it at this entry, however far its threads are: the newest
    /// blocks are estimated, and a block behind them that nobody has compressed is compressed here.
    fn agreed_bytes(&mut self, settings: &Settings) -> u64 {
        let settled = self.blocks.len().saturating_sub(BLOCKS_ESTIMATED);
        if let Some(block) = settled.checked_sub(1).map(|at| &self.blocks[at]) {
            let sealed =
                block.sealed_bytes().or_else(|| Some(block.seal(settings.chunk_encoding).ok()?.payload.len() as u64));
            self.settled_bytes += sealed.unwrap_or_else(|| expected_bytes(block));
        }
        self.settled_bytes + self.blocks[settled..].iter().map(|b| expected_bytes(b)).sum::<u64>()
    }

    /// Bytes in memory.
    pub fn memory_bytes(&self) -> u64 {
        self.blocks.iter().map(|b| b.payload_bytes()).sum::<u64>() + self.head.block().data().len() as u64
    }

    /// Entries, and Loki's size of them: lines, references to symbols, and the symbols' texts.
    pub fn volume(&self) -> (u64, u64) {
        let head = self.head.block();
        let start = (head.entries, head.size_bytes + self.symbols.symbols().text_bytes() as u64);
        self.blocks.iter().fold(start, |(n, b), block| (n + block.entries, b + block.size_bytes))
    }

    /// What a reader needs: blocks that overlap the range, and the head as it is now. Cheap: no sorting in here.
    pub fn view(&mut self, range: &TimeRange) -> View {
        let symbols = match &self.shared {
            Some(shared) if shared.len() == self.symbols.symbols().len() => shared.clone(),
            _ => Arc::new(self.symbols.symbols().clone()),
        };
        self.shared = Some(symbols.clone());
        let head = self.head.block();
        let head = (!head.is_empty() && range.overlaps(head.min_ts_ns, head.max_ts_ns)).then(|| self.head.snapshot());
        View { symbols, blocks: overlapping(&self.blocks, range), head }
    }

    pub fn close(mut self, reason: &'static str) -> ClosedChunk {
        if let Some(block) = self.head.cut() {
            self.add(block);
        }
        let (entries, size_bytes) = self.volume();
        ClosedChunk {
            blocks: self.blocks,
            symbols: Arc::new(self.symbols.finish()),
            min_ts_ns: self.min_ts_ns,
            max_ts_ns: self.max_ts_ns,
            entries,
            size_bytes,
            born_ns: self.born_ns,
            reason,
            hold: self.hold,
            stored: watch::Sender::new(false),
        }
    }
}

fn expected_bytes(block: &HeldBlock) -> u64 {
    block.raw_bytes / RATIO_EXPECTED
}

/// A chunk that takes no more entries.
pub struct ClosedChunk {
    pub blocks: Vec<Arc<HeldBlock>>,
    pub symbols: Arc<Symbols>,
    pub min_ts_ns: i64,
    pub max_ts_ns: i64,
    pub entries: u64,
    pub size_bytes: u64,
    pub born_ns: i64,
    /// The `reason` label of `loki_ingester_chunks_flushed_total`.
    pub reason: &'static str,
    pub hold: Hold,
    /// Becomes true when the chunk is stored.
    pub stored: watch::Sender<bool>,
}

impl ClosedChunk {
    /// Bytes in memory.
    pub fn memory_bytes(&self) -> u64 {
        self.blocks.iter().map(|b| b.payload_bytes()).sum()
    }

    pub fn view(&self, range: &TimeRange) -> View {
        View { symbols: self.symbols.clone(), blocks: overlapping(&self.blocks, range), head: None }
    }
}

fn overlapping(blocks: &[Arc<HeldBlock>], range: &TimeRange) -> Vec<Arc<HeldBlock>> {
    blocks.iter().filter(|b| range.overlaps(b.min_ts_ns, b.max_ts_ns)).cloned().collect()
}

/// A chunk's blocks as they were at one moment, to be brought into order outside of the stream's lock.
pub struct View {
    symbols: Arc<Symbols>,
    blocks: Vec<Arc<HeldBlock>>,
    head: Option<crate::block::RawEntries>,
}

impl View {
    /// `memory` is what was reserved for the copy of the head.
    pub fn into_recent(self, memory: Option<Reservation>, out: &mut Vec<RecentBlock>) -> Result<()> {
        for block in &self.blocks {
            out.push(block.recent(&self.symbols)?);
        }
        if let Some(head) = self.head {
            out.push(recent_raw(head.into_ordered()?, &self.symbols, memory));
        }
        Ok(())
    }

    /// Bytes copied for this view.
    pub fn copied_bytes(&self) -> u64 {
        self.head.as_ref().map_or(0, |h| h.block.data().len() as u64)
    }
}
