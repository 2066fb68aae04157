//! Pushes made to harm: each is answered at once, with a client's error, and without taking memory that it did not send.
//! One test, as it watches the memory of the whole process.

use api::push::{BodyLimits, PushApi, routes};
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use distributor::{Distributor, OneIngester};
use model::varint::{put_str, put_uvarint};
use rpc::testing::ScriptedIngester;
use runtime::clock::SystemClock;
use runtime::limits::{Limits, Overrides};
use runtime::memory::Budget;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;
use tower::ServiceExt;

const CPU_MAX: Duration = Duration::from_millis(500);
/// What a request may add to the process beside its own body, in bytes: a full decompressed body and little more.
const GROWTH_MAX: u64 = 72 << 20;

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";
const PUSH: &str = "/loki/api/v1/push";
const OTLP: &str = "/otlp/v1/logs";

struct Attack {
    name: &'static str,
    path: &'static str,
    content_type: &'static str,
    encoding: &'static str,
    body: Vec<u8>,
    status: u16,
}

fn attack(name: &'static str, path: &'static str, content_type: &'static str, body: Vec<u8>, status: u16) -> Attack {
    Attack { name, path, content_type, encoding: "", body, status }
}

fn field(number: u64, content: &[u8]) -> Vec<u8> {
    let mut out = vec![];
    put_uvarint(&mut out, number << 3 | 2);
    put_str(&mut out, content);
    out
}

fn snappy(data: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(data).unwrap()
}

/// A snappy block that says it becomes `len` bytes.
fn snappy_lie(len: u64) -> Vec<u8> {
    let mut out = vec![];
    put_uvarint(&mut out, len);
    out.extend_from_slice(&[0, b'x']);
    out
}

fn bomb(compressor: impl FnOnce(&mut dyn FnMut(&mut dyn Write))) {
    compressor(&mut |out| {
        let zeros = vec![b' '; 1 << 20];
        for _ in 0..256 {
            out.write_all(&zeros).unwrap();
        }
    });
}

fn bombs() -> Vec<Attack> {
    let mut gzip = flate2::write::GzEncoder::new(vec![], flate2::Compression::best());
    bomb(|fill| fill(&mut gzip));
    let mut deflate = flate2::write::DeflateEncoder::new(vec![], flate2::Compression::best());
    bomb(|fill| fill(&mut deflate));
    let mut zstd = zstd::stream::write::Encoder::new(vec![], 1).unwrap();
    bomb(|fill| fill(&mut zstd));
    let mut lz4 = lz4_flex::frame::FrameEncoder::new(vec![]);
    bomb(|fill| fill(&mut lz4));
    let encoded = |name, path, encoding, body| Attack { encoding, ..attack(name, path, JSON, body, 413) };
    let mut all = vec![
        encoded("gzip bomb", PUSH, "gzip", gzip.finish().unwrap()),
        encoded("deflate bomb", PUSH, "deflate", deflate.finish().unwrap()),
        encoded("zstd bomb", PUSH, "zstd", zstd.finish().unwrap()),
        encoded("lz4 bomb", OTLP, "lz4", lz4.finish().unwrap()),
    ];
    all.push(attack("snappy bomb", PUSH, PROTOBUF, snappy(&vec![0; 80 << 20]), 413));
    all.push(attack("snappy length beyond the cap, by lie", PUSH, PROTOBUF, snappy_lie(u32::MAX.into()), 400));
    all.push(attack("snappy length below the cap, by lie", PUSH, PROTOBUF, snappy_lie(60 << 20), 400));
    all
}

fn crowds() -> Vec<Attack> {
    let labels = |text: &str| field(1, text.as_bytes());
    let empty_entries = [labels("{a=\"1\"}"), field(2, b"").repeat(1_000_000)].concat();
    let many_labels: String = (0..1_000_000).map(|i| format!("l{i}=\"v\",")).collect();
    let json_labels: String = (0..1_000_000).map(|i| format!("\"l{i}\":\"v\",")).collect();
    let json_entries = "[\"0\",\"\"],".repeat(1_000_000);
    let empty_streams = field(1, &labels("{a=\"1\"}")).repeat(1_000_000);
    let attribute = field(1, &field(1, b"k"));
    vec![
        attack("a million empty entries", PUSH, PROTOBUF, snappy(&field(1, &empty_entries)), 400),
        attack("a million labels", PUSH, PROTOBUF, snappy(&field(1, &labels(&format!("{{{many_labels}}}")))), 400),
        attack("a million streams without entries", PUSH, PROTOBUF, snappy(&empty_streams), 204),
        attack("a million JSON labels", PUSH, JSON, json_stream(&format!("{{{json_labels}\"a\":\"1\"}}"), ""), 400),
        attack(
            "a million JSON entries",
            PUSH,
            JSON,
            json_stream("{\"a\":\"1\"}", &(json_entries + "[\"0\",\"\"]")),
            400,
        ),
        attack(
            "a million resource attributes",
            OTLP,
            PROTOBUF,
            field(1, &[field(1, &attribute.repeat(1_000_000)), field(2, &field(2, b"").repeat(100_000))].concat()),
            400,
        ),
        attack(
            "a million values in a list",
            OTLP,
            PROTOBUF,
            otlp_body(&field(5, &field(1, b"").repeat(1_000_000))),
            400,
        ),
    ]
}

fn json_stream(labels: &str, values: &str) -> Vec<u8> {
    format!("{{\"streams\":[{{\"stream\":{labels},\"values\":[{values}]}}]}}").into_bytes()
}

/// An OTLP request of one record with a body.
fn otlp_body(value: &[u8]) -> Vec<u8> {
    field(1, &field(2, &field(2, &field(5, value))))
}

fn depths() -> Vec<Attack> {
    let nested = (0..100_000).fold(vec![], |mut message: Vec<u8>, _| {
        // Built from the inside out: a list of one list. The lengths of outer messages are left short on purpose.
        message.extend_from_slice(&[5 << 3 | 2, 4, 1 << 3 | 2, 2]);
        message
    });
    let open = "[".repeat(1_000_000);
    let body = format!(
        r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"body":{}"#,
        r#"{"arrayValue":{"values":["#.repeat(100_000)
    );
    vec![
        attack("deep lists", OTLP, PROTOBUF, otlp_body(&nested), 400),
        attack("deep JSON lists", OTLP, JSON, body.into_bytes(), 400),
        attack("deep ignored JSON", PUSH, JSON, format!("{{\"x\":{open}").into_bytes(), 400),
        attack("deep label value", PUSH, JSON, json_stream(&format!("{{\"a\":{open}}}"), ""), 400),
    ]
}

fn odd_values() -> Vec<Attack> {
    let entry_at = |seconds: i64, nanos: i64| {
        let mut timestamp = vec![1 << 3];
        put_uvarint(&mut timestamp, seconds as u64);
        timestamp.push(2 << 3);
        put_uvarint(&mut timestamp, nanos as u64);
        let entry = [field(1, &timestamp), field(2, b"x")].concat();
        snappy(&field(1, &[field(1, b"{a=\"1\"}"), field(2, &entry)].concat()))
    };
    vec![
        attack("the last second", PUSH, PROTOBUF, entry_at(i64::MAX, 0), 400),
        attack("the first second", PUSH, PROTOBUF, entry_at(i64::MIN, 0), 400),
        attack("the year 9999", PUSH, PROTOBUF, entry_at(253_402_300_799, 999_999_999), 400),
        attack("the year 1", PUSH, PROTOBUF, entry_at(-62_135_596_800, 0), 400),
        attack("negative nanoseconds", PUSH, PROTOBUF, entry_at(1_768_471_200, -1), 400),
        attack("labels that are no text", PUSH, PROTOBUF, snappy(&field(1, &field(1, b"{a=\"\xff\"}"))), 400),
        attack("a length past the end", PUSH, PROTOBUF, snappy(&[1 << 3 | 2, 0xff, 0xff, 0xff, 0x7f]), 400),
        attack("an endless varint", PUSH, PROTOBUF, snappy(&[0xff; 64]), 400),
        attack(
            "a timestamp of a million digits",
            PUSH,
            JSON,
            json_stream("{\"a\":\"1\"}", &format!("[\"{}\",\"\"]", "9".repeat(1_000_000))),
            400,
        ),
        attack(
            "metadata whose name is no name",
            PUSH,
            JSON,
            json_stream("{\"a\":\"1\"}", r#"["1768471200000000000","x",{"ключ":"v"}]"#),
            400,
        ),
        attack(
            "metadata without a name",
            PUSH,
            PROTOBUF,
            snappy(&field(1, &[field(1, b"{a=\"1\"}"), field(2, &field(3, &field(2, b"v")))].concat())),
            400,
        ),
        attack("half an escape", PUSH, JSON, json_stream("{\"a\":\"1\"}", r#"["1","\ud83d"]"#), 400),
        attack("no body", OTLP, JSON, vec![], 400),
    ]
}

fn server() -> Router {
    let limits = Limits { ingestion_rate_mb: 1000.0, ingestion_burst_size_mb: 1000.0, ..Limits::default() };
    let limits = Arc::new(Overrides::new(limits));
    let clock = Arc::new(SystemClock);
    let replicas = Arc::new(OneIngester::new(Arc::new(ScriptedIngester::default())));
    let pusher = Arc::new(Distributor::new(limits.clone(), clock.clone(), replicas, Arc::new(|| 1)));
    let (budget, body) = (Budget::new(512 << 20), BodyLimits::default());
    routes(Arc::new(PushApi { pusher, limits, budget, buffers: Arc::default(), clock, auth_enabled: false, body }))
}

/// Time that this thread has worked; the wall clock would also count other processes.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

/// The process' memory at its highest since the last reset, and now.
fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

#[tokio::test]
async fn hostile_pushes_cost_little_and_are_refused() {
    let server = server();
    for attack in bombs().into_iter().chain(crowds()).chain(depths()).chain(odd_values()) {
        let Attack { name, path, content_type, encoding, body, status } = attack;
        let mut request = Request::builder().method("POST").uri(path).header("content-type", content_type);
        if !encoding.is_empty() {
            request = request.header("content-encoding", encoding);
        }
        let body_bytes = body.len() as u64;
        let request = request.body(Body::from(body)).unwrap();
        // Resets the high-water mark.
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        let (before, start) = (memory("VmRSS"), cpu_time());
        let answer = server.clone().oneshot(request).await.unwrap();
        let (took, grown) = (cpu_time() - start, memory("VmHWM").saturating_sub(before));
        let got = answer.status().as_u16();
        let text = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        assert_eq!(got, status, "{name}: {:.300}", String::from_utf8_lossy(&text));
        assert!(text.len() < 100 << 10, "{name}: an answer of {} bytes", text.len());
        assert!(took < CPU_MAX, "{name}: took {took:?}");
        assert!(grown < GROWTH_MAX + body_bytes, "{name}: grew by {} MB", grown >> 20);
    }
}
