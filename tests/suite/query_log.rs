//! What a query leaves in the log: Loki's line with Loki's names, the trace that it belongs to, and the slow ones once more.

use crate::client::now_ns;
use crate::process::Node;
use std::collections::HashMap;

/// The pairs of a logfmt line.
fn logfmt(line: &str) -> HashMap<String, String> {
    let mut pairs = HashMap::new();
    let mut rest = line;
    while let Some((name, after)) = rest.split_once('=') {
        let (value, tail) = match after.strip_prefix('"') {
            None => after.split_once(' ').unwrap_or((after, "")),
            Some(quoted) => {
                let end = (0..quoted.len()).find(|at| quoted[*at..].starts_with('"') && !quoted[..*at].ends_with('\\'));
                let (value, tail) = quoted.split_at(end.unwrap());
                (value, tail[1..].trim_start())
            }
        };
        pairs.insert(name.trim().to_string(), value.replace("\\\"", "\""));
        rest = tail;
    }
    pairs
}

/// What Loki's users read of the line, with the values that are known here.
const KNOWN: [(&str, &str); 16] = [
    ("level", "info"),
    ("component", "frontend"),
    ("org_id", "fake"),
    ("latency", "fast"),
    ("query", "{a=\"b\"} |= \"x\""),
    ("query_type", "filter"),
    ("range_type", "range"),
    ("length", "1h0m0s"),
    ("step", "14s"),
    ("status", "200"),
    ("limit", "100"),
    ("returned_lines", "1"),
    ("total_lines", "2"),
    ("total_entries", "1"),
    // Tags; one that would pass for a field of ours is none.
    ("source", "logs"),
    ("team", "a_b"),
];

const PRESENT: [&str; 12] = [
    "ts",
    "traceID",
    "query_hash",
    "start_delta",
    "end_delta",
    "duration",
    "throughput",
    "total_bytes",
    "store_chunks_download_time",
    "queue_time",
    "splits",
    "shards",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_leaves_lokis_line_and_its_answer_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::new(dir.path()).arg("-frontend.log-queries-longer-than=1ns");
    node.start().await;
    let now = now_ns();
    let lines = [(now - 2, "x".to_string()), (now - 1, "y".to_string())];
    assert_eq!(node.client().push(&[("a", "b")], &lines).await, Some(204));
    let url = format!(
        "http://127.0.0.1:{}/loki/api/v1/query_range?query=%7Ba%3D%22b%22%7D%20%7C%3D%20%22x%22&start={}&end={now}",
        node.http_port,
        now - 3_600_000_000_000
    );
    let http = reqwest::Client::new();
    let named = http.get(&url).header("X-Request-Id", "mine-1").send().await.unwrap();
    assert_eq!(named.headers()["x-request-id"], "mine-1");
    let hostile = http.get(&url).header("X-Request-Id", "two words");
    let hostile =
        hostile.header("X-Query-Tags", "Source=logs,org_id=other,level=error,team=a\"b").send().await.unwrap();
    let id = hostile.headers()["x-request-id"].to_str().unwrap().to_string();
    assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    let refused = http.get(url.replace("%7Ba", "%7B1")).send().await.unwrap();
    assert_eq!(refused.status(), 400);

    let log = std::fs::read_to_string(dir.path().join("lokirs.log")).unwrap();
    let of_query = |line: &&str| line.contains("caller=metrics.go") && line.contains(&format!("traceID={id}"));
    let line = log.lines().find(of_query).expect(&log);
    let pairs = logfmt(line);
    for (name, value) in KNOWN {
        assert_eq!(pairs.get(name).map(String::as_str), Some(value), "{name} in {line}");
    }
    for name in PRESENT {
        assert!(pairs.get(name).is_some_and(|value| !value.is_empty()), "{name} in {line}");
    }
    let failed = log.lines().filter(|line| line.contains("caller=metrics.go") && line.contains("status=400")).count();
    let slow = log.lines().filter(|line| line.contains("slow query detected")).count();
    assert_eq!((failed, slow), (1, 3), "{log}");
}
