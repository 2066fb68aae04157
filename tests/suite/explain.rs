//! What a query would read is told without reading it, and a request may allow itself less than its tenant may.

use crate::client::{Client, encode, now_ns};
use crate::process::Node;
use crate::store::Store;
use serde_json::{Value, json};

const HEADER: &str = "X-Loki-Query-Limits";
const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
const LINES: i64 = 200;

/// Two streams, stored; lines are a second apart and the newest is at the answered time.
async fn stored(node: &mut Node) -> i64 {
    node.start().await;
    let now = now_ns();
    for app in ["api", "web"] {
        let lines: Vec<(i64, String)> =
            (0..LINES).map(|i| (now - i * 1_000_000_000, format!("level=info i={i} {}", "x".repeat(50)))).collect();
        assert_eq!(node.client().push(&[("app", app)], &lines).await, Some(204));
    }
    tokio::task::block_in_place(|| node.stop());
    node.start().await;
    now
}

/// A read as a form; status and body.
async fn ask(client: &Client, path: &str, query: &str, now: i64, limits: Option<&str>) -> (u16, String) {
    let (start, end) = (now - 3600 * 1_000_000_000, now + 1);
    let form = format!("query={}&start={start}&end={end}", encode(query));
    let mut headers = vec![FORM];
    headers.extend(limits.map(|limits| (HEADER, limits)));
    client.post(path, &headers, form.into_bytes()).await.unwrap()
}

async fn explain(client: &Client, query: &str, now: i64, limits: Option<&str>) -> Value {
    let (status, body) = ask(client, "/loki/api/v1/explain", query, now, limits).await;
    assert_eq!(status, 200, "{query}: {body}");
    serde_json::from_str::<Value>(&body).unwrap()["data"].take()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_query_would_read_is_told_from_the_index() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::directory(dir.path());
    let mut node = Node::new(dir.path()).config(&store.config("limits_config: {max_query_bytes_read: 20KB}\n"));
    let now = stored(&mut node).await;
    let client = node.client();

    let one = explain(&client, r#"{app="api"} |= "i=17" | logfmt | level="info""#, now, None).await;
    let part = &one["selections"][0];
    assert_eq!(part["matchers"], json!([r#"app="api""#]));
    assert_eq!(part["block_search"], json!({"literal": "i=17", "expression": null}));
    let works: Vec<&str> = part["stages"].as_array().unwrap().iter().map(|s| s["work"].as_str().unwrap()).collect();
    assert_eq!(works, ["search the line for text", "parse the line", "filter by labels"]);
    assert_eq!((&one["total"]["streams"], &one["refused"]), (&json!(1), &Value::Null), "{one}");
    let stats = ask(&client, "/loki/api/v1/index/stats", r#"{app="api"}"#, now, None).await.1;
    assert_eq!(part["read"], serde_json::from_str::<Value>(&stats).unwrap());

    // Both streams are above the limit; a query for them is refused with the text that explain foretells.
    let both =
        r#"sum(count_over_time({app="api"} | json [1m])) + sum(count_over_time({app=~"api|web"} |~ "a+b" [5m]))"#;
    let told = explain(&client, both, now, None).await;
    assert_eq!(told["selections"].as_array().unwrap().len(), 2, "{told}");
    let refused = told["refused"].as_str().unwrap_or_else(|| panic!("{told}"));
    assert!(refused.starts_with("the query would read too many bytes"), "{refused}");
    assert_eq!(told["limits"][0]["allowed"], false, "{told}");
    let (status, body) = ask(&client, "/loki/api/v1/query_range", both, now, None).await;
    assert!(status == 400 && body.contains("the query would read too many bytes"), "{status} {body}");

    let (_, metrics) = client.get("/metrics").await;
    let fetched = metrics.lines().find(|l| l.starts_with("loki_chunk_store_fetched_chunks_total")).map(str::to_string);
    assert_eq!(fetched.as_deref(), Some("loki_chunk_store_fetched_chunks_total 0"), "no chunk was read");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_may_allow_itself_less_where_that_is_enabled() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::directory(dir.path());
    let mut node = Node::new(dir.path()).config(&store.config("querier: {per_request_limits_enabled: true}\n"));
    let now = stored(&mut node).await;
    let client = node.client();
    let few = r#"{"maxQueryBytesRead":"1KB"}"#;
    for (path, query, limits, refused) in [
        ("query_range", r#"{app="api"}"#, r#"{"maxQueryBytesRead":"1MB"}"#, None),
        ("query_range", r#"{app="api"}"#, few, Some("the query would read too many bytes")),
        ("query_range", r#"rate({app="api"}[1m])"#, few, Some("limit: 1.0 KiB")),
        (
            "query_range",
            r#"{app="api"}"#,
            r#"{"maxQueryLength":"30m"}"#,
            Some("the query time range exceeds the limit"),
        ),
        (
            "query_range",
            r#"{app="api"}"#,
            r#"{"maxEntriesLimitPerQuery":10}"#,
            Some("max entries limit per query exceeded"),
        ),
        ("query_range", r#"rate({app="api"}[5m])"#, r#"{"maxQueryInterval":"1m"}"#, Some("value exceeds limit")),
        ("query_range", r#"{app="api"}"#, r#"{"requiredLabels":["env"]}"#, Some("missing required matchers [env]")),
        ("query_range", r#"{app="api"}"#, r#"{"minimumLabelsNumber":2}"#, Some("less label matchers than required")),
        ("query_range", r#"{app="api"}"#, "{", Some("invalid header X-Loki-Query-Limits")),
        ("query", r#"count_over_time({app="api"}[1h])"#, few, Some("the query would read too many bytes")),
    ] {
        let (status, body) = ask(&client, &format!("/loki/api/v1/{path}"), query, now, Some(limits)).await;
        match refused {
            None => assert_eq!(status, 200, "{query} {limits}: {body}"),
            Some(text) => assert!(status == 400 && body.contains(text), "{query} {limits}: {status} {body}"),
        }
    }
    let (status, body) = ask(&client, "/lokirs/api/v1/export", r#"{app="api"}"#, now, Some(few)).await;
    assert!(status == 400 && body.contains("too many bytes"), "an export: {status} {body}");
    let told = explain(&client, r#"{app="api"}"#, now, Some(few)).await;
    assert!(told["refused"].as_str().is_some_and(|text| text.contains("limit: 1.0 KiB")), "{told}");

    tokio::task::block_in_place(|| node.stop());
    node.rewrite_config(|yaml| yaml.replace("per_request_limits_enabled: true", "per_request_limits_enabled: false"));
    node.start().await;
    let (status, body) = ask(&node.client(), "/loki/api/v1/query_range", r#"{app="api"}"#, now, Some(few)).await;
    assert_eq!(status, 200, "as in Loki the header has no meaning unless it is enabled: {body}");
}
