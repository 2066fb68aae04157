//! Chunks' objects in caches before the object store: which cache has which chunk, and which chunks are worth keeping. It
//! must not know what is in an object, so whoever reads one verifies it.

use bytes::Bytes;
use cache::Cache;
use format::ChunkRef;
use runtime::clock::SharedClock;
use std::sync::Arc;
use std::time::Duration;

/// Around the age at which chunks change over, both caches are asked: what was young when it was stored is now old.
const OVERLAP_PARTS: u32 = 10;

/// Keys are the chunks' object keys, which hold the tenant and the checksum. A cheap handle.
#[derive(Clone)]
pub struct ChunkCaches {
    pub first: Option<Arc<dyn Cache>>,
    /// For chunks that are older than `handoff`.
    pub second: Option<Arc<dyn Cache>>,
    /// Zero: the second cache is not used.
    pub handoff: Duration,
    /// What a query fetches of chunks older than this is not stored in a cache; zero: it is, whatever its age.
    pub skip_writeback_older_than: Duration,
    pub clock: SharedClock,
}

impl ChunkCaches {
    /// The object, if a cache has it. Nobody has verified it.
    pub(crate) async fn fetch(&self, key: &str, chunk: &ChunkRef) -> Option<Bytes> {
        let keys = [key.to_string()];
        for cache in self.asked(chunk) {
            if let Some(object) = cache.fetch(&keys).await.into_iter().next().flatten() {
                return Some(object);
            }
        }
        None
    }

    /// Keeps what was just stored.
    pub(crate) fn stored(&self, key: &str, chunk: &ChunkRef, object: Bytes) {
        let cache = if self.is_old(chunk, self.handoff) { &self.second } else { &self.first };
        if let Some(cache) = cache {
            cache.store(vec![(key.to_string(), object)]);
        }
    }

    /// Keeps what a query has fetched from the object store, if it is young enough.
    pub(crate) fn fetched(&self, key: &str, chunk: &ChunkRef, object: Bytes) {
        let skipped = !self.skip_writeback_older_than.is_zero() && self.age(chunk) > self.skip_writeback_older_than;
        if !skipped {
            self.stored(key, chunk, object);
        }
    }

    fn asked(&self, chunk: &ChunkRef) -> impl Iterator<Item = &Arc<dyn Cache>> {
        let first = self.first.iter().filter(|_| !self.is_old(chunk, self.handoff + self.handoff / OVERLAP_PARTS));
        let second = self.second.iter().filter(|_| self.is_old(chunk, self.handoff));
        first.chain(second)
    }

    /// Whether it is the second cache's.
    fn is_old(&self, chunk: &ChunkRef, handoff: Duration) -> bool {
        self.second.is_some() && !handoff.is_zero() && self.age(chunk) > handoff
    }

    /// Since the chunk's newest line.
    fn age(&self, chunk: &ChunkRef) -> Duration {
        let now_ms = self.clock.now_ns().div_euclid(1_000_000);
        Duration::from_millis(now_ms.saturating_sub(chunk.through_ms).max(0) as u64)
    }
}
