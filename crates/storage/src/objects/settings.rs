//! Where objects live and with which credentials, under Loki's setting names (`storage_config`). Data only.

use runtime::settings::Secret;
use std::time::Duration;

/// One object store.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectSettings {
    pub place: Place,
    /// Put in front of every key: `storage_config.object_prefix`.
    pub object_prefix: String,
    /// The most calls that are under way at a time; further ones wait.
    pub concurrent_calls_max: usize,
}

/// Loki's `max_parallel_get_chunk` is 150 for chunks alone; index and puts come on top.
const CONCURRENT_CALLS_MAX_DEFAULT: usize = 256;

impl ObjectSettings {
    pub fn new(place: Place) -> Self {
        ObjectSettings { place, object_prefix: String::new(), concurrent_calls_max: CONCURRENT_CALLS_MAX_DEFAULT }
    }
}

/// The kind of store and its settings.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    Memory,
    Filesystem(FilesystemSettings),
    S3(Box<S3Settings>),
    Gcs(GcsSettings),
    Azure(Box<AzureSettings>),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilesystemSettings {
    /// Loki's `filesystem.directory`, or `chunks_directory` of the common section.
    pub directory: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct S3Settings {
    /// `s3://key:secret@region-or-host/bucket`, instead of the fields below or together with them.
    pub s3: Secret,
    pub s3forcepathstyle: bool,
    /// Comma-separated; of several, each key's hash names its bucket.
    pub bucketnames: String,
    /// Host and port, with or without a scheme; empty for AWS itself.
    pub endpoint: String,
    pub region: String,
    pub access_key_id: String,
    /// Without static keys: environment, web identity, container role, instance role, in that order.
    pub secret_access_key: Secret,
    pub session_token: Secret,
    /// Plain HTTP.
    pub insecure: bool,
    /// One character to put in place of `:` in keys.
    pub chunk_delimiter: String,
    pub backoff_config: Backoff,
    pub http_config: HttpSettings,
    pub sse: SseSettings,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpSettings {
    /// Accept any certificate.
    pub insecure_skip_verify: bool,
    /// A PEM file of certificate authorities to trust.
    pub ca_file: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SseSettings {
    /// `SSE-S3`, `SSE-KMS` or empty.
    pub kind: String,
    pub kms_key_id: String,
}

/// Retries of a failed request to a cloud store; defaults are Loki's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    pub min_period: Duration,
    pub max_period: Duration,
    pub max_retries: usize,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff { min_period: Duration::from_millis(100), max_period: Duration::from_secs(3), max_retries: 5 }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcsSettings {
    pub bucket_name: String,
    /// The JSON of a service account; without it, the environment and the instance's metadata are asked.
    pub service_account: Secret,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AzureSettings {
    pub account_name: String,
    pub account_key: Secret,
    pub container_name: String,
    /// `blob.core.windows.net` when empty.
    pub endpoint_suffix: String,
    /// In place of `:` in keys; `-` when empty, as in Loki.
    pub chunk_delimiter: String,
    pub use_managed_identity: bool,
    pub user_assigned_id: String,
    pub use_service_principal: bool,
    pub client_id: String,
    pub client_secret: Secret,
    pub tenant_id: String,
    pub use_federated_token: bool,
}
