//! The index on the object store: what Loki wrote and what we ship is found; what is damaged or gone is said.

use bytes::Bytes;
use format::ChunkRef;
use format::key::parse_key;
use format::schema::{Period, Schema, SchemaVersion};
use format::tsdb::SeriesChunks;
use model::time::MILLIS_PER_DAY;
use model::{Kind, Labels, MatchOp, Matcher, TenantId};
use prometheus_client::registry::Registry;
use runtime::clock::ManualClock;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use storage::index::{IndexEntry, IndexMetrics, IndexReader, IndexSettings, IndexShipper, Places, Stats, Uploader};
use storage::objects::Objects;
use storage::testing::{Faults, Faulty};
use tempfile::TempDir;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden");
const EVERYTHING: (i64, i64) = (1_700_000_000_000, 1_760_000_000_000);
/// The range of most of the recorded queries.
const RECORDED: (i64, i64) = (1_740_866_400_000, 1_740_895_200_000);
const NOW_NS: i64 = 1_795_409_560_000_000_000;
const DAY: i64 = MILLIS_PER_DAY;

fn schema(periods: &[(i64, SchemaVersion, &str)]) -> Arc<Schema> {
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
fn one_period() -> Arc<Schema> {
    schema(&[(19_723 * DAY, SchemaVersion::V13, "index_")])
}

/// The periods of the bucket `schemas`, from 2024-01-01, 2025-03-01 and 2025-03-03 on.
fn three_periods() -> Arc<Schema> {
    schema(&[
        (19_723 * DAY, SchemaVersion::V11, "i11_"),
        (20_148 * DAY, SchemaVersion::V12, "i12_"),
        (20_150 * DAY, SchemaVersion::V13, "i13_"),
    ])
}

struct Fixture {
    reader: IndexReader,
    clock: Arc<ManualClock>,
    registry: Registry,
    cache: TempDir,
}

impl Fixture {
    fn new(objects: Objects, schema: Arc<Schema>) -> Self {
        Self::with(objects, schema, tempfile::tempdir().unwrap(), |_| ())
    }

    fn with(objects: Objects, schema: Arc<Schema>, cache: TempDir, change: impl FnOnce(&mut IndexSettings)) -> Self {
        let (clock, mut registry) = (ManualClock::at(NOW_NS), Registry::default());
        let mut settings = IndexSettings { cache_dir: cache.path().into(), ..IndexSettings::default() };
        change(&mut settings);
        let metrics = IndexMetrics::register(&mut registry);
        let places = Places::single(schema, objects).unwrap();
        let reader = IndexReader::new(places, &settings, clock.clone(), metrics).unwrap();
        Fixture { reader, clock, registry, cache }
    }

    fn metric(&self, name: &str) -> u64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }

    /// The answer, which must be complete.
    async fn series(&self, tenant: &str, selector: &str, range_ms: (i64, i64)) -> Vec<SeriesChunks> {
        let (value, warnings) = self.series_and_warnings(tenant, selector, range_ms).await;
        assert_eq!(warnings, [""; 0]);
        value
    }

    async fn series_and_warnings(
        &self,
        tenant: &str,
        selector: &str,
        range_ms: (i64, i64),
    ) -> (Vec<SeriesChunks>, Vec<String>) {
        let tenant = TenantId::parse(tenant).unwrap();
        let found = self.reader.series(&tenant, &matchers(selector), range_ms, None).await.unwrap();
        (found.value, found.warnings)
    }
}

/// Reads `{name op "value", ...}`, values without commas.
fn matchers(selector: &str) -> Vec<Matcher> {
    let inner = selector.trim_start_matches('{').trim_end_matches('}');
    let matcher = |text: &str| {
        let ops = [("=~", MatchOp::Re), ("!~", MatchOp::NotRe), ("!=", MatchOp::Ne), ("=", MatchOp::Eq)];
        let (name, op, value) =
            ops.iter().find_map(|(sign, op)| text.split_once(sign).map(|(n, v)| (n, *op, v))).unwrap();
        Matcher::new(name.trim(), op, value.trim().trim_matches('"')).unwrap()
    };
    inner.split(',').filter(|text| !text.is_empty()).map(matcher).collect()
}

fn golden(name: &str) -> Objects {
    Objects::local(Path::new(GOLDEN).join(name)).unwrap()
}

/// A golden bucket that may be changed.
async fn copied(name: &str) -> Objects {
    let (from, to) = (golden(name), Objects::memory());
    for object in from.list("index").await.unwrap() {
        to.put(&object.key, from.get(&object.key).await.unwrap()).await.unwrap();
    }
    to
}

fn chunks(series: &[SeriesChunks]) -> BTreeSet<(u64, i64, i64, u32)> {
    let identity = |c: &ChunkRef| (c.fingerprint.0, c.from_ms, c.through_ms, c.checksum);
    series.iter().flat_map(|s| &s.chunks).map(identity).collect()
}

#[tokio::test]
async fn the_index_lists_exactly_the_chunks_of_each_golden_bucket() {
    for (bucket, schema, tenants) in [
        ("uncompacted", one_period(), &["acme", "globex"][..]),
        ("compacted", one_period(), &["acme", "globex"]),
        ("encodings", one_period(), &["t1"]),
        ("schemas", three_periods(), &["t1"]),
    ] {
        let objects = golden(bucket);
        let keys = objects.list("").await.unwrap().into_iter().filter_map(|o| objects.chunk_key(&o.key));
        let stored: Vec<(TenantId, ChunkRef)> = keys.filter_map(|key| parse_key(&key).ok()).collect();
        let fixture = Fixture::new(objects, schema);
        for tenant in tenants {
            let found = fixture.series(tenant, "{}", EVERYTHING).await;
            let of_tenant = stored.iter().filter(|(t, _)| t.as_str() == *tenant).map(|(_, c)| *c);
            let expected: BTreeSet<_> =
                of_tenant.map(|c| (c.fingerprint.0, c.from_ms, c.through_ms, c.checksum)).collect();
            assert!(expected.len() > 2, "{bucket} {tenant}");
            assert_eq!(chunks(&found), expected, "{bucket} {tenant}");
            assert!(found.iter().all(|s| s.labels.fingerprint() == s.fingerprint), "labels are the stream's own");
            assert_eq!(found.iter().map(|s| s.chunks.len()).sum::<usize>(), expected.len(), "no chunk comes twice");
        }
        assert_eq!(fixture.series("nobody", "{}", EVERYTHING).await, []);
    }
}

#[tokio::test]
async fn compaction_changes_no_answer() {
    let [before, after] = ["uncompacted", "compacted"].map(|bucket| Fixture::new(golden(bucket), one_period()));
    let text = std::fs::read_to_string(Path::new(GOLDEN).join("queries.json")).unwrap();
    let queries: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut compared = 0;
    for (name, query) in queries.as_object().unwrap() {
        let params = &query["params"];
        let text = params["query"].as_str().or(params["match[]"].as_str()).unwrap_or("{}");
        let selector = &text[text.find('{').unwrap()..=text.find('}').unwrap()];
        let tenant = query["tenant"].as_str().unwrap();
        let millis = |name: &str| params[name].as_i64().map(|ns| ns / 1_000_000);
        let range_ms = millis("start").zip(millis("end")).unwrap_or(RECORDED);
        let found = before.series(tenant, selector, range_ms).await;
        assert_eq!(found, after.series(tenant, selector, range_ms).await, "{name}");
        compared += usize::from(!found.is_empty());
    }
    assert!(compared >= 20, "{compared} queries with streams");
}

#[tokio::test]
async fn metadata_is_what_loki_answered() {
    for bucket in ["uncompacted", "compacted"] {
        let fixture = Fixture::new(golden(bucket), one_period());
        let [acme, globex] = ["acme", "globex"].map(|t| TenantId::parse(t).unwrap());
        let names = fixture.reader.label_names(&acme, &[], RECORDED).await.unwrap();
        assert_eq!(names.value, ["app", "env", "host", "job", "region"]);
        let values = fixture.reader.label_values(&globex, "pod", &[], RECORDED).await.unwrap();
        assert_eq!(values.value, ["api-0", "api-1", "api-2"]);
        let values =
            fixture.reader.label_values(&acme, "app", &matchers(r#"{env="staging"}"#), RECORDED).await.unwrap();
        assert_eq!(values.value, ["checkout"]);
        let names = fixture.reader.label_names(&acme, &matchers(r#"{job=~".+"}"#), RECORDED).await.unwrap();
        assert_eq!(names.value, ["host", "job"]);
        for name in ["__loki_tenant__", "missing"] {
            assert_eq!(fixture.reader.label_values(&acme, name, &[], RECORDED).await.unwrap().value, [""; 0]);
        }
        let series: BTreeSet<String> =
            fixture.series("acme", r#"{env=~".+"}"#, RECORDED).await.iter().map(|s| s.labels.to_string()).collect();
        let expected = [
            r#"{app="checkout", env="prod", region="eu-1"}"#,
            r#"{app="checkout", env="staging", region="eu-1"}"#,
            r#"{app="gateway", env="prod"}"#,
        ];
        assert!(series.iter().eq(expected), "{series:?}");
        let volume =
            fixture.reader.volume(&globex, &matchers(r#"{service_name=~".+"}"#), RECORDED).await.unwrap().value;
        let of = |service: &str| -> u64 {
            volume
                .iter()
                .filter(|(labels, _)| labels.get("service_name") == Some(service))
                .map(|(_, bytes)| bytes)
                .sum()
        };
        assert_eq!((of("api"), of("checkout")), (18_432, 2_048));
        let stats = fixture.reader.stats(&acme, &matchers(r#"{app="checkout"}"#), RECORDED, None).await.unwrap().value;
        assert_eq!(stats, Stats { streams: 2, chunks: 6, bytes: 61_440, entries: 760 });
    }
}

#[tokio::test]
async fn a_chunk_across_midnight_and_periods_is_found_from_both_sides_and_once() {
    let fixture = Fixture::new(golden("uncompacted"), one_period());
    let midnight_ms = 20_149 * DAY;
    for (range_ms, found) in [
        ((midnight_ms - 1000, midnight_ms), true),
        ((midnight_ms, midnight_ms + 1000), true),
        ((midnight_ms - 1000, midnight_ms + 1000), true),
        ((midnight_ms + 2 * 3_600_000, midnight_ms + 3 * 3_600_000), false),
    ] {
        let series = fixture.series("acme", r#"{job="nightly"}"#, range_ms).await;
        assert_eq!(
            series.iter().map(|s| s.chunks.len()).collect::<Vec<_>>(),
            vec![1; usize::from(found)],
            "{range_ms:?}"
        );
    }
    let fixture = Fixture::new(golden("schemas"), three_periods());
    for (stream, border_ms) in [("cross11_12", 20_148 * DAY), ("cross12_13", 20_150 * DAY)] {
        let selector = format!("{{a=\"{stream}\"}}");
        let all = fixture.series("t1", &selector, EVERYTHING).await;
        assert_eq!(all.len(), 1, "{stream}");
        let crossing = |c: &&ChunkRef| c.from_ms < border_ms && c.through_ms >= border_ms;
        assert_eq!(all[0].chunks.iter().filter(crossing).count(), 1, "{stream}");
        for range_ms in [(border_ms - 1, border_ms), (border_ms, border_ms + 1)] {
            let found = fixture.series("t1", &selector, range_ms).await;
            assert_eq!(found.iter().flat_map(|s| &s.chunks).filter(crossing).count(), 1, "{stream} {range_ms:?}");
        }
    }
}

#[tokio::test]
async fn a_bad_file_is_a_warning_until_it_is_mended_and_the_rest_is_answered() {
    let good = Fixture::new(golden("uncompacted"), one_period()).series("acme", "{}", EVERYTHING).await;
    let original = golden("uncompacted");
    let key = &original.list("index").await.unwrap()[0].key;
    let object = original.get(key).await.unwrap();
    let flipped = |at: usize| {
        let mut bytes = object.to_vec();
        bytes[at] ^= 0x10;
        Bytes::from(bytes)
    };
    for (what, bad) in [
        ("a flipped bit", flipped(object.len() / 2)),
        ("half a file", object.slice(..object.len() / 2)),
        ("nothing", Bytes::new()),
        ("another format", Bytes::from_static(b"not gzip")),
    ] {
        let objects = copied("uncompacted").await;
        objects.put(key, bad).await.unwrap();
        let fixture = Fixture::new(objects.clone(), one_period());
        for _ in 0..3 {
            let (series, warnings) = fixture.series_and_warnings("acme", "{}", EVERYTHING).await;
            assert_eq!(warnings.len(), 1, "{what}: {warnings:?}");
            assert!(warnings[0].contains(key), "{what}: {warnings:?}");
            assert!(!series.is_empty() && chunks(&series).is_subset(&chunks(&good)), "{what}");
            let acme = TenantId::parse("acme").unwrap();
            assert_eq!(fixture.reader.label_names(&acme, &[], EVERYTHING).await.unwrap().warnings, warnings);
        }
        assert_eq!(fixture.metric("loki_index_bad_files_total"), 1, "{what}");
        assert_eq!(fixture.metric("loki_index_downloaded_files_total"), 6, "{what}: fetched once");
        objects.put(key, object.clone()).await.unwrap();
        fixture.clock.advance(600_000_000_000);
        assert_eq!(fixture.series("acme", "{}", EVERYTHING).await, good, "{what}, mended");
    }
}

#[tokio::test]
async fn a_bomb_is_not_unpacked() {
    use std::io::Write;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&vec![0; 8 << 20]).unwrap();
    let objects = copied("uncompacted").await;
    objects.put("index/index_20148/1-bomb.tsdb.gz", gzip.finish().unwrap().into()).await.unwrap();
    let fixture = Fixture::with(objects, one_period(), tempfile::tempdir().unwrap(), |s| s.cache_bytes = 1 << 20);
    let (series, warnings) = fixture.series_and_warnings("acme", "{}", EVERYTHING).await;
    assert_eq!((series.len(), warnings.len()), (4, 1), "{warnings:?}");
    assert!(warnings[0].contains("1-bomb") && warnings[0].contains("1048576 bytes"), "{warnings:?}");
    assert!(fixture.metric("loki_index_cached_bytes") < 1 << 20);
}

#[tokio::test]
async fn a_store_that_is_down_is_an_error_and_its_return_is_noticed() {
    let mut faulty = None;
    let objects = copied("compacted").await.wrapped(|inner| {
        let bucket = Arc::new(Faulty::new(inner, Faults::default()));
        faulty = Some(bucket.clone());
        bucket
    });
    let (faulty, acme) = (faulty.unwrap(), TenantId::parse("acme").unwrap());
    let fixture = Fixture::new(objects, one_period());
    for fail_next in [1, 40] {
        faulty.set(Faults { fail_next, ..Faults::default() });
        let error = fixture.reader.series(&acme, &[], EVERYTHING, None).await.unwrap_err();
        assert_eq!(error.kind, Kind::Unavailable, "{error}");
    }
    faulty.set(Faults { latency: Duration::from_millis(5), ..Faults::default() });
    assert_eq!(fixture.series("acme", "{}", RECORDED).await.len(), 4);
    faulty.set(Faults { fail_percent: 100, ..Faults::default() });
    assert_eq!(fixture.series("acme", "{}", RECORDED).await.len(), 4, "known files need no store");
}

#[tokio::test]
async fn many_requests_fetch_a_file_once() {
    let objects = copied("uncompacted").await.wrapped(|inner| {
        Arc::new(Faulty::new(inner, Faults { latency: Duration::from_millis(20), ..Faults::default() }))
    });
    let fixture = Fixture::new(objects, one_period());
    let answers = futures::future::join_all((0..20).map(|_| fixture.series("acme", "{}", RECORDED))).await;
    assert!(answers.iter().all(|a| *a == answers[0] && a.len() == 4));
    assert_eq!(fixture.metric("loki_index_downloaded_files_total"), 6);
    assert_eq!(fixture.metric("loki_index_listings_total"), 2);
}

#[tokio::test]
async fn a_compaction_between_listing_and_reading_goes_unnoticed() {
    let objects = copied("uncompacted").await;
    let fixture = Fixture::new(objects.clone(), one_period());
    let good = fixture.series("globex", "{}", EVERYTHING).await;
    // The tables are listed, but no copies are left when the compactor replaces the files.
    let fixture = Fixture::with(objects.clone(), one_period(), tempfile::tempdir().unwrap(), |s| {
        s.resync_interval = Duration::from_secs(3600);
        s.cache_bytes = 500;
    });
    fixture.series("globex", "{}", EVERYTHING).await;
    let compacted = golden("compacted");
    let old = objects.list("index").await.unwrap();
    for object in compacted.list("index").await.unwrap() {
        objects.put(&object.key, compacted.get(&object.key).await.unwrap()).await.unwrap();
    }
    for object in &old {
        objects.delete(&object.key).await.unwrap();
    }
    assert_eq!(fixture.series_and_warnings("globex", "{}", EVERYTHING).await.0, good);
    // Listed, gone, and still listed: then it is said.
    let lost = "index/index_20148/globex/1-x.tsdb.gz";
    objects.put(lost, Bytes::from_static(b"x")).await.unwrap();
    let fixture = Fixture::new(objects.clone().wrapped(|inner| Arc::new(Losing { inner, key: lost })), one_period());
    let (series, warnings) = fixture.series_and_warnings("globex", "{}", EVERYTHING).await;
    assert_eq!(series, good);
    assert!(warnings.len() == 1 && warnings[0].contains(lost), "{warnings:?}");
}

/// A bucket that lists an object which it does not have.
#[derive(Debug)]
struct Losing {
    inner: Arc<dyn storage::objects::Bucket>,
    key: &'static str,
}

#[async_trait::async_trait]
impl storage::objects::Bucket for Losing {
    async fn get(&self, key: &str, bytes_max: u64) -> model::Result<Bytes> {
        let found = if key == self.key { "no-such-object" } else { key };
        self.inner.get(found, bytes_max).await
    }
    async fn put(&self, key: &str, object: Bytes) -> model::Result<()> {
        self.inner.put(key, object).await
    }
    async fn list(&self, prefix: &str) -> model::Result<Vec<storage::objects::ObjectMeta>> {
        self.inner.list(prefix).await
    }
    async fn delete(&self, key: &str) -> model::Result<()> {
        self.inner.delete(key).await
    }
}

#[tokio::test]
async fn copies_outlive_the_process_damage_is_repaired_and_the_limit_holds() {
    let fixture = Fixture::new(golden("uncompacted"), one_period());
    let good = fixture.series("acme", "{}", EVERYTHING).await;
    let cached_bytes = fixture.metric("loki_index_cached_bytes");
    let Fixture { cache, reader, .. } = fixture;
    drop(reader);
    std::fs::write(cache.path().join("filesystem/left.tmp3"), b"half").unwrap();

    let fixture = Fixture::with(golden("uncompacted"), one_period(), cache, |_| ());
    assert_eq!(fixture.metric("loki_index_cached_bytes"), cached_bytes);
    assert_eq!(fixture.series("acme", "{}", EVERYTHING).await, good);
    assert_eq!(fixture.metric("loki_index_downloaded_files_total"), 0);
    assert!(!fixture.cache.path().join("filesystem/left.tmp3").exists());

    let Fixture { cache, reader, .. } = fixture;
    drop(reader);
    let table = cache.path().join("filesystem/index/index_20149");
    for entry in std::fs::read_dir(&table).unwrap() {
        std::fs::write(entry.unwrap().path(), b"damage").unwrap();
    }
    let fixture = Fixture::with(golden("uncompacted"), one_period(), cache, |s| s.cache_bytes = 1500);
    assert_eq!(fixture.series("acme", "{}", EVERYTHING).await, good);
    assert_eq!(fixture.metric("loki_index_bad_files_total"), 0);
    assert!(fixture.metric("loki_index_downloaded_files_total") >= 4);
    assert!(fixture.metric("loki_index_cached_bytes") <= 1500);
}

fn entry(tenant: &str, stream: &str, from_ms: i64, through_ms: i64) -> IndexEntry {
    let labels = Labels::new([("app", stream), ("service_name", stream)]);
    let fingerprint = labels.fingerprint();
    let checksum = from_ms as u32 ^ through_ms as u32;
    let chunk = ChunkRef { fingerprint, from_ms, through_ms, checksum, kb: 7, entries: 9 };
    IndexEntry { tenant: TenantId::parse(tenant).unwrap(), labels, chunk }
}

fn shipper(objects: Objects, schema: Arc<Schema>, dir: &Path, clock: &Arc<ManualClock>) -> IndexShipper {
    let uploader = Uploader::open(dir, "vm", clock.clone()).unwrap();
    IndexShipper::new(Places::single(schema, objects).unwrap(), uploader, IndexMetrics::default())
}

#[tokio::test]
async fn what_is_shipped_is_found_in_every_table_of_its_days() {
    let (objects, dir) = (Objects::memory(), tempfile::tempdir().unwrap());
    let fixture = Fixture::new(objects.clone(), three_periods());
    let shipper = shipper(objects.clone(), three_periods(), dir.path(), &fixture.clock);
    let border_ms = 20_150 * DAY;
    let entries = vec![
        entry("a", "one", border_ms - 5000, border_ms),
        entry("a", "one", border_ms + 1, border_ms + DAY - 2),
        entry("b", "one", border_ms - 2 * DAY, border_ms - 2 * DAY + 5),
        entry("b", "two", border_ms - DAY - 1, border_ms - DAY),
        entry("a", "long", border_ms, border_ms + 3 * DAY),
    ];
    assert_eq!(fixture.series("a", "{}", EVERYTHING).await, []);
    shipper.ship(entries.clone()).await.unwrap();
    shipper.ship(vec![]).await.unwrap();
    assert_eq!(fixture.series("a", "{}", EVERYTHING).await, [], "listings are remembered");
    fixture.reader.refresh();
    for tenant in ["a", "b"] {
        let found = fixture.series(tenant, "{}", EVERYTHING).await;
        let expected = entries.iter().filter(|e| e.tenant.as_str() == tenant).map(|e| e.chunk);
        let expected: BTreeSet<_> = expected.map(|c| (c.fingerprint.0, c.from_ms, c.through_ms, c.checksum)).collect();
        assert_eq!(chunks(&found), expected);
    }
    let keys: Vec<String> = objects.list("").await.unwrap().into_iter().map(|o| o.key).collect();
    let name = "1795409560-vm-1795409560000000000.tsdb.gz";
    let tables = ["i12_20148", "i12_20149", "i13_20150", "i13_20151", "i13_20152", "i13_20153"];
    assert_eq!(keys, tables.map(|table| format!("index/{table}/{name}")));
    let before_the_first = entry("a", "old", 19_000 * DAY, 19_000 * DAY + 1);
    assert_eq!(shipper.ship(vec![before_the_first]).await.unwrap_err().kind, Kind::Invalid);
}

#[tokio::test]
async fn a_shipment_is_repeated_under_its_name_and_no_other_takes_it() {
    let mut faulty = None;
    let objects = Objects::memory().wrapped(|inner| {
        let bucket = Arc::new(Faulty::new(inner, Faults { fail_next: 1, ..Faults::default() }));
        faulty = Some(bucket.clone());
        bucket
    });
    let (dir, clock) = (tempfile::tempdir().unwrap(), ManualClock::at(NOW_NS));
    let shipping = shipper(objects.clone(), one_period(), dir.path(), &clock);
    let midnight_ms = 20_149 * DAY;
    let first = vec![entry("a", "one", midnight_ms - 1, midnight_ms)];
    let second = vec![entry("a", "two", midnight_ms, midnight_ms + 1)];
    assert_eq!(shipping.ship(first.clone()).await.unwrap_err().kind, Kind::Unavailable);
    clock.advance(5_000_000_000);
    shipping.ship(second.clone()).await.unwrap();
    shipping.ship(first.clone()).await.unwrap();
    let names = || async {
        let keys = objects.list("index/index_20149").await.unwrap();
        keys.iter().map(|o| o.key["index/index_20149/".len()..][..10].to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names().await, ["1795409560", "1795409565"]);
    assert_eq!(objects.list("index/index_20148").await.unwrap().len(), 1);
    drop(shipping);
    // Another process on the same directory, within the same second.
    let shipping = shipper(objects.clone(), one_period(), dir.path(), &clock);
    for _ in 0..3 {
        shipping.ship(second.clone()).await.unwrap();
    }
    assert_eq!(names().await, ["1795409560", "1795409565", "1795409566", "1795409567", "1795409568"]);
    let fixture = Fixture::new(objects.clone(), one_period());
    let found = fixture.series("a", "{}", EVERYTHING).await;
    assert_eq!(found.iter().map(|s| s.chunks.len()).collect::<Vec<_>>(), [1, 1], "repeated rows are one");
}
