//! A process on its own serves its tenants in turn: one that asks very much does not keep the others waiting, and what
//! waits when the process is told to stop is answered.

use crate::client::{encode, now_ns};
use crate::process::Node;
use crate::store::Store;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

const FLOOD: usize = 80;
const CALM: usize = 5;
/// What a stop has time for.
const LAST: usize = 20;
const LINES: i64 = 40_000;

async fn push(node: &Node, tenant: &str, lines: i64, begin_ns: i64) {
    let all: Vec<(i64, String)> =
        (0..lines).map(|i| (begin_ns + i, format!("line {i} of a program that has {} to say", i * i % 1009))).collect();
    for part in all.chunks(5000) {
        assert_eq!(node.client().tenant(tenant).push(&[("app", "x")], part).await, Some(204));
    }
}

/// A query of its own, as equal ones are computed once.
fn question(number: usize, begin_ns: i64) -> String {
    let query = format!("sum(count_over_time({{app=\"x\"}} |~ \"o.*{number}.*(say|nothing)$\" [1h]))");
    let end_ns = begin_ns + 60_000_000_000;
    format!("/loki/api/v1/query_range?query={}&start={begin_ns}&end={end_ns}&step=60", encode(&query))
}

/// A process that runs one query at a time, with something to look for of two tenants, and when that begins.
async fn filled(dir: &std::path::Path) -> (Node, i64) {
    let config = Store::directory(dir).config("querier: {max_concurrent: 1}\n");
    let config = config.replace("auth_enabled: false", "auth_enabled: true");
    let mut node = Node::new(&dir.join("node")).config(&config);
    node.start().await;
    let begin_ns = now_ns() - 60_000_000_000;
    push(&node, "flood", LINES, begin_ns).await;
    push(&node, "calm", 10, begin_ns).await;
    (node, begin_ns)
}

/// So many queries of one tenant at once, of which some have been answered.
async fn flood(node: &Node, begin_ns: i64, count: usize) -> (Vec<JoinHandle<()>>, Arc<AtomicUsize>) {
    let answered = Arc::new(AtomicUsize::new(0));
    let ask = |number: usize| {
        let (client, answered) = (node.client().tenant("flood"), answered.clone());
        tokio::spawn(async move {
            let (status, body) = client.get(&question(number, begin_ns)).await;
            assert_eq!(status, 200, "{body}");
            answered.fetch_add(1, Ordering::SeqCst);
        })
    };
    let queries = (0..count).map(ask).collect();
    while answered.load(Ordering::SeqCst) < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    (queries, answered)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_with_many_queries_keeps_nobody_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let (node, begin_ns) = filled(dir.path()).await;
    let (queries, answered) = flood(&node, begin_ns, FLOOD).await;
    let before = answered.load(Ordering::SeqCst);
    for number in 0..CALM {
        let (status, body) = node.client().tenant("calm").get(&question(number, begin_ns)).await;
        assert_eq!(status, 200, "{body}");
    }
    let between = answered.load(Ordering::SeqCst) - before;
    for query in queries {
        query.await.unwrap();
    }
    // One of the flood's at a time may be running when the other tenant comes, and another before what it takes is known.
    assert!(between <= 3 * CALM, "{between} of {FLOOD} queries went ahead of {CALM}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_when_the_process_is_told_to_stop_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let (mut node, begin_ns) = filled(dir.path()).await;
    let (queries, answered) = flood(&node, begin_ns, LAST).await;
    let waiting = LAST - answered.load(Ordering::SeqCst);
    let took = tokio::task::block_in_place(|| node.stop());
    for query in queries {
        query.await.unwrap();
    }
    assert!(waiting > LAST / 4 && took < Duration::from_secs(30), "{waiting} waited, {took:?}");
}
