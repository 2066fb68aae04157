//! Mutated pushes in every encoding and mutated requests to every read route: each is answered with a success or a
//! client's error, and what reaches the ingester is well formed.

#[path = "../../../tests/fuzz/mod.rs"]
mod fuzz;

use api::deletes::DeletesApi;
use api::push::{BodyLimits, PushApi, routes};
use api::query::ReadApi;
use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderValue, Request};
use distributor::{Distributor, OneIngester};
use futures::stream::BoxStream;
use fuzz::{Random, fuzz};
use logql::value::QueryValue;
use model::varint::{put_str, put_uvarint};
use model::{Batch, Labels, Result, TenantId};
use rpc::call::{Call, Calls, Reply};
use rpc::ingester::{
    Ingester, PatternsRequest, PushOutcome, RecentRequest, RecentStream, StreamPatterns, StreamSize, Tailed,
};
use rpc::queries::{Answer, QueryResponse, QueryStats, Tenants};
use rpc::testing::ScriptedDeletes;
use runtime::clock::ManualClock;
use runtime::limits::{Limits, Overrides};
use runtime::memory::Budget;
use std::io::Write;
use std::sync::Arc;
use tower::ServiceExt;

const NOW_NS: i64 = 1_768_471_200_000_000_000;
const ANSWER_BYTES_MAX: usize = 100 << 10;

fn field(number: u64, content: &[u8]) -> Vec<u8> {
    let mut out = vec![];
    put_uvarint(&mut out, number << 3 | 2);
    put_str(&mut out, content);
    out
}

/// Status of an answer, whose body must be short and whose status one that tells the client what is wrong.
fn status(runtime: &tokio::runtime::Runtime, server: &Router, request: Request<Body>) -> u16 {
    runtime.block_on(async {
        let answer = server.clone().oneshot(request).await.unwrap();
        let status = answer.status().as_u16();
        let text = to_bytes(answer.into_body(), ANSWER_BYTES_MAX).await.expect("a short answer");
        assert!(status < 500, "{status}: {}", String::from_utf8_lossy(&text));
        status
    })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Reads all that it is given.
struct Checks;

#[async_trait]
impl Ingester for Checks {
    async fn push(&self, _: &TenantId, batch: Batch) -> Result<PushOutcome> {
        for stream in batch.streams() {
            let stream = stream.expect("a batch that can be read");
            let labels = Labels::parse(stream.labels).expect("labels that can be read");
            assert_eq!((labels.to_string().as_str(), labels.fingerprint()), (stream.labels, stream.fingerprint));
            let mut entries = 0;
            stream.for_each(|entry| {
                entries += 1 + entry.metadata().count();
            })?;
            assert!(entries > 0, "no stream is without entries");
        }
        Ok(PushOutcome::default())
    }
    async fn select(&self, _: RecentRequest) -> Result<BoxStream<'static, Result<RecentStream>>> {
        unreachable!("it is only pushed to")
    }
    async fn tail(&self, _: RecentRequest) -> Result<BoxStream<'static, Result<Tailed>>> {
        unreachable!("it is only pushed to")
    }
    async fn labels(&self, _: RecentRequest, _: Option<String>) -> Result<Vec<String>> {
        unreachable!("it is only pushed to")
    }
    async fn series(&self, _: RecentRequest) -> Result<Vec<Labels>> {
        unreachable!("it is only pushed to")
    }
    async fn sizes(&self, _: RecentRequest) -> Result<Vec<StreamSize>> {
        unreachable!("it is only pushed to")
    }
    async fn patterns(&self, _: PatternsRequest) -> Result<Vec<StreamPatterns>> {
        unreachable!("it is only pushed to")
    }
    async fn flush(&self) -> Result<()> {
        unreachable!("it is only pushed to")
    }
}

fn push_server() -> Router {
    let limits = Limits { ingestion_rate_mb: 1e6, ingestion_burst_size_mb: 1e6, ..Limits::default() };
    let limits = Arc::new(Overrides::new(limits));
    let clock = ManualClock::at(NOW_NS);
    let replicas = Arc::new(OneIngester::new(Arc::new(Checks)));
    let pusher = Arc::new(Distributor::new(limits.clone(), clock.clone(), replicas, Arc::new(|| 1)));
    let (budget, body) = (Budget::new(512 << 20), BodyLimits::default());
    routes(Arc::new(PushApi { pusher, limits, budget, buffers: Arc::default(), clock, auth_enabled: false, body }))
}

fn compressed(encoding: &str, body: &[u8]) -> Vec<u8> {
    match encoding {
        "gzip" => {
            let mut out = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
            out.write_all(body).unwrap();
            out.finish().unwrap()
        }
        "deflate" => {
            let mut out = flate2::write::ZlibEncoder::new(vec![], flate2::Compression::fast());
            out.write_all(body).unwrap();
            out.finish().unwrap()
        }
        "zstd" => zstd::stream::encode_all(body, 1).unwrap(),
        "snappy" => snap::raw::Encoder::new().compress_vec(body).unwrap(),
        _ => body.to_vec(),
    }
}

/// Pushes mutations of `seeds`. What is compressed is damaged before or after.
fn fuzz_push(seeds: &[Vec<u8>], pieces: &[&[u8]], path: &str, kind: &str, encodings: &[&str]) {
    let (runtime, server) = (runtime(), push_server());
    fuzz(seeds, pieces, |input, random| {
        let encoding = encodings[random.below(encodings.len())];
        let mut body = compressed(encoding, input);
        if random.below(8) == 0 && !body.is_empty() {
            let at = random.below(body.len());
            body[at] ^= 1 << random.below(8);
        }
        let mut request = Request::post(path).header("content-type", kind);
        // A push in protobuf is a block of snappy by itself.
        if !["", "snappy"].contains(&encoding) {
            request = request.header("content-encoding", encoding);
        }
        status(&runtime, &server, request.body(Body::from(body)).unwrap()) < 300
    });
}

const OF_JSON: [&[u8]; 9] =
    [b"{", b"]", b"\"", b"\\u12", b"\\ud83d", b"1e999", b"null", b"[\"1768471200000000000\",\"x\",{\"a\":1}]", b"[["];

#[test]
fn pushes_in_json_are_taken_or_refused() {
    let seeds = [
        r#"{"streams":[{"stream":{"app":"a","env":"b"},"values":[["1768471200000000000","x\ny"],["1768471200000000001","z",{"id":"1"}]]}]}"#,
        r#"{"streams":[{"labels":"{app=\"a\", b=\"c\"}","entries":[{"ts":"2026-01-15T10:00:00.5Z","line":"x"},{"timestamp":"2026-01-15T10:00:01Z","line":"y"}]}]}"#,
        r#"{"streams": []}"#,
    ];
    let seeds: Vec<Vec<u8>> = seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect();
    fuzz_push(&seeds, &OF_JSON, "/loki/api/v1/push", "application/json", &["", "gzip", "deflate", "zstd"]);
}

#[test]
fn pushes_in_protobuf_are_taken_or_refused() {
    let time = |seconds: u64, nanos: u64| {
        let mut out = vec![1 << 3];
        put_uvarint(&mut out, seconds);
        out.push(2 << 3);
        put_uvarint(&mut out, nanos);
        out
    };
    let metadata = field(3, &[field(1, b"id"), field(2, b"1")].concat());
    let entry = |nanos, more: &[u8]| {
        field(2, &[field(1, &time(1_768_471_200, nanos)), field(2, b"a line"), more.to_vec()].concat())
    };
    let stream = [field(1, b"{app=\"a\", env=\"b\"}"), entry(0, b""), entry(1, &metadata)].concat();
    let push = field(1, &stream);
    let odd = field(1, &[field(1, br#"{"1a"="x", "a=\"1\", b"="y"}"#), entry(0, b"")].concat());
    let seeds = [push.clone(), push.repeat(3), odd, field(1, &field(1, b"{a=\"1\"}"))];
    fuzz_push(&seeds, &[b"{a=\"", b"\xff\xff\xff\xff\x0f"], "/loki/api/v1/push", "application/x-protobuf", &["snappy"]);
}

#[test]
fn logs_of_opentelemetry_are_taken_or_refused() {
    let json = r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"a"}},{"key":"n","value":{"arrayValue":{"values":[{"intValue":"1"},{"boolValue":true}]}}}]},"scopeLogs":[{"scope":{"name":"s"},"logRecords":[{"timeUnixNano":"1768471200000000000","severityNumber":9,"body":{"stringValue":"x"},"attributes":[{"key":"m","value":{"kvlistValue":{"values":[{"key":"k","value":{"doubleValue":1.5}}]}}}],"traceId":"0102030405060708090a0b0c0d0e0f10"}]}]}]}"#;
    fuzz_push(&[json.as_bytes().to_vec()], &OF_JSON, "/otlp/v1/logs", "application/json", &["", "gzip", "zstd"]);
    let text = |text: &[u8]| field(1, text);
    let attribute = |key: &[u8], value: Vec<u8>| [field(1, key), field(2, &value)].concat();
    let nested = field(6, &field(1, &attribute(b"k", text(b"v"))));
    let mut record = vec![1 << 3 | 1];
    record.extend(NOW_NS.to_le_bytes());
    record.extend([field(5, &text(b"a line")), field(6, &attribute(b"m", nested)), field(9, &[1; 16])].concat());
    let resource = field(1, &field(1, &attribute(b"service.name", text(b"a"))));
    let scope = field(2, &[field(1, &field(1, b"scope")), field(2, &record)].concat());
    let logs = field(1, &[resource, scope].concat());
    fuzz_push(
        &[logs.clone(), logs.repeat(2)],
        &[b"\xff\xff\xff\xff\x0f"],
        "/otlp/v1/logs",
        "application/x-protobuf",
        &["", "gzip"],
    );
}

/// Answers every call with nothing found.
struct Nothing;

#[async_trait]
impl Calls for Nothing {
    async fn call(&self, _: &Tenants, call: Call) -> Result<Reply> {
        Ok(match call {
            Call::Query(request) => {
                let expr = logql::parse::parse(&request.query)?;
                let value = match expr {
                    logql::ast::Expr::Metric(_) => QueryValue::Matrix(vec![]),
                    logql::ast::Expr::Log(_) => QueryValue::Streams(vec![]),
                };
                Reply::Query(QueryResponse { value, warnings: vec![], stats: QueryStats::default() })
            }
            Call::Labels(..) => Reply::Labels(Answer::default()),
            Call::Series(_) => Reply::Series(Answer::default()),
            Call::Stats(_) => Reply::Stats(Answer::default()),
            Call::Volume(_) => Reply::Volume(Answer::default()),
            Call::Patterns(_) => Reply::Patterns(Answer::default()),
        })
    }
}

const READS: [&str; 20] = [
    "/loki/api/v1/query_range",
    "/loki/api/v1/query",
    "/loki/api/v1/labels",
    "/loki/api/v1/label/app/values",
    "/loki/api/v1/series",
    "/loki/api/v1/index/stats",
    "/loki/api/v1/index/volume",
    "/loki/api/v1/index/volume_range",
    "/loki/api/v1/patterns",
    "/loki/api/v1/format_query",
    "/loki/api/v1/explain",
    "/loki/api/v1/detected_labels",
    "/loki/api/v1/detected_fields",
    "/loki/api/v1/detected_field/app/values",
    "/lokirs/api/v1/export",
    "/api/prom/query",
    "/api/prom/label",
    "/api/prom/label/app/values",
    "/api/prom/series",
    "/loki/api/v1/delete",
];

const HEADERS: [&str; 5] =
    ["x-query-tags", "x-loki-query-limits", "x-loki-response-encoding-flags", "x-scope-orgid", "cache-control"];

/// A header with a part of the input as its value, if it can be one.
fn with_header(mut request: Request<Body>, input: &[u8], random: &mut Random) -> Request<Body> {
    let from = random.below(input.len() + 1);
    let values: [&[u8]; 3] = [&input[from..], b"{\"maxQueryLength\": \"1h\", \"maxQueryTime\": 1e99}", b"a|b|"];
    if let Ok(value) = HeaderValue::from_bytes(values[random.below(values.len())]) {
        request.headers_mut().insert(HEADERS[random.below(HEADERS.len())], value);
    }
    request
}

#[test]
fn requests_to_every_read_route_are_answered_or_refused() {
    let clock = ManualClock::at(NOW_NS);
    let read = ReadApi {
        queries: Arc::new(Nothing),
        limits: Arc::new(Overrides::new(Limits::default())),
        auth_enabled: true,
        per_request_limits_enabled: true,
        clock: clock.clone(),
    };
    let deletes = DeletesApi { deletes: Arc::new(ScriptedDeletes::with_requests()), auth_enabled: true, clock };
    let server = api::query::router(read).merge(api::deletes::router(deletes));
    let seeds = [
        "query=%7Bapp%3D%22a%22%7D%20%7C%3D%20%22x%22&start=1768467600&end=1768471200&limit=10&direction=forward",
        "query=sum(rate(%7Bapp%3D%22a%22%7D%5B5m%5D))&start=2026-01-15T09:00:00Z&end=1768471200000000000&step=15s",
        "match%5B%5D=%7Ba%3D%22b%22%7D&match[]=%7Bc%3D~%22d%22%7D&since=1h",
        "query=%7Ba%3D%22b%22%7D&time=1768471200.5&targetLabels=a,b&aggregateBy=labels&limit=3",
        "query=%7Ba%3D%22b%22%7D&line_limit=5&field_limit=7&interval=1m&delay_for=3&since=3h",
        "request_id=1&force=true&max_interval=1h&cursor=abc&max_bytes=5",
    ];
    let seeds: Vec<Vec<u8>> = seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect();
    let pieces: [&[u8]; 10] = [
        b"&start=",
        b"&end=-1",
        b"&step=0",
        b"&limit=99999999999999999999",
        b"%ff%00",
        b"&query=",
        b"%7B",
        b"9e99",
        b"&interval=1ns",
        b"&direction=",
    ];
    let runtime = runtime();
    fuzz(&seeds, &pieces, |input, random| {
        let path = READS[random.below(READS.len())];
        let request = match random.below(2) {
            0 => {
                let Ok(request) = Request::get([path.as_bytes(), b"?", input].concat()).body(Body::empty()) else {
                    return false;
                };
                request
            }
            _ => Request::post(path)
                .header("content-type", "application/x-www-form-urlencoded")
                .body(Body::from(input.to_vec()))
                .unwrap(),
        };
        let mut request = request;
        request.headers_mut().insert("x-scope-orgid", HeaderValue::from_static("acme"));
        if random.below(4) == 0 {
            request = with_header(request, input, random);
        }
        status(&runtime, &server, request) < 300
    });
}
