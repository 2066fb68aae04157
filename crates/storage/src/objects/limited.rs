//! A bucket that takes a bounded number of calls at a time; the others wait their turn.

use super::{Bucket, ObjectMeta};
use async_trait::async_trait;
use bytes::Bytes;
use model::{Error, Result};
use std::sync::Arc;
use tokio::sync::{Semaphore, SemaphorePermit};

#[derive(Debug)]
pub struct Limited {
    inner: Arc<dyn Bucket>,
    calls: Semaphore,
}

impl Limited {
    pub fn new(inner: Arc<dyn Bucket>, concurrent_calls_max: usize) -> Self {
        Limited { inner, calls: Semaphore::new(concurrent_calls_max.clamp(1, Semaphore::MAX_PERMITS)) }
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>> {
        self.calls.acquire().await.map_err(|e| Error::internal(e.to_string()))
    }
}

#[async_trait]
impl Bucket for Limited {
    async fn get(&self, key: &str, bytes_max: u64) -> Result<Bytes> {
        let _turn = self.turn().await?;
        self.inner.get(key, bytes_max).await
    }
    async fn size(&self, key: &str) -> Result<Option<u64>> {
        let _turn = self.turn().await?;
        self.inner.size(key).await
    }
    async fn put(&self, key: &str, object: Bytes) -> Result<()> {
        let _turn = self.turn().await?;
        self.inner.put(key, object).await
    }
    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>> {
        let _turn = self.turn().await?;
        self.inner.list(prefix).await
    }
    async fn delete(&self, key: &str) -> Result<()> {
        let _turn = self.turn().await?;
        self.inner.delete(key).await
    }
}
