//! What a scan costs beside decompression: counting, filtering and parsing about 64 MB of lines in zstd blocks.
//! `decompress` is the floor: the same blocks decompressed and dropped. Times are CPU time of the one scanning thread, which
//! other load on the machine disturbs little.

use bytes::Bytes;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use logql::ast::*;
use logql::engine::{EngineLimits, Params, Time, run};
use logql::source::{Block, Frames, Selection, Source, StreamBlocks, Streams};
use model::{BlockBuilder, Direction, Error, Labels, Layout, Matcher, RawBlock, Result, SymbolsBuilder};
use std::hint::black_box;
use std::sync::{Arc, Mutex};
use zstd::zstd_safe::{DCtx, get_error_name};

const TOTAL_BYTES: usize = 64 << 20;
const BLOCK_BYTES: usize = 256 << 10;
const STREAMS: usize = 8;
const LINE_STEP_NS: i64 = 1_000_000;
const START_NS: i64 = 1_768_471_200_000_000_000;

/// Nanoseconds that this thread has run, as Linux counts them; elsewhere they do not advance.
struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = u64;
    type Value = u64;
    fn start(&self) -> u64 {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
    }
    fn end(&self, start: u64) -> u64 {
        (self.start() - start).max(1)
    }
    fn add(&self, a: &u64, b: &u64) -> u64 {
        a + b
    }
    fn zero(&self) -> u64 {
        0
    }
    fn to_f64(&self, value: &u64) -> f64 {
        *value as f64
    }
    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

#[derive(Clone)]
struct ZstdBlock {
    compressed: Bytes,
    size_bytes: usize,
    bounds_ns: (i64, i64),
    entries: u64,
}

impl Block for ZstdBlock {
    fn bounds_ns(&self) -> (i64, i64) {
        self.bounds_ns
    }
    fn entries(&self) -> u64 {
        self.entries
    }
    fn open(&self) -> Result<Arc<dyn Frames>> {
        Ok(Arc::new(self.clone()))
    }
}

impl Frames for ZstdBlock {
    fn bounds_ns(&self) -> Vec<(i64, i64)> {
        vec![self.bounds_ns]
    }
    fn load(&self, _: usize, mut memory: Vec<u8>) -> Result<RawBlock> {
        memory.clear();
        memory.reserve_exact(self.size_bytes);
        let unpacked = DCtx::create().decompress(&mut memory, &self.compressed);
        unpacked.map_err(|code| Error::corrupt(get_error_name(code)))?;
        Ok(RawBlock { data: Bytes::from(memory), layout: Layout::Metadata, symbols: Arc::default() })
    }
}

struct Blocks(Vec<(Labels, Vec<Arc<ZstdBlock>>)>);
struct Pulled(Mutex<std::vec::IntoIter<StreamBlocks>>);

impl Streams for Pulled {
    fn next(&self) -> Option<Result<StreamBlocks>> {
        self.0.lock().ok()?.next().map(Ok)
    }
}

impl Source for Blocks {
    fn select(&self, _: &Selection) -> Result<Box<dyn Streams>> {
        let streams: Vec<StreamBlocks> = self
            .0
            .iter()
            .map(|(labels, blocks)| StreamBlocks {
                labels: labels.clone(),
                fingerprint: labels.fingerprint(),
                blocks: blocks.iter().map(|b| b.clone() as Arc<dyn Block>).collect(),
            })
            .collect();
        Ok(Box::new(Pulled(Mutex::new(streams.into_iter()))))
    }
}

/// A line of JSON with the variety of an access log; the numbers come from a fixed linear generator.
fn line(seed: &mut u64) -> String {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    let r = *seed >> 24;
    let status = [200, 200, 200, 200, 204, 301, 404, 500][(r % 8) as usize];
    let method = ["GET", "GET", "POST", "PUT", "DELETE"][(r / 8 % 5) as usize];
    format!(
        "{{\"level\":\"{}\",\"method\":\"{method}\",\"path\":\"/api/v1/items/{}\",\"status\":{status},\"latency_ms\":{}.{},\
         \"trace_id\":\"{:016x}\"}}",
        if status == 500 { "error" } else { "info" },
        r % 5000,
        r % 900,
        r % 10,
        seed
    )
}

fn blocks() -> Blocks {
    let mut seed = 42;
    let streams = (0..STREAMS).map(|s| {
        let labels = Labels::new([("app", "bench".to_string()), ("pod", format!("p{s}"))]);
        let mut blocks = Vec::new();
        let (mut ts_ns, mut written) = (START_NS, 0);
        while written < TOTAL_BYTES / STREAMS {
            let mut symbols = SymbolsBuilder::default();
            let mut builder = BlockBuilder::new(Layout::Metadata);
            while builder.size_bytes < BLOCK_BYTES as u64 {
                ts_ns += LINE_STEP_NS;
                builder.push(ts_ns, line(&mut seed).as_bytes(), [].into_iter(), &mut symbols);
            }
            let (bounds_ns, entries) = ((builder.min_ts_ns, builder.max_ts_ns), builder.entries);
            let data = builder.into_data();
            written += data.len();
            let compressed = zstd::bulk::compress(&data, 1).expect("compression into memory");
            blocks.push(Arc::new(ZstdBlock {
                compressed: compressed.into(),
                size_bytes: data.len(),
                bounds_ns,
                entries,
            }));
        }
        (labels, blocks)
    });
    Blocks(streams.collect())
}

fn selector(stages: Vec<Stage>) -> LogExpr {
    LogExpr { matchers: vec![Matcher::equal("app", "bench")], stages }
}

fn contains(text: &str) -> Stage {
    Stage::LineFilter(LineFilter { op: LineOp::Contains, operands: vec![LineOperand::Text(text.into())] })
}

fn sum_by(labels: &[&str], op: RangeOp, stages: Vec<Stage>) -> Expr {
    let range = LogRange { log: selector(stages), window_ns: 10_000_000_000, offset_ns: 0, unwrap: None };
    Expr::Metric(MetricExpr::Aggregate(VectorAggregation {
        op: VectorOp::Sum,
        parameter: None,
        inner: Box::new(MetricExpr::Range(RangeAggregation { op, parameter: None, range, grouping: None })),
        grouping: Some(Grouping { without: false, labels: labels.iter().map(|l| (*l).into()).collect() }),
    }))
}

fn bench(c: &mut Criterion<CpuTime>) {
    let source = blocks();
    let total: u64 = source.0.iter().flat_map(|(_, b)| b).map(|b| b.size_bytes as u64).sum();
    let end_ns = source.0.iter().flat_map(|(_, b)| b).map(|b| b.bounds_ns.1).max().unwrap_or(0) + 1;
    let metric = Time::Range { start_ns: START_NS, end_ns, step_ns: 5_000_000_000 };
    let params = |time| Params {
        time,
        align_to_step: true,
        limit: 100,
        direction: Direction::Backward,
        interval_ns: 0,
        now_ns: 0,
        shard: None,
    };
    let limits = EngineLimits::default();
    let mut group = c.benchmark_group("scan");
    group.throughput(Throughput::Bytes(total)).sample_size(10);
    group.bench_function("decompress", |b| {
        b.iter(|| {
            for block in source.0.iter().flat_map(|(_, b)| b) {
                black_box(block.load(0, Vec::new()).expect("blocks of the bench verify"));
            }
        })
    });
    let logs = Time::Range { start_ns: START_NS, end_ns, step_ns: 1 };
    for (name, expr, time) in [
        ("count", sum_by(&["pod"], RangeOp::Count, vec![]), metric),
        ("bytes_of_rare", sum_by(&[], RangeOp::BytesOver, vec![contains("/items/4711\"")]), metric),
        ("count_of_frequent", sum_by(&["pod"], RangeOp::Count, vec![contains("\"info\"")]), metric),
        ("count_by_json", sum_by(&["status"], RangeOp::Count, vec![Stage::Json(vec![])]), metric),
        ("search_absent", Expr::Log(selector(vec![contains("no such line")])), logs),
        ("newest_100", Expr::Log(selector(vec![])), logs),
    ] {
        group.bench_function(name, |b| {
            b.iter(|| black_box(run(&expr, &params(time), &source, &limits).expect("the bench's queries are valid")))
        });
    }
    group.finish();
}

criterion_group! { name = benches; config = Criterion::default().with_measurement(CpuTime); targets = bench }
criterion_main!(benches);
