//! A reader of one bucket with a cache, a clock and metrics of its own; and the golden buckets.

use format::ChunkRef;
use format::schema::{Period, Schema, SchemaVersion};
use format::tsdb::SeriesChunks;
use model::time::{MILLIS_PER_DAY, NANOS_PER_MILLI};
use model::{MatchOp, Matcher, TenantId, TimeRange};
use rpc::index::Index;
use rpc::ingester::{RecentRequest, StreamSize};
use runtime::clock::ManualClock;
use runtime::metrics::Registry;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use storage::index::{IndexMetrics, IndexReader, IndexSettings, Places};
use storage::objects::Objects;
use tempfile::TempDir;

pub const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden");
pub const EVERYTHING: (i64, i64) = (1_700_000_000_000, 1_760_000_000_000);
/// The range of most of the recorded queries.
pub const RECORDED: (i64, i64) = (1_740_866_400_000, 1_740_895_200_000);
pub const NOW_NS: i64 = 1_795_409_560_000_000_000;
pub const DAY: i64 = MILLIS_PER_DAY;

pub fn schema(periods: &[(i64, SchemaVersion, &str)]) -> Arc<Schema> {
    let period = |(from_ms, schema, prefix): &(i64, SchemaVersion, &str)| Period {
        from_ms: *from_ms,
        schema: *schema,
        index_prefix: prefix.to_string(),
        path_prefix: "index/".into(),
        object_store: "filesystem".into(),
    };
    Arc::new(Schema::new(periods.iter().map(period).collect()).unwrap())
}

/// One period from 2024 on, as in the configuration of most golden buckets.
pub fn one_period() -> Arc<Schema> {
    schema(&[(19_723 * DAY, SchemaVersion::V13, "index_")])
}

/// The periods of the bucket `schemas`, from 2024-01-01, 2025-03-01 and 2025-03-03 on.
pub fn three_periods() -> Arc<Schema> {
    schema(&[
        (19_723 * DAY, SchemaVersion::V11, "i11_"),
        (20_148 * DAY, SchemaVersion::V12, "i12_"),
        (20_150 * DAY, SchemaVersion::V13, "i13_"),
    ])
}

pub struct Fixture {
    pub reader: IndexReader,
    pub clock: Arc<ManualClock>,
    pub registry: Registry,
    pub cache: TempDir,
}

impl Fixture {
    pub fn new(objects: Objects, schema: Arc<Schema>) -> Self {
        Self::with(objects, schema, tempfile::tempdir().unwrap(), |_| ())
    }

    pub fn with(
        objects: Objects,
        schema: Arc<Schema>,
        cache: TempDir,
        change: impl FnOnce(&mut IndexSettings),
    ) -> Self {
        let (clock, mut registry) = (ManualClock::at(NOW_NS), Registry::default());
        let mut settings = IndexSettings { cache_dir: cache.path().into(), ..IndexSettings::default() };
        change(&mut settings);
        let metrics = IndexMetrics::register(&mut registry);
        let places = Places::single(schema, objects).unwrap();
        let reader = IndexReader::new(places, &settings, clock.clone(), metrics).unwrap();
        Fixture { reader, clock, registry, cache }
    }

    pub fn metric(&self, name: &str) -> u64 {
        let text = self.registry.print();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }

    /// The answer, which must be complete.
    pub async fn series(&self, tenant: &str, selector: &str, range_ms: (i64, i64)) -> Vec<SeriesChunks> {
        let (value, warnings) = self.series_and_warnings(tenant, selector, range_ms).await;
        assert_eq!(warnings, [""; 0]);
        value
    }

    pub async fn series_and_warnings(
        &self,
        tenant: &str,
        selector: &str,
        range_ms: (i64, i64),
    ) -> (Vec<SeriesChunks>, Vec<String>) {
        let tenant = TenantId::parse(tenant).unwrap();
        let found = self.reader.series(&tenant, &matchers(selector), range_ms, None).await.unwrap();
        (found.value, found.warnings)
    }

    pub async fn sizes(&self, tenant: &TenantId, selector: &str, (from_ms, through_ms): (i64, i64)) -> Vec<StreamSize> {
        let range = TimeRange::new(from_ms * NANOS_PER_MILLI, through_ms * NANOS_PER_MILLI);
        let request = RecentRequest { tenant: tenant.clone(), matchers: matchers(selector), range, shard: None };
        Index::sizes(&self.reader, request).await.unwrap().value
    }
}

/// Reads `{name op "value", ...}`, values without commas.
pub fn matchers(selector: &str) -> Vec<Matcher> {
    let inner = selector.trim_start_matches('{').trim_end_matches('}');
    let matcher = |text: &str| {
        let ops = [("=~", MatchOp::Re), ("!~", MatchOp::NotRe), ("!=", MatchOp::Ne), ("=", MatchOp::Eq)];
        let (name, op, value) =
            ops.iter().find_map(|(sign, op)| text.split_once(sign).map(|(n, v)| (n, *op, v))).unwrap();
        Matcher::new(name.trim(), op, value.trim().trim_matches('"')).unwrap()
    };
    inner.split(',').filter(|text| !text.is_empty()).map(matcher).collect()
}

pub fn golden(name: &str) -> Objects {
    Objects::local(Path::new(GOLDEN).join(name)).unwrap()
}

/// A golden bucket that may be changed.
pub async fn copied(name: &str) -> Objects {
    let (from, to) = (golden(name), Objects::memory());
    for object in from.list("index").await.unwrap() {
        to.put(&object.key, from.get(&object.key).await.unwrap()).await.unwrap();
    }
    to
}

pub fn chunks(series: &[SeriesChunks]) -> BTreeSet<(u64, i64, i64, u32)> {
    let identity = |c: &ChunkRef| (c.fingerprint.0, c.from_ms, c.through_ms, c.checksum);
    series.iter().flat_map(|s| &s.chunks).map(identity).collect()
}
