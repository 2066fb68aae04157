//! One bucket out of several: each key lives in the bucket that its hash names, as Loki spreads over `bucketnames`.

use super::{Bucket, ObjectMeta};
use async_trait::async_trait;
use bytes::Bytes;
use model::{Error, Result};
use std::sync::Arc;

#[derive(Debug)]
pub struct Spread {
    buckets: Vec<Arc<dyn Bucket>>,
}

impl Spread {
    pub fn new(buckets: Vec<Arc<dyn Bucket>>) -> Result<Self> {
        if buckets.is_empty() {
            return Err(Error::invalid("no bucket is named (setting: bucketnames)"));
        }
        Ok(Spread { buckets })
    }

    fn of(&self, key: &str) -> &dyn Bucket {
        &*self.buckets[fnv1a(key.as_bytes()) as usize % self.buckets.len()]
    }
}

/// FNV-1a, 32 bits.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |h, b| (h ^ u32::from(*b)).wrapping_mul(0x0100_0193))
}

#[async_trait]
impl Bucket for Spread {
    async fn get(&self, key: &str, bytes_max: u64) -> Result<Bytes> {
        self.of(key).get(key, bytes_max).await
    }
    async fn size(&self, key: &str) -> Result<Option<u64>> {
        self.of(key).size(key).await
    }
    async fn put(&self, key: &str, object: Bytes) -> Result<()> {
        self.of(key).put(key, object).await
    }
    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>> {
        let mut objects = Vec::new();
        for bucket in &self.buckets {
            objects.append(&mut bucket.list(prefix).await?);
        }
        Ok(objects)
    }
    async fn delete(&self, key: &str) -> Result<()> {
        self.of(key).delete(key).await
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_hash_is_fnv_1a() {
        for (text, hash) in [("", 0x811c_9dc5u32), ("a", 0xe40c_292c), ("foobar", 0xbf9c_f968)] {
            assert_eq!(super::fnv1a(text.as_bytes()), hash, "{text}");
        }
    }
}
