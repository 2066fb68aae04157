//! The object store as the rest of the crate uses it: whole objects by key, durable puts, our error kinds. What stands
//! between a call and a bucket (metrics, limits, spreading over several buckets) is a [`Bucket`] around a [`Bucket`].
//! It must not know what the objects hold.

mod azure;
mod backend;
mod filesystem;
mod limited;
mod metered;
mod names;
mod open;
mod profile;
mod s3;
mod settings;
mod spread;

pub use backend::Backend;
pub use limited::Limited;
pub use metered::{Metered, ObjectMetrics, StoreKind};
pub use names::ChunkNames;
pub use open::open;
pub use settings::{
    AzureSettings, Backoff, FilesystemSettings, GcsSettings, HttpSettings, ObjectSettings, Place, S3Settings,
    SseSettings,
};
pub use spread::Spread;

use async_trait::async_trait;
use bytes::Bytes;
use model::{Kind, Result};
use object_store::memory::InMemory;
use std::fmt::Debug;
use std::sync::Arc;

/// The largest object that is read: what an index file of a very large tenant takes.
pub const OBJECT_BYTES_MAX: u64 = 2 << 30;
/// The most objects that one listing may give; a prefix with more is a mistake in the layout or in the caller.
pub const LISTED_OBJECTS_MAX: usize = 5_000_000;

/// The object that [`Objects::check`] asks for: small where Loki has written it, absent elsewhere.
const PROBE_KEY: &str = "loki_cluster_seed.json";

/// One listed object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectMeta {
    pub key: String,
    pub size: u64,
}

/// What a store of objects can do. Keys are `/`-separated segments, none of them empty, `.` or `..`.
#[async_trait]
pub trait Bucket: Debug + Send + Sync {
    /// The whole object; `NotFound` when there is none, `TooLarge` when it has more than `bytes_max` bytes.
    async fn get(&self, key: &str, bytes_max: u64) -> Result<Bytes>;
    /// The object's size in bytes, without its content; `None` when there is none.
    async fn size(&self, key: &str) -> Result<Option<u64>>;
    /// Writes or replaces an object; durable when it answers. A reader sees the old object or the new, never a part.
    async fn put(&self, key: &str, object: Bytes) -> Result<()>;
    /// Every object whose key begins with the whole segments of `prefix`, at any depth, in any order. An empty prefix
    /// lists all.
    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>>;
    /// Removes an object; one that is not there counts as removed.
    async fn delete(&self, key: &str) -> Result<()>;
}

/// A bucket and how chunks are named in it. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Objects {
    bucket: Arc<dyn Bucket>,
    names: ChunkNames,
}

impl Objects {
    pub fn new(bucket: Arc<dyn Bucket>, names: ChunkNames) -> Self {
        Objects { bucket, names }
    }

    /// A bucket that lives as long as the process.
    pub fn memory() -> Self {
        Self::new(Arc::new(Backend::new(Arc::new(InMemory::new()))), ChunkNames::AsKeyed)
    }

    /// Loki's filesystem layout under `dir`, which is made when it is missing.
    pub fn local(dir: impl AsRef<std::path::Path>) -> Result<Self> {
        Ok(Self::new(Arc::new(filesystem::bucket(dir.as_ref())?), ChunkNames::Base64))
    }

    /// The same naming over another bucket, as a decorator of this one.
    pub fn wrapped(self, wrap: impl FnOnce(Arc<dyn Bucket>) -> Arc<dyn Bucket>) -> Self {
        Objects { bucket: wrap(self.bucket), names: self.names }
    }

    /// Asks for an object that need not exist: an error means that the store does not answer, that the bucket is not
    /// there or that the credentials do not open it. Nothing is written.
    pub async fn check(&self) -> Result<()> {
        match self.bucket.get(PROBE_KEY, OBJECT_BYTES_MAX).await {
            Err(e) if e.kind != Kind::NotFound => Err(e.context("the object store cannot be used")),
            _ => Ok(()),
        }
    }

    pub async fn get(&self, key: &str) -> Result<Bytes> {
        self.bucket.get(key, OBJECT_BYTES_MAX).await
    }

    pub async fn get_at_most(&self, key: &str, bytes_max: u64) -> Result<Bytes> {
        self.bucket.get(key, bytes_max).await
    }

    pub async fn size(&self, key: &str) -> Result<Option<u64>> {
        self.bucket.size(key).await
    }

    pub async fn put(&self, key: &str, object: Bytes) -> Result<()> {
        self.bucket.put(key, object).await
    }

    /// Sorted by key.
    pub async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>> {
        let mut objects = self.bucket.list(prefix).await?;
        objects.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Ok(objects)
    }

    pub async fn delete(&self, key: &str) -> Result<()> {
        self.bucket.delete(key).await
    }

    /// The key under which this bucket holds the chunk of `chunk_key`.
    pub fn chunk_name(&self, chunk_key: &str) -> String {
        self.names.stored(chunk_key)
    }

    /// The chunk key of a listed object; `None` for one that is no chunk's.
    pub fn chunk_key(&self, name: &str) -> Option<String> {
        self.names.keyed(name)
    }
}
