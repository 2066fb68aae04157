//! The ingester's settings, under Loki's names where Loki has them. It must not know flags or YAML.

use crate::chunk_sync::ChunkSync;
use crate::patterns::PatternSettings;
use format::Codec;
use model::{Error, Layout, Result};
use std::path::PathBuf;
use std::time::Duration;

/// Loki's `ingester` block, as far as it has a meaning here, and what is ours.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bytes of lines (and 8 for each metadata pair) after which a block is compressed.
    pub chunk_block_size: u64,
    /// Bytes of streams times `chunk_block_size` from which on blocks are cut at a quarter of that: a thousand streams'
    /// growing blocks would else hold a quarter of a gigabyte uncompressed. All replicas have about the same number of
    /// streams, and so cut alike.
    pub small_blocks_above: u64,
    /// Where replicas cut their chunks at the same entries; `None` where nobody else has the streams.
    pub sync: Option<ChunkSync>,
    /// Memory in use from which on compressed blocks wait for their chunk in files beside the log.
    pub spill_above: u64,
    /// Compressed size at which a chunk is full.
    pub chunk_target_size: u64,
    /// A chunk without a new entry for so long is closed; a stream without data for so long is forgotten.
    pub chunk_idle_period: Duration,
    /// The longest span of log time in a chunk; entries may be half of it behind their stream's newest.
    pub max_chunk_age: Duration,
    /// Compression of new chunks.
    pub chunk_encoding: Codec,
    /// Whether new chunks carry structured metadata (chunk format 4, schema v13).
    pub chunk_layout: Layout,
    /// How often streams are looked at for chunks to close.
    pub flush_check_period: Duration,
    /// Chunks stored at once.
    pub concurrent_flushes: usize,
    /// The first and the longest wait between attempts to store a chunk or to ship the index.
    pub flush_op_backoff: (Duration, Duration),
    /// How often the references of stored chunks are shipped to the index. Loki builds an index file every 15
    /// minutes; one minute bounds the write-ahead log by the ingest of a minute instead, at 60 small files an hour,
    /// which the compactor merges.
    pub index_ship_interval: Duration,
    /// How long after shipping a chunk is still announced to queriers: until every reader has resynced its index.
    pub index_visible_after: Duration,
    /// Threads that compress blocks.
    pub seal_workers: usize,
    /// Blocks that may wait for them before pushes wait too.
    pub seal_queue_blocks: usize,
    /// Pushes in progress at once; more are refused.
    pub pushes_max: usize,
    /// Replay waits for flushes while the process has more memory in use.
    pub replay_memory_ceiling: u64,
    /// Whether and how patterns of lines are found.
    pub patterns: Option<PatternSettings>,
    pub wal: WalSettings,
}

/// `ingester.wal`.
#[derive(Clone, Debug)]
pub struct WalSettings {
    pub dir: PathBuf,
    /// A segment that has grown to this is followed by a new one.
    pub segment_bytes: u64,
    /// What the log may take. At three quarters, chunks that keep old segments are flushed early; at the whole,
    /// pushes are refused until the store takes chunks again.
    pub budget_bytes: u64,
    /// Records that may wait for the writer.
    pub queue_records: usize,
    /// The most that one write and one fsync take, in bytes.
    pub group_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        Settings {
            chunk_block_size: 256 << 10,
            small_blocks_above: 64 << 20,
            sync: None,
            spill_above: 48 << 20,
            chunk_target_size: 1536 << 10,
            chunk_idle_period: Duration::from_secs(30 * 60),
            max_chunk_age: Duration::from_secs(2 * 3600),
            chunk_encoding: format::chunk::CODEC_DEFAULT,
            chunk_layout: Layout::Metadata,
            flush_check_period: Duration::from_secs(30),
            concurrent_flushes: 16,
            flush_op_backoff: (Duration::from_millis(100), Duration::from_secs(10)),
            index_ship_interval: Duration::from_secs(60),
            index_visible_after: Duration::from_secs(120),
            seal_workers: cores,
            seal_queue_blocks: 4 * cores,
            pushes_max: 4096,
            replay_memory_ceiling: 4 << 30,
            patterns: None,
            wal: WalSettings::default(),
        }
    }
}

impl Default for WalSettings {
    fn default() -> Self {
        WalSettings {
            dir: PathBuf::from("wal"),
            segment_bytes: 64 << 20,
            budget_bytes: 8 << 30,
            queue_records: 1024,
            group_bytes: 16 << 20,
        }
    }
}

/// Segments that the budget must hold: removal goes by whole segments.
const SEGMENTS_MIN: u64 = 4;

impl Settings {
    /// `Invalid`, naming the setting, for values that nothing can be done with.
    pub fn check(&self) -> Result<()> {
        self.patterns.as_ref().map_or(Ok(()), |patterns| patterns.stream.check())?;
        let checks = [
            ("ingester.chunk_block_size", self.chunk_block_size > 0 && self.chunk_block_size <= 16 << 20),
            ("ingester.chunk_target_size", self.chunk_target_size > 0 && self.chunk_target_size <= 64 << 20),
            ("ingester.concurrent_flushes", self.concurrent_flushes > 0),
            ("ingester.flush_check_period", !self.flush_check_period.is_zero()),
            ("ingester.sync_period", self.sync.is_none_or(|sync| !sync.period.is_zero())),
            ("ingester.sync_min_utilization", self.sync.is_none_or(|sync| (0.0..=1.0).contains(&sync.min_utilization))),
            ("ingester.index_ship_interval", !self.index_ship_interval.is_zero()),
            ("ingester.seal_workers", self.seal_workers > 0),
            ("ingester.seal_queue_blocks", self.seal_queue_blocks > 0),
            ("ingester.pushes_max", self.pushes_max > 0 && self.pushes_max <= 1 << 20),
            ("ingester.wal.queue_records", self.wal.queue_records > 0),
            ("ingester.wal.group_bytes", self.wal.group_bytes > 0),
            ("ingester.wal.segment_bytes", self.wal.segment_bytes > 0),
            ("ingester.wal.budget_bytes", self.wal.budget_bytes / SEGMENTS_MIN >= self.wal.segment_bytes),
        ];
        match checks.iter().find(|(_, ok)| !ok) {
            None => Ok(()),
            Some((name, _)) => Err(Error::invalid(format!("setting {name} is out of its range"))),
        }
    }
}
