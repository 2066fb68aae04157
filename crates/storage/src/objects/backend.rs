//! A bucket of the `object_store` crate: S3, GCS, Azure, a directory, memory. Its clients retry by themselves
//! (setting `backoff_config`); here are the whole-object calls and the translation of errors.

use super::{Bucket, LISTED_OBJECTS_MAX, ObjectMeta};
use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use model::{Error, Kind, Result};
use object_store::path::Path;
use object_store::{Attribute, Attributes, ObjectStore, ObjectStoreExt, PutOptions};
use std::sync::Arc;

#[derive(Debug)]
pub struct Backend {
    store: Arc<dyn ObjectStore>,
    /// What every object is stored with.
    attributes: Attributes,
}

impl Backend {
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Backend { store, attributes: Attributes::new() }
    }

    /// The same bucket, whose objects are stored in this class; the store's own default when it is empty.
    pub fn in_class(mut self, storage_class: &str) -> Self {
        if !storage_class.is_empty() {
            self.attributes.insert(Attribute::StorageClass, storage_class.to_string().into());
        }
        self
    }
}

#[async_trait]
impl Bucket for Backend {
    async fn get(&self, key: &str, bytes_max: u64) -> Result<Bytes> {
        let answer = self.store.get(&path(key)?).await.map_err(|e| error(e, "get", key))?;
        let size = answer.meta.size;
        if size > bytes_max {
            return Err(Error::too_large(format!("get {key}: the object has {size} bytes, more than {bytes_max}")));
        }
        let bytes = answer.bytes().await.map_err(|e| error(e, "get", key))?;
        if bytes.len() as u64 != size {
            let got = bytes.len();
            return Err(Error::unavailable(format!("get {key}: the answer ended after {got} of {size} bytes")));
        }
        Ok(bytes)
    }

    async fn size(&self, key: &str) -> Result<Option<u64>> {
        match self.store.head(&path(key)?).await.map_err(|e| error(e, "head", key)) {
            Ok(meta) => Ok(Some(meta.size)),
            Err(e) if e.kind == Kind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    async fn put(&self, key: &str, object: Bytes) -> Result<()> {
        let options = PutOptions { attributes: self.attributes.clone(), ..PutOptions::default() };
        self.store.put_opts(&path(key)?, object.into(), options).await.map(drop).map_err(|e| error(e, "put", key))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>> {
        let root = path(prefix)?;
        let mut found = self.store.list(Some(&root));
        let mut objects = Vec::new();
        while let Some(meta) = found.try_next().await.map_err(|e| error(e, "list", prefix))? {
            if objects.len() == LISTED_OBJECTS_MAX {
                return Err(Error::too_large(format!("list {prefix}: more than {LISTED_OBJECTS_MAX} objects")));
            }
            objects.push(ObjectMeta { key: meta.location.into(), size: meta.size });
        }
        Ok(objects)
    }

    async fn delete(&self, key: &str) -> Result<()> {
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
    let text = e.to_string();
    let kind = match &e {
        // A bucket that is not there must not look like an object that is not there: that would be an empty answer.
        object_store::Error::NotFound { .. } if text.contains("NoSuchBucket") || text.contains("ContainerNotFound") => {
            Kind::Unavailable
        }
        object_store::Error::NotFound { .. } => Kind::NotFound,
        object_store::Error::InvalidPath { .. } => Kind::Invalid,
        object_store::Error::NotSupported { .. } | object_store::Error::NotImplemented { .. } => Kind::Internal,
        _ => Kind::Unavailable,
    };
    Error::new(kind, format!("{operation} {key}: {text}"))
}
