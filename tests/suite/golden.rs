//! Buckets written by the real Loki open in place, and its recorded queries give its recorded answers.

use crate::client::encode;
use crate::process::{Node, test_data};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// A node that serves a copy of a golden bucket as its chunks directory.
async fn serve(bucket: &str, schema: &str, dir: &Path) -> Node {
    copy(&test_data("golden").join(bucket), &dir.join("bucket"));
    let config = format!(
        "auth_enabled: true\ncommon:\n  path_prefix: ${{DIR}}/data\n  storage:\n    filesystem:\n      chunks_directory: ${{DIR}}/bucket\n      rules_directory: ${{DIR}}/rules\nlimits_config:\n  max_query_length: 0s\nschema_config:\n  configs:\n{schema}"
    );
    let mut node = Node::new(dir).config(&config);
    node.start().await;
    node
}

const V13: &str = "    - {from: 2024-01-01, store: tsdb, object_store: filesystem, schema: v13, index: {prefix: index_, period: 24h}}\n";
const THREE_PERIODS: &str = "    - {from: 2024-01-01, store: tsdb, object_store: filesystem, schema: v11, index: {prefix: i11_, period: 24h}}
    - {from: 2025-03-01, store: tsdb, object_store: filesystem, schema: v12, index: {prefix: i12_, period: 24h}}
    - {from: 2025-03-03, store: tsdb, object_store: filesystem, schema: v13, index: {prefix: i13_, period: 24h}}\n";

fn copy(from: &Path, to: &Path) {
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

/// Where our answer differs on purpose.
const DIFFERENT: [(&str, &str); 2] = [
    ("q17_index_stats", "Loki estimates the share of a chunk in the range; how is not documented, and its sum is no sum of its chunks"),
    ("q19_start_equals_chunk_through", "Loki leaves out an entry at the last millisecond of its chunk; it belongs to the answer"),
];

/// Replays the recorded queries of a file; answers the differences.
async fn replay(node: &Node, file: &str) -> Vec<String> {
    let recorded: Value = serde_json::from_str(&std::fs::read_to_string(test_data("golden").join(file)).unwrap()).unwrap();
    let mut differences = vec![];
    let cases = recorded.as_object().unwrap().iter().filter(|(name, _)| DIFFERENT.iter().all(|(d, _)| d != name));
    for (name, case) in cases {
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
        let got: Value = serde_json::from_str(&body).unwrap_or(Value::String(body));
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recorded_queries_have_the_recorded_answers() {
    let cases = BTreeMap::from([
        ("uncompacted", (V13, "queries.json")),
        ("compacted", (V13, "queries.json")),
        ("encodings", (V13, "queries-encodings.json")),
        ("schemas", (THREE_PERIODS, "queries-schemas.json")),
    ]);
    for (bucket, (schema, queries)) in cases {
        let dir = tempfile::tempdir().unwrap();
        let node = serve(bucket, schema, dir.path()).await;
        let differences = replay(&node, queries).await;
        assert!(differences.is_empty(), "{bucket}: {} differences:\n{}", differences.len(), differences.join("\n"));
    }
}
