//! The recorded answers of Loki 3.7.6 (`tests/conformance`): the runner pushes the corpus's data to a real process that
//! has the corpus's own configuration, and compares; then again after a flush and a restart, from stored chunks.
//! `tests/conformance/known_failures.txt` names the cases that fail today; any other failure, and any case of the list
//! that passes, fails the test.

use crate::process::{Node, test_data};
use crate::store::Store;
use std::collections::BTreeSet;
use std::process::Command;

fn node(dir: &std::path::Path) -> Node {
    let config = test_data("conformance/config");
    Node::new(dir)
        .arg(format!("-config.file={}", config.join("loki.yaml").display()))
        .arg("-config.expand-env=true")
        .env("DATA_DIR", dir.join("data").display().to_string())
        .env("CONFIG_DIR", config.display().to_string())
}

/// Runs the corpus; answers its last line and the names of the cases that failed.
fn run(node: &Node, flags: &[&str]) -> (String, BTreeSet<String>) {
    let report = node.dir.join("report.xml");
    let output = Command::new("python3")
        .arg(test_data("conformance/run.py"))
        .arg(format!("http://127.0.0.1:{}", node.http_port))
        .arg("--junit")
        .arg(&report)
        .args(flags)
        .output()
        .expect("python3 is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let last = text.lines().last().unwrap_or("").to_string();
    assert!(last.contains("passed"), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    (last, failed_cases(&std::fs::read_to_string(report).unwrap()))
}

/// The names of the test cases with a failure in a JUnit report.
fn failed_cases(xml: &str) -> BTreeSet<String> {
    let cases = xml.split("<testcase").skip(1);
    let failed = cases.filter(|case| case.split("</testcase>").next().is_some_and(|c| c.contains("<failure")));
    failed.filter_map(|case| Some(case.split(" name=\"").nth(1)?.split('"').next()?.to_string())).collect()
}

fn known_failures() -> BTreeSet<String> {
    let list = std::fs::read_to_string(test_data("conformance/known_failures.txt")).unwrap();
    list.lines()
        .filter(|l| !l.starts_with('#'))
        .filter_map(|l| l.split_whitespace().next())
        .map(str::to_string)
        .collect()
}

fn compare(state: &str, last: &str, failed: &BTreeSet<String>) {
    eprintln!("conformance, {state}: {last}");
    let known = known_failures();
    let new: Vec<_> = failed.difference(&known).collect();
    assert!(new.is_empty(), "{state}: {last}; cases that used to pass fail: {new:?}");
}

/// The corpus's configuration with another object store.
fn node_over(store: &Store, dir: &std::path::Path) -> Node {
    let config = test_data("conformance/config");
    let text = std::fs::read_to_string(config.join("loki.yaml")).unwrap();
    let (head, rest) = text.split_once("    filesystem:\n").expect("the corpus's object store is a directory");
    let rest = rest.split_once("  replication_factor").expect("the storage block ends").1;
    let text = format!("{head}    {}\n  replication_factor{rest}", store.yaml());
    let text = text.replace("object_store: filesystem", &format!("object_store: {}", store.name()));
    Node::new(dir)
        .config(&text)
        .env("DATA_DIR", dir.join("data").display().to_string())
        .env("CONFIG_DIR", config.display().to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recorded_answers_hold_from_chunks_stored_on_s3() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::s3().await;
    let mut node = node_over(&store, dir.path());
    node.start().await;
    // One area loads the data set.
    tokio::task::block_in_place(|| run(&node, &["--only", "selectors"]));
    tokio::task::block_in_place(|| node.stop());
    node.start().await;
    let (last, stored) = tokio::task::block_in_place(|| run(&node, &["--skip-load"]));
    compare("stored on S3", &last, &stored);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recorded_answers_hold_when_they_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = node(dir.path());
    node.start().await;
    // Old entries that come after a question would not be seen in its answer.
    tokio::task::block_in_place(|| run(&node, &["--only", "selectors"]));
    tokio::task::block_in_place(|| node.stop());
    let flags = ["-querier.cache-results=true", "-querier.cache-instant-metric-results=true"];
    let mut node = flags.into_iter().fold(node, Node::arg);
    node.start().await;
    let (last, cold) = tokio::task::block_in_place(|| run(&node, &["--skip-load"]));
    compare("not kept yet", &last, &cold);
    let (last, warm) = tokio::task::block_in_place(|| run(&node, &["--skip-load"]));
    compare("kept", &last, &warm);
    let (_, metrics) = node.client().get("/metrics").await;
    let hits = |kind: &str| -> f64 {
        let name = format!("loki_query_frontend_results_cache_hits_total{{kind=\"{kind}\"}} ");
        metrics.lines().filter_map(|line| line.strip_prefix(&name)?.parse::<f64>().ok()).sum()
    };
    assert!(
        hits("result") > 500.0 && hits("instantMetricResult") > 50.0,
        "{} {}",
        hits("result"),
        hits("instantMetricResult")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recorded_answers_hold_in_memory_and_from_stored_chunks() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = node(dir.path());
    node.start().await;
    let (last, in_memory) = tokio::task::block_in_place(|| run(&node, &[]));
    compare("in memory", &last, &in_memory);
    tokio::task::block_in_place(|| node.stop());
    node.start().await;
    let (last, stored) = tokio::task::block_in_place(|| run(&node, &["--skip-load"]));
    compare("stored", &last, &stored);
    tokio::task::block_in_place(|| node.stop());
    // Every query that can be is split by time and by streams: the answers stay the same.
    let mut node = node.arg("-querier.split-queries-by-interval=5m").arg("-querier.tsdb-max-bytes-per-shard=1KB");
    node.start().await;
    let (last, in_parts) = tokio::task::block_in_place(|| run(&node, &["--skip-load"]));
    compare("stored, asked in parts", &last, &in_parts);
    let (start_ns, end_ns) = (1_768_471_200_000_000_000, 1_768_474_800_000_000_000);
    let counted = "sum(count_over_time({app=~\".+\"}[1m]))";
    let answer = node.client().tenant("conf").query_range(counted, start_ns, end_ns, 100, "forward").await;
    let summary = &answer["data"]["stats"]["summary"];
    assert!(summary["splits"].as_u64() > Some(10) && summary["shards"].as_u64() > Some(10), "{summary}");
    let passing: Vec<String> =
        known_failures().into_iter().filter(|k| !in_memory.contains(k) && !stored.contains(k)).collect();
    assert!(passing.is_empty(), "these pass now; take them off the list: {passing:?}");
}
