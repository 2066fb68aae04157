//! The query service: what a query-frontend, its stages and a querier all are.

use async_trait::async_trait;
use logql::engine::{Params, Time};
use logql::source::Shard;
use logql::value::QueryValue;
use model::{Direction, Labels, Matcher, Result, TenantId, TimeRange};
use patterns::Sample;
use std::time::Duration;

/// Whose streams a read is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenants {
    /// Sorted, each once, at least one.
    pub ids: Vec<TenantId>,
    /// Whether answers tell the tenant of each stream, in the label `__tenant_id__`.
    pub labelled: bool,
}

impl From<TenantId> for Tenants {
    fn from(id: TenantId) -> Self {
        Tenants { ids: vec![id], labelled: false }
    }
}

/// Reads of one tenant, or of several at once.
#[async_trait]
pub trait Queries: Send + Sync {
    async fn query(&self, tenants: &Tenants, request: QueryRequest) -> Result<QueryResponse>;
    /// Label names, or the values of one label, sorted.
    async fn labels(
        &self,
        tenants: &Tenants,
        request: MetadataRequest,
        name: Option<String>,
    ) -> Result<Answer<Vec<String>>>;
    async fn series(&self, tenants: &Tenants, request: MetadataRequest) -> Result<Answer<Vec<Labels>>>;
    async fn stats(&self, tenants: &Tenants, request: MetadataRequest) -> Result<Answer<IndexStats>>;
    /// Bytes per group of labels, largest first.
    async fn volume(&self, tenants: &Tenants, request: VolumeRequest) -> Result<Answer<Vec<Volume>>>;
    /// Patterns of recent lines, those of the most lines first. `NotFound` where none are looked for.
    async fn patterns(&self, tenants: &Tenants, query: PatternsQuery) -> Result<Answer<Vec<PatternSeries>>>;
}

#[derive(Clone, Debug, PartialEq)]
pub struct QueryRequest {
    /// LogQL.
    pub query: String,
    pub time: QueryTime,
    pub limit: u32,
    pub direction: Direction,
    /// What this is a part of was split by a frontend, which checks the whole.
    pub part: Option<Part>,
    /// More series than the limit give a partial answer and a warning instead of an error, as Logs Drilldown asks.
    pub partial_series: bool,
    /// `Cache-Control: no-cache`: asked anew, and not together with others that ask the same. It does not travel, as no
    /// answers are cached where parts of queries are run.
    pub no_cache: bool,
    /// What the client says of the query, for the log: names and values. They do not travel.
    pub tags: Vec<(String, String)>,
}

impl QueryRequest {
    /// The request as the engine takes it; `now_ns` is what the template function `now` answers.
    pub fn params(&self, align_to_step: bool, now_ns: i64) -> Params {
        let (time, interval_ns) = match self.time {
            QueryTime::Instant { time_ns } => (Time::Instant { time_ns }, 0),
            QueryTime::Range { start_ns, end_ns, step_ns, interval_ns } => {
                (Time::Range { start_ns, end_ns, step_ns }, interval_ns)
            }
        };
        let (limit, direction) = (self.limit, self.direction);
        let shard = self.part.and_then(|part| part.shard);
        Params { time, align_to_step, limit, direction, interval_ns, now_ns, shard }
    }

    /// The part of this request that `params` are about.
    pub fn part(&self, params: &Params) -> QueryRequest {
        let time = match params.time {
            Time::Instant { time_ns } => QueryTime::Instant { time_ns },
            Time::Range { start_ns, end_ns, step_ns } => {
                QueryTime::Range { start_ns, end_ns, step_ns, interval_ns: params.interval_ns }
            }
        };
        QueryRequest { time, limit: params.limit, part: Some(Part { shard: params.shard }), ..self.clone() }
    }
}

/// A part of a query. The limits of entries and series are the whole's, whose answer the frontend makes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Only these streams.
    pub shard: Option<Shard>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum QueryTime {
    Instant {
        time_ns: i64,
    },
    /// For log queries `[start, end)`; for metric queries a grid of steps, both ends included.
    Range {
        start_ns: i64,
        end_ns: i64,
        step_ns: i64,
        interval_ns: i64,
    },
}

#[derive(Clone, Debug)]
pub struct QueryResponse {
    pub value: QueryValue,
    pub warnings: Vec<String>,
    pub stats: QueryStats,
}

/// An answer and what is missing from it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer<T> {
    pub value: T,
    pub warnings: Vec<String>,
}

/// What a query cost; the source of the `stats` object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueryStats {
    pub exec_time: Duration,
    pub queue_time: Duration,
    pub bytes_processed: u64,
    pub lines_processed: u64,
    pub entries_returned: u64,
    pub post_filter_lines: u64,
    pub structured_metadata_bytes: u64,
    pub splits: u64,
    pub shards: u64,
    pub chunks_referenced: u64,
    pub chunks_downloaded: u64,
    pub chunks_download_time: Duration,
    pub chunk_refs_time: Duration,
    pub compressed_bytes: u64,
    pub decompressed_bytes: u64,
    pub decompressed_lines: u64,
    pub duplicates: u64,
    pub ingesters_reached: u64,
    pub ingester_streams: u64,
    pub ingester_blocks: u64,
    pub ingester_bytes: u64,
    pub ingester_lines: u64,
    /// They do not travel: what runs parts of queries keeps no answers.
    pub results: CacheUse,
    pub instant_results: CacheUse,
}

/// What a cache of answers was asked, and gave.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CacheUse {
    pub requests: u64,
    pub entries_requested: u64,
    pub entries_found: u64,
    pub entries_stored: u64,
    pub bytes_received: u64,
    pub bytes_sent: u64,
    pub download_time: Duration,
    /// The time of the query that was answered from it.
    pub length_served: Duration,
}

impl CacheUse {
    pub fn add(&mut self, other: &CacheUse) {
        self.download_time += other.download_time;
        self.length_served += other.length_served;
        for (mine, others) in [
            (&mut self.requests, other.requests),
            (&mut self.entries_requested, other.entries_requested),
            (&mut self.entries_found, other.entries_found),
            (&mut self.entries_stored, other.entries_stored),
            (&mut self.bytes_received, other.bytes_received),
            (&mut self.bytes_sent, other.bytes_sent),
        ] {
            *mine += others;
        }
    }
}

impl QueryStats {
    /// Adds what another part cost.
    pub fn add(&mut self, other: &QueryStats) {
        self.exec_time += other.exec_time;
        self.queue_time += other.queue_time;
        self.chunks_download_time += other.chunks_download_time;
        self.chunk_refs_time += other.chunk_refs_time;
        self.ingesters_reached = self.ingesters_reached.max(other.ingesters_reached);
        self.results.add(&other.results);
        self.instant_results.add(&other.instant_results);
        for (mine, others) in [
            (&mut self.bytes_processed, other.bytes_processed),
            (&mut self.lines_processed, other.lines_processed),
            (&mut self.entries_returned, other.entries_returned),
            (&mut self.post_filter_lines, other.post_filter_lines),
            (&mut self.structured_metadata_bytes, other.structured_metadata_bytes),
            (&mut self.splits, other.splits),
            (&mut self.shards, other.shards),
            (&mut self.chunks_referenced, other.chunks_referenced),
            (&mut self.chunks_downloaded, other.chunks_downloaded),
            (&mut self.compressed_bytes, other.compressed_bytes),
            (&mut self.decompressed_bytes, other.decompressed_bytes),
            (&mut self.decompressed_lines, other.decompressed_lines),
            (&mut self.duplicates, other.duplicates),
            (&mut self.ingester_streams, other.ingester_streams),
            (&mut self.ingester_blocks, other.ingester_blocks),
            (&mut self.ingester_bytes, other.ingester_bytes),
            (&mut self.ingester_lines, other.ingester_lines),
        ] {
            *mine += others;
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct MetadataRequest {
    /// Alternatives: a stream is meant when it satisfies all matchers of one of them. An empty list: every stream.
    pub selectors: Vec<Vec<Matcher>>,
    pub range: TimeRange,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexStats {
    pub streams: u64,
    pub chunks: u64,
    pub bytes: u64,
    pub entries: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct VolumeRequest {
    pub matchers: Vec<Matcher>,
    pub range: TimeRange,
    pub limit: u32,
    /// Group by these labels; none: by the labels that the matchers name.
    pub target_labels: Vec<String>,
    /// Per label name instead of per group of label values.
    pub by_label_name: bool,
    /// As in [`QueryRequest`].
    pub no_cache: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Volume {
    pub labels: Labels,
    pub bytes: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PatternsQuery {
    pub matchers: Vec<Matcher>,
    pub range: TimeRange,
    /// How long a sample is in time, at least.
    pub step: Duration,
}

/// The number under which the query log and `blocked_queries` name a query: FNV-1a of its text.
pub fn query_hash(query: &str) -> u32 {
    query.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// A pattern of lines of one level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternSeries {
    pub pattern: String,
    pub level: String,
    pub samples: Vec<Sample>,
}
