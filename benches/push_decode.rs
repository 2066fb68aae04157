//! What a push costs from the HTTP body to the batch: decompression, the walk, validation, levels, and an ingester that
//! drops what it gets. `cargo bench -p api`.

#![allow(clippy::print_stdout, reason = "a benchmark prints its result")]

use api::push::{BodyLimits, PushApi, routes};
use axum::body::Body;
use axum::http::Request;
use bytes::Bytes;
use distributor::{Distributor, OneIngester};
use model::varint::{put_str, put_uvarint};
use rpc::testing::ScriptedIngester;
use runtime::clock::ManualClock;
use runtime::limits::{Limits, Overrides};
use runtime::memory::Budget;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tower::ServiceExt;

const NOW_SECONDS: u64 = 1_768_471_200;
const LINES: usize = 7_500;
const STREAMS: usize = 20;
const MEASURE: Duration = Duration::from_millis(1500);

fn line(i: usize) -> String {
    let (ms, user) = (i * 7919 % 1000, i * 104_729 % 100_000);
    let level = ["info", "warn", "debug", "error"][i % 4];
    match i % 3 {
        0 => format!(
            r#"{{"ts":"2026-01-15T10:00:00.{ms:03}Z","level":"{level}","caller":"handler.go:{}","msg":"request served","user":"u{user}","status":200,"duration_ms":{ms}}}"#,
            i % 900
        ),
        1 => format!(
            r#"ts=2026-01-15T10:00:00.{ms:03}Z caller=metrics.go:{} level={level} org_id={user} msg="query finished" latency=fast duration={ms}ms bytes={}"#,
            i % 900,
            i * 31 % 1_000_000
        ),
        _ => format!(
            r#"10.0.{}.{} - u{user} [15/Jan/2026:10:00:00 +0000] "GET /api/v1/items/{user}?page={} HTTP/1.1" 200 {} "-" "Mozilla/5.0 (X11; Linux x86_64)""#,
            i % 250,
            i % 240,
            i % 50,
            i * 31 % 100_000
        ),
    }
}

fn labels(stream: usize) -> String {
    format!(r#"app="app-{stream}", env="prod", namespace="ns-{}", pod="app-{stream}-7d9f""#, stream % 3)
}

fn field(out: &mut Vec<u8>, number: u64, content: &[u8]) {
    put_uvarint(out, number << 3 | 2);
    put_str(out, content);
}

fn protobuf() -> Vec<u8> {
    let mut request = vec![];
    for stream in 0..STREAMS {
        let mut message = vec![];
        field(&mut message, 1, format!("{{{}}}", labels(stream)).as_bytes());
        for i in 0..LINES / STREAMS {
            let mut timestamp = vec![1 << 3];
            put_uvarint(&mut timestamp, NOW_SECONDS);
            timestamp.push(2 << 3);
            put_uvarint(&mut timestamp, i as u64);
            let mut entry = vec![];
            field(&mut entry, 1, &timestamp);
            field(&mut entry, 2, line(stream * 1000 + i).as_bytes());
            field(&mut message, 2, &entry);
        }
        field(&mut request, 1, &message);
    }
    request
}

fn json() -> Vec<u8> {
    let streams = (0..STREAMS).map(|stream| {
        let labels: Vec<String> =
            labels(stream).split(", ").map(|l| format!("\"{}", l.replacen('=', "\":", 1))).collect();
        let values: Vec<String> = (0..LINES / STREAMS)
            .map(|i| format!("[\"{NOW_SECONDS}{i:09}\",{}]", serde_json::Value::from(line(stream * 1000 + i))))
            .collect();
        format!("{{\"stream\":{{{}}},\"values\":[{}]}}", labels.join(","), values.join(","))
    });
    format!("{{\"streams\":[{}]}}", streams.collect::<Vec<_>>().join(",")).into_bytes()
}

fn main() {
    let limits = Limits { ingestion_rate_mb: 1e6, ingestion_burst_size_mb: 1e6, ..Limits::default() };
    let limits = Arc::new(Overrides::new(limits));
    let clock = ManualClock::at(NOW_SECONDS as i64 * 1_000_000_000);
    let ingester = Arc::new(ScriptedIngester::default());
    let replicas = Arc::new(OneIngester::new(ingester.clone()));
    let pusher = Arc::new(Distributor::new(limits.clone(), clock.clone(), replicas, Arc::new(|| 1)));
    let (budget, body) = (Budget::new(1 << 30), BodyLimits::default());
    let router =
        routes(Arc::new(PushApi { pusher, limits, budget, buffers: Arc::default(), clock, auth_enabled: false, body }));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let line_bytes: usize =
        (0..STREAMS).flat_map(|s| (0..LINES / STREAMS).map(move |i| line(s * 1000 + i).len())).sum();
    let snappy = snap::raw::Encoder::new().compress_vec(&protobuf()).expect("snappy takes anything");
    for (name, content_type, body) in
        [("protobuf+snappy", "application/x-protobuf", snappy), ("json", "application/json", json())]
    {
        let body = Bytes::from(body);
        let (mut best, start) = (Duration::MAX, Instant::now());
        while start.elapsed() < MEASURE {
            let request = Request::post("/loki/api/v1/push").header("content-type", content_type);
            let request = request.body(Body::from(body.clone())).expect("a request");
            let run = Instant::now();
            let answer = runtime.block_on(router.clone().oneshot(request)).expect("an answer");
            best = best.min(run.elapsed());
            assert_eq!(answer.status(), 204);
            ingester.pushed.lock().expect("no thread panics with it").clear();
        }
        let ns = best.as_nanos() as f64;
        println!(
            "{name:16} {:.0} bytes/line: {:.0} MB of lines/s/core, {:.2} CPU s/GB, {:.0} ns/line",
            line_bytes as f64 / LINES as f64,
            line_bytes as f64 / ns * 1e3,
            ns / line_bytes as f64,
            ns / LINES as f64
        );
    }
}
