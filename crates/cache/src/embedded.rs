//! A cache in this process's memory, bounded by bytes, by entries and by age. It must not know of any server.

use crate::Cache;
use crate::settings::Embedded as Settings;
use async_trait::async_trait;
use bytes::Bytes;
use quick_cache::sync::{Cache as Entries, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use runtime::metrics::Gauge;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// One part, so that a value may take any share of the cache.
const SHARDS: usize = 1;
/// A usual entry, for the first table.
const ENTRY_BYTES_USUAL: u64 = 16 << 10;
/// What an entry takes beside its key and value.
const ENTRY_BYTES_MORE: u64 = 128;

pub struct Embedded {
    entries: Entries<String, Arc<Entry>, Weight>,
    ttl: Duration,
    bytes: Gauge,
}

struct Entry {
    value: Bytes,
    expires: Instant,
    weight: u64,
    bytes: Gauge,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.bytes.dec_by(self.weight as i64);
    }
}

/// No entry weighs less than its share of `max_size_items`, so that no more than so many fit.
#[derive(Clone)]
struct Weight {
    weight_min: u64,
}

impl Weighter<String, Arc<Entry>> for Weight {
    fn weight(&self, _key: &String, entry: &Arc<Entry>) -> u64 {
        entry.weight.max(self.weight_min)
    }
}

impl Embedded {
    /// `ttl` is how long entries live, `bytes` tells what they take.
    pub fn new(settings: &Settings, ttl: Duration, bytes: Gauge) -> Result<Self, String> {
        let capacity = settings.max_size_mb << 20;
        let weight_min = match settings.max_size_items {
            0 => 1,
            items => capacity.div_ceil(items),
        };
        let items = (capacity / ENTRY_BYTES_USUAL.max(weight_min)).max(16);
        let options = OptionsBuilder::new()
            .shards(SHARDS)
            .weight_capacity(capacity)
            .estimated_items_capacity(items as usize)
            .build()
            .map_err(|error| format!("embedded_cache: {error}"))?;
        let weight = Weight { weight_min };
        let entries =
            Entries::with_options(options, weight, DefaultHashBuilder::default(), DefaultLifecycle::default());
        Ok(Embedded { entries, ttl, bytes })
    }

    fn get(&self, key: &String) -> Option<Bytes> {
        let entry = self.entries.get(key)?;
        if entry.expires <= Instant::now() {
            self.entries.remove(key);
            return None;
        }
        Some(entry.value.clone())
    }
}

#[async_trait]
impl Cache for Embedded {
    async fn fetch(&self, keys: &[String]) -> Vec<Option<Bytes>> {
        keys.iter().map(|key| self.get(key)).collect()
    }

    fn store(&self, entries: Vec<(String, Bytes)>) {
        let expires = Instant::now() + self.ttl;
        for (key, value) in entries {
            let weight = (key.len() + value.len()) as u64 + ENTRY_BYTES_MORE;
            self.bytes.inc_by(weight as i64);
            let entry = Entry { value, expires, weight, bytes: self.bytes.clone() };
            self.entries.insert(key, Arc::new(entry));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn cache(max_size_items: u64, ttl: Duration) -> Embedded {
        let settings = Settings { enabled: true, max_size_mb: 1, max_size_items, ttl };
        Embedded::new(&settings, ttl, Gauge::default()).unwrap()
    }

    async fn held(cache: &Embedded, count: usize) -> usize {
        let keys: Vec<String> = (0..count).map(|i| i.to_string()).collect();
        cache.fetch(&keys).await.iter().flatten().count()
    }

    #[tokio::test]
    async fn bytes_and_entries_are_bounded_and_counted() {
        let cache = cache(0, HOUR);
        for i in 0..1000 {
            cache.store(vec![(i.to_string(), Bytes::from(vec![0; 10_000]))]);
        }
        let found = held(&cache, 1000).await;
        assert!(found > 50 && found <= 104, "{found} of 10 kB in a MiB");
        let bytes = cache.bytes.get();
        assert!(bytes > 500_000 && bytes <= 1 << 20, "{bytes}");
        cache.store(vec![("huge".into(), Bytes::from(vec![0; 2 << 20]))]);
        assert_eq!(cache.fetch(&["huge".into()]).await, [None]);
        drop(cache.entries);
        assert_eq!(cache.bytes.get(), 0);
    }

    #[tokio::test]
    async fn no_more_entries_than_said_are_kept() {
        let cache = cache(10, HOUR);
        for i in 0..100 {
            cache.store(vec![(i.to_string(), Bytes::from_static(b"x"))]);
        }
        let found = held(&cache, 100).await;
        assert!(found > 0 && found <= 10, "{found}");
    }

    #[tokio::test(start_paused = true)]
    async fn old_entries_are_none() {
        let cache = cache(0, HOUR);
        cache.store(vec![("0".into(), Bytes::from_static(b"x"))]);
        tokio::time::advance(HOUR / 2).await;
        assert_eq!(held(&cache, 1).await, 1);
        tokio::time::advance(HOUR / 2).await;
        assert_eq!((held(&cache, 1).await, cache.bytes.get()), (0, 0));
    }
}
