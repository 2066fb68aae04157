//! One kind of answers in a cache: what is asked of it and given to it, counted.

use super::extents::Extent;
use super::key::Key;
use super::stored;
use cache::Cache;
use rpc::queries::CacheUse;
use runtime::metrics::{Counter, Family, Metrics};
use std::sync::Arc;
use std::time::Instant;

type PerKind = Family<Vec<(&'static str, &'static str)>, Counter>;

/// Counts of all kinds; clones are the same.
#[derive(Clone)]
pub struct ShelfMetrics {
    requests: PerKind,
    hits: PerKind,
    partial_hits: PerKind,
    stored: PerKind,
    pub log_hits: Counter,
    pub log_misses: Counter,
}

impl ShelfMetrics {
    pub fn new(metrics: &Metrics) -> Self {
        let name = |rest: &str| format!("query_frontend_results_cache_{rest}");
        ShelfMetrics {
            requests: metrics.counters(&name("requests"), "Questions that a cache of answers was asked"),
            hits: metrics.counters(&name("hits"), "Questions that a cache of answers answered"),
            partial_hits: metrics
                .counters(&name("partial_hits"), "Questions that it answered for a part of their time"),
            stored: metrics.counters(&name("stored"), "Answers that were given to a cache"),
            log_hits: metrics.counter(
                "query_frontend_log_result_cache_hit",
                "Log queries known to find nothing, and therefore not run",
            ),
            log_misses: metrics.counter(
                "query_frontend_log_result_cache_miss",
                "Log queries of which it was not known whether they find something",
            ),
        }
    }
}

pub struct Shelf {
    kind: &'static str,
    cache: Arc<dyn Cache>,
    pub metrics: ShelfMetrics,
}

impl Shelf {
    /// `kind` stands in keys and metrics.
    pub fn new(kind: &'static str, cache: Arc<dyn Cache>, metrics: ShelfMetrics) -> Self {
        Shelf { kind, cache, metrics }
    }

    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// What is kept for a key.
    pub async fn take(&self, key: &Key, usage: &mut CacheUse) -> Vec<Extent> {
        self.take_all(std::slice::from_ref(key), usage).await.pop().unwrap_or_default()
    }

    /// What is kept for each of the keys.
    pub async fn take_all(&self, keys: &[Key], usage: &mut CacheUse) -> Vec<Vec<Extent>> {
        let names: Vec<String> = keys.iter().map(Key::name).collect();
        let asked = Instant::now();
        let found = self.cache.fetch(&names).await;
        usage.requests += 1;
        usage.entries_requested += keys.len() as u64;
        usage.download_time += asked.elapsed();
        self.metrics.requests.get_or_create(&self.labels()).inc_by(keys.len() as u64);
        let mut found = found.into_iter();
        let of = |key: &Key| {
            let Some(bytes) = found.next().flatten() else { return vec![] };
            usage.bytes_received += bytes.len() as u64;
            let extents = stored::decode(key, &bytes).unwrap_or_default();
            usage.entries_found += u64::from(!extents.is_empty());
            extents
        };
        keys.iter().map(of).collect()
    }

    /// Keeps `extents` instead of what is kept for the key.
    pub fn put(&self, key: &Key, extents: &[Extent], usage: &mut CacheUse) {
        let Some(bytes) = stored::encode(key, extents) else { return };
        usage.entries_stored += 1;
        usage.bytes_sent += bytes.len() as u64;
        self.metrics.stored.get_or_create(&self.labels()).inc();
        self.cache.store(vec![(key.name(), bytes)]);
    }

    /// Counts a question that was answered from here, in whole or in part.
    pub fn count_hit(&self, is_whole: bool) {
        let hits = if is_whole { &self.metrics.hits } else { &self.metrics.partial_hits };
        hits.get_or_create(&self.labels()).inc();
    }

    fn labels(&self) -> Vec<(&'static str, &'static str)> {
        vec![("kind", self.kind)]
    }
}
