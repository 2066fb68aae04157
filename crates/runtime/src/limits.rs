//! Limits per tenant under Loki's names (`limits_config`), and the overrides of single tenants.

use arc_swap::ArcSwap;
use model::TenantId;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

const KB: u64 = 1 << 10;
const MB: u64 = 1 << 20;
const DAY: Duration = Duration::from_secs(86_400);

/// The limits of one tenant. Sizes in bytes; 0 means "no limit" where Loki says so.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    // ingest
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
    // query
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
    pub retention_period: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let strings = |list: &[&str]| list.iter().map(|s| s.to_string()).collect();
        Limits {
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
                "service", "app", "application", "app_name", "name", "app_kubernetes_io_name", "container",
                "container_name", "k8s_container_name", "component", "workload", "job", "k8s_job_name",
            ]),
            discover_log_levels: true,
            log_level_fields: strings(&[
                "level", "LEVEL", "Level", "log.level", "severity", "SEVERITY", "Severity", "SeverityText", "lvl",
                "LVL", "Lvl", "severity_text", "Severity_Text", "SEVERITY_TEXT",
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
        }
    }
}

/// The limits of every tenant; the set is replaced as a whole when the overrides file changes.
pub struct Overrides {
    current: ArcSwap<LimitSet>,
}

pub struct LimitSet {
    pub defaults: Arc<Limits>,
    pub tenants: HashMap<String, Arc<Limits>>,
}

impl Overrides {
    pub fn new(defaults: Limits) -> Self {
        Self::with_tenants(defaults, HashMap::new())
    }

    pub fn with_tenants(defaults: Limits, tenants: HashMap<String, Arc<Limits>>) -> Self {
        Overrides { current: ArcSwap::from_pointee(LimitSet { defaults: Arc::new(defaults), tenants }) }
    }

    pub fn tenant(&self, tenant: &TenantId) -> Arc<Limits> {
        let set = self.current.load();
        set.tenants.get(tenant.as_str()).unwrap_or(&set.defaults).clone()
    }

    pub fn replace(&self, set: LimitSet) {
        self.current.store(Arc::new(set));
    }
}
