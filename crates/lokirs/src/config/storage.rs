//! The blocks of what is stored: `storage_config`, `common.storage`, `schema_config`, `chunk_store_config`.

use runtime::settings;
use runtime::settings::{Secret, SecretUrl};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

settings! {
    /// `storage_config`.
    pub struct StorageConfig {
        pub aws: S3 = S3::default(),
        pub gcs: Gcs = Gcs::default(),
        pub azure: Azure = Azure::default(),
        pub filesystem: LocalStorage = LocalStorage::default(),
        pub tsdb_shipper: TsdbShipper = TsdbShipper::default(),
        /// Put before every key of chunks.
        pub object_prefix: String = String::new(),
        /// Read `object_store` instead of the blocks per cloud.
        pub use_thanos_objstore: bool = false,
        pub object_store: ObjectStoreBlock = ObjectStoreBlock::default(),
        pub max_parallel_get_chunk: usize = 150,
    }

    /// `common.storage`: one of them, for chunks, index, deletes and rules.
    pub struct CommonStorage {
        pub s3: S3 = S3::default(),
        pub gcs: Gcs = Gcs::default(),
        pub azure: Azure = Azure::default(),
        pub filesystem: CommonFilesystem = CommonFilesystem::default(),
        pub object_store: ObjectStoreBlock = ObjectStoreBlock::default(),
    }

    pub struct CommonFilesystem {
        pub chunks_directory: String = String::new(),
        pub rules_directory: String = String::new(),
    }

    pub struct LocalStorage {
        pub directory: String = String::new(),
    }

    /// S3 and what speaks its protocol.
    pub struct S3 {
        /// `s3://key:secret@region-or-host/bucket`; what the other keys say goes before it.
        pub s3: SecretUrl = SecretUrl::default(),
        pub s3forcepathstyle: bool = false,
        /// Of several, each key's hash names its bucket.
        pub bucketnames: Vec<String> = vec![],
        pub endpoint: String = String::new(),
        pub region: String = String::new(),
        pub access_key_id: String = String::new(),
        pub secret_access_key: Secret = Secret::default(),
        pub session_token: Secret = Secret::default(),
        pub insecure: bool = false,
        /// One character in place of `:` in keys.
        pub chunk_delimiter: String = String::new(),
        /// Of new objects: `STANDARD_IA`, ...
        pub storage_class: String = "STANDARD".into(),
        pub sse: S3Encryption = S3Encryption::default(),
        pub http_config: S3Http = S3Http::default(),
        pub backoff_config: Backoff = Backoff::default(),
    }

    pub struct S3Http {
        pub insecure_skip_verify: bool = false,
        /// A PEM file of certificate authorities to trust.
        pub ca_file: String = String::new(),
    }

    pub struct S3Encryption {
        /// `SSE-S3`, `SSE-KMS` or nothing.
        pub r#type: String = String::new(),
        pub kms_key_id: String = String::new(),
    }

    pub struct Backoff {
        pub min_period: Duration = Duration::from_millis(100),
        pub max_period: Duration = Duration::from_secs(3),
        pub max_retries: usize = 5,
    }

    pub struct Gcs {
        pub bucket_name: String = String::new(),
        /// The key file's JSON; empty: the machine's identity.
        pub service_account: Secret = Secret::default(),
        pub request_timeout: Duration = Duration::ZERO,
    }

    pub struct Azure {
        pub account_name: String = String::new(),
        pub account_key: Secret = Secret::default(),
        /// Account, key and endpoint in one: `AccountName=...;AccountKey=...;EndpointSuffix=...`.
        pub connection_string: Secret = Secret::default(),
        pub container_name: String = "loki".into(),
        pub endpoint_suffix: String = String::new(),
        /// One character in place of `:` in keys; `-` when empty.
        pub chunk_delimiter: String = String::new(),
        pub use_managed_identity: bool = false,
        pub user_assigned_id: String = String::new(),
        pub use_federated_token: bool = false,
        pub use_service_principal: bool = false,
        pub client_id: String = String::new(),
        pub client_secret: Secret = Secret::default(),
        pub tenant_id: String = String::new(),
    }

    /// `object_store`: the newer spelling of the same stores.
    pub struct ObjectStoreBlock {
        pub s3: ThanosS3 = ThanosS3::default(),
        pub gcs: ThanosGcs = ThanosGcs::default(),
        pub azure: Azure = Azure { container_name: String::new(), ..Azure::default() },
        pub filesystem: ThanosFilesystem = ThanosFilesystem::default(),
        /// Put before every key.
        pub storage_prefix: String = String::new(),
    }

    /// `ruler_storage`: where rules are, with `storage_config.use_thanos_objstore`.
    pub struct RulerStore {
        /// `filesystem`, `s3`, `gcs`, `azure`: a bucket; `local`: a directory of rule files that is only read.
        pub backend: String = "filesystem".into(),
        pub local: LocalStorage = LocalStorage::default(),
        pub s3: ThanosS3 = ThanosS3::default(),
        pub gcs: ThanosGcs = ThanosGcs::default(),
        pub azure: Azure = Azure { container_name: String::new(), ..Azure::default() },
        pub filesystem: ThanosFilesystem = ThanosFilesystem::default(),
        /// Put before every key.
        pub storage_prefix: String = String::new(),
    }

    pub struct ThanosS3 {
        pub bucket_name: String = String::new(),
        pub endpoint: String = String::new(),
        pub region: String = String::new(),
        pub access_key_id: String = String::new(),
        pub secret_access_key: Secret = Secret::default(),
        pub session_token: Secret = Secret::default(),
        pub insecure: bool = false,
        /// `auto`, `virtual-hosted`, `path`.
        pub bucket_lookup_type: String = "auto".into(),
        pub storage_class: String = String::new(),
        pub sse: S3Encryption = S3Encryption::default(),
        pub max_retries: usize = 10,
    }

    pub struct ThanosGcs {
        pub bucket_name: String = String::new(),
        pub service_account: Secret = Secret::default(),
    }

    pub struct ThanosFilesystem {
        pub dir: String = String::new(),
    }

    /// `storage_config.tsdb_shipper`: where index files are built and kept.
    pub struct TsdbShipper {
        pub active_index_directory: String = String::new(),
        pub cache_location: String = String::new(),
        pub cache_ttl: Duration = 24 * HOUR,
        pub resync_interval: Duration = Duration::from_secs(300),
        pub query_ready_num_days: usize = 0,
        pub index_gateway_client: IndexGatewayClient = IndexGatewayClient::default(),
    }

    pub struct IndexGatewayClient {
        pub server_address: String = String::new(),
        pub grpc_client_config: super::server::GrpcClient = super::server::GrpcClient::default(),
    }

    /// `schema_config`.
    pub struct SchemaConfig {
        pub configs: Vec<Period> = vec![],
    }

    /// What is stored how from a day on. Past periods never change.
    pub struct Period {
        /// The first day: `2020-10-24`.
        pub from: String = String::new(),
        pub store: String = String::new(),
        pub object_store: String = String::new(),
        pub schema: String = String::new(),
        pub index: PeriodIndex = PeriodIndex::default(),
        pub chunks: PeriodChunks = PeriodChunks::default(),
        pub row_shards: usize = 16,
    }

    pub struct PeriodIndex {
        pub prefix: String = String::new(),
        pub period: Duration = Duration::ZERO,
        pub path_prefix: String = "index/".into(),
        pub tags: std::collections::BTreeMap<String, String> = Default::default(),
    }

    /// Read for old files; nothing of it has a meaning any more.
    pub struct PeriodChunks {
        pub prefix: String = String::new(),
        pub period: Duration = Duration::ZERO,
        pub tags: std::collections::BTreeMap<String, String> = Default::default(),
    }

    /// `chunk_store_config`: chunks of logs kept where they are read faster than from the object store.
    pub struct ChunkStoreConfig {
        /// Of its `embedded_cache`, `max_size_mb` is the memory for opened chunks; chunks never change, so that they need
        /// no `ttl`, and `max_size_items` says nothing of them.
        pub chunk_cache_config: cache::Settings = cache::Settings::default(),
        /// For chunks older than `l2_chunk_cache_handoff`.
        pub chunk_cache_config_l2: cache::Settings = cache::Settings::default(),
        /// The age at which chunks change over to the second cache; 0: it is not used.
        pub l2_chunk_cache_handoff: Duration = Duration::ZERO,
        /// Chunks older than this that a query has fetched are not stored in a cache; 0: all are.
        pub skip_query_writeback_cache_older_than: Duration = Duration::ZERO,
        /// Memory for blocks that queries read again and again, decompressed, in MB; a sixteenth of `memory_limit` at most.
        /// 0: none is kept.
        pub decompressed_cache_size_mb: u64 = 1024,
    }
}
