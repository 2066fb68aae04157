//! Kept answers of queries: asked once, right ever after, hidden by a delete request, outliving the process in
//! memcached.

use crate::cache_servers;
use crate::client::{encode, lines, now_ns};
use crate::process::Node;
use crate::store::Store;
use serde_json::Value;
use std::time::{Duration, Instant};

const MINUTE_NS: i64 = 60_000_000_000;
const WITHIN: Duration = Duration::from_secs(30);
/// Several parts, and answers that are kept a minute after their time.
const LIMITS: &str = "limits_config: {split_queries_by_interval: 30m, max_cache_freshness_per_query: 1m}\n";
const RETENTION: &str = "compactor: {retention_enabled: true, delete_request_store: filesystem}\n";

/// A process with two hours of lines, one a minute of two streams, and their begin.
async fn filled(dir: &std::path::Path, yaml: &str) -> (Node, i64) {
    let mut node = Node::new(&dir.join("node")).config(&Store::directory(dir).config(yaml));
    node.start().await;
    let begin_ns = now_ns() / (10 * MINUTE_NS) * (10 * MINUTE_NS) - 150 * MINUTE_NS;
    for stream in ["a", "b"] {
        let line = |i: i64| (begin_ns + i * MINUTE_NS + 1, format!("n={i} secret={}", i % 2 == 0));
        let all: Vec<(i64, String)> = (0..120).map(line).collect();
        assert_eq!(node.client().push(&[("app", "x"), ("stream", stream)], &all).await, Some(204));
    }
    (node, begin_ns)
}

/// The answer of a query over minutes after the begin.
async fn ask(node: &Node, query: &str, begin_ns: i64, minutes: (i64, i64), headers: &[(&str, &str)]) -> Value {
    let at = |minute: i64| begin_ns + minute * MINUTE_NS;
    let (start, end) = (at(minutes.0), at(minutes.1));
    let path = format!("/loki/api/v1/query_range?query={}&start={start}&end={end}&step=60&limit=1000", encode(query));
    let (status, body) = node.client().post(&path, headers, vec![]).await.unwrap();
    assert_eq!(status, 200, "{query}: {body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(answer.get("warnings"), None, "{body}");
    answer["data"].clone()
}

fn stat(answer: &Value, path: &str) -> u64 {
    answer["stats"].pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("{path} in {}", answer["stats"]))
}

fn lines_read(answer: &Value) -> u64 {
    stat(answer, "/summary/totalLinesProcessed")
}

const QUERIES: [&str; 5] = [
    "sum by (stream) (count_over_time({app=\"x\"}[5m]))",
    "topk(1, rate({app=\"x\"} |= \"secret=true\" [3m]))",
    "quantile_over_time(0.5, {app=\"x\"} | logfmt | unwrap n [10m]) by (stream)",
    "absent_over_time({app=\"x\"} |= \"secret=true\" [1m])",
    "sum(count_over_time({app=\"x\"}[1m] offset 5m)) > 1",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_kept_is_the_answer() {
    let dir = tempfile::tempdir().unwrap();
    let yaml = format!(
        "query_range: {{cache_results: true, results_cache: {{cache: {{embedded_cache: {{enabled: true}}}}}}}}\n{LIMITS}"
    );
    let (node, begin_ns) = filled(dir.path(), &yaml).await;
    for query in QUERIES {
        let cold = ask(&node, query, begin_ns, (0, 100), &[]).await;
        let warm = ask(&node, query, begin_ns, (0, 100), &[]).await;
        let fresh = ask(&node, query, begin_ns, (0, 100), &[("Cache-Control", "no-cache")]).await;
        assert_eq!(cold["result"], warm["result"], "{query}");
        assert_eq!(cold["result"], fresh["result"], "{query}");
        assert!(cold["result"].as_array().is_some_and(|all| !all.is_empty()), "{query}");
        assert!(lines_read(&cold) > 0 && lines_read(&fresh) > 0, "{query}");
        assert_eq!(lines_read(&warm), 0, "{query}");
        assert!(stat(&cold, "/cache/result/entriesStored") > 0 && stat(&cold, "/cache/result/entriesFound") == 0);
        assert!(stat(&warm, "/cache/result/entriesFound") > 0 && stat(&warm, "/cache/result/queryLengthServed") > 0);
        assert_eq!(stat(&fresh, "/cache/result/requests"), 0, "{query}");
        // A longer range is asked for what is missing alone.
        let longer = ask(&node, query, begin_ns, (0, 115), &[]).await;
        let fresh = ask(&node, query, begin_ns, (0, 115), &[("Cache-Control", "no-cache")]).await;
        assert_eq!(longer["result"], fresh["result"], "{query}");
        assert!(lines_read(&longer) < lines_read(&fresh) / 2, "{query}");
    }
    let nothing = "{app=\"x\"} |= \"nothing\"";
    let cold = ask(&node, nothing, begin_ns, (0, 100), &[]).await;
    assert!(stat(&cold, "/summary/totalBytesProcessed") > 0);
    let warm = ask(&node, nothing, begin_ns, (0, 100), &[]).await;
    assert_eq!((stat(&warm, "/summary/totalBytesProcessed"), &warm["result"]), (0, &serde_json::json!([])));
    assert!(node.client().metric("loki_query_frontend_log_result_cache_hit_total", "").await >= 4.0);
    assert!(
        node.client().metric("loki_query_frontend_results_cache_hits_total", "result").await
            >= 4.0 * QUERIES.len() as f64
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delete_request_hides_kept_answers_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (node, begin_ns) =
        filled(dir.path(), &format!("query_range: {{cache_results: true}}\n{LIMITS}{RETENTION}")).await;
    let query = "sum(count_over_time({app=\"x\"} |= \"secret=true\" [1m]))";
    let generation = async || node.client().get("/loki/api/v1/cache/generation_numbers").await;
    let before = generation().await;
    assert_eq!(before, (200, "\"\"\n".to_string()));
    for _ in 0..2 {
        let answer = ask(&node, query, begin_ns, (0, 100), &[]).await;
        assert_eq!(answer["result"].as_array().map(Vec::len), Some(1));
    }
    let seconds = |minute: i64| (begin_ns + minute * MINUTE_NS) / 1_000_000_000;
    let selector = encode("{app=\"x\"} |= \"secret=true\"");
    let delete = format!("/loki/api/v1/delete?query={selector}&start={}&end={}", seconds(-5), seconds(125));
    let (status, body) = node.client().post(&delete, &[], vec![]).await.unwrap();
    assert_eq!((status, body.as_str()), (204, ""));
    for _ in 0..3 {
        let answer = ask(&node, query, begin_ns, (0, 100), &[]).await;
        assert_eq!(answer["result"], serde_json::json!([]));
    }
    assert_ne!(generation().await, before);
    let left = ask(&node, "{app=\"x\"}", begin_ns, (0, 121), &[]).await;
    assert_eq!(lines(&serde_json::json!({ "data": left })).len(), 120);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kept_answers_outlive_a_restart_in_memcached() {
    let dir = tempfile::tempdir().unwrap();
    let server = cache_servers::memcached(&[]);
    let cache = format!("memcached_client: {{addresses: \"{}\", timeout: 1s}}", server.address());
    let yaml = format!(
        "query_range: {{cache_results: true, cache_instant_metric_results: true, results_cache: {{compression: snappy, cache: {{{cache}}}}}}}\n{LIMITS}"
    );
    let (mut node, begin_ns) = filled(dir.path(), &yaml).await;
    let instant = format!(
        "/loki/api/v1/query?query={}&time={}",
        encode("sum by (stream) (count_over_time({app=\"x\"}[1h]))"),
        begin_ns + 100 * MINUTE_NS
    );
    let at = async |node: &Node| -> Value { serde_json::from_str(&node.client().get(&instant).await.1).unwrap() };
    let mut cold = vec![];
    for query in QUERIES {
        cold.push(ask(&node, query, begin_ns, (0, 100), &[]).await);
    }
    let then = at(&node).await;
    let began = Instant::now();
    while node.client().metric("loki_cache_background_queue_length", "").await > 0.0 {
        assert!(began.elapsed() < WITHIN, "the cache is not written\n{}", node.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::task::block_in_place(|| node.stop());
    node.start().await;
    for (query, cold) in QUERIES.iter().zip(cold) {
        let warm = ask(&node, query, begin_ns, (0, 100), &[]).await;
        assert_eq!(cold["result"], warm["result"], "{query}");
        assert_eq!(lines_read(&warm), 0, "{query}");
    }
    let now = at(&node).await;
    assert_eq!(now["data"]["result"], then["data"]["result"]);
    assert_eq!(lines_read(&now["data"]), 0);
    assert_eq!(stat(&now["data"], "/cache/instantMetricResult/entriesFound"), 1);
    // Without the server everything is asked anew.
    drop(server);
    let fresh = ask(&node, QUERIES[0], begin_ns, (0, 100), &[]).await;
    assert!(lines_read(&fresh) > 0);
}
