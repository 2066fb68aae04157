//! Push with the log on disk, in MB/s of lines and per CPU second of the process; and the memory of idle streams.
//! Not criterion: what counts is throughput under concurrency and the process's CPU time, and one run says it.

use async_trait::async_trait;
use bytes::Bytes;
use format::ChunkRef;
use futures::stream::{FuturesUnordered, StreamExt};
use ingester::wal::disk::FileSystem;
use ingester::{ChunkSink, Compressor, Ingester, Parts, Settings};
use model::{Batch, BatchBuilder, Labels, Result, TenantId};
use rpc::ingester::Ingester as _;
use runtime::clock::SystemClock;
use runtime::limits::{Limits, Overrides};
use runtime::memory::Budget;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

struct Discard;

#[async_trait]
impl ChunkSink for Discard {
    async fn put(&self, _: &TenantId, _: &Labels, _: &ChunkRef, _: Bytes) -> Result<()> {
        Ok(())
    }
    async fn ship(&self, _: Vec<(TenantId, Labels, ChunkRef)>) -> Result<()> {
        Ok(())
    }
}

async fn start(dir: &std::path::Path) -> Arc<Ingester> {
    let mut settings = Settings { index_ship_interval: Duration::from_millis(500), ..Settings::default() };
    settings.wal.dir = dir.join("wal");
    let limits = Limits { per_stream_rate_limit: 0, max_global_streams_per_user: 0, ..Limits::default() };
    let parts = Parts {
        settings,
        clock: Arc::new(SystemClock),
        budget: Budget::new(2 << 30),
        limits: Arc::new(Overrides::new(limits)),
        stream_share: Arc::new(|| 1.0),
        sink: Arc::new(Discard),
        compressors: Arc::new(|_| Compressor::Here(vec![])),
        disk: Arc::new(FileSystem),
        metrics: ingester::metrics::Metrics::new(&mut Default::default()),
    };
    let ingester = Ingester::start(parts).await.expect("a fresh directory");
    ingester.recovered().await;
    ingester
}

/// Batches of `lines` lines of some 160 bytes over `streams` streams, and the bytes of one batch's lines.
fn batches(count: usize, streams: usize, lines: usize) -> (Vec<Batch>, u64) {
    let mut seed = 7u64;
    let mut random = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        seed >> 33
    };
    let labels: Vec<_> = (0..streams)
        .map(|i| Labels::parse(&format!(r#"{{app="shop", env="prod", pod="shop-{i}"}}"#)).expect("labels"))
        .collect();
    let mut ts = 1_768_471_200_000_000_000i64;
    let mut bytes = 0;
    let batches: Vec<_> = (0..count)
        .map(|_| {
            let mut b = BatchBuilder::default();
            for stream in labels.iter().skip(random() as usize % streams).take(4) {
                for _ in 0..lines / 4 {
                    ts += 1000;
                    let line = format!(
                        "level=info ts={ts} caller=checkout/handler.go:{} msg=\"request served\" method=GET path=/api/v1/cart/{} status={} duration={}ms trace={:016x}",
                        random() % 400, random() % 5000, 200 + random() % 4, random() % 900, random() * random(),
                    );
                    bytes += line.len() as u64;
                    b.entry(ts, line.as_bytes(), [("detected_level", "info")].into_iter());
                }
                b.end_stream(&stream.to_string(), stream.fingerprint());
            }
            b.finish()
        })
        .collect();
    (batches, bytes / count as u64)
}

fn proc_status(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix(key)).unwrap_or("0");
    line.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0) * 1024
}

/// User and system CPU seconds of the process so far.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

async fn throughput(out: &mut impl Write, lines: usize, concurrency: usize) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let ingester = start(dir.path()).await;
    let tenant = TenantId::parse("acme").expect("a tenant");
    let (batches, batch_bytes) = batches(48_000 / lines * 8, 64, lines);
    let (started, cpu) = (Instant::now(), cpu_seconds());
    let mut running = FuturesUnordered::new();
    for batch in &batches {
        running.push(ingester.push(&tenant, batch.clone()));
        while running.len() >= concurrency {
            let _ = running.next().await.expect("one runs").expect("a push");
        }
    }
    while running.next().await.is_some() {}
    drop(running);
    ingester.flush().await.expect("a flush");
    let (wall, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let mb = (batches.len() as u64 * batch_bytes) as f64 / 1e6;
    let _ = writeln!(
        out,
        "{lines} lines a push, {concurrency} at once: {mb:.0} MB, {:.0} MB/s, {:.0} MB per CPU second, {:.0} klines/s",
        mb / wall,
        mb / cpu,
        (batches.len() * lines) as f64 / wall / 1e3,
    );
    ingester.shutdown(true).await.expect("a shutdown");
}

async fn idle_streams(out: &mut impl Write, count: usize) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let ingester = start(dir.path()).await;
    let tenant = TenantId::parse("acme").expect("a tenant");
    let mut before = 0;
    for part in 0..=count / 1000 {
        let mut b = BatchBuilder::default();
        for i in 0..1000 {
            let text = format!(
                r#"{{app="shop", cluster="eu-1", container="server", env="prod", namespace="checkout", node="ip-10-0-{}-{i}", pod="shop-{part:05}-{i:05}"}}"#,
                part % 250
            );
            let labels = Labels::parse(&text).expect("labels");
            b.entry(1_768_471_200_000_000_000, b"one line of a stream that says little", [].into_iter());
            b.end_stream(&text, labels.fingerprint());
        }
        ingester.push(&tenant, b.finish()).await.expect("a push");
        if part == 0 {
            before = proc_status("VmRSS:");
        }
    }
    let open = proc_status("VmRSS:").saturating_sub(before) / count as u64;
    let _ = writeln!(out, "{count} streams of 7 labels with one line each: {open} bytes of RSS a stream");
}

#[tokio::main(flavor = "multi_thread")]
async fn main() {
    let mut out = std::io::stdout();
    idle_streams(&mut out, 100_000).await;
    for (lines, concurrency) in [(1000, 32), (100, 64), (1000, 1)] {
        throughput(&mut out, lines, concurrency).await;
    }
    let _ = writeln!(out, "peak RSS {} MB", proc_status("VmHWM:") >> 20);
}
