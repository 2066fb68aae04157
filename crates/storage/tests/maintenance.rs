//! A bucket checked while it changes, and an index made anew: what counts, what stays, what goes.

use async_trait::async_trait;
use bytes::Bytes;
use format::chunk::{ChunkParts, encode, seal};
use format::schema::{Period, Schema, SchemaVersion};
use format::{ChunkRef, Codec};
use model::{BlockBuilder, Labels, Layout, Result, SymbolsBuilder, TenantId};
use runtime::clock::ManualClock;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use storage::index::{IndexEntry, IndexMetrics, IndexShipper, Places, Uploader};
use storage::maintenance::{CheckSettings, Expiring, RebuildSettings, Report, check, rebuild};
use storage::objects::Objects;

const NOW_NS: i64 = 1_795_409_560_000_000_000;
const TS_NS: i64 = 1_740_000_000_000_000_000;

struct Bucket {
    objects: Objects,
    places: Places,
    shipper: IndexShipper,
    _dir: tempfile::TempDir,
}

impl Bucket {
    fn new() -> Self {
        let (index_prefix, path_prefix) = ("index_".to_string(), "index/".to_string());
        let schema = SchemaVersion::V13;
        let period = Period { from_ms: 0, schema, index_prefix, path_prefix, object_store: "s".into() };
        let objects = Objects::memory();
        let places = Places::single(Arc::new(Schema::new(vec![period]).unwrap()), objects.clone()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let uploader = Uploader::open(dir.path(), "vm", ManualClock::at(NOW_NS)).unwrap();
        let shipper = IndexShipper::new(places.clone(), uploader, IndexMetrics::default());
        Bucket { objects, places, shipper, _dir: dir }
    }

    /// Stores a chunk of `app`; answers its row and the name of its object.
    async fn put(&self, app: &str) -> (IndexEntry, String) {
        let (entry, object) = chunk(app);
        let name = entry.chunk.key(&entry.tenant, SchemaVersion::V13);
        self.objects.put(&name, object).await.unwrap();
        (entry, name)
    }

    /// A chunk that is stored and listed.
    async fn add(&self, app: &str) -> (IndexEntry, String) {
        let (entry, name) = self.put(app).await;
        self.shipper.ship(vec![entry.clone()]).await.unwrap();
        (entry, name)
    }

    async fn check(&self, expiring: &dyn Expiring) -> Report {
        check(&self.places, expiring, &CheckSettings::default()).await.unwrap()
    }

    async fn index_files(&self) -> Vec<String> {
        self.objects.list("index").await.unwrap().into_iter().map(|object| object.key).collect()
    }
}

fn chunk(app: &str) -> (IndexEntry, Bytes) {
    let mut symbols = SymbolsBuilder::default();
    let mut block = BlockBuilder::new(Layout::Metadata);
    (0..9).for_each(|i| block.push(TS_NS + i, b"a line", [("k", "v")].into_iter(), &mut symbols));
    let (tenant, labels) = (TenantId::parse("t1").unwrap(), Labels::new([("app", app)]));
    let (chunk, object) = encode(&ChunkParts {
        tenant: &tenant,
        labels: &labels,
        fingerprint: labels.fingerprint(),
        codec: Codec::Zstd,
        layout: Layout::Metadata,
        symbols: symbols.symbols(),
        blocks: &[seal(Codec::Zstd, &block)],
    })
    .unwrap();
    (IndexEntry { tenant, labels, chunk }, object)
}

/// Marks nothing.
struct Nothing;

#[async_trait]
impl Expiring for Nothing {
    async fn chunks(&self) -> Result<Vec<(TenantId, ChunkRef)>> {
        Ok(vec![])
    }
}

struct Marked(Vec<(TenantId, ChunkRef)>);

#[async_trait]
impl Expiring for Marked {
    async fn chunks(&self) -> Result<Vec<(TenantId, ChunkRef)>> {
        Ok(self.0.clone())
    }
}

/// What happens to the bucket in the first look, when everything is listed and no chunk is read.
enum Change {
    Ship(IndexEntry),
    Delete(Vec<String>),
}

struct Meanwhile<'b> {
    bucket: &'b Bucket,
    change: Change,
    looks: AtomicUsize,
}

#[async_trait]
impl Expiring for Meanwhile<'_> {
    async fn chunks(&self) -> Result<Vec<(TenantId, ChunkRef)>> {
        if self.looks.fetch_add(1, Ordering::SeqCst) == 0 {
            match &self.change {
                Change::Ship(entry) => self.bucket.shipper.ship(vec![entry.clone()]).await?,
                Change::Delete(names) => {
                    for name in names {
                        self.bucket.objects.delete(name).await?;
                    }
                }
            }
        }
        Ok(vec![])
    }
}

fn kinds(report: &Report) -> Vec<(&str, &str)> {
    report.findings.iter().map(|f| (f.kind.name(), f.object.as_str())).collect()
}

#[tokio::test]
async fn what_changes_between_a_listing_and_a_read_is_no_finding() {
    let bucket = Bucket::new();
    bucket.add("kept").await;
    let (entry, _) = bucket.put("flushed").await;
    let meanwhile = |change| Meanwhile { bucket: &bucket, change, looks: AtomicUsize::new(0) };
    let shipped = meanwhile(Change::Ship(entry));
    assert_eq!(kinds(&bucket.check(&shipped).await), []);
    assert_eq!(shipped.looks.load(Ordering::SeqCst), 2, "the first look found a chunk that nobody listed");

    // A chunk and its row go, as retention takes them.
    let before = bucket.index_files().await;
    let (_, name) = bucket.add("expired").await;
    let mut gone: Vec<String> = bucket.index_files().await.into_iter().filter(|key| !before.contains(key)).collect();
    gone.push(name);
    let deleted = meanwhile(Change::Delete(gone));
    assert_eq!(kinds(&bucket.check(&deleted).await), []);
    assert_eq!(deleted.looks.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn chunks_that_wait_to_be_deleted_and_strangers_are_counted_and_no_findings() {
    let bucket = Bucket::new();
    bucket.add("kept").await;
    let (entry, name) = bucket.put("marked").await;
    for stranger in ["notes.txt", "index/index_20138/readme", "index/old_7/1-a.tsdb.gz", "t1/a/b/c"] {
        bucket.objects.put(stranger, Bytes::from_static(b"x")).await.unwrap();
    }
    bucket.objects.put("lokirs/deletes/t1/1.json", Bytes::from_static(b"{}")).await.unwrap();
    let report = bucket.check(&Marked(vec![(entry.tenant, entry.chunk)])).await;
    assert_eq!(kinds(&report), []);
    let counts = report.counts;
    assert_eq!((counts.chunks, counts.rows, counts.expiring_chunks), (2, 1, 1));
    assert_eq!((counts.other_objects, counts.unknown_objects, report.unknown.len()), (1, 4, 4), "{:?}", report.unknown);
    assert_eq!(kinds(&bucket.check(&Nothing).await), [("chunk-unlisted", name.as_str())], "without its mark");
}

#[tokio::test]
async fn names_that_no_reader_asks_for_are_findings() {
    let bucket = Bucket::new();
    bucket.add("kept").await;
    let (entry, object) = chunk("upper");
    let key = entry.chunk.key(&entry.tenant, SchemaVersion::V13);
    let upper = format!("t1/{}", key["t1/".len()..].to_uppercase());
    bucket.objects.put(&upper, object).await.unwrap();
    let deep = "index/index_20138/t1/deeper/1-a.tsdb.gz";
    bucket.objects.put(deep, Bytes::from_static(b"x")).await.unwrap();
    let report = bucket.check(&Nothing).await;
    assert_eq!(kinds(&report), [("index-name", deep), ("chunk-name", upper.as_str())]);
}

fn settings(writes: bool, replaces: bool, all: bool) -> RebuildSettings {
    RebuildSettings { writes, replaces, all, parallel_reads: 2 }
}

#[tokio::test]
async fn a_damaged_index_file_is_replaced_only_when_that_is_asked_for() {
    let bucket = Bucket::new();
    bucket.add("a").await;
    bucket.add("b").await;
    let damaged = bucket.index_files().await[0].clone();
    bucket.objects.put(&damaged, Bytes::from_static(b"junk")).await.unwrap();
    let told = rebuild(&bucket.places, &Nothing, NOW_NS, &settings(false, true, false)).await.unwrap();
    assert_eq!((told.built.len(), told.built[0].chunks, &told.superseded), (1, 2, &vec![damaged.clone()]));
    assert_eq!(bucket.index_files().await.len(), 2, "nothing is written and nothing deleted");
    rebuild(&bucket.places, &Nothing, NOW_NS, &settings(true, false, false)).await.unwrap();
    assert_eq!(kinds(&bucket.check(&Nothing).await), [("index-file", damaged.as_str())]);
    let again = rebuild(&bucket.places, &Nothing, NOW_NS + 1, &settings(true, true, false)).await.unwrap();
    assert_eq!((again.built.len(), again.kept), (0, 1), "all chunks are listed: there is nothing to do");
    rebuild(&bucket.places, &Nothing, NOW_NS + 2, &settings(true, true, true)).await.unwrap();
    let report = bucket.check(&Nothing).await;
    assert_eq!((kinds(&report), report.counts.index_files, report.counts.rows), (vec![], 1, 2));
}

#[tokio::test]
async fn a_chunk_that_cannot_be_listed_is_told_and_keeps_the_file_that_knows_it() {
    let bucket = Bucket::new();
    bucket.add("a").await;
    let (_, name) = bucket.add("b").await;
    bucket.objects.put(&name, Bytes::from_static(b"junk")).await.unwrap();
    let before = bucket.index_files().await;
    let done = rebuild(&bucket.places, &Nothing, NOW_NS, &settings(true, true, true)).await.unwrap();
    assert_eq!(done.findings.iter().map(|f| f.object.as_str()).collect::<Vec<_>>(), [name.as_str()]);
    assert_eq!((done.built[0].chunks, done.superseded.len()), (1, 0));
    let after = bucket.index_files().await;
    assert!(before.iter().all(|key| after.contains(key)), "{before:?} {after:?}");
}
