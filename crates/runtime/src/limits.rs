//! Limits per tenant under Loki's names (`limits_config`), with Loki's defaults.
//! It must not know who enforces them.

mod file;
mod otlp;
mod overrides;

pub use file::{check, parse_overrides};
pub use otlp::{AttributesConfig, DEFAULT_RESOURCE_ATTRIBUTES, OtlpAction, OtlpConfig, ResourceAttributes};
pub use overrides::{LimitSet, Overrides};

use crate::settings::{Block, Secret, SecretUrl};
use crate::{choice, settings};
use std::collections::BTreeMap;
use std::time::Duration;

const KB: u64 = 1 << 10;
const MB: u64 = 1 << 20;
const GB: u64 = 1 << 30;
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

settings! {
    /// The limits of one tenant. Sizes in bytes; 0 means "no limit" where Loki says so.
    pub struct Limits {
        // ingest
        pub ingestion_rate_strategy: RateStrategy = RateStrategy::Global,
        pub ingestion_rate_mb: f64 = 4.0,
        pub ingestion_burst_size_mb: f64 = 6.0,
        pub max_label_name_length: usize = 1024,
        pub max_label_value_length: usize = 2048,
        pub max_label_names_per_series: usize = 15,
        pub reject_old_samples: bool = true,
        pub reject_old_samples_max_age: Duration = 7 * DAY,
        pub creation_grace_period: Duration = Duration::from_secs(600),
        pub max_line_size: u64 = 256 * KB,
        pub max_line_size_truncate: bool = false,
        pub max_line_size_truncate_identifier: String = String::new(),
        pub increment_duplicate_timestamp: bool = false,
        pub discover_service_name: Vec<String> = strings(&[
            "service", "app", "application", "app_name", "name", "app_kubernetes_io_name", "container",
            "container_name", "k8s_container_name", "component", "workload", "job", "k8s_job_name",
        ]),
        pub discover_log_levels: bool = true,
        pub log_level_fields: Vec<String> = strings(&[
            "level", "LEVEL", "Level", "log.level", "severity", "SEVERITY", "Severity", "SeverityText", "lvl",
            "LVL", "Lvl", "severity_text", "Severity_Text", "SEVERITY_TEXT",
        ]),
        pub log_level_from_json_max_depth: usize = 2,
        pub max_streams_per_user: u64 = 0,
        pub max_global_streams_per_user: u64 = 5000,
        pub unordered_writes: bool = true,
        pub per_stream_rate_limit: u64 = 3 * MB,
        pub per_stream_rate_limit_burst: u64 = 15 * MB,
        pub allow_structured_metadata: bool = true,
        pub max_structured_metadata_size: u64 = 64 * KB,
        pub max_structured_metadata_entries_count: u64 = 128,
        pub shard_streams: ShardStreams = ShardStreams::default(),
        pub otlp_config: OtlpConfig = OtlpConfig::default(),
        /// Pushes are refused until this moment, in nanoseconds since the epoch; 0: they are not.
        pub block_ingestion_until: i64 = 0,
        /// The HTTP status of a refused push. 200 is sent as 204.
        pub block_ingestion_status_code: u16 = 260,
        /// The same moment for the streams of one policy.
        pub block_ingestion_policy_until: BTreeMap<String, i64> = BTreeMap::new(),
        /// Labels that every pushed stream must have.
        pub enforced_labels: Vec<String> = vec![],
        /// Further such labels for the streams of one policy; `*` stands for every policy.
        pub policy_enforced_labels: BTreeMap<String, Vec<String>> = BTreeMap::new(),
        /// Which streams belong to a policy.
        pub policy_stream_mapping: BTreeMap<String, Vec<PolicySelector>> = BTreeMap::new(),
        // query
        pub blocked_queries: Vec<BlockedQuery> = vec![],
        pub max_query_parallelism: usize = 32,
        pub tsdb_max_query_parallelism: usize = 128,
        pub tsdb_max_bytes_per_shard: u64 = 600 * MB,
        pub cardinality_limit: u64 = 100_000,
        /// Answers about what is newer than this are not kept. Entries that come later are not seen in kept answers.
        pub max_cache_freshness_per_query: Duration = 10 * MINUTE,
        /// The same for labels and series.
        pub max_metadata_cache_freshness: Duration = DAY,
        /// The same for sizes and volumes.
        pub max_stats_cache_freshness: Duration = 10 * MINUTE,
        /// How many queriers a tenant may use; a value up to 1 is a share of all; 0: all.
        pub max_queriers_per_tenant: f64 = 0.0,
        /// Labels and series are kept by intervals of this length; 0: they are not.
        pub split_metadata_queries_by_interval: Duration = DAY,
        pub split_recent_metadata_queries_by_interval: Duration = HOUR,
        pub recent_metadata_query_window: Duration = Duration::ZERO,
        pub split_instant_metric_queries_by_interval: Duration = HOUR,
        pub split_ingester_queries_by_interval: Duration = Duration::ZERO,
        pub min_sharding_lookback: Duration = Duration::ZERO,
        pub max_querier_bytes_read: u64 = 150 * GB,
        pub max_query_series: usize = 500,
        pub max_query_lookback: Duration = Duration::ZERO,
        pub max_query_length: Duration = Duration::from_secs(721 * 3600),
        pub max_query_range: Duration = Duration::ZERO,
        pub max_entries_limit_per_query: u64 = 5000,
        pub max_chunks_per_query: u64 = 2_000_000,
        pub max_streams_matchers_per_query: usize = 1000,
        pub max_concurrent_tail_requests: usize = 10,
        pub query_timeout: Duration = Duration::from_secs(60),
        pub split_queries_by_interval: Duration = Duration::from_secs(3600),
        pub max_query_bytes_read: u64 = 0,
        pub volume_enabled: bool = true,
        pub volume_max_series: u64 = 1000,
        pub required_labels: Vec<String> = vec![],
        pub minimum_labels_number: usize = 0,
        pub enable_multi_variant_queries: bool = false,
        pub shard_aggregations: Vec<String> = vec![],
        // patterns
        /// Fields of a JSON line that may hold its message.
        pub pattern_ingester_tokenizable_json_fields_default: Vec<String> =
            strings(&["log", "message", "msg", "msg_", "_msg", "content"]),
        pub pattern_ingester_tokenizable_json_fields_append: Vec<String> = vec![],
        pub pattern_ingester_tokenizable_json_fields_delete: Vec<String> = vec![],
        // retention
        /// 0: for ever.
        pub retention_period: Duration = Duration::ZERO,
        pub retention_stream: Vec<RetentionStream> = vec![],
        pub deletion_mode: DeletionMode = DeletionMode::FilterAndDelete,
        // rules
        pub ruler_max_rules_per_rule_group: usize = 0,
        pub ruler_max_rule_groups_per_tenant: usize = 0,
        pub ruler_tenant_shard_size: usize = 0,
        /// Alertmanagers of the tenant instead of those of `ruler`, under the same keys; what is not set has its
        /// default.
        pub ruler_alertmanager_config: Block = Block::default(),
        /// Whether recorded samples of the tenant go nowhere.
        pub ruler_remote_write_disabled: bool = false,
        /// By the name of a client of `ruler.remote_write.clients`: what the tenant has otherwise. Other names are
        /// clients of the tenant alone.
        pub ruler_remote_write_config: BTreeMap<String, Block> = BTreeMap::new(),
        /// This and the following are Loki's older form: they hold for all clients, and
        /// `ruler_remote_write_config` is laid over them.
        pub ruler_remote_write_url: SecretUrl = SecretUrl::default(),
        pub ruler_remote_write_timeout: Option<Duration> = None,
        /// Added to those of a client.
        pub ruler_remote_write_headers: BTreeMap<String, Secret> = BTreeMap::new(),
        pub ruler_remote_write_relabel_configs: Block = Block::default(),
        pub ruler_remote_write_queue_capacity: Option<usize> = None,
        pub ruler_remote_write_queue_min_shards: Option<usize> = None,
        pub ruler_remote_write_queue_max_shards: Option<usize> = None,
        pub ruler_remote_write_queue_max_samples_per_send: Option<usize> = None,
        pub ruler_remote_write_queue_batch_send_deadline: Option<Duration> = None,
        pub ruler_remote_write_queue_min_backoff: Option<Duration> = None,
        pub ruler_remote_write_queue_max_backoff: Option<Duration> = None,
        pub ruler_remote_write_queue_retry_on_ratelimit: Option<bool> = None,
    }

    /// When a stream is split over several by `__stream_shard__`. Rates in bytes per second.
    pub struct ShardStreams {
        pub enabled: bool = true,
        pub time_sharding_enabled: bool = false,
        pub time_sharding_ignore_recent: Duration = 40 * MINUTE,
        pub logging_enabled: bool = false,
        pub desired_rate: u64 = 1536 * KB,
    }

    /// The streams of a policy: where several match, the highest priority wins.
    pub struct PolicySelector {
        /// A stream selector, as text.
        pub selector: String = String::new(),
        pub priority: i64 = 0,
    }

    /// A query that is refused. What is empty fits every query.
    pub struct BlockedQuery {
        pub pattern: String = String::new(),
        /// The pattern is a regular expression, else the whole query.
        pub regex: bool = false,
        /// The `query_hash` of the query log; 0: any.
        pub hash: u32 = 0,
        /// `filter`, `limited`, `metric`.
        pub types: Vec<String> = vec![],
        /// Values of `X-Query-Tags`.
        pub query_tags: BTreeMap<String, String> = BTreeMap::new(),
    }

    /// How long the streams that the selector fits are kept: the highest priority wins.
    pub struct RetentionStream {
        /// A stream selector, as text.
        pub selector: String = String::new(),
        pub priority: i64 = 0,
        pub period: Duration = Duration::ZERO,
    }
}

/// Whether a tenant's rate is one distributor's, or shared by all that are alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RateStrategy {
    #[default]
    Global,
    Local,
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

choice!(RateStrategy { "global" => Global, "local" => Local });
choice!(DeletionMode { "disabled" => Disabled, "filter-only" => FilterOnly, "filter-and-delete" => FilterAndDelete });

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|s| s.to_string()).collect()
}
