//! Buckets written by the real Loki open in place, and its recorded queries give its recorded answers.

use crate::client::{encode, lines};
use crate::process::{Node, test_data};
use crate::store::Store;
use serde_json::Value;
use std::path::Path;
use storage::objects::Objects;

/// A node that serves a copy of a golden bucket.
async fn serve(bucket: &str, schema: &str, dir: &Path, store: &Store) -> Node {
    let mut node = prepare(bucket, schema, dir, store).await;
    node.start().await;
    node
}

/// The same, not started yet.
pub async fn prepare(bucket: &str, schema: &str, dir: &Path, store: &Store) -> Node {
    let golden = test_data("golden").join(bucket);
    match store {
        Store::Directory(to) => copy(&golden, to),
        Store::S3(_) => upload(&golden, "", &store.objects()).await,
    }
    let schema = schema.replace("object_store: filesystem", &format!("object_store: {}", store.name()));
    let rest = format!("limits_config:\n  max_query_length: 0s\nschema_config:\n  configs:\n{schema}");
    let config = store.config(&rest).replace("auth_enabled: false", "auth_enabled: true");
    Node::new(dir).config(&config)
}

const V13: &str = "    - {from: 2024-01-01, store: tsdb, object_store: filesystem, schema: v13, index: {prefix: index_, period: 24h}}\n";
const THREE_PERIODS: &str =
    "    - {from: 2024-01-01, store: tsdb, object_store: filesystem, schema: v11, index: {prefix: i11_, period: 24h}}
    - {from: 2025-03-01, store: tsdb, object_store: filesystem, schema: v12, index: {prefix: i12_, period: 24h}}
    - {from: 2025-03-03, store: tsdb, object_store: filesystem, schema: v13, index: {prefix: i13_, period: 24h}}\n";

pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// The files of Loki's filesystem store as the objects of its S3 store: chunks are named by their keys there.
async fn upload(from: &Path, prefix: &str, to: &Objects) {
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|e| (e.path(), format!("{prefix}{}", e.file_name().display()))).unwrap();
        if path.is_dir() {
            Box::pin(upload(&path, &format!("{name}/"), to)).await;
            continue;
        }
        let key = format::key::key_of_filesystem_name(&name).map_or(name, |chunk| to.chunk_name(&chunk));
        to.put(&key, std::fs::read(path).unwrap().into()).await.unwrap();
    }
}

/// Where our answer differs on purpose.
const DIFFERENT: [(&str, &str); 2] = [
    (
        "q17_index_stats",
        "Loki estimates the share of a chunk in the range; how is not documented, and its sum is no sum of its chunks",
    ),
    (
        "q19_start_equals_chunk_through",
        "Loki leaves out an entry at the last millisecond of its chunk; it belongs to the answer",
    ),
];

/// Queries over a chunk whose structured metadata Loki's own rewrite damaged, and for which Loki answers 500.
const DAMAGED: [&str; 3] = ["q07_gateway_all", "q21_end_exclusive", "q22_end_plus_1ns"];
pub const DAMAGED_CHUNK: &str = "acme/16a4dee85bd8f561/19553c711b0:19553cd14c0:45f555fc";

fn recorded(file: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(test_data("golden").join(file)).unwrap()).unwrap()
}

/// Asks a recorded query.
async fn ask(node: &Node, case: &Value) -> (u16, Value) {
    let params = case["params"].as_object().unwrap();
    let query: Vec<String> = params
        .iter()
        .flat_map(|(k, v)| match v {
            Value::Array(many) => many.iter().map(|v| (k, v.clone())).collect(),
            one => vec![(k, one.clone())],
        })
        .map(|(k, v)| format!("{}={}", encode(k), encode(&v.as_str().map_or(v.to_string(), str::to_string))))
        .collect();
    let client = node.client().tenant(case["tenant"].as_str().unwrap());
    let (status, body) = client.get(&format!("{}?{}", case["path"].as_str().unwrap(), query.join("&"))).await;
    (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
}

/// Replays the recorded queries of a file; answers the differences.
pub async fn replay(node: &Node, file: &str) -> Vec<String> {
    let recorded = recorded(file);
    let mut differences = vec![];
    let skipped = |name: &str| DIFFERENT.iter().any(|(d, _)| *d == name) || recorded[name]["status"] == 500;
    for (name, case) in recorded.as_object().unwrap().iter().filter(|(name, _)| !skipped(name)) {
        let (status, got) = ask(node, case).await;
        if u64::from(status) != case["status"].as_u64().unwrap_or(200) {
            differences.push(format!("{name}: status {status}: {got}"));
        } else if canonical(&got) != canonical(&case["response"]) {
            differences.push(format!("{name}:\n got {:?}\nwant {:?}", canonical(&got), canonical(&case["response"])));
        }
    }
    differences
}

/// An answer without what may differ: statistics, and the order of streams and series.
fn canonical(answer: &Value) -> Value {
    let mut answer = answer.clone();
    if let Some(data) = answer.get_mut("data").and_then(Value::as_object_mut) {
        data.remove("stats");
        if let Some(result) = data.get_mut("result").and_then(Value::as_array_mut) {
            result.sort_by_key(Value::to_string);
        }
    }
    if let Some(list) = answer.get_mut("data").and_then(Value::as_array_mut) {
        list.sort_by_key(Value::to_string);
    }
    answer
}

/// The buckets with their schemas and the recorded queries.
pub const CASES: [(&str, &str, &str); 5] = [
    ("uncompacted", V13, "queries.json"),
    ("compacted", V13, "queries.json"),
    ("after-deletes", V13, "queries-after-deletes.json"),
    ("encodings", V13, "queries-encodings.json"),
    ("schemas", THREE_PERIODS, "queries-schemas.json"),
];

async fn recorded_queries_are_answered(bucket: &str, schema: &str, queries: &str, dir: &Path, store: &Store) {
    let node = serve(bucket, schema, dir, store).await;
    let differences = replay(&node, queries).await;
    assert!(differences.is_empty(), "{bucket}: {} differences:\n{}", differences.len(), differences.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recorded_queries_have_the_recorded_answers() {
    for (bucket, schema, queries) in CASES {
        let dir = tempfile::tempdir().unwrap();
        recorded_queries_are_answered(bucket, schema, queries, dir.path(), &Store::directory(dir.path())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recorded_queries_have_the_recorded_answers_over_s3() {
    for (bucket, schema, queries) in [CASES[2], CASES[4]] {
        let dir = tempfile::tempdir().unwrap();
        recorded_queries_are_answered(bucket, schema, queries, dir.path(), &Store::s3().await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_be_read_of_a_damaged_chunk_is_answered_with_a_warning_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let node = serve("after-deletes", V13, dir.path(), &Store::directory(dir.path())).await;
    let pushed = std::fs::read_to_string(test_data("golden/pushed.json")).unwrap();
    let recorded = recorded("queries-after-deletes.json");
    for name in DAMAGED {
        let (status, answer) = ask(&node, &recorded[name]).await;
        assert_eq!(status, 200, "{name}: {answer}");
        let warnings = answer["warnings"].as_array().unwrap_or_else(|| panic!("{name}: no warning"));
        assert!(warnings.iter().any(|w| w.as_str().unwrap().contains(DAMAGED_CHUNK)), "{name}: {warnings:?}");
        let lines = lines(&answer);
        assert!(!lines.is_empty(), "{name}: nothing was read");
        for line in lines {
            let text = serde_json::to_string(&line.text).unwrap();
            assert!(pushed.contains(&text), "{name}: {text} was never pushed");
        }
    }
}
