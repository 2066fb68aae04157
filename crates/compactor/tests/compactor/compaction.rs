//! Compaction: one file per tenant and day, the same answers before, between and after.

use super::bucket::{Bench, copied, keys, one_period, schema, series};
use async_trait::async_trait;
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use format::schema::{SchemaVersion, TsdbVersion};
use format::tsdb::Index;
use model::Result;
use runtime::limits::Limits;
use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::sync::Arc;
use storage::objects::{Bucket, ObjectMeta, Objects};
use storage::testing::{Faults, Faulty};

const TENANTS: [&str; 2] = ["acme", "globex"];

async fn index_bytes(objects: &Objects, key: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    MultiGzDecoder::new(&objects.get(key).await.unwrap()[..]).read_to_end(&mut bytes).unwrap();
    bytes
}

/// The decompressed index files, by key without the time in the name.
async fn files(objects: &Objects) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for key in keys(objects, "index").await {
        let (dir, name) = key.rsplit_once('/').unwrap();
        let (stamp, rest) = name.split_once('-').unwrap();
        assert!(stamp.bytes().all(|b| b.is_ascii_digit()), "{key}");
        files.insert(format!("{dir}/{rest}"), index_bytes(objects, &key).await);
    }
    files
}

#[tokio::test]
async fn what_ingesters_shipped_becomes_byte_for_byte_what_loki_makes_of_it() {
    let bench = Bench::new(copied("uncompacted").await);
    let before = [bench.series("acme").await, bench.series("globex").await];
    bench.round().await.unwrap();
    assert_eq!(files(bench.objects()).await, files(&copied("compacted").await).await);
    assert_eq!([bench.series("acme").await, bench.series("globex").await], before);
    for key in keys(bench.objects(), "index").await {
        assert!(key.contains(&format!("/{}-compactor-", super::bucket::NOW_NS)), "{key}");
    }
}

#[tokio::test]
async fn a_compacted_bucket_is_left_alone() {
    let bench = Bench::new(copied("compacted").await);
    let before = keys(bench.objects(), "").await;
    bench.round().await.unwrap();
    bench.round().await.unwrap();
    assert_eq!(keys(bench.objects(), "").await, before);
}

#[tokio::test]
async fn files_of_several_tenants_and_of_one_are_merged() {
    let objects = copied("compacted").await;
    let shipped = copied("uncompacted").await;
    for key in keys(&shipped, "index").await {
        objects.put(&key, shipped.get(&key).await.unwrap()).await.unwrap();
    }
    let bench = Bench::new(objects);
    bench.round().await.unwrap();
    assert_eq!(files(bench.objects()).await, files(&copied("compacted").await).await);
}

#[tokio::test]
async fn every_period_keeps_its_store_and_its_version() {
    let golden = copied("schemas").await;
    let (old, new) = (Objects::memory(), Objects::memory());
    for key in keys(&golden, "").await {
        let to = if key.contains("i11_") || key.contains("i12_") { &old } else { &new };
        to.put(&key, golden.get(&key).await.unwrap()).await.unwrap();
    }
    let periods = schema(&[
        (19_723, SchemaVersion::V11, "i11_", "old"),
        (20_148, SchemaVersion::V12, "i12_", "old"),
        (20_150, SchemaVersion::V13, "i13_", "new"),
    ]);
    let stores = HashMap::from([("old".to_string(), old), ("new".to_string(), new)]);
    let bench = Bench::with(periods, stores, Limits::default(), false);
    let before = bench.series("t1").await;
    assert!(before.len() > 1);
    bench.round().await.unwrap();
    assert_eq!(bench.series("t1").await, before);
    for (store, table, version) in [
        ("old", "index/i11_20147", TsdbVersion::V2),
        ("old", "index/i12_20148", TsdbVersion::V2),
        ("old", "index/i12_20149", TsdbVersion::V2),
        ("new", "index/i13_20150", TsdbVersion::V3),
    ] {
        let files = keys(&bench.stores[store], table).await;
        let [file] = &files[..] else { panic!("{table}: {files:?}") };
        assert!(file.starts_with(&format!("{table}/t1/")), "{file}");
        let index = Index::open(index_bytes(&bench.stores[store], file).await).unwrap();
        assert_eq!(index.version(), version, "{table}");
    }
}

#[tokio::test]
async fn a_crash_at_any_call_leaves_the_same_answers_and_a_later_round_the_same_files() {
    let golden = copied("uncompacted").await;
    let stores = HashMap::from([("s".to_string(), golden.clone())]);
    let expected = [series(&one_period(), &stores, "acme").await, series(&one_period(), &stores, "globex").await];
    let finished = files(&copied("compacted").await).await;
    for calls in 0.. {
        let objects = copied("uncompacted").await;
        let faults = Faults { fail_after: Some(calls), ..Faults::default() };
        let mut bucket = None;
        let faulty = objects.clone().wrapped(|inner| {
            let faulty = Arc::new(Faulty::new(inner, faults));
            bucket = Some(faulty.clone());
            faulty
        });
        let bench = Bench::new(faulty);
        let crashed = bench.round().await.is_err();
        bucket.unwrap().set(Faults::default());
        for (of, expected) in TENANTS.iter().zip(&expected) {
            assert_eq!(bench.series(of).await, *expected, "{of} after {calls} calls");
        }
        bench.round().await.unwrap();
        assert_eq!(files(&objects).await, finished, "after {calls} calls");
        if !crashed {
            assert!(calls > 20, "the round made only {calls} calls");
            return;
        }
    }
}

#[tokio::test]
async fn a_corrupt_file_stops_its_table_only_and_is_named() {
    let objects = copied("uncompacted").await;
    let bad = "index/index_20148/1795409588-vm-1795409560161455003.tsdb.gz";
    let mut bytes = objects.get(bad).await.unwrap().to_vec();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    objects.put(bad, Bytes::from(bytes)).await.unwrap();
    let before = keys(&objects, "index/index_20148").await;
    let bench = Bench::new(objects);
    let error = bench.round().await.unwrap_err();
    assert!(error.message.contains(bad), "{error}");
    let files_of = async |table: &str| keys(bench.objects(), table).await;
    assert_eq!(files_of("index/index_20148").await, before);
    assert_eq!(files_of("index/index_20149").await.len(), 2, "one file for each tenant");
    assert_eq!(bench.metric("loki_compactor_table_failures_total"), 1);
}

/// A bucket whose files by a compactor read back with a flipped bit.
#[derive(Debug)]
struct Rotten(Arc<dyn Bucket>);

#[async_trait]
impl Bucket for Rotten {
    async fn get(&self, key: &str, bytes_max: u64) -> Result<Bytes> {
        let mut object = self.0.get(key, bytes_max).await?.to_vec();
        if key.contains("-compactor-") {
            let at = object.len() / 2;
            object[at] ^= 1;
        }
        Ok(object.into())
    }
    async fn size(&self, key: &str) -> Result<Option<u64>> {
        self.0.size(key).await
    }
    async fn put(&self, key: &str, object: Bytes) -> Result<()> {
        self.0.put(key, object).await
    }
    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>> {
        self.0.list(prefix).await
    }
    async fn delete(&self, key: &str) -> Result<()> {
        self.0.delete(key).await
    }
}

#[tokio::test]
async fn a_file_that_does_not_verify_replaces_nothing_and_is_taken_away() {
    let objects = copied("uncompacted").await;
    let before = keys(&objects, "").await;
    let bench = Bench::new(objects.clone().wrapped(|inner| Arc::new(Rotten(inner))));
    assert!(bench.round().await.is_err());
    assert_eq!(keys(&objects, "").await, before);
}
