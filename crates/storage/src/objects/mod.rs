//! The object store as the rest of the crate uses it: whole objects by key, durable puts, our error kinds.
//! It must not know what the objects hold.

use bytes::Bytes;
use futures::TryStreamExt;
use model::{Error, Kind, Result};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use std::sync::Arc;

/// The most objects that one listing may give; a prefix with more is a mistake in the layout or in the caller.
pub const LISTED_OBJECTS_MAX: usize = 5_000_000;

/// One listed object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectMeta {
    pub key: String,
    pub size: u64,
}

/// A bucket. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
}

impl Objects {
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Objects { store }
    }

    /// A bucket that lives as long as the process.
    pub fn memory() -> Self {
        Self::new(Arc::new(InMemory::new()))
    }

    /// The bucket whose keys are files under `dir`, which is made when it is missing. A put writes a file beside its
    /// place, syncs it, renames it and syncs the directory.
    pub fn local(dir: impl AsRef<std::path::Path>) -> Result<Self> {
        let dir = dir.as_ref();
        let fail = |e: &dyn std::fmt::Display| Error::unavailable(format!("object directory {}: {e}", dir.display()));
        std::fs::create_dir_all(dir).map_err(|e| fail(&e))?;
        let store = LocalFileSystem::new_with_prefix(dir).map_err(|e| fail(&e))?;
        Ok(Self::new(Arc::new(store.with_fsync(true).with_automatic_cleanup(true))))
    }

    /// The whole object; [`Kind::NotFound`] when there is none.
    pub async fn get(&self, key: &str) -> Result<Bytes> {
        let answer = self.store.get(&path(key)?).await.map_err(|e| error(e, "get", key))?;
        answer.bytes().await.map_err(|e| error(e, "get", key))
    }

    /// Writes or replaces an object; durable when it answers.
    pub async fn put(&self, key: &str, object: Bytes) -> Result<()> {
        self.store.put(&path(key)?, object.into()).await.map(drop).map_err(|e| error(e, "put", key))
    }

    /// Every object whose key begins with the whole path segments of `prefix`, at any depth, sorted by key.
    /// An empty prefix lists the bucket.
    pub async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>> {
        let root = path(prefix)?;
        let mut found = self.store.list(Some(&root));
        let mut objects = Vec::new();
        while let Some(meta) = found.try_next().await.map_err(|e| error(e, "list", prefix))? {
            if objects.len() == LISTED_OBJECTS_MAX {
                return Err(Error::internal(format!("list {prefix}: more than {LISTED_OBJECTS_MAX} objects")));
            }
            objects.push(ObjectMeta { key: meta.location.into(), size: meta.size });
        }
        objects.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Ok(objects)
    }

    /// Removes an object; one that is not there counts as removed.
    pub async fn delete(&self, key: &str) -> Result<()> {
        match self.store.delete(&path(key)?).await {
            Err(object_store::Error::NotFound { .. }) | Ok(()) => Ok(()),
            Err(e) => Err(error(e, "delete", key)),
        }
    }
}

fn path(key: &str) -> Result<Path> {
    Path::parse(key).map_err(|e| Error::invalid(format!("object key {key:?}: {e}")))
}

/// Our error of a failed operation: what it was, on which key, and what to do next.
fn error(e: object_store::Error, operation: &str, key: &str) -> Error {
    let kind = match &e {
        object_store::Error::NotFound { .. } => Kind::NotFound,
        object_store::Error::InvalidPath { .. } => Kind::Invalid,
        object_store::Error::NotSupported { .. } | object_store::Error::NotImplemented { .. } => Kind::Internal,
        _ => Kind::Unavailable,
    };
    Error::new(kind, format!("{operation} {key}: {e}"))
}
