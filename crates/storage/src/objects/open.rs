//! Settings become an object store: the client of its kind, its prefix, and the limit on concurrent calls.

use super::settings::HttpSettings;
use super::{
    AzureSettings, Backend, Backoff, ChunkNames, GcsSettings, Limited, Metered, ObjectMetrics, ObjectSettings, Objects,
    Place, StoreKind, s3,
};
use model::{Error, Result};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, Certificate, ClientOptions, ObjectStore, RetryConfig};
use std::sync::Arc;
use std::time::Duration;

/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer may stand still. There is no limit on a whole request: an index file may be large.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// How long after its start a request is still retried. Its credentials are not renewed.
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);

/// Opens the store of `settings` under the name that its metrics carry. Nothing is asked of the store yet.
pub fn open(name: &str, settings: &ObjectSettings, metrics: Option<&ObjectMetrics>) -> Result<Objects> {
    if !matches!(settings.place, Place::Memory | Place::Filesystem(_)) {
        install_tls();
    }
    let prefix = settings.object_prefix.trim_matches('/');
    let objects = match &settings.place {
        Place::Memory => Objects::memory(),
        Place::Filesystem(s) if s.directory.is_empty() => {
            return Err(Error::invalid("filesystem: no directory is set (setting: chunks_directory)"));
        }
        Place::Filesystem(s) => Objects::local(&s.directory)?,
        Place::S3(s) => s3::open(s, prefix)?,
        Place::Gcs(s) => gcs(s, prefix)?,
        Place::Azure(s) => azure(s, prefix)?,
    };
    let kind = match &settings.place {
        Place::Memory | Place::Filesystem(_) => StoreKind::Local,
        Place::S3(_) => StoreKind::S3,
        Place::Gcs(_) => StoreKind::Gcs,
        Place::Azure(_) => StoreKind::Azure,
    };
    let limited = objects.wrapped(|inner| Arc::new(Limited::new(inner, settings.concurrent_calls_max)));
    Ok(match metrics {
        Some(metrics) => limited.wrapped(|inner| Arc::new(Metered::new(inner, name, kind, metrics.clone()))),
        None => limited,
    })
}

/// TLS clients panic without a process-wide provider; whoever comes first installs the one that all use.
fn install_tls() {
    // The error says that another thread was first, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn gcs(s: &GcsSettings, prefix: &str) -> Result<Objects> {
    let mut builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(&s.bucket_name);
    if !s.service_account.is_empty() {
        builder = builder.with_service_account_key(s.service_account.expose());
    }
    let options = client_options(&HttpSettings::default())?;
    let store = builder.with_retry(retry(&Backoff::default())).with_client_options(options).build();
    finish(
        store.map_err(|e| Error::invalid(format!("gcs bucket {:?}: {e}", s.bucket_name)))?,
        prefix,
        ChunkNames::AsKeyed,
    )
}

fn azure(s: &AzureSettings, prefix: &str) -> Result<Objects> {
    let mut builder =
        MicrosoftAzureBuilder::from_env().with_account(&s.account_name).with_container_name(&s.container_name);
    if !s.account_key.is_empty() {
        builder = builder.with_access_key(s.account_key.expose());
    }
    if s.use_service_principal {
        builder = builder.with_client_secret_authorization(&s.client_id, s.client_secret.expose(), &s.tenant_id);
    }
    if s.use_managed_identity && !s.user_assigned_id.is_empty() {
        builder = builder.with_config(AzureConfigKey::ObjectId, &s.user_assigned_id);
    }
    if !s.endpoint_suffix.is_empty() {
        builder =
            builder.with_endpoint(format!("https://{}.{}", s.account_name, s.endpoint_suffix.trim_start_matches('.')));
    }
    let options = client_options(&HttpSettings::default())?;
    let store = builder.with_retry(retry(&Backoff::default())).with_client_options(options).build();
    let delimiter = s.chunk_delimiter.chars().next().unwrap_or('-');
    let store = store.map_err(|e| Error::invalid(format!("azure container {:?}: {e}", s.container_name)))?;
    finish(store, prefix, ChunkNames::Delimited(delimiter))
}

fn finish(store: impl ObjectStore, prefix: &str, names: ChunkNames) -> Result<Objects> {
    Ok(Objects::new(Arc::new(Backend::new(Arc::new(PrefixStore::new(store, prefix)))), names))
}

pub(super) fn retry(backoff: &Backoff) -> RetryConfig {
    let wait = BackoffConfig { init_backoff: backoff.min_period, max_backoff: backoff.max_period, base: 2.0 };
    RetryConfig { backoff: wait, max_retries: backoff.max_retries, retry_timeout: RETRY_TIMEOUT }
}

pub(super) fn client_options(http: &HttpSettings) -> Result<ClientOptions> {
    let mut options = ClientOptions::new()
        .with_timeout_disabled()
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_read_timeout(READ_TIMEOUT);
    if http.insecure_skip_verify {
        options = options.with_allow_invalid_certificates(true);
    }
    if !http.ca_file.is_empty() {
        let fail = |e: &dyn std::fmt::Display| Error::invalid(format!("ca_file {}: {e}", http.ca_file));
        let pem = std::fs::read(&http.ca_file).map_err(|e| fail(&e))?;
        for certificate in Certificate::from_pem_bundle(&pem).map_err(|e| fail(&e))? {
            options = options.with_root_certificate(certificate);
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::{FilesystemSettings, S3Settings};
    use runtime::settings::Secret;

    #[tokio::test]
    async fn every_kind_of_store_opens_from_its_settings() {
        let dir = tempfile::tempdir().unwrap();
        let directory = dir.path().join("chunks").to_str().unwrap().to_string();
        let azure = AzureSettings {
            account_name: "a".into(),
            account_key: Secret::new("a2V5"),
            container_name: "c".into(),
            ..Default::default()
        };
        let s3 = S3Settings { region: "eu-1".into(), bucketnames: "b".into(), ..Default::default() };
        for place in [
            Place::Memory,
            Place::Filesystem(FilesystemSettings { directory }),
            Place::S3(Box::new(s3)),
            Place::Gcs(GcsSettings { bucket_name: "b".into(), ..Default::default() }),
            Place::Azure(Box::new(azure)),
        ] {
            open("store", &ObjectSettings::new(place.clone()), None).unwrap_or_else(|e| panic!("{place:?}: {e}"));
        }
        assert!(open("store", &ObjectSettings::new(Place::Filesystem(FilesystemSettings::default())), None).is_err());
    }

    #[tokio::test]
    async fn a_store_that_does_not_answer_is_unavailable() {
        let settings = S3Settings {
            endpoint: "127.0.0.1:1".into(),
            insecure: true,
            s3forcepathstyle: true,
            access_key_id: "k".into(),
            secret_access_key: Secret::new("s"),
            bucketnames: "b".into(),
            backoff_config: Backoff { max_retries: 0, ..Default::default() },
            ..Default::default()
        };
        let objects = open("s3", &ObjectSettings::new(Place::S3(Box::new(settings))), None).unwrap();
        let e = objects.get("a/b").await.unwrap_err();
        assert_eq!(e.kind, model::Kind::Unavailable, "{e}");
        assert!(e.message.starts_with("get a/b: "), "{e}");
    }
}
