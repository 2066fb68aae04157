//! Limits per tenant under Loki's names (`limits_config`), with Loki's defaults.
//! It must not know who enforces them.

mod otlp;
mod overrides;

pub use otlp::{AttributesConfig, DEFAULT_RESOURCE_ATTRIBUTES, OtlpAction, OtlpConfig, ResourceAttributes};
pub use overrides::{LimitSet, Overrides};

use std::collections::BTreeMap;
use std::time::Duration;

const KB: u64 = 1 << 10;
const MB: u64 = 1 << 20;
const GB: u64 = 1 << 30;
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// The limits of one tenant. Sizes in bytes; 0 means "no limit" where Loki says so.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    // ingest
    pub ingestion_rate_strategy: RateStrategy,
    pub ingestion_rate_mb: f64,
    pub ingestion_burst_size_mb: f64,
    pub max_label_name_length: usize,
    pub max_label_value_length: usize,
    pub max_label_names_per_series: usize,
    pub reject_old_samples: bool,
    pub reject_old_samples_max_age: Duration,
    pub creation_grace_period: Duration,
    pub max_line_size: u64,
    pub max_line_size_truncate: bool,
    pub max_line_size_truncate_identifier: String,
    pub increment_duplicate_timestamp: bool,
    pub discover_service_name: Vec<String>,
    pub discover_log_levels: bool,
    pub log_level_fields: Vec<String>,
    pub log_level_from_json_max_depth: usize,
    pub max_streams_per_user: u64,
    pub max_global_streams_per_user: u64,
    pub unordered_writes: bool,
    pub per_stream_rate_limit: u64,
    pub per_stream_rate_limit_burst: u64,
    pub allow_structured_metadata: bool,
    pub max_structured_metadata_size: u64,
    pub max_structured_metadata_entries_count: u64,
    pub shard_streams: ShardStreams,
    pub otlp_config: OtlpConfig,
    /// Pushes are refused until this moment, in nanoseconds since the epoch; 0: they are not.
    pub block_ingestion_until: i64,
    /// The HTTP status of a refused push. 200 is sent as 204.
    pub block_ingestion_status_code: u16,
    /// The same moment for the streams of one policy.
    pub block_ingestion_policy_until: BTreeMap<String, i64>,
    /// Labels that every pushed stream must have.
    pub enforced_labels: Vec<String>,
    /// Further such labels for the streams of one policy; `*` stands for every policy.
    pub policy_enforced_labels: BTreeMap<String, Vec<String>>,
    /// Which streams belong to a policy.
    pub policy_stream_mapping: BTreeMap<String, Vec<PolicySelector>>,
    // query
    pub blocked_queries: Vec<BlockedQuery>,
    pub max_query_parallelism: usize,
    pub tsdb_max_query_parallelism: usize,
    pub tsdb_max_bytes_per_shard: u64,
    pub cardinality_limit: u64,
    pub max_cache_freshness_per_query: Duration,
    pub max_metadata_cache_freshness: Duration,
    pub max_stats_cache_freshness: Duration,
    /// How many queriers a tenant may use; a value up to 1 is a share of all; 0: all.
    pub max_queriers_per_tenant: f64,
    pub split_metadata_queries_by_interval: Duration,
    pub split_recent_metadata_queries_by_interval: Duration,
    pub recent_metadata_query_window: Duration,
    pub split_instant_metric_queries_by_interval: Duration,
    pub split_ingester_queries_by_interval: Duration,
    pub min_sharding_lookback: Duration,
    pub max_querier_bytes_read: u64,
    pub max_query_series: usize,
    pub max_query_lookback: Duration,
    pub max_query_length: Duration,
    pub max_query_range: Duration,
    pub max_entries_limit_per_query: u64,
    pub max_chunks_per_query: u64,
    pub max_streams_matchers_per_query: usize,
    pub max_concurrent_tail_requests: usize,
    pub query_timeout: Duration,
    pub split_queries_by_interval: Duration,
    pub max_query_bytes_read: u64,
    pub volume_enabled: bool,
    pub volume_max_series: u64,
    pub required_labels: Vec<String>,
    pub minimum_labels_number: usize,
    pub enable_multi_variant_queries: bool,
    pub shard_aggregations: Vec<String>,
    // retention
    /// 0: for ever.
    pub retention_period: Duration,
    pub retention_stream: Vec<RetentionStream>,
    pub deletion_mode: DeletionMode,
    // rules
    pub ruler_max_rules_per_rule_group: usize,
    pub ruler_max_rule_groups_per_tenant: usize,
    pub ruler_tenant_shard_size: usize,
}

/// Whether a tenant's rate is one distributor's, or shared by all that are alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RateStrategy {
    #[default]
    Global,
    Local,
}

/// When a stream is split over several by `__stream_shard__`. Rates in bytes per second.
#[derive(Clone, Debug, PartialEq)]
pub struct ShardStreams {
    pub enabled: bool,
    pub time_sharding_enabled: bool,
    pub time_sharding_ignore_recent: Duration,
    pub logging_enabled: bool,
    pub desired_rate: u64,
}

/// The streams of a policy: where several match, the highest priority wins.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicySelector {
    /// A stream selector, as text.
    pub selector: String,
    pub priority: i64,
}

/// A query that is refused. What is empty fits every query.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BlockedQuery {
    pub pattern: String,
    /// The pattern is a regular expression, else the whole query.
    pub regex: bool,
    /// The `query_hash` of the query log; 0: any.
    pub hash: u32,
    /// `filter`, `limited`, `metric`.
    pub types: Vec<String>,
    /// Values of `X-Query-Tags`.
    pub query_tags: BTreeMap<String, String>,
}

/// How long the streams that the selector fits are kept: the highest priority wins.
#[derive(Clone, Debug, PartialEq)]
pub struct RetentionStream {
    /// A stream selector, as text.
    pub selector: String,
    pub priority: i64,
    pub period: Duration,
}

/// What a delete request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DeletionMode {
    /// Delete requests are refused.
    Disabled,
    /// Lines are hidden from queries and stay stored.
    FilterOnly,
    #[default]
    FilterAndDelete,
}

impl Default for Limits {
    fn default() -> Self {
        let strings = |list: &[&str]| list.iter().map(|s| s.to_string()).collect();
        Limits {
            ingestion_rate_strategy: RateStrategy::Global,
            ingestion_rate_mb: 4.0,
            ingestion_burst_size_mb: 6.0,
            max_label_name_length: 1024,
            max_label_value_length: 2048,
            max_label_names_per_series: 15,
            reject_old_samples: true,
            reject_old_samples_max_age: 7 * DAY,
            creation_grace_period: Duration::from_secs(600),
            max_line_size: 256 * KB,
            max_line_size_truncate: false,
            max_line_size_truncate_identifier: String::new(),
            increment_duplicate_timestamp: false,
            discover_service_name: strings(&[
                "service",
                "app",
                "application",
                "app_name",
                "name",
                "app_kubernetes_io_name",
                "container",
                "container_name",
                "k8s_container_name",
                "component",
                "workload",
                "job",
                "k8s_job_name",
            ]),
            discover_log_levels: true,
            log_level_fields: strings(&[
                "level",
                "LEVEL",
                "Level",
                "log.level",
                "severity",
                "SEVERITY",
                "Severity",
                "SeverityText",
                "lvl",
                "LVL",
                "Lvl",
                "severity_text",
                "Severity_Text",
                "SEVERITY_TEXT",
            ]),
            log_level_from_json_max_depth: 2,
            max_streams_per_user: 0,
            max_global_streams_per_user: 5000,
            unordered_writes: true,
            per_stream_rate_limit: 3 * MB,
            per_stream_rate_limit_burst: 15 * MB,
            allow_structured_metadata: true,
            max_structured_metadata_size: 64 * KB,
            max_structured_metadata_entries_count: 128,
            shard_streams: ShardStreams::default(),
            otlp_config: OtlpConfig::default(),
            block_ingestion_until: 0,
            block_ingestion_status_code: 260,
            block_ingestion_policy_until: BTreeMap::new(),
            enforced_labels: vec![],
            policy_enforced_labels: BTreeMap::new(),
            policy_stream_mapping: BTreeMap::new(),
            blocked_queries: vec![],
            max_query_parallelism: 32,
            tsdb_max_query_parallelism: 128,
            tsdb_max_bytes_per_shard: 600 * MB,
            cardinality_limit: 100_000,
            max_cache_freshness_per_query: 10 * MINUTE,
            max_metadata_cache_freshness: DAY,
            max_stats_cache_freshness: 10 * MINUTE,
            max_queriers_per_tenant: 0.0,
            split_metadata_queries_by_interval: DAY,
            split_recent_metadata_queries_by_interval: HOUR,
            recent_metadata_query_window: Duration::ZERO,
            split_instant_metric_queries_by_interval: HOUR,
            split_ingester_queries_by_interval: Duration::ZERO,
            min_sharding_lookback: Duration::ZERO,
            max_querier_bytes_read: 150 * GB,
            max_query_series: 500,
            max_query_lookback: Duration::ZERO,
            max_query_length: Duration::from_secs(721 * 3600),
            max_query_range: Duration::ZERO,
            max_entries_limit_per_query: 5000,
            max_chunks_per_query: 2_000_000,
            max_streams_matchers_per_query: 1000,
            max_concurrent_tail_requests: 10,
            query_timeout: Duration::from_secs(60),
            split_queries_by_interval: Duration::from_secs(3600),
            max_query_bytes_read: 0,
            volume_enabled: true,
            volume_max_series: 1000,
            required_labels: vec![],
            minimum_labels_number: 0,
            enable_multi_variant_queries: false,
            shard_aggregations: vec![],
            retention_period: Duration::ZERO,
            retention_stream: vec![],
            deletion_mode: DeletionMode::FilterAndDelete,
            ruler_max_rules_per_rule_group: 0,
            ruler_max_rule_groups_per_tenant: 0,
            ruler_tenant_shard_size: 0,
        }
    }
}

impl Default for ShardStreams {
    fn default() -> Self {
        ShardStreams {
            enabled: true,
            time_sharding_enabled: false,
            time_sharding_ignore_recent: 40 * MINUTE,
            logging_enabled: false,
            desired_rate: 1536 * KB,
        }
    }
}
