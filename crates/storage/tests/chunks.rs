//! The chunk store over a bucket that Loki wrote, and over one that fails.

use bytes::Bytes;
use format::chunk::{ChunkParts, encode, seal};
use format::key::parse_key;
use format::schema::{Period, Schema, SchemaVersion};
use format::{ChunkRef, Codec};
use model::{BlockBuilder, Kind, Labels, Layout, SymbolsBuilder, TenantId};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
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
