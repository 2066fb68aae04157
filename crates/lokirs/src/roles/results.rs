//! The caches of answers that `query_range` asks for, and the stages that use them. Answers that have no cache of their
//! own share that of `results_cache`; where that is not configured, it is one in memory.

use crate::config::Settings;
use crate::config::roles::ResultsCache;
use crate::node::Base;
use cache::Cache;
use frontend::results::Results;
use frontend::results::generations::Generations;
use frontend::results::metadata::MetadataResults;
use frontend::results::shelf::{Shelf, ShelfMetrics};
use rpc::deletes::Deletes;
use rpc::queries::Queries;
use std::sync::Arc;

/// Where each kind of answers is kept; none: it is not.
pub struct AnswerCaches {
    range: Option<Shelf>,
    instant: Option<Shelf>,
    stats: Option<Shelf>,
    volume: Option<Shelf>,
    series: Option<Shelf>,
    labels: Option<Shelf>,
    generations: Arc<Generations>,
}

impl AnswerCaches {
    pub fn open(base: &Base, deletes: Option<Arc<dyn Deletes>>) -> Result<Self, String> {
        let own = &base.settings.query_range;
        let shared = shared(base)?;
        let metrics = ShelfMetrics::new(&base.metrics);
        let shelf = |kind, is_on: bool, block: &str, of: &ResultsCache| -> Result<Option<Shelf>, String> {
            if !is_on {
                return Ok(None);
            }
            let cache = if of.cache.is_set() { built(base, block, of)? } else { shared.clone() };
            Ok(cache.map(|cache| Shelf::new(kind, cache, metrics.clone())))
        };
        let stats = "index-stats-results-cache";
        let instant = "instant-metric-results-cache";
        Ok(AnswerCaches {
            range: shelf("result", own.cache_results, "", &ResultsCache::default())?,
            instant: shelf(
                "instantMetricResult",
                own.cache_instant_metric_results,
                instant,
                &own.instant_metric_results_cache,
            )?,
            stats: shelf("statsResult", own.cache_index_stats_results, stats, &own.index_stats_results_cache)?,
            volume: shelf("volumeResult", own.cache_volume_results, "volume-results-cache", &own.volume_results_cache)?,
            series: shelf("seriesResult", own.cache_series_results, "series-results-cache", &own.series_results_cache)?,
            labels: shelf("labelResult", own.cache_label_results, "label-results-cache", &own.label_results_cache)?,
            generations: Arc::new(Generations::new(deletes, base.clock.clone())),
        })
    }

    /// The stage that keeps answers of queries, over what `between` makes of the one that keeps answers about streams,
    /// over `last`.
    pub fn around(
        self,
        base: &Base,
        last: Arc<dyn Queries>,
        between: impl FnOnce(Arc<dyn Queries>) -> Arc<dyn Queries>,
    ) -> Arc<dyn Queries> {
        let AnswerCaches { range, instant, stats, volume, series, labels, generations } = self;
        let (limits, clock) = (base.limits.clone(), base.clock.clone());
        let metadata = MetadataResults {
            next: last,
            stats,
            volume,
            series,
            labels,
            generations: generations.clone(),
            limits: limits.clone(),
            clock: clock.clone(),
        };
        let next = between(Arc::new(metadata));
        Arc::new(Results { next, range, instant, generations, limits, budget: base.memory.clone(), clock })
    }
}

/// The cache of `results_cache`, where something is kept in it.
fn shared(base: &Base) -> Result<Option<Arc<dyn Cache>>, String> {
    if !is_shared(&base.settings) {
        return Ok(None);
    }
    let mut of = base.settings.query_range.results_cache.clone();
    if !of.cache.is_set() {
        of.cache.embedded_cache.enabled = true;
    }
    built(base, "", &of)
}

fn is_shared(settings: &Settings) -> bool {
    let own = &settings.query_range;
    own.cache_results
        || [
            (own.cache_instant_metric_results, &own.instant_metric_results_cache),
            (own.cache_index_stats_results, &own.index_stats_results_cache),
            (own.cache_volume_results, &own.volume_results_cache),
            (own.cache_series_results, &own.series_results_cache),
            (own.cache_label_results, &own.label_results_cache),
        ]
        .iter()
        .any(|(is_on, of)| *is_on && !of.cache.is_set())
}

/// The cache of a block, under the name that it has in Loki's flags.
fn built(base: &Base, block: &str, of: &ResultsCache) -> Result<Option<Arc<dyn Cache>>, String> {
    let name = if block.is_empty() { "frontend.".to_string() } else { format!("frontend.{block}.") };
    let built = cache::build(&name, &of.cache, &base.caches).map_err(|e| format!("query_range: {name}: {e}"))?;
    Ok(built.map(|cache| match of.compression.as_str() {
        "" => cache,
        _ => cache::compressed(&name, cache, &base.caches),
    }))
}
