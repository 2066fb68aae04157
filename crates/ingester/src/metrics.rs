//! What the ingester counts, under Loki's names where the meaning is the same.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets, linear_buckets};
use runtime::metrics::Registry;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct TenantLabel {
    pub tenant: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ReasonLabel {
    pub reason: &'static str,
}

/// Cloning shares the counts. Counters get their `_total` from the exposition.
#[derive(Clone)]
pub struct Metrics {
    pub memory_streams: Family<TenantLabel, Gauge>,
    pub streams_created: Family<TenantLabel, Counter>,
    pub streams_removed: Family<TenantLabel, Counter>,
    pub tails: Gauge,
    pub tail_entries_dropped: Counter,
    pub pattern_lines: Counter,
    pub pattern_batches_dropped: Counter,
    pub pattern_bytes: Gauge,
    pub memory_chunks: Gauge,
    pub chunks_created: Counter,
    pub chunks_flushed: Family<ReasonLabel, Counter>,
    pub chunk_size_bytes: Histogram,
    pub chunk_entries: Histogram,
    pub chunk_age_seconds: Histogram,
    pub chunk_utilization: Histogram,
    pub chunk_bounds_hours: Histogram,
    pub flush_queue_length: Gauge,
    pub flush_failures: Counter,
    pub ship_failures: Counter,
    pub blocks_sealed: Counter,
    pub blocks_adopted: Counter,
    pub block_offers_sent: Counter,
    pub block_offers_refused: Counter,
    pub spill_files: Gauge,
    pub spills: Counter,
    pub spilled_bytes: Counter,
    pub spill_failures: Counter,
    pub wal_bytes_written: Counter,
    pub wal_records_logged: Counter,
    pub wal_fsync_seconds: Histogram,
    pub wal_disk_bytes: Gauge,
    pub wal_disk_full_failures: Counter,
    pub wal_write_failures: Counter,
    pub wal_corruptions: Counter,
    pub wal_replay_active: Gauge,
    pub wal_recovered_entries: Counter,
    pub wal_recovered_bytes: Counter,
}

impl Metrics {
    pub fn new(registry: &mut Registry) -> Self {
        let m = Self::unregistered();
        m.register_streams(registry);
        m.register_patterns(registry);
        m.register_chunks(registry);
        m.register_wal(registry);
        m
    }

    fn unregistered() -> Self {
        Metrics {
            memory_streams: Family::default(),
            streams_created: Family::default(),
            streams_removed: Family::default(),
            tails: Gauge::default(),
            tail_entries_dropped: Counter::default(),
            pattern_lines: Counter::default(),
            pattern_batches_dropped: Counter::default(),
            pattern_bytes: Gauge::default(),
            memory_chunks: Gauge::default(),
            chunks_created: Counter::default(),
            chunks_flushed: Family::default(),
            chunk_size_bytes: Histogram::new(exponential_buckets(20_000.0, 2.0, 10)),
            chunk_entries: Histogram::new(exponential_buckets(20.0, 2.0, 11)),
            chunk_age_seconds: Histogram::new(exponential_buckets(60.0, 2.0, 9)),
            chunk_utilization: Histogram::new(linear_buckets(0.0, 0.2, 6)),
            chunk_bounds_hours: Histogram::new([1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 24.0, 48.0]),
            flush_queue_length: Gauge::default(),
            flush_failures: Counter::default(),
            ship_failures: Counter::default(),
            blocks_sealed: Counter::default(),
            blocks_adopted: Counter::default(),
            block_offers_sent: Counter::default(),
            block_offers_refused: Counter::default(),
            spill_files: Gauge::default(),
            spills: Counter::default(),
            spilled_bytes: Counter::default(),
            spill_failures: Counter::default(),
            wal_bytes_written: Counter::default(),
            wal_records_logged: Counter::default(),
            wal_fsync_seconds: Histogram::new(exponential_buckets(0.0001, 2.0, 14)),
            wal_disk_bytes: Gauge::default(),
            wal_disk_full_failures: Counter::default(),
            wal_write_failures: Counter::default(),
            wal_corruptions: Counter::default(),
            wal_replay_active: Gauge::default(),
            wal_recovered_entries: Counter::default(),
            wal_recovered_bytes: Counter::default(),
        }
    }

    fn register_streams(&self, r: &mut Registry) {
        r.register("loki_ingester_memory_streams", "Streams in memory", self.memory_streams.clone());
        r.register("loki_ingester_streams_created", "Streams created", self.streams_created.clone());
        r.register("loki_ingester_streams_removed", "Streams forgotten", self.streams_removed.clone());
        r.register("loki_ingester_tails_active", "Live tails", self.tails.clone());
        r.register(
            "loki_ingester_tail_entries_dropped",
            "Entries that readers of tails were too slow for",
            self.tail_entries_dropped.clone(),
        );
    }

    fn register_patterns(&self, r: &mut Registry) {
        r.register("loki_pattern_ingester_lines", "Lines counted for a pattern", self.pattern_lines.clone());
        r.register(
            "loki_pattern_ingester_batches_dropped",
            "Pushes not searched for patterns",
            self.pattern_batches_dropped.clone(),
        );
        r.register("loki_pattern_ingester_memory_bytes", "Memory of patterns", self.pattern_bytes.clone());
    }

    fn register_chunks(&self, r: &mut Registry) {
        r.register("loki_ingester_memory_chunks", "Chunks in memory", self.memory_chunks.clone());
        r.register("loki_ingester_chunks_created", "Chunks begun", self.chunks_created.clone());
        r.register(
            "loki_ingester_chunks_flushed",
            "Chunks stored, by why they were closed",
            self.chunks_flushed.clone(),
        );
        r.register("loki_ingester_chunk_size_bytes", "Bytes of stored chunks", self.chunk_size_bytes.clone());
        r.register("loki_ingester_chunk_entries", "Entries of stored chunks", self.chunk_entries.clone());
        r.register("loki_ingester_chunk_age_seconds", "Age of chunks when stored", self.chunk_age_seconds.clone());
        r.register(
            "loki_ingester_chunk_utilization",
            "Size of stored chunks as a part of chunk_target_size",
            self.chunk_utilization.clone(),
        );
        r.register(
            "loki_ingester_chunk_bounds_hours",
            "Time that stored chunks cover",
            self.chunk_bounds_hours.clone(),
        );
        r.register("loki_ingester_flush_queue_length", "Closed chunks not stored yet", self.flush_queue_length.clone());
        r.register("loki_ingester_chunks_flush_failures", "Failed attempts to store", self.flush_failures.clone());
        r.register(
            "loki_ingester_index_ship_failures",
            "Failed attempts to ship the index",
            self.ship_failures.clone(),
        );
        r.register("loki_ingester_blocks_sealed", "Blocks compressed", self.blocks_sealed.clone());
        r.register(
            "lokirs_ingester_blocks_adopted",
            "Blocks that another replica compressed",
            self.blocks_adopted.clone(),
        );
        r.register(
            "lokirs_ingester_block_offers_sent",
            "Compressed blocks offered to other replicas",
            self.block_offers_sent.clone(),
        );
        r.register(
            "lokirs_ingester_block_offers_refused",
            "Offers that were not the block that they were for",
            self.block_offers_refused.clone(),
        );
        r.register("lokirs_ingester_spill_files", "Files that compressed blocks wait in", self.spill_files.clone());
        r.register("lokirs_ingester_spills", "Blocks written to them", self.spills.clone());
        r.register("lokirs_ingester_spilled_bytes", "Bytes written to them", self.spilled_bytes.clone());
        r.register("lokirs_ingester_spill_failures", "Blocks they did not take", self.spill_failures.clone());
    }

    fn register_wal(&self, r: &mut Registry) {
        r.register("loki_ingester_wal_bytes_written", "Bytes logged", self.wal_bytes_written.clone());
        r.register("loki_ingester_wal_records_logged", "Records logged", self.wal_records_logged.clone());
        r.register("loki_ingester_wal_fsync_seconds", "Seconds of each fsync", self.wal_fsync_seconds.clone());
        r.register("loki_ingester_wal_disk_bytes", "Bytes of the log's segments", self.wal_disk_bytes.clone());
        r.register(
            "loki_ingester_wal_disk_full_failures",
            "Appends refused because the volume is full",
            self.wal_disk_full_failures.clone(),
        );
        r.register("loki_ingester_wal_write_failures", "Other failed appends", self.wal_write_failures.clone());
        r.register("loki_ingester_wal_corruptions", "Damaged places met in replay", self.wal_corruptions.clone());
        r.register("loki_ingester_wal_replay_active", "1 while the log is replayed", self.wal_replay_active.clone());
        r.register("loki_ingester_wal_recovered_entries", "Entries replayed", self.wal_recovered_entries.clone());
        r.register("loki_ingester_wal_recovered_bytes", "Bytes replayed", self.wal_recovered_bytes.clone());
    }
}
