//! The blocks of the roles, under Loki's names. What a role makes of them is the role's.

use super::server::GrpcClient;
use ruler::notify::AlertmanagerClient;
use ruler::relabel::RelabelConfig;
use ruler::remote_write::RemoteWriteClient;
use runtime::settings;
use runtime::settings::SecretUrl;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

settings! {
    /// `distributor`.
    pub struct Distributor {
        /// Bytes of a push as sent.
        pub max_recv_msg_size: u64 = 100 << 20,
        /// Bytes of a push when decompressed. Loki's default of 5000 MiB is no bound.
        pub max_decompressed_size: u64 = 64 << 20,
        pub otlp_config: GlobalOtlp = GlobalOtlp::default(),
    }

    pub struct GlobalOtlp {
        /// Instead of [`runtime::limits::DEFAULT_RESOURCE_ATTRIBUTES`].
        pub default_resource_attributes_as_index_labels: Option<Vec<String>> = None,
    }

    /// `ingester_client`.
    pub struct IngesterClient {
        pub remote_timeout: Duration = 5 * SECOND,
        pub grpc_client_config: GrpcClient = GrpcClient::default(),
    }

    /// `ingester`.
    pub struct Ingester {
        pub lifecycler: Lifecycler = Lifecycler::default(),
        pub concurrent_flushes: usize = 32,
        pub flush_check_period: Duration = 30 * SECOND,
        pub flush_op_timeout: Duration = 10 * MINUTE,
        pub chunk_retain_period: Duration = Duration::ZERO,
        pub chunk_idle_period: Duration = 30 * MINUTE,
        pub chunk_block_size: usize = 256 << 10,
        pub chunk_target_size: usize = 1536 << 10,
        /// Loki's default is gzip; zstd is five times as fast at the same size.
        pub chunk_encoding: String = "zstd".into(),
        pub max_chunk_age: Duration = 2 * HOUR,
        /// With more than one replica: how often in log time the replicas of a stream end its chunk at the same entry, so
        /// that their next chunks are equal and stored once. 0 is never.
        pub sync_period: Duration = HOUR,
        /// The part of `chunk_target_size` that a chunk must have reached for that.
        pub sync_min_utilization: f64 = 0.1,
        pub max_returned_stream_errors: usize = 10,
        pub wal: Wal = Wal::default(),
        pub shutdown_marker_path: String = String::new(),
    }

    pub struct Lifecycler {
        pub ring: LifecyclerRing = LifecyclerRing::default(),
        pub num_tokens: usize = 128,
        pub min_ready_duration: Duration = 15 * SECOND,
        pub final_sleep: Duration = Duration::ZERO,
        pub interface_names: Vec<String> = vec![],
        pub availability_zone: String = String::new(),
        pub unregister_on_shutdown: bool = true,
        pub address: String = String::new(),
        pub port: u16 = 0,
        pub id: String = String::new(),
    }

    pub struct LifecyclerRing {
        pub kvstore: super::server::KvStore = super::server::KvStore::default(),
        pub replication_factor: Option<usize> = None,
        pub zone_awareness_enabled: bool = false,
        pub excluded_zones: Vec<String> = vec![],
        /// Empty: `common.ring.heartbeat_timeout`.
        pub heartbeat_timeout: Option<Duration> = None,
    }

    pub struct Wal {
        pub enabled: bool = true,
        pub dir: String = String::new(),
        pub checkpoint_duration: Duration = 5 * MINUTE,
        pub flush_on_shutdown: bool = false,
        pub replay_memory_ceiling: u64 = 4 << 30,
        /// The part of the disk from which on pushes are refused.
        pub disk_full_threshold: f64 = 0.9,
    }

    /// `querier`.
    pub struct Querier {
        pub max_concurrent: usize = 4,
        pub query_ingesters_within: Duration = 3 * HOUR,
        pub tail_max_duration: Duration = HOUR,
        pub extra_query_delay: Duration = Duration::ZERO,
        pub query_store_only: bool = false,
        pub query_ingester_only: bool = false,
        pub multi_tenant_queries_enabled: bool = false,
        /// Whether `X-Loki-Query-Limits` tightens the limits of its request.
        pub per_request_limits_enabled: bool = false,
    }

    /// `frontend`.
    pub struct Frontend {
        pub log_queries_longer_than: Duration = Duration::ZERO,
        pub max_body_size: u64 = 10 << 20,
        pub max_outstanding_per_tenant: usize = 2048,
        pub scheduler_address: String = String::new(),
        pub compress_responses: bool = true,
        pub downstream_url: String = String::new(),
        pub tail_proxy_url: String = String::new(),
        pub grpc_client_config: GrpcClient = GrpcClient::default(),
    }

    /// `frontend_worker`.
    pub struct FrontendWorker {
        pub frontend_address: String = String::new(),
        pub scheduler_address: String = String::new(),
        pub dns_lookup_duration: Duration = 3 * SECOND,
        pub id: String = String::new(),
        pub grpc_client_config: GrpcClient = GrpcClient::default(),
    }

    /// `query_range`.
    pub struct QueryRange {
        pub align_queries_with_step: bool = false,
        /// Whether answers of queries over a range are kept: of metric queries all that is older than
        /// `max_cache_freshness_per_query`, of log queries that they found nothing.
        pub cache_results: bool = false,
        /// Where they are kept, and all others that have no cache of their own. Without any it is one in memory.
        pub results_cache: ResultsCache = ResultsCache::default(),
        pub max_retries: usize = 5,
        pub parallelise_shardable_queries: bool = true,
        pub shard_aggregations: Vec<String> = vec![],
        /// Whether answers of `index/stats` are kept, and what the frontend itself asks to shard queries.
        pub cache_index_stats_results: bool = true,
        pub index_stats_results_cache: ResultsCache = ResultsCache::default(),
        /// Whether answers of `index/volume` are kept.
        pub cache_volume_results: bool = true,
        pub volume_results_cache: ResultsCache = ResultsCache::default(),
        /// Whether answers of `series` are kept, by intervals of `split_metadata_queries_by_interval`.
        pub cache_series_results: bool = true,
        pub series_results_cache: ResultsCache = ResultsCache::default(),
        /// Whether names and values of labels are kept, in the same way.
        pub cache_label_results: bool = true,
        pub label_results_cache: ResultsCache = ResultsCache::default(),
        /// Whether answers of metric queries at one moment are kept.
        pub cache_instant_metric_results: bool = false,
        pub instant_metric_results_cache: ResultsCache = ResultsCache::default(),
    }

    pub struct ResultsCache {
        pub cache: cache::Settings = cache::Settings::default(),
        /// `snappy`, or nothing.
        pub compression: String = String::new(),
    }

    /// `query_scheduler`.
    pub struct QueryScheduler {
        pub max_outstanding_requests_per_tenant: usize = 32_000,
        pub grpc_client_config: GrpcClient = GrpcClient::default(),
    }

    /// `index_gateway`.
    pub struct IndexGateway {
        /// `simple` or `ring`.
        pub mode: String = "simple".into(),
        pub ring: IndexGatewayRing = IndexGatewayRing::default(),
    }

    pub struct IndexGatewayRing {
        /// Gateways that answer for a tenant in mode `ring`.
        pub replication_factor: usize = 3,
    }

    /// `compactor`.
    pub struct Compactor {
        pub working_directory: String = String::new(),
        pub compaction_interval: Duration = 10 * MINUTE,
        pub apply_retention_interval: Duration = Duration::ZERO,
        pub retention_enabled: bool = false,
        pub retention_delete_delay: Duration = 2 * HOUR,
        pub retention_delete_worker_count: usize = 150,
        pub retention_table_timeout: Duration = Duration::ZERO,
        pub delete_request_store: String = String::new(),
        pub delete_request_store_key_prefix: String = "index/".into(),
        pub delete_batch_size: usize = 70,
        pub delete_request_cancel_period: Duration = 24 * HOUR,
        pub delete_max_interval: Duration = 24 * HOUR,
        pub max_compaction_parallelism: usize = 1,
        pub upload_parallelism: usize = 10,
        pub skip_latest_n_tables: usize = 0,
        /// Chunks with fewer bytes of lines are merged with those beside them in their stream, on days that are over for
        /// three hours; at most 64 MiB. 0: none is.
        pub merge_chunks_below: u64 = 0,
    }

    /// `ruler`.
    pub struct Ruler {
        /// Of Grafana: alerts link to their expression there.
        pub external_url: SecretUrl = SecretUrl::default(),
        /// Of the data source in Grafana that the links open.
        pub datasource_uid: String = String::new(),
        /// How rulers call each other.
        pub ruler_client: GrpcClient = GrpcClient::default(),
        /// Of groups that say none.
        pub evaluation_interval: Duration = MINUTE,
        /// How often rules are read from their store. What this process's API changes is evaluated at once.
        pub poll_interval: Duration = MINUTE,
        pub storage: RulerStorage = RulerStorage::default(),
        /// Added to alerts that have no label of such a name, before `alert_relabel_configs`.
        pub external_labels: std::collections::BTreeMap<String, String> = Default::default(),
        /// Alertmanagers, each with a path in front of `/api/v2/alerts` if it has one. User information is sent as
        /// basic authentication. A host may be `dns+name` or `dnssrv+_service._proto.name`: each address or service
        /// behind it is an Alertmanager.
        pub alertmanager_url: Vec<SecretUrl> = vec![],
        /// Whether the host of each URL is looked up like that without a prefix: `_service._proto.name` by SRV records.
        pub enable_alertmanager_discovery: bool = false,
        /// How often names are looked up again.
        pub alertmanager_refresh_interval: Duration = MINUTE,
        /// Version 1 is not spoken: Alertmanagers have no such API since 0.27.
        pub enable_alertmanager_v2: bool = true,
        /// Rules for the labels of alerts before they are sent; they may drop alerts.
        pub alert_relabel_configs: Vec<RelabelConfig> = vec![],
        /// Alerts that wait for one Alertmanager; of more, the oldest are dropped.
        pub notification_queue_capacity: usize = 10_000,
        /// Of a request to an Alertmanager.
        pub notification_timeout: Duration = 10 * SECOND,
        pub alertmanager_client: AlertmanagerClient = AlertmanagerClient::default(),
        /// How often an alert that fires is sent again.
        pub resend_delay: Duration = MINUTE,
        /// Whether rules can be read and written over HTTP.
        pub enable_api: bool = true,
        /// Tenants whose rules are evaluated; empty: everybody's.
        pub enabled_tenants: Vec<String> = vec![],
        pub disabled_tenants: Vec<String> = vec![],
        pub wal: RulerWal = RulerWal::default(),
        pub remote_write: RemoteWrite = RemoteWrite::default(),
    }

    /// Where recorded samples are until remote storage has taken them.
    pub struct RulerWal {
        pub dir: String = String::new(),
        /// Samples that are older are dropped.
        pub max_age: Duration = 4 * HOUR,
    }

    pub struct RulerStorage {
        /// `s3`, `gcs`, `azure`: a bucket, where Loki has its rules; `local`: a directory of rule files that is only read;
        /// `filesystem`: such a directory that the API writes. Empty: the bucket of `common.storage`, or without one
        /// `filesystem`.
        pub r#type: String = String::new(),
        pub local: super::storage::LocalStorage = super::storage::LocalStorage::default(),
        pub s3: super::storage::S3 = super::storage::S3::default(),
        pub gcs: super::storage::Gcs = super::storage::Gcs::default(),
        pub azure: super::storage::Azure = super::storage::Azure::default(),
    }

    pub struct RemoteWrite {
        /// Whether recorded samples are sent to `client` and `clients`.
        pub enabled: bool = false,
        /// Loki's older form of `clients`: one, by the name of `default`.
        pub client: Option<RemoteWriteClient> = None,
        pub clients: std::collections::BTreeMap<String, RemoteWriteClient> = Default::default(),
        /// Whether the tenant is sent as X-Scope-OrgID.
        pub add_org_id_header: bool = true,
    }

    /// `pattern_ingester`.
    pub struct PatternIngester {
        pub enabled: bool = false,
        /// Patterns of one stream and level.
        pub max_clusters: usize = 300,
        pub max_eviction_ratio: f64 = 0.25,
        pub retain_for: Duration = 3 * HOUR,
        pub pattern_sample_interval: Duration = 10 * SECOND,
        /// Bytes; longer lines are not looked at.
        pub max_allowed_line_length: usize = 3000,
    }
}
