//! Which object store a name of `schema_config` stands for. It must not know how one is opened.

use super::Settings;
use super::storage::{Azure, Backoff, CommonStorage, Gcs, ObjectStoreBlock, RulerStore, S3, ThanosS3};

/// A store and where in it to begin.
#[derive(Clone, Debug, PartialEq)]
pub struct Store {
    pub backend: Backend,
    /// Before every key; empty or with its `/`.
    pub prefix: String,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Backend {
    Filesystem { directory: String },
    S3(Box<S3>),
    Gcs(Gcs),
    Azure(Box<Azure>),
}

/// Where rules are.
#[derive(Clone, Debug, PartialEq)]
pub enum RuleStorage {
    /// Rule files, which the API may write.
    Files {
        directory: String,
        writable: bool,
    },
    Bucket(Store),
}

/// The store that the `common` block names, if it names one beside the file system.
pub fn common_store(storage: &CommonStorage) -> Option<&'static str> {
    if storage.s3 != S3::default() {
        Some("s3")
    } else if storage.gcs != Gcs::default() {
        Some("gcs")
    } else if storage.azure != Azure::default() {
        Some("azure")
    } else {
        None
    }
}

impl Settings {
    /// The store of a period; `name` is its `object_store`.
    pub fn store(&self, name: &str) -> Result<Store, String> {
        if self.storage_config.use_thanos_objstore {
            let configured = &self.storage_config.object_store;
            let own = configured != &ObjectStoreBlock::default();
            return thanos_store(if own { configured } else { &self.common.storage.object_store }, name);
        }
        let (own, common) = (&self.storage_config, &self.common.storage);
        let backend = match name {
            "filesystem" => Backend::Filesystem { directory: own.filesystem.directory.clone() },
            "s3" | "aws" => Backend::S3(Box::new(first_set(&own.aws, &common.s3))),
            "gcs" => Backend::Gcs(first_set(&own.gcs, &common.gcs)),
            "azure" => Backend::Azure(Box::new(first_set(&own.azure, &common.azure))),
            _ => return Err(format!("unrecognized object store {name:?}: want filesystem, s3, gcs or azure")),
        };
        Ok(Store { backend, prefix: prefix(&own.object_prefix) })
    }
}

impl Settings {
    pub fn rule_storage(&self) -> Result<RuleStorage, String> {
        let files = |directory: &str, writable| Ok(RuleStorage::Files { directory: directory.into(), writable });
        let thanos = &self.ruler_storage;
        if self.storage_config.use_thanos_objstore && thanos != &RulerStore::default() {
            if thanos.backend == "local" {
                return files(&thanos.local.directory, false);
            }
            let store = thanos_store(&thanos.bucket(), &thanos.backend);
            return store.map(RuleStorage::Bucket).map_err(|fault| format!("ruler_storage.backend: {fault}"));
        }
        let (own, common) = (&self.ruler.storage, &self.common.storage);
        let kind = if own.r#type.is_empty() { common_store(common).unwrap_or("filesystem") } else { &own.r#type };
        let backend = match kind {
            "local" => return files(&own.local.directory, false),
            "filesystem" => return files(&own.local.directory, true),
            "s3" | "aws" => Backend::S3(Box::new(first_set(&own.s3, &common.s3))),
            "gcs" | "google" => Backend::Gcs(first_set(&own.gcs, &common.gcs)),
            "azure" => Backend::Azure(Box::new(first_set(&own.azure, &common.azure))),
            kind => {
                let wanted = "want local, filesystem, s3, gcs or azure";
                return Err(format!("ruler.storage.type: unrecognized rule store {kind:?}: {wanted}"));
            }
        };
        Ok(RuleStorage::Bucket(Store { backend, prefix: String::new() }))
    }
}

impl RulerStore {
    fn bucket(&self) -> ObjectStoreBlock {
        ObjectStoreBlock {
            s3: self.s3.clone(),
            gcs: self.gcs.clone(),
            azure: self.azure.clone(),
            filesystem: self.filesystem.clone(),
            storage_prefix: self.storage_prefix.clone(),
        }
    }
}

/// A component's own block wins over `common`.
fn first_set<T: Default + PartialEq + Clone>(own: &T, common: &T) -> T {
    if *own != T::default() { own.clone() } else { common.clone() }
}

fn thanos_store(block: &ObjectStoreBlock, name: &str) -> Result<Store, String> {
    let backend = match name {
        "filesystem" => Backend::Filesystem { directory: block.filesystem.dir.clone() },
        "s3" | "aws" => Backend::S3(Box::new(S3 {
            bucketnames: vec![block.s3.bucket_name.clone()],
            endpoint: block.s3.endpoint.clone(),
            region: block.s3.region.clone(),
            access_key_id: block.s3.access_key_id.clone(),
            secret_access_key: block.s3.secret_access_key.clone(),
            session_token: block.s3.session_token.clone(),
            insecure: block.s3.insecure,
            s3forcepathstyle: is_path_style(&block.s3),
            storage_class: block.s3.storage_class.clone(),
            sse: block.s3.sse.clone(),
            backoff_config: Backoff { max_retries: block.s3.max_retries, ..Backoff::default() },
            ..S3::default()
        })),
        "gcs" => Backend::Gcs(Gcs {
            bucket_name: block.gcs.bucket_name.clone(),
            service_account: block.gcs.service_account.clone(),
            ..Gcs::default()
        }),
        "azure" => Backend::Azure(Box::new(block.azure.clone())),
        _ => return Err(format!("unrecognized object store {name:?}: want filesystem, s3, gcs or azure")),
    };
    Ok(Store { backend, prefix: prefix(&block.storage_prefix) })
}

/// `auto` puts the bucket into the host of AWS and into the path of every other server, as the client that Loki uses does.
fn is_path_style(s3: &ThanosS3) -> bool {
    let host = s3.endpoint.rsplit('/').next().and_then(|authority| authority.split(':').next()).unwrap_or_default();
    match s3.bucket_lookup_type.as_str() {
        "path" => true,
        "virtual-hosted" => false,
        _ => !host.is_empty() && !host.ends_with(".amazonaws.com") && !host.ends_with(".amazonaws.com.cn"),
    }
}

fn prefix(text: &str) -> String {
    match text.trim_matches('/') {
        "" => String::new(),
        text => format!("{text}/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_in_the_path_unless_the_server_is_aws_or_the_settings_say_so() {
        for (endpoint, lookup, path_style) in [
            ("", "auto", false),
            ("s3.eu-west-1.amazonaws.com", "auto", false),
            ("minio:9000", "auto", true),
            ("http://10.0.0.1:9000", "", true),
            ("minio:9000", "virtual-hosted", false),
            ("s3.eu-west-1.amazonaws.com:443", "path", true),
        ] {
            let s3 = ThanosS3 { endpoint: endpoint.into(), bucket_lookup_type: lookup.into(), ..ThanosS3::default() };
            assert_eq!(is_path_style(&s3), path_style, "{endpoint} {lookup}");
        }
    }
}
