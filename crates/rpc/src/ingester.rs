//! The ingester's service: take a batch, answer for recent data, tell of new data.

use async_trait::async_trait;
use bytes::Bytes;
use format::{ChunkRef, Codec};
use futures::stream::BoxStream;
use logql::source::Shard;
use model::{Batch, Fingerprint, Kind, Labels, Layout, Matcher, Result, Symbols, TenantId, TimeRange};
use patterns::Pattern;
use std::sync::Arc;
use std::time::Duration;

#[async_trait]
pub trait Ingester: Send + Sync {
    /// Keeps a batch. `Ok` means that what is not named as rejected survives a crash of this replica. An `Err` means
    /// that nothing is promised: the caller may repeat the batch.
    async fn push(&self, tenant: &TenantId, batch: Batch) -> Result<PushOutcome>;

    /// The streams that satisfy the matchers, with what is held of them in the range. Streams come in no order; one
    /// stream comes once.
    async fn select(&self, request: RecentRequest) -> Result<BoxStream<'static, Result<RecentStream>>>;

    /// What is pushed from now on to streams that satisfy the matchers; the range does not matter. When the answer is
    /// there, every push that ends later is told of. It lasts until it is dropped; an `Err` is its last item. `Invalid`
    /// when the tenant has too many.
    async fn tail(&self, request: RecentRequest) -> Result<BoxStream<'static, Result<Tailed>>>;

    /// Label names of the streams, or the values of one label, sorted.
    async fn labels(&self, request: RecentRequest, name: Option<String>) -> Result<Vec<String>>;

    /// The label sets of the streams.
    async fn series(&self, request: RecentRequest) -> Result<Vec<Labels>>;

    /// Size of what is held and not yet found in the index, per stream.
    async fn sizes(&self, request: RecentRequest) -> Result<Vec<StreamSize>>;

    /// The patterns of lines lately pushed to the streams, by stream: replicas of a stream have the same.
    async fn patterns(&self, request: PatternsRequest) -> Result<Vec<StreamPatterns>>;

    /// Blocks that the caller has compressed of streams that both have. An ingester may take them instead of compressing
    /// its own, or forget them, as this one does.
    async fn offer(&self, _blocks: Vec<OfferedBlock>) -> Result<()> {
        Ok(())
    }

    /// Seals and stores everything; returns when chunks and index are stored.
    async fn flush(&self) -> Result<()>;
}

/// Which recent streams a call is about.
#[derive(Clone, Debug)]
pub struct RecentRequest {
    pub tenant: TenantId,
    pub matchers: Vec<Matcher>,
    pub range: TimeRange,
    pub shard: Option<Shard>,
}

/// Whose patterns, and how long a sample is in time at least.
#[derive(Clone, Debug)]
pub struct PatternsRequest {
    pub recent: RecentRequest,
    pub step: Duration,
}

/// The patterns of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamPatterns {
    /// The hash of the stream's labels.
    pub fingerprint: Fingerprint,
    pub levels: Vec<LevelPatterns>,
}

/// The patterns of one stream's lines of one level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LevelPatterns {
    pub level: String,
    pub patterns: Vec<Pattern>,
}

/// The entries of a batch that an ingester refused; the others are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PushOutcome {
    pub rejected: Vec<Rejection>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// `Invalid` or `Limited`.
    pub kind: Kind,
    /// The `reason` label of `loki_discarded_samples_total`.
    pub reason: String,
    /// The text for the client, Loki's.
    pub message: String,
    pub entries: u64,
    pub bytes: u64,
}

/// One stream of an ingester.
#[derive(Clone, Debug)]
pub struct RecentStream {
    pub labels: Labels,
    pub fingerprint: Fingerprint,
    pub blocks: Vec<RecentBlock>,
    /// Chunks of the stream that are stored but that readers of the index may not see yet.
    pub flushed: Vec<ChunkRef>,
}

/// What a tail tells.
#[derive(Clone, Debug)]
pub enum Tailed {
    /// Entries of one stream, raw (`Codec::None`), in the order of their push; `flushed` is empty.
    Pushed(RecentStream),
    /// Entries that the reader was too slow for.
    Dropped(DroppedEntries),
}

/// Entries of one stream that a tail left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DroppedEntries {
    pub labels: Labels,
    /// The oldest of them.
    pub ts_ns: i64,
    pub entries: u64,
}

/// A block as held: compressed (sealed) or raw (`Codec::None`, the head), never sorted anew by the reader.
#[derive(Clone, Debug)]
pub struct RecentBlock {
    pub codec: Codec,
    pub layout: Layout,
    pub payload: Bytes,
    pub symbols: Arc<Symbols>,
    pub entries: u64,
    pub min_ts_ns: i64,
    pub max_ts_ns: i64,
    /// Bytes of the payload when decompressed.
    pub raw_bytes: u64,
}

/// A block that a replica has compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedBlock {
    /// XXH64 of the block before compression: by it another replica finds its own.
    pub digest: u64,
    pub codec: Codec,
    pub payload: Bytes,
}

#[derive(Clone, Debug, PartialEq)]
pub struct StreamSize {
    pub labels: Labels,
    pub chunks: u64,
    pub entries: u64,
    pub bytes: u64,
}
