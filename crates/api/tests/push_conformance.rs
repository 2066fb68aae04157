//! The pushes of the recorded corpus, against the handlers and the distributor, with an ingester that only collects.
//! Statuses, exact texts, and what is read back of simple selections, must be those of the recorded server.

use api::push::{BodyLimits, PushApi, routes};
use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use base64::Engine;
use distributor::{Distributor, OneIngester};
use futures::stream::BoxStream;
use model::{Batch, Labels, Result, TenantId};
use rpc::ingester::{
    Ingester, PatternsRequest, PushOutcome, RecentRequest, RecentStream, StreamPatterns, StreamSize, Tailed,
};
use runtime::clock::{Clock, SystemClock};
use runtime::limits::{Limits, Overrides};
use runtime::memory::Budget;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tower::ServiceExt;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/conformance");

/// Cases whose answer is given by the ingester's order rules, which this test does without.
const OF_THE_INGESTER: [&str; 2] = ["older-than-window", "out-of-order"];
/// Where this server differs on purpose: HTTP says that "deflate" has zlib's header, and clients send it; a request that
/// stays wrong is answered with 400, because agents repeat for ever what gets a 500.
const DIFFERENT_ON_PURPOSE: [&str; 4] = [
    "push_json/deflate-zlib-wrapped",
    "push_json/metadata-name-all-invalid",
    "push_json/metadata-name-all-invalid-read",
    "push_json/metadata-empty-name",
];

type Entry = (i64, String, BTreeMap<String, String>);

#[derive(Default)]
struct Collector {
    entries: Mutex<BTreeMap<(String, String), Vec<Entry>>>,
}

#[async_trait]
impl Ingester for Collector {
    async fn push(&self, tenant: &TenantId, batch: Batch) -> Result<PushOutcome> {
        let mut all = self.entries.lock().unwrap();
        for stream in batch.streams() {
            let stream = stream?;
            let labels = Labels::parse(stream.labels)?;
            assert_eq!((labels.to_string(), labels.fingerprint()), (stream.labels.to_string(), stream.fingerprint));
            let entries = all.entry((tenant.to_string(), stream.labels.to_string())).or_default();
            stream.for_each(|e| {
                let metadata = e.metadata().map(|(n, v)| (n.to_string(), v.to_string())).collect();
                let entry = (e.ts_ns, String::from_utf8_lossy(e.line).into_owned(), metadata);
                if !entries.iter().any(|old| (old.0, &old.1) == (entry.0, &entry.1)) {
                    entries.push(entry);
                }
            })?;
        }
        Ok(PushOutcome::default())
    }
    async fn select(&self, _: RecentRequest) -> Result<BoxStream<'static, Result<RecentStream>>> {
        Ok(Box::pin(futures::stream::empty()))
    }
    async fn tail(&self, _: RecentRequest) -> Result<BoxStream<'static, Result<Tailed>>> {
        Ok(Box::pin(futures::stream::empty()))
    }
    async fn labels(&self, _: RecentRequest, _: Option<String>) -> Result<Vec<String>> {
        Ok(vec![])
    }
    async fn series(&self, _: RecentRequest) -> Result<Vec<Labels>> {
        Ok(vec![])
    }
    async fn sizes(&self, _: RecentRequest) -> Result<Vec<StreamSize>> {
        Ok(vec![])
    }
    async fn patterns(&self, _: PatternsRequest) -> Result<Vec<StreamPatterns>> {
        Ok(vec![])
    }
    async fn flush(&self) -> Result<()> {
        Ok(())
    }
}

/// The limits of the recorded server's configuration.
fn overrides() -> Overrides {
    let defaults = Limits {
        reject_old_samples: false,
        ingestion_rate_mb: 1000.0,
        ingestion_burst_size_mb: 1000.0,
        ..Limits::default()
    };
    let raw = Limits { discover_service_name: vec![], discover_log_levels: false, ..defaults.clone() };
    let tenants = [
        ("conf", raw.clone()),
        ("pushraw", raw.clone()),
        ("limreq", raw.clone()),
        ("nosm", Limits { allow_structured_metadata: false, ..raw.clone() }),
        ("incdup", Limits { increment_duplicate_timestamp: true, ..raw.clone() }),
        (
            "lim",
            Limits {
                max_line_size: 64,
                max_label_name_length: 12,
                max_label_value_length: 16,
                max_label_names_per_series: 4,
                max_structured_metadata_size: 64,
                max_structured_metadata_entries_count: 3,
                ..raw.clone()
            },
        ),
        (
            "trunc",
            Limits {
                max_line_size: 32,
                max_line_size_truncate: true,
                max_line_size_truncate_identifier: "[...]".into(),
                ..raw.clone()
            },
        ),
        (
            "oldrej",
            Limits { reject_old_samples: true, reject_old_samples_max_age: Duration::from_secs(3600), ..raw.clone() },
        ),
    ];
    let tenants: HashMap<String, Arc<Limits>> =
        tenants.into_iter().map(|(n, l)| (n.to_string(), Arc::new(l))).collect();
    Overrides::with_tenants(defaults, tenants)
}

struct Server {
    router: Router,
    collector: Arc<Collector>,
}

impl Server {
    fn new() -> Self {
        let limits = Arc::new(overrides());
        let collector = Arc::new(Collector::default());
        let replicas = Arc::new(OneIngester::new(collector.clone()));
        let clock = Arc::new(SystemClock);
        let pusher = Arc::new(Distributor::new(limits.clone(), clock.clone(), replicas, Arc::new(|| 1)));
        let budget = Budget::new(1 << 30);
        let api = PushApi {
            pusher,
            limits,
            budget,
            buffers: Arc::default(),
            clock,
            auth_enabled: true,
            body: BodyLimits::default(),
        };
        Server { router: routes(Arc::new(api)), collector }
    }

    async fn send(&self, request: &Value) -> (u16, String, Vec<u8>) {
        let method = request["method"].as_str().unwrap_or("GET");
        let mut http = Request::builder().method(method).uri(request["path"].as_str().unwrap());
        for (name, value) in request["headers"].as_object().into_iter().flatten() {
            http = http.header(name, value.as_str().unwrap());
        }
        let answer = self.router.clone().oneshot(http.body(Body::from(body_of(request))).unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        let content_type = answer.headers().get("content-type").map(|v| v.to_str().unwrap().to_string());
        let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        (status, content_type.unwrap_or_default(), body.to_vec())
    }

    /// What a range query over everything with a plain selector answers.
    fn read(&self, tenant: &str, selector: &Labels, categorize: bool) -> Value {
        let all = self.collector.entries.lock().unwrap();
        let mut streams: BTreeMap<String, (Map<String, Value>, Vec<Value>)> = BTreeMap::new();
        for ((of, labels), entries) in all.iter().filter(|((of, _), _)| of == tenant) {
            let labels = Labels::parse(labels).unwrap();
            if !selector.iter().all(|l| labels.get(&l.name) == Some(&l.value)) {
                continue;
            }
            let mut entries: Vec<&Entry> = entries.iter().collect();
            entries.sort_by_key(|e| e.0);
            for (ts, line, metadata) in entries {
                let mut stream: Map<String, Value> =
                    labels.iter().map(|l| (l.name.to_string(), json!(l.value.as_str()))).collect();
                let metadata: Map<String, Value> = metadata
                    .iter()
                    .map(|(n, v)| {
                        (if labels.get(n).is_some() { format!("{n}_extracted") } else { n.clone() }, json!(v))
                    })
                    .collect();
                let value = match categorize {
                    true if metadata.is_empty() => json!([ts.to_string(), line, {}]),
                    true => json!([ts.to_string(), line, {"structuredMetadata": metadata}]),
                    false => json!([ts.to_string(), line]),
                };
                if !categorize {
                    stream.extend(metadata);
                }
                let key = format!("{of}{}", Value::Object(stream.clone()));
                streams.entry(key).or_insert_with(|| (stream, vec![])).1.push(value);
            }
        }
        streams.into_values().map(|(stream, values)| json!({"stream": stream, "values": values})).collect()
    }
}

/// Bodies as the corpus describes them.
fn body_of(request: &Value) -> Vec<u8> {
    let body = if let Some(json) = request.get("body_json") {
        spaced(&fill(&expand(json)))
    } else if let Some(text) = request.get("body") {
        fill(&expand(text)).as_str().unwrap().as_bytes().to_vec()
    } else if let Some(b64) = request.get("body_b64") {
        base64::engine::general_purpose::STANDARD.decode(b64.as_str().unwrap()).unwrap()
    } else {
        vec![]
    };
    if request.get("gzip").is_none() {
        return body;
    }
    let mut gz = flate2::write::GzEncoder::new(vec![], flate2::Compression::default());
    gz.write_all(&body).unwrap();
    gz.finish().unwrap()
}

/// With a space behind commas and colons, as the recorded requests were written: some answers quote them.
fn spaced(value: &Value) -> Vec<u8> {
    struct Spaced;
    impl serde_json::ser::Formatter for Spaced {
        fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> std::io::Result<()> {
            out.write_all(if first { b"" } else { b", " })
        }
        fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> std::io::Result<()> {
            out.write_all(if first { b"" } else { b", " })
        }
        fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> std::io::Result<()> {
            out.write_all(b": ")
        }
    }
    let mut out = vec![];
    serde::Serialize::serialize(value, &mut serde_json::Serializer::with_formatter(&mut out, Spaced)).unwrap();
    out
}

fn expand(value: &Value) -> Value {
    match value {
        Value::Object(o) if o.contains_key("$repeat") => {
            let text = expand(&o["$repeat"][0]);
            json!(text.as_str().unwrap().repeat(o["$repeat"][1].as_u64().unwrap() as usize))
        }
        Value::Object(o) if o.contains_key("$concat") => {
            let parts = o["$concat"].as_array().unwrap().iter().map(|p| expand(p).as_str().unwrap().to_string());
            json!(parts.collect::<String>())
        }
        Value::Object(o) if o.contains_key("$keys") => {
            let (prefix, value) = (o["$keys"][0].as_str().unwrap(), &o["$keys"][2]);
            (0..o["$keys"][1].as_u64().unwrap()).map(|i| (format!("{prefix}{i}"), value.clone())).collect()
        }
        Value::Object(o) => o.iter().map(|(k, v)| (k.clone(), expand(v))).collect(),
        Value::Array(a) => a.iter().map(expand).collect(),
        other => other.clone(),
    }
}

fn fill(value: &Value) -> Value {
    let now = SystemClock.now_ns();
    let mut text = value.to_string().replace("${run}", "r1").replace("${now}", &now.to_string());
    for (mark, seconds) in [("-5m", -300), ("-30m", -1800), ("-2h", -7200), ("-1h", -3600), ("+5m", 300), ("+1h", 3600)]
    {
        text = text.replace(&format!("${{now{mark}}}"), &(now + seconds * 1_000_000_000).to_string());
    }
    serde_json::from_str(&text).unwrap()
}

fn is_push(path: &str) -> bool {
    matches!(path, "/loki/api/v1/push" | "/api/prom/push" | "/otlp/v1/logs")
}

fn sorted(mut streams: Value) -> Value {
    let list = streams.as_array_mut().unwrap();
    for stream in list.iter_mut() {
        stream["values"].as_array_mut().unwrap().sort_by_key(|v| v.to_string());
    }
    list.sort_by_key(|s| s.to_string());
    streams
}

/// Whether the case is one for this test, and what is wrong with the answer.
async fn check(server: &Server, case: &Value) -> Option<std::result::Result<(), String>> {
    let name = case["name"].as_str().unwrap();
    if OF_THE_INGESTER.iter().any(|part| name.contains(part)) || DIFFERENT_ON_PURPOSE.contains(&name) {
        return None;
    }
    for before in case["before"].as_array().into_iter().flatten() {
        let (status, _, body) = server.send(before).await;
        if json!(status) != before.get("status").cloned().unwrap_or(json!(204)) {
            return Some(Err(format!("before: {status} {}", String::from_utf8_lossy(&body))));
        }
    }
    if !is_push(case["path"].as_str().unwrap()) {
        // Reads of the data set belong to the tests of queries.
        return if name.starts_with("tenancy/") { None } else { read_back(server, case) };
    }
    let expect = &case["expect"];
    let (status, content_type, body) = server.send(case).await;
    let text = String::from_utf8_lossy(&body).replace("r1", "${run}");
    if json!(status) != expect["status"] || json!(content_type) != expect["content_type"] {
        return Some(Err(format!("got {status} {content_type} {text:.300}, expected {expect:.300}")));
    }
    let exact = case.get("message") == Some(&json!("exact"));
    Some(match exact && json!(text) != fill(&expect["body"]) && json!(text) != expect["body"] {
        true => Err(format!("got text {text:.300}, expected {:.300}", expect["body"])),
        false => Ok(()),
    })
}

fn read_back(server: &Server, case: &Value) -> Option<std::result::Result<(), String>> {
    let query = case["params"].as_array()?.iter().find(|p| p[0] == "query")?[1].as_str()?;
    let selector = Labels::parse(&query.replace("${run}", "r1")).ok()?;
    let result = case["expect"]["body"]["data"]["result"].as_array()?;
    if case["expect"]["body"]["data"]["resultType"] != "streams" || result.iter().any(|s| s.get("values").is_none()) {
        return None;
    }
    let categorize = case["headers"].get("X-Loki-Response-Encoding-Flags").is_some();
    let got = sorted(server.read(case["headers"]["X-Scope-OrgID"].as_str()?, &selector, categorize));
    let expected = sorted(json!(result));
    Some(if got == expected { Ok(()) } else { Err(format!("read {got}\n    expected {expected}")) })
}

async fn check_area(server: &Server, area: &str, passed_all: usize) {
    let text = std::fs::read_to_string(format!("{ROOT}/cases/{area}.json")).unwrap();
    let file: Value = serde_json::from_str(&text).unwrap();
    let (mut passed, mut failures) = (0, vec![]);
    for case in file["cases"].as_array().unwrap() {
        match check(server, case).await {
            Some(Ok(())) => passed += 1,
            Some(Err(what)) => failures.push(format!("{}: {what}", case["name"].as_str().unwrap())),
            None => {}
        }
    }
    assert!(failures.is_empty(), "{area}: {passed} passed, {} failed\n{}", failures.len(), failures.join("\n"));
    assert_eq!(passed, passed_all, "{area}: cases checked");
}

#[tokio::test]
async fn json_pushes_are_answered_as_recorded() {
    check_area(&Server::new(), "push_json", 125).await;
}

#[tokio::test]
async fn protobuf_pushes_are_answered_as_recorded() {
    check_area(&Server::new(), "push_protobuf", 42).await;
}

#[tokio::test]
async fn limits_are_those_recorded() {
    check_area(&Server::new(), "push_limits", 13).await;
}

#[tokio::test]
async fn otlp_pushes_are_answered_as_recorded() {
    check_area(&Server::new(), "push_otlp", 45).await;
}

#[tokio::test]
async fn tenants_of_pushes_are_as_recorded() {
    check_area(&Server::new(), "tenancy", 2).await;
}

#[tokio::test]
async fn levels_and_services_are_discovered_as_recorded() {
    let server = Server::new();
    for file in ["22-conf-time", "30-auto-levels", "31-auto-service", "32-auto-mixed", "33-auto-otlp"] {
        let text = std::fs::read_to_string(format!("{ROOT}/dataset/{file}.json")).unwrap();
        let file: Value = serde_json::from_str(&text).unwrap();
        let path = if file["kind"] == "otlp" { "/otlp/v1/logs" } else { "/loki/api/v1/push" };
        for request in file["requests"].as_array().unwrap() {
            let headers = json!({"X-Scope-OrgID": file["tenant"], "Content-Type": "application/json"});
            let (status, _, body) =
                server.send(&json!({"method": "POST", "path": path, "headers": headers, "body_json": request})).await;
            assert_eq!(status, 204, "{}", String::from_utf8_lossy(&body));
        }
    }
    check_area(&server, "auto_labels", 16).await;
}
