//! What stands before other caches: compression, a nearer cache, counting. They must not know what is behind them.

use crate::metrics::{Counts, Failed};
use crate::{Cache, VALUE_BYTES_MAX};
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::Arc;
use tokio::time::Instant;

/// No snappy block is larger than so many times its compressed form: a copy of 64 bytes takes three.
const SNAPPY_RATIO_MAX: usize = 32;

/// Values are stored compressed with snappy. What cannot be decompressed is a miss.
pub struct Snappy {
    inner: Arc<dyn Cache>,
    counts: Counts,
}

impl Snappy {
    pub fn new(inner: Arc<dyn Cache>, counts: Counts) -> Self {
        Snappy { inner, counts }
    }

    fn decompressed(&self, value: &[u8]) -> Option<Bytes> {
        let bytes_max = value.len().saturating_mul(SNAPPY_RATIO_MAX).min(VALUE_BYTES_MAX);
        let fits = snap::raw::decompress_len(value).is_ok_and(|bytes| bytes <= bytes_max);
        let bytes = fits.then(|| snap::raw::Decoder::new().decompress_vec(value).ok()).flatten();
        if bytes.is_none() {
            self.counts.failed(Failed::Corrupt);
        }
        bytes.map(Bytes::from)
    }
}

#[async_trait]
impl Cache for Snappy {
    async fn fetch(&self, keys: &[String]) -> Vec<Option<Bytes>> {
        let found = self.inner.fetch(keys).await;
        found.into_iter().map(|value| self.decompressed(&value?)).collect()
    }

    fn store(&self, entries: Vec<(String, Bytes)>) {
        let mut encoder = snap::raw::Encoder::new();
        let compressed = entries.into_iter().filter_map(|(key, value)| {
            let value = encoder.compress_vec(&value).ok();
            if value.is_none() {
                self.counts.failed(Failed::TooLarge);
            }
            Some((key, Bytes::from(value?)))
        });
        self.inner.store(compressed.collect());
    }
}

/// A near cache before a far one: what only the far one has is kept near as well.
pub struct Tiered {
    near: Arc<dyn Cache>,
    far: Arc<dyn Cache>,
}

impl Tiered {
    pub fn new(near: Arc<dyn Cache>, far: Arc<dyn Cache>) -> Self {
        Tiered { near, far }
    }
}

#[async_trait]
impl Cache for Tiered {
    async fn fetch(&self, keys: &[String]) -> Vec<Option<Bytes>> {
        let mut found = self.near.fetch(keys).await;
        let missed: Vec<usize> = (0..found.len()).filter(|i| found[*i].is_none()).collect();
        if missed.is_empty() {
            return found;
        }
        let far_keys: Vec<String> = missed.iter().map(|i| keys[*i].clone()).collect();
        let mut kept = vec![];
        for ((i, key), value) in missed.into_iter().zip(far_keys.iter()).zip(self.far.fetch(&far_keys).await) {
            kept.extend(value.clone().map(|value| (key.clone(), value)));
            found[i] = value;
        }
        self.near.store(kept);
        found
    }

    fn store(&self, entries: Vec<(String, Bytes)>) {
        self.near.store(entries.clone());
        self.far.store(entries);
    }
}

/// Counts look-ups under the cache's name.
pub struct Counted {
    inner: Arc<dyn Cache>,
    counts: Counts,
}

impl Counted {
    pub fn new(inner: Arc<dyn Cache>, counts: Counts) -> Self {
        Counted { inner, counts }
    }
}

#[async_trait]
impl Cache for Counted {
    async fn fetch(&self, keys: &[String]) -> Vec<Option<Bytes>> {
        let began = Instant::now();
        let mut found = self.inner.fetch(keys).await;
        // Who asks may count on it.
        found.resize(keys.len(), None);
        self.counts.looked_up(&found, began.elapsed());
        found
    }

    fn store(&self, entries: Vec<(String, Bytes)>) {
        self.inner.store(entries);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::Embedded;
    use crate::metrics::Metrics;
    use crate::settings;
    use runtime::metrics::Gauge;
    use std::time::Duration;

    fn memory() -> Arc<dyn Cache> {
        let settings = settings::Embedded { enabled: true, ..Default::default() };
        Arc::new(Embedded::new(&settings, Duration::from_secs(60), Gauge::default()).unwrap())
    }

    fn key(name: &str) -> Vec<String> {
        vec![name.to_string()]
    }

    #[tokio::test]
    async fn compressed_values_come_back_and_junk_is_a_miss() {
        let (inner, registry) = (memory(), runtime::metrics::Metrics::default());
        let cache = Snappy::new(inner.clone(), Metrics::new(&registry).of("test"));
        let value = Bytes::from(vec![7; 100_000]);
        cache.store(vec![("a".into(), value.clone())]);
        assert_eq!(cache.fetch(&key("a")).await, [Some(value)]);
        assert!(inner.fetch(&key("a")).await[0].as_ref().unwrap().len() < 10_000);
        // Four gigabytes by its own words, a broken varint, a copy from before the start, nothing at all.
        for junk in [&b"\xff\xff\xff\xff\x0f"[..], b"\xff", b"\x04\x05\x01", b""] {
            inner.store(vec![("a".into(), Bytes::from_static(junk))]);
            assert_eq!(cache.fetch(&key("a")).await, [None], "{junk:?}");
        }
        assert!(registry.print_classic().contains("loki_cache_failures_total{name=\"test\",reason=\"corrupt\"} 4\n"));
    }

    #[tokio::test]
    async fn what_is_far_is_kept_near() {
        let (near, far) = (memory(), memory());
        let cache = Tiered::new(near.clone(), far.clone());
        let (value, other) = (Bytes::from_static(b"v"), Bytes::from_static(b"w"));
        far.store(vec![("far".into(), value.clone())]);
        near.store(vec![("near".into(), other.clone())]);
        let keys: Vec<String> = ["none", "far", "near"].map(String::from).to_vec();
        assert_eq!(cache.fetch(&keys).await, [None, Some(value.clone()), Some(other.clone())]);
        assert_eq!(near.fetch(&keys).await, [None, Some(value), Some(other.clone())]);
        cache.store(vec![("none".into(), other.clone())]);
        assert_eq!(
            (near.fetch(&key("none")).await, far.fetch(&key("none")).await),
            (vec![Some(other.clone())], vec![Some(other)])
        );
    }

    #[tokio::test]
    async fn look_ups_are_counted() {
        let registry = runtime::metrics::Metrics::default();
        let cache = Counted::new(memory(), Metrics::new(&registry).of("test"));
        cache.store(vec![("a".into(), Bytes::from_static(b"v"))]);
        cache.fetch(&["a".to_string(), "b".to_string()]).await;
        let text = registry.print_classic();
        for line in [
            "loki_cache_hits{name=\"test\"} 1",
            "loki_cache_fetched_keys{name=\"test\"} 2",
            "loki_cache_request_duration_seconds_count{name=\"test\",method=\"fetch\",status_code=\"200\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }
}
