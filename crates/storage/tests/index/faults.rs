//! What is damaged, gone or out of reach is said, and the rest is answered.

use crate::fixture::*;
use bytes::Bytes;
use model::{Kind, TenantId};
use std::sync::Arc;
use std::time::Duration;
use storage::objects::Objects;
use storage::testing::{Faults, Faulty};

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
    let fixture = Fixture::new(objects.clone(), one_period());
    let answers = futures::future::join_all((0..20).map(|_| fixture.series("acme", "{}", RECORDED))).await;
    assert!(answers.iter().all(|a| *a == answers[0] && a.len() == 4));
    assert_eq!(fixture.metric("loki_index_downloaded_files_total"), 6);
    assert_eq!(fixture.metric("loki_index_listings_total"), 2);
    // A bad file too.
    let key = "index/index_20149/1-bad.tsdb";
    objects.put(key, Bytes::from_static(b"bad")).await.unwrap();
    let fixture = Fixture::new(objects, one_period());
    let requests = (0..20).map(|_| fixture.series_and_warnings("acme", "{}", RECORDED));
    for (series, warnings) in futures::future::join_all(requests).await {
        assert!(series == answers[0] && warnings.len() == 1 && warnings[0].contains(key), "{warnings:?}");
    }
    assert_eq!(fixture.metric("loki_index_downloaded_files_total"), 7);
}

#[tokio::test]
async fn a_bad_series_costs_itself_and_its_file_s_rest_is_answered_with_a_warning() {
    use std::io::Read;
    let (key, plain) = ("index/index_20148/acme/1-x.tsdb.gz", "index/index_20148/acme/1-x.tsdb");
    let compacted = copied("compacted").await;
    let objects = Objects::memory();
    let old = &compacted.list("index/index_20148/acme").await.unwrap()[0].key;
    let object = compacted.get(old).await.unwrap();
    let mut file = Vec::new();
    flate2::read::GzDecoder::new(&object[..]).read_to_end(&mut file).unwrap();
    objects.put(key, object).await.unwrap();
    let good = Fixture::new(objects.clone(), one_period()).series("acme", "{}", RECORDED).await;
    objects.delete(key).await.unwrap();
    // The last byte of the last series' checksum lies before the label indices.
    let toc = file.len() - 76;
    let label_indices = u64::from_be_bytes(file[toc + 16..toc + 24].try_into().unwrap()) as usize;
    file[label_indices - 1] ^= 1;
    objects.put(plain, file.into()).await.unwrap();
    let fixture = Fixture::new(objects, one_period());
    for _ in 0..3 {
        let (series, warnings) = fixture.series_and_warnings("acme", "{}", RECORDED).await;
        assert_eq!(series, good[..good.len() - 1]);
        assert!(warnings.len() == 1 && warnings[0].contains(plain) && warnings[0].contains("checksum"), "{warnings:?}");
    }
    assert_eq!(fixture.metric("loki_index_bad_files_total"), 1);
    assert_eq!(fixture.metric("loki_index_downloaded_files_total"), 2, "a fresh copy is tried once");
}

#[tokio::test]
async fn a_compaction_between_listing_and_reading_goes_unnoticed() {
    let objects = copied("uncompacted").await;
    let fixture = Fixture::new(objects.clone(), one_period());
    let good = fixture.series("globex", "{}", EVERYTHING).await;
    // The tables are listed, but no copies are left when the compactor replaces the files.
    let fixture = Fixture::with(objects.clone(), one_period(), tempfile::tempdir().unwrap(), |s| {
        s.resync_interval = Duration::from_secs(3600);
        s.cache_bytes = 2000;
    });
    fixture.series("globex", "{}", EVERYTHING).await;
    let listings = fixture.metric("loki_index_listings_total");
    let compacted = golden("compacted");
    let old = objects.list("index").await.unwrap();
    for object in compacted.list("index").await.unwrap() {
        objects.put(&object.key, compacted.get(&object.key).await.unwrap()).await.unwrap();
    }
    for object in &old {
        objects.delete(&object.key).await.unwrap();
    }
    assert_eq!(fixture.series("globex", "{}", EVERYTHING).await, good);
    assert!((1..=2).contains(&(fixture.metric("loki_index_listings_total") - listings)), "only what changed is listed");
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
    async fn size(&self, key: &str) -> model::Result<Option<u64>> {
        self.inner.size(key).await
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
