//! What the real binary writes, read by a decoder that shares no code with it (`tests/bucket`): every codec, structured
//! metadata, several blocks in a chunk, several tenants, two days; before and after compaction, and after deletes.
//! Every line pushed is found in its place once, and nothing else.

use crate::client::{encode, now_ns};
use crate::process::{Node, test_data};
use crate::s3::tools;
use crate::store::Store;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const CODECS: [&str; 9] = ["none", "gzip", "lz4-64k", "snappy", "lz4-256k", "lz4-1M", "lz4", "flate", "zstd"];
/// Delete requests are carried out a minute after they cannot be taken back any more.
const DELETED_WITHIN: Duration = Duration::from_secs(180);
const COMPACTED_WITHIN: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    tenant: String,
    labels: BTreeMap<String, String>,
    ts_ns: i64,
    line: String,
    metadata: BTreeMap<String, String>,
}

fn config(store: &Store, codec: &str, compaction_interval: &str) -> String {
    let rest = format!(
        "limits_config: {{reject_old_samples: false, discover_log_levels: false, discover_service_name: [], \
         per_stream_rate_limit: 1GB, ingestion_rate_mb: 1000, ingestion_burst_size_mb: 1000}}\n\
         ingester: {{chunk_encoding: {codec}, chunk_block_size: 2048, chunk_target_size: 65536}}\n\
         compactor: {{compaction_interval: {compaction_interval}, retention_enabled: true, delete_request_store: filesystem, \
         delete_request_cancel_period: 0s, retention_delete_delay: 1s}}\n"
    );
    store.config(&rest).replace("auth_enabled: false", "auth_enabled: true")
}

/// The entries of two tenants of a codec, over ten minutes on either side of a midnight.
fn entries(codec: &str, midnight_ns: i64) -> Vec<Entry> {
    const MINUTE_NS: i64 = 60_000_000_000;
    let mut all = vec![];
    for tenant in ["a", "b"].map(|t| format!("{codec}-{t}")) {
        for (stream, app) in ["api", "web", "gone"].iter().enumerate() {
            for i in 0..200i64 {
                let ts_ns = midnight_ns + (i - 100) * 6 * (MINUTE_NS / 60) + stream as i64;
                let word = ["keep", "drop-me", "größe", "\"quoted\" \\ \t"][(i % 4) as usize];
                let line = format!(
                    "level=info tenant={tenant} app={app} i={i} {word} {}",
                    "padding ".repeat((i % 9) as usize)
                );
                let metadata = match i % 3 {
                    0 => BTreeMap::new(),
                    n => {
                        [("trace_id".to_string(), format!("t{}", i % 7)), ("user".to_string(), format!("ü{n}"))].into()
                    }
                };
                let labels = [("app".to_string(), app.to_string()), ("codec".to_string(), codec.to_string())].into();
                all.push(Entry { tenant: tenant.clone(), labels, ts_ns, line, metadata });
            }
        }
    }
    all.sort();
    all
}

async fn push(node: &Node, entries: &[Entry]) {
    let mut streams: BTreeMap<(&str, &BTreeMap<String, String>), Vec<Value>> = BTreeMap::new();
    for e in entries {
        let value = json!([e.ts_ns.to_string(), e.line, e.metadata]);
        streams.entry((&e.tenant, &e.labels)).or_default().push(value);
    }
    for ((tenant, labels), values) in streams {
        let body = json!({"streams": [{"stream": labels, "values": values}]}).to_string().into_bytes();
        let client = node.client().tenant(tenant);
        let answer = client.post("/loki/api/v1/push", &[("Content-Type", "application/json")], body).await.unwrap();
        assert_eq!(answer.0, 204, "{}", answer.1);
    }
}

/// What the decoder reports of a bucket.
fn report(bucket: &Path) -> Value {
    let output = Command::new(tools().join("bin/python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(test_data("bucket/check.py"))
        .arg(bucket)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text_map(value: &Value) -> BTreeMap<String, String> {
    serde_json::from_value(value.clone()).unwrap()
}

fn found(report: &Value) -> Vec<Entry> {
    let mut all = vec![];
    for chunk in report["chunks"].as_array().unwrap() {
        for line in chunk["lines"].as_array().unwrap() {
            all.push(Entry {
                tenant: chunk["tenant"].as_str().unwrap().to_string(),
                labels: text_map(&chunk["labels"]),
                ts_ns: line[0].as_i64().unwrap(),
                line: line[1].as_str().unwrap().to_string(),
                metadata: text_map(&line[2]),
            });
        }
    }
    all.sort();
    all
}

/// Panics unless the bucket is sound and holds exactly `expected`.
fn check(state: &str, report: &Value, expected: &[Entry]) {
    assert_eq!(report["faults"], json!([]), "{state}");
    let found = found(report);
    let missing: Vec<_> = expected.iter().filter(|e| found.binary_search(e).is_err()).take(3).collect();
    let foreign: Vec<_> = found.iter().filter(|e| expected.binary_search(e).is_err()).take(3).collect();
    assert!(missing.is_empty() && foreign.is_empty(), "{state}: missing {missing:?}, not pushed {foreign:?}");
    assert_eq!(found.len(), expected.len(), "{state}: entries that are there twice");
}

/// Panics unless every codec was used, in chunks of several blocks, over two tables.
fn check_variety(report: &Value) {
    let chunks = report["chunks"].as_array().unwrap();
    for codec in CODECS {
        let of_codec = || chunks.iter().filter(|c| c["codec"] == codec && c["version"] == 4);
        assert!(of_codec().any(|c| c["blocks"].as_u64() > Some(3)), "{codec}: several blocks in a chunk");
        let tenants: BTreeSet<&str> = of_codec().map(|c| c["tenant"].as_str().unwrap()).collect();
        assert_eq!(tenants.len(), 2, "{codec}");
        let tables: BTreeSet<&str> =
            of_codec().flat_map(|c| c["tables"].as_array().unwrap()).map(|t| t.as_str().unwrap()).collect();
        assert_eq!(tables.len(), 2, "{codec}: {tables:?}");
    }
}

/// Asks again until `done`, and answers the last report.
async fn until(what: &str, within: Duration, node: &Node, bucket: &Path, done: impl Fn(&Value) -> bool) -> Value {
    let started = Instant::now();
    loop {
        let report = tokio::task::block_in_place(|| report(bucket));
        if done(&report) {
            return report;
        }
        let faults = &report["faults"];
        assert!(started.elapsed() < within, "not {what} within {within:?}: {faults}\n{}", node.log());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn request_deletes(node: &Node, midnight_ns: i64) {
    let (start, end) = (midnight_ns / 1_000_000_000 - 3600, midnight_ns / 1_000_000_000 + 3600);
    for tenant in CODECS.iter().flat_map(|codec| [format!("{codec}-a"), format!("{codec}-b")]) {
        for query in ["{app=\"api\"} |= \"drop-me\"", "{app=\"gone\"}", "{app=\"web\"} | trace_id=\"t3\""] {
            let path = format!("/loki/api/v1/delete?query={}&start={start}&end={end}", encode(query));
            let answer = node.client().tenant(&tenant).post(&path, &[], vec![]).await.unwrap();
            assert_eq!(answer.0, 204, "{query}: {}", answer.1);
        }
    }
}

fn is_deleted(e: &Entry) -> bool {
    match e.labels["app"].as_str() {
        "api" => e.line.contains("drop-me"),
        "web" => e.metadata.get("trace_id").is_some_and(|id| id == "t3"),
        _ => true,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_independent_decoder_finds_every_line_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::directory(dir.path());
    let bucket = dir.path().join("bucket");
    let midnight_ns = (now_ns() / 86_400_000_000_000 - 1) * 86_400_000_000_000;
    let mut expected = vec![];
    for codec in CODECS {
        let entries = entries(codec, midnight_ns);
        let mut node = Node::new(dir.path()).config(&config(&store, codec, "1h"));
        node.start().await;
        push(&node, &entries).await;
        tokio::task::block_in_place(|| node.stop());
        expected.extend(entries);
    }
    expected.sort();
    let written = tokio::task::block_in_place(|| report(&bucket));
    check("as written", &written, &expected);
    check_variety(&written);

    let mut node = Node::new(dir.path()).config(&config(&store, "zstd", "1s"));
    node.start().await;
    let is_compacted = |report: &Value| report["files"].as_array().unwrap().iter().all(|f| !f["tenant"].is_null());
    let compacted = until("compacted", COMPACTED_WITHIN, &node, &bucket, is_compacted).await;
    check("compacted", &compacted, &expected);
    check_variety(&compacted);

    request_deletes(&node, midnight_ns).await;
    expected.retain(|e| !is_deleted(e));
    let is_swept = |report: &Value| found(report) == expected && report["faults"] == json!([]);
    let deleted = until("deleted", DELETED_WITHIN, &node, &bucket, is_swept).await;
    check("after deletes", &deleted, &expected);
    tokio::task::block_in_place(|| node.stop());
    check("after deletes and a stop", &tokio::task::block_in_place(|| report(&bucket)), &expected);
}
