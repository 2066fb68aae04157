//! What the ingester's tests share: a sink that can fail, a disk that can be full, and one way to read everything back.
#![allow(dead_code, reason = "each test binary uses a part")]

use async_trait::async_trait;
use bytes::Bytes;
use format::ChunkRef;
use format::chunk::Chunk;
use futures::StreamExt;
use ingester::wal::disk::{Disk, FileSystem, LogFile};
use ingester::{ChunkSink, Compressor, Compressors, Ingester, Parts, Settings};
use model::{Batch, BatchBuilder, Error, Labels, Matcher, RawBlock, Result, TenantId, TimeRange};
use parking_lot::Mutex;
use rpc::ingester::{Ingester as _, PushOutcome, RecentRequest, RecentStream};
use runtime::clock::ManualClock;
use runtime::limits::{Limits, Overrides};
use runtime::memory::Budget;
use runtime::metrics::Registry;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

pub const SECOND: i64 = 1_000_000_000;
pub const NOW: i64 = 1_768_471_200 * SECOND;
pub const ALL: TimeRange = TimeRange { start_ns: i64::MIN / 2, end_ns: i64::MAX / 2 };

/// Keeps what it is given; fails the next `put_failures` and `ship_failures` calls.
#[derive(Default)]
pub struct Store {
    pub objects: Mutex<BTreeMap<(String, ChunkRef), Bytes>>,
    pub shipped: Mutex<Vec<(TenantId, Labels, ChunkRef)>>,
    pub put_failures: AtomicU64,
    pub ship_failures: AtomicU64,
}

fn fails(left: &AtomicU64) -> Result<()> {
    match left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)) {
        Ok(_) => Err(Error::unavailable("the store is down")),
        Err(_) => Ok(()),
    }
}

#[async_trait]
impl ChunkSink for Store {
    async fn put(&self, tenant: &TenantId, _: &Labels, chunk: &ChunkRef, object: Bytes) -> Result<()> {
        fails(&self.put_failures)?;
        self.objects.lock().insert((tenant.to_string(), *chunk), object);
        Ok(())
    }
    async fn ship(&self, entries: Vec<(TenantId, Labels, ChunkRef)>) -> Result<()> {
        fails(&self.ship_failures)?;
        self.shipped.lock().extend(entries);
        Ok(())
    }
}

/// A line of the store or of the ingester: stream, time, text.
pub type Line = (String, i64, String);

fn lines_of(labels: &str, raw: &RawBlock, out: &mut Vec<Line>) {
    let (mut entries, mut last) = (raw.entries(), i64::MIN);
    while let Some(e) = entries.try_next().expect("a sound block") {
        assert!(e.ts_ns >= last, "entries ascend in a block");
        last = e.ts_ns;
        let metadata: Vec<_> = e.metadata.iter().map(|(n, v)| format!(" {n}={v}")).collect();
        out.push((labels.to_string(), e.ts_ns, String::from_utf8_lossy(e.line).into_owned() + &metadata.concat()));
    }
}

impl Store {
    /// The lines of one chunk, whose blocks must neither overlap nor go back.
    pub fn chunk_lines(&self, tenant: &str, chunk: &ChunkRef, labels: &str) -> Vec<Line> {
        let object = self.objects.lock().get(&(tenant.to_string(), *chunk)).expect("a stored chunk").clone();
        let opened = Chunk::open(object, &TenantId::parse(tenant).unwrap(), chunk).unwrap();
        assert!(opened.blocks().windows(2).all(|b| b[0].max_ts_ns <= b[1].min_ts_ns), "blocks overlap");
        let mut lines = vec![];
        for i in 0..opened.blocks().len() {
            lines_of(labels, &opened.block(i).unwrap(), &mut lines);
        }
        lines
    }

    /// Every line that the index leads to.
    pub fn lines(&self) -> Vec<Line> {
        let shipped = self.shipped.lock().clone();
        let mut lines: Vec<_> = shipped
            .iter()
            .flat_map(|(tenant, labels, chunk)| self.chunk_lines(tenant.as_str(), chunk, &labels.to_string()))
            .collect();
        lines.sort();
        lines
    }
}

/// A disk whose writes or syncs fail while told so, and that counts its syncs.
#[derive(Default)]
pub struct FaultyDisk {
    pub full: Arc<AtomicBool>,
    pub sync_fails: Arc<AtomicBool>,
    pub syncs: Arc<AtomicU64>,
    pub files: AtomicU64,
}

struct FaultyFile {
    file: Box<dyn LogFile>,
    full: Arc<AtomicBool>,
    sync_fails: Arc<AtomicBool>,
    syncs: Arc<AtomicU64>,
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        self.files.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(FaultyFile {
            file: FileSystem.create(path)?,
            full: self.full.clone(),
            sync_fails: self.sync_fails.clone(),
            syncs: self.syncs.clone(),
        }))
    }
}

impl LogFile for FaultyFile {
    fn write(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        if !self.full.load(Ordering::SeqCst) {
            return self.file.write(parts);
        }
        // A full volume takes a part before it fails.
        match parts {
            [first, ..] if first.len() > 5 => {
                self.file.write(&[IoSlice::new(&first[..5])])?;
                Err(ErrorKind::StorageFull.into())
            }
            _ => Err(ErrorKind::StorageFull.into()),
        }
    }
    fn sync(&mut self) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::SeqCst);
        match self.sync_fails.load(Ordering::SeqCst) {
            true => Err(io::Error::other("injected")),
            false => self.file.sync(),
        }
    }
    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        self.file.truncate(bytes)
    }
}

pub struct Node {
    pub ingester: Arc<Ingester>,
    pub registry: Registry,
}

/// What outlives a crash, and what a test decides.
pub struct World {
    pub dir: tempfile::TempDir,
    pub store: Arc<Store>,
    pub clock: Arc<ManualClock>,
    pub disk: Arc<FaultyDisk>,
    pub limits: Limits,
    pub settings: Settings,
    pub memory_bytes: u64,
    pub compressors: Compressors,
}

impl World {
    pub fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = Settings::default();
        settings.wal.dir = dir.path().join("wal");
        settings.flush_op_backoff = (Duration::from_millis(1), Duration::from_millis(5));
        settings.flush_check_period = Duration::from_secs(3600);
        settings.index_ship_interval = Duration::from_secs(3600);
        World {
            dir,
            store: Arc::default(),
            clock: ManualClock::at(NOW),
            disk: Arc::default(),
            limits: Limits::default(),
            settings,
            memory_bytes: 1 << 30,
            compressors: Arc::new(|_| Compressor::Here(vec![])),
        }
    }

    pub async fn start(&self) -> Node {
        let mut registry = Registry::default();
        let parts = Parts {
            settings: self.settings.clone(),
            clock: self.clock.clone(),
            budget: Budget::new(self.memory_bytes),
            limits: Arc::new(Overrides::new(self.limits.clone())),
            stream_share: Arc::new(|| 1.0),
            sink: self.store.clone(),
            compressors: self.compressors.clone(),
            disk: self.disk.clone(),
            metrics: ingester::metrics::Metrics::new(&mut registry),
        };
        let ingester = Ingester::start(parts).await.unwrap();
        Node { ingester, registry }
    }

    pub async fn ready(&self) -> Node {
        let node = self.start().await;
        node.ingester.recovered().await;
        node
    }

    /// The log's segments and their sizes; one that is deleted meanwhile is none.
    pub fn segments(&self) -> Vec<(std::path::PathBuf, u64)> {
        let mut found: Vec<_> = std::fs::read_dir(self.dir.path().join("wal"))
            .unwrap()
            .map(|e| e.unwrap())
            .filter(|e| e.path().extension().is_some_and(|x| x == "wal"))
            .filter_map(|e| Some((e.path(), e.metadata().ok()?.len())))
            .collect();
        found.sort();
        found
    }
}

pub fn acme() -> TenantId {
    TenantId::parse("acme").unwrap()
}

/// A batch of streams `(labels, [(seconds after NOW, line)])`.
pub fn batch(streams: &[(&str, &[(i64, &str)])]) -> Batch {
    let mut b = BatchBuilder::default();
    for (labels, entries) in streams {
        let parsed = Labels::parse(labels).unwrap();
        for (at, line) in *entries {
            b.entry(NOW + at * SECOND, line.as_bytes(), [].into_iter());
        }
        b.end_stream(&parsed.to_string(), parsed.fingerprint());
    }
    b.finish()
}

pub fn request(matchers: &[(&str, &str)]) -> RecentRequest {
    let matchers = matchers.iter().map(|(n, v)| Matcher::equal(*n, *v)).collect();
    RecentRequest { tenant: acme(), matchers, range: ALL, shard: None }
}

impl Node {
    pub async fn push(&self, streams: &[(&str, &[(i64, &str)])]) -> Result<PushOutcome> {
        self.ingester.push(&acme(), batch(streams)).await
    }

    pub async fn select(&self, request: RecentRequest) -> Vec<RecentStream> {
        self.ingester.select(request).await.unwrap().map(|s| s.unwrap()).collect().await
    }

    /// Every line in memory, block by block.
    pub async fn held(&self) -> Vec<Line> {
        let mut lines = vec![];
        for stream in self.select(request(&[])).await {
            lines.extend(block_lines(&stream));
        }
        lines.sort();
        lines
    }

    pub fn metric(&self, name: &str) -> f64 {
        let text = self.registry.print();
        let samples = text.lines().filter(|l| l.split(['{', ' ']).next() == Some(name));
        samples.map(|l| l.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }
}

pub fn block_lines(stream: &RecentStream) -> Vec<Line> {
    let mut lines = vec![];
    for b in &stream.blocks {
        let data = b.codec.decompress(&b.payload, b.raw_bytes as usize, b.raw_bytes as usize).unwrap();
        let raw = RawBlock { data: data.into(), layout: b.layout, symbols: b.symbols.clone() };
        lines_of(&stream.labels.to_string(), &raw, &mut lines);
    }
    lines
}

/// Lines as `held` and `Store::lines` give them.
pub fn lines(stream: &str, entries: &[(i64, &str)]) -> Vec<Line> {
    entries.iter().map(|(at, line)| (stream.to_string(), NOW + at * SECOND, line.to_string())).collect()
}
