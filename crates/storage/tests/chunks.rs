//! The chunk store over a bucket that Loki wrote, and over one that fails.

use async_trait::async_trait;
use bytes::Bytes;
use cache::Cache;
use format::chunk::{ChunkParts, encode, seal};
use format::key::parse_key;
use format::schema::{Period, Schema, SchemaVersion};
use format::{ChunkRef, Codec};
use model::{BlockBuilder, Kind, Labels, Layout, SymbolsBuilder, TenantId};
use runtime::clock::ManualClock;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use storage::chunk_caches::ChunkCaches;
use storage::chunks::{ChunkMetrics, ChunkStore, ChunkStoreSettings};
use storage::objects::Objects;
use storage::testing::{Faults, Faulty};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden");
const DAY_MS: i64 = 86_400_000;

fn period(day: i64, schema: SchemaVersion) -> Period {
    let (index_prefix, path_prefix) = ("index_".to_string(), "index/".to_string());
    Period { from_ms: day * DAY_MS, schema, index_prefix, path_prefix, object_store: "filesystem".into() }
}

fn schema() -> Arc<Schema> {
    Arc::new(Schema::new(vec![period(0, SchemaVersion::V13)]).unwrap())
}

fn store(objects: Objects) -> ChunkStore {
    ChunkStore::single(schema(), objects, &ChunkStoreSettings::default(), ChunkMetrics::default()).unwrap()
}

/// A chunk of one line, and a bucket with faults that holds it.
async fn faulty_store(faults: Faults) -> (ChunkStore, Arc<Faulty>, TenantId, ChunkRef) {
    let (tenant, chunk, object) = one_line();
    let mut handle = None;
    let objects = Objects::memory().wrapped(|inner| {
        let faulty = Arc::new(Faulty::new(inner, Faults::default()));
        handle = Some(faulty.clone());
        faulty
    });
    let (store, faulty) = (store(objects), handle.unwrap());
    store.put(&tenant, &chunk, object).await.unwrap();
    faulty.set(faults);
    (store, faulty, tenant, chunk)
}

fn one_line() -> (TenantId, ChunkRef, Bytes) {
    let mut symbols = SymbolsBuilder::default();
    let mut block = BlockBuilder::new(Layout::Metadata);
    block.push(1_740_000_000_000_000_005, b"one line", std::iter::empty(), &mut symbols);
    let (tenant, labels) = (TenantId::parse("t1").unwrap(), Labels::new([("a", "b")]));
    let parts = ChunkParts {
        tenant: &tenant,
        labels: &labels,
        fingerprint: labels.fingerprint(),
        codec: Codec::Snappy,
        layout: Layout::Metadata,
        symbols: symbols.symbols(),
        blocks: &[seal(Codec::Snappy, &block)],
    };
    let (chunk, object) = encode(&parts).unwrap();
    (tenant, chunk, object)
}

#[tokio::test]
async fn every_chunk_of_loki_s_buckets_is_fetched_and_verified() {
    let periods = vec![
        period(20_147, SchemaVersion::V11),
        period(20_148, SchemaVersion::V12),
        period(20_150, SchemaVersion::V13),
    ];
    let old = Arc::new(Schema::new(periods).unwrap());
    let mut fetched = 0;
    for (bucket, schema) in
        [("uncompacted", schema()), ("after-deletes", schema()), ("encodings", schema()), ("schemas", old)]
    {
        let objects = Objects::local(Path::new(GOLDEN).join(bucket)).unwrap();
        let store =
            ChunkStore::single(schema, objects.clone(), &ChunkStoreSettings::default(), ChunkMetrics::default())
                .unwrap();
        for listed in objects.list("").await.unwrap() {
            let Some(key) = objects.chunk_key(&listed.key) else {
                assert!(listed.key.starts_with("index/"), "{}", listed.key);
                continue;
            };
            let (tenant, chunk) = parse_key(&key).unwrap();
            assert_eq!(store.key(&tenant, &chunk), key);
            let opened = store.get(&tenant, &chunk).await.unwrap();
            assert_eq!(opened.object_bytes() as u64, listed.size);
            fetched += 1;
        }
    }
    assert!(fetched > 50, "{fetched}");
}

#[tokio::test]
async fn a_chunk_is_fetched_once_however_many_ask() {
    let (store, faulty, tenant, chunk) =
        faulty_store(Faults { latency: Duration::from_millis(20), ..Default::default() }).await;
    let before = faulty.calls();
    let asked = futures::future::join_all((0..50).map(|_| store.get(&tenant, &chunk))).await;
    assert!(asked.iter().all(Result::is_ok));
    store.get(&tenant, &chunk).await.unwrap();
    assert_eq!(faulty.calls() - before, 1);
    store.delete(&tenant, &chunk).await.unwrap();
    assert_eq!(
        store.get(&tenant, &chunk).await.unwrap_err().kind,
        Kind::NotFound,
        "nothing outlives the object in the cache"
    );
}

#[tokio::test]
async fn errors_say_what_to_do_and_name_the_key() {
    for (faults, kind) in [
        (Faults { fail_percent: 100, ..Default::default() }, Kind::Unavailable),
        (Faults { truncate_to: Some(20), ..Default::default() }, Kind::Corrupt),
        (Faults { flip_bit: Some(200 * 8 + 3), ..Default::default() }, Kind::Corrupt),
    ] {
        let (store, faulty, tenant, chunk) = faulty_store(faults.clone()).await;
        let e = store.get(&tenant, &chunk).await.unwrap_err();
        assert_eq!(e.kind, kind, "{faults:?}: {e}");
        assert!(e.message.contains(&store.key(&tenant, &chunk)), "{e}");
        faulty.set(Faults::default());
        assert!(store.get(&tenant, &chunk).await.is_ok(), "{faults:?}: an error is not remembered");
    }
}

#[tokio::test]
async fn a_put_of_another_object_or_into_no_period_is_refused() {
    let (tenant, chunk, object) = one_line();
    let store = store(Objects::memory());
    assert_eq!(store.put(&tenant, &chunk, object.slice(1..)).await.unwrap_err().kind, Kind::Internal);
    let early = ChunkRef { from_ms: -DAY_MS, ..chunk };
    assert_eq!(store.put(&tenant, &early, object.clone()).await.unwrap_err().kind, Kind::Invalid);
    store.put(&tenant, &chunk, object.clone()).await.unwrap();
    store.put(&tenant, &chunk, object).await.expect("the same object again");
    let missing =
        ChunkStore::new(schema(), Default::default(), &ChunkStoreSettings::default(), ChunkMetrics::default());
    assert!(missing.err().unwrap().message.contains("\"filesystem\""));
}

#[tokio::test]
async fn a_replica_does_not_send_again_what_another_has_stored() {
    let (tenant, chunk, object) = one_line();
    for (stored, faults, calls, kept) in [
        // Nothing there: asked, and put.
        (None, Faults::default(), 2, object.len()),
        (Some(object.clone()), Faults::default(), 1, object.len()),
        // Another object under the name, which can only be damage.
        (Some(object.slice(1..)), Faults::default(), 2, object.len()),
        // A store that does not answer whether it has it.
        (None, Faults { fail_next: 1, ..Faults::default() }, 2, object.len()),
    ] {
        let objects = Objects::memory();
        let plain = store(objects.clone());
        let name = objects.chunk_name(&plain.key(&tenant, &chunk));
        if let Some(stored) = stored {
            objects.put(&name, stored).await.unwrap();
        }
        let mut faulty = None;
        let watched = objects.clone().wrapped(|inner| {
            let bucket = Arc::new(Faulty::new(inner, faults));
            faulty = Some(bucket.clone());
            bucket
        });
        store(watched).replicated().put(&tenant, &chunk, object.clone()).await.unwrap();
        assert_eq!(faulty.unwrap().calls(), calls);
        assert_eq!(objects.get(&name).await.unwrap().len(), kept);
    }
}

#[tokio::test]
async fn the_cache_keeps_to_its_bytes() {
    let (tenant, chunk, object) = one_line();
    let settings = ChunkStoreSettings { cache_bytes: 10, ..Default::default() };
    let mut handle = None;
    let objects = Objects::memory().wrapped(|inner| {
        let faulty = Arc::new(Faulty::new(inner, Faults::default()));
        handle = Some(faulty.clone());
        faulty
    });
    let store = ChunkStore::single(schema(), objects, &settings, ChunkMetrics::default()).unwrap();
    store.put(&tenant, &chunk, object).await.unwrap();
    store.get(&tenant, &chunk).await.unwrap();
    store.get(&tenant, &chunk).await.unwrap();
    assert_eq!(handle.unwrap().calls(), 3, "a chunk larger than the cache is fetched each time");
}

/// A cache that keeps everything.
#[derive(Default)]
struct Kept(Mutex<HashMap<String, Bytes>>);

#[async_trait]
impl Cache for Kept {
    async fn fetch(&self, keys: &[String]) -> Vec<Option<Bytes>> {
        keys.iter().map(|key| self.0.lock().unwrap().get(key).cloned()).collect()
    }
    fn store(&self, entries: Vec<(String, Bytes)>) {
        self.0.lock().unwrap().extend(entries);
    }
}

impl Kept {
    fn take(&self) -> Vec<(String, Bytes)> {
        self.0.lock().unwrap().drain().collect()
    }
}

/// Two caches for chunks, the second for those older than `handoff`, at `age` after the chunk's line.
fn caches(age: Duration, handoff: Duration, skip_older_than: Duration) -> (ChunkCaches, Arc<Kept>, Arc<Kept>) {
    let (first, second) = (Arc::new(Kept::default()), Arc::new(Kept::default()));
    let caches = ChunkCaches {
        first: Some(first.clone()),
        second: Some(second.clone()),
        handoff,
        skip_writeback_older_than: skip_older_than,
        clock: ManualClock::at(1_740_000_000_001_000_000 + age.as_nanos() as i64),
    };
    (caches, first, second)
}

#[tokio::test]
async fn a_chunk_is_kept_in_the_cache_of_its_age() {
    const HOUR: Duration = Duration::from_secs(3600);
    let none = Duration::ZERO;
    // Age, handoff, skip; in which cache a flush puts it, and in which a query's fetch.
    for (age, handoff, skip, flushed, fetched) in [
        (HOUR, none, none, (1, 0), (1, 0)),
        (HOUR, 2 * HOUR, none, (1, 0), (1, 0)),
        (3 * HOUR, 2 * HOUR, none, (0, 1), (0, 1)),
        (3 * HOUR, 2 * HOUR, HOUR, (0, 1), (0, 0)),
        (HOUR, none, 2 * HOUR, (1, 0), (1, 0)),
        (3 * HOUR, none, 2 * HOUR, (1, 0), (0, 0)),
    ] {
        let case = format!("{age:?} {handoff:?} {skip:?}");
        let (tenant, chunk, object) = one_line();
        let bucket = store(Objects::memory());
        let (caches, first, second) = caches(age, handoff, skip);
        let cached = bucket.cached_in(caches.clone());
        cached.put(&tenant, &chunk, object.clone()).await.unwrap();
        let (in_first, in_second) = (first.take(), second.take());
        assert_eq!((in_first.len(), in_second.len()), flushed, "{case}");
        assert_eq!(
            in_first.into_iter().chain(in_second).next().unwrap(),
            (cached.key(&tenant, &chunk), object),
            "{case}"
        );
        cached.get(&tenant, &chunk).await.unwrap();
        assert_eq!((first.take().len(), second.take().len()), fetched, "{case}");
    }
}

#[tokio::test]
async fn a_chunk_comes_from_a_cache_if_it_is_the_right_one() {
    let hour = Duration::from_secs(3600);
    for (age, handoff, in_first) in [(hour, Duration::ZERO, true), (hour, 2 * hour, true), (3 * hour, 2 * hour, false)]
    {
        let (tenant, chunk, object) = one_line();
        let (caches, first, second) = caches(age, handoff, Duration::ZERO);
        let near = if in_first { &first } else { &second };
        // The bucket is empty, so that only the cache can have it.
        let cached = store(Objects::memory()).cached_in(caches.clone());
        let key = cached.key(&tenant, &chunk);
        assert!(key.starts_with("t1/"), "a key holds its tenant");
        for poison in [&b""[..], b"junk", &object[1..], &object[..object.len() - 1]] {
            near.store(vec![(key.clone(), Bytes::copy_from_slice(poison))]);
            let error = cached.get(&tenant, &chunk).await.map(|_| ()).unwrap_err();
            assert_eq!(error.kind, Kind::NotFound, "{error}");
        }
        near.store(vec![(key.clone(), object.clone())]);
        assert_eq!(cached.get(&tenant, &chunk).await.unwrap().object_bytes(), object.len());

        let bucket = store(Objects::memory());
        bucket.put(&tenant, &chunk, object.clone()).await.unwrap();
        let cached = bucket.cached_in(caches);
        near.store(vec![(key.clone(), Bytes::from_static(b"junk"))]);
        cached.get(&tenant, &chunk).await.unwrap();
        assert_eq!(near.take(), [(key, object)], "the right one takes the place of the wrong one");
    }
}

#[tokio::test]
async fn around_the_handoff_both_caches_are_asked() {
    let hour = Duration::from_secs(3600);
    for (age, asked) in [(19 * hour, (true, false)), (21 * hour, (true, true)), (23 * hour, (false, true))] {
        for in_first in [true, false] {
            let (tenant, chunk, object) = one_line();
            let (caches, first, second) = caches(age, 20 * hour, Duration::ZERO);
            let cached = store(Objects::memory()).cached_in(caches);
            let entry = vec![(cached.key(&tenant, &chunk), object)];
            if in_first {
                first.store(entry)
            } else {
                second.store(entry)
            }
            let found = cached.get(&tenant, &chunk).await.is_ok();
            assert_eq!(found, if in_first { asked.0 } else { asked.1 }, "{age:?} {in_first}");
        }
    }
}
