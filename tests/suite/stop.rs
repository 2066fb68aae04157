//! Start and graceful stop: quick, clean, and with everything in the object store afterwards.

use crate::client::now_ns;
use crate::ledger::{Producer, check};
use crate::process::{Node, STOP_WITHIN};
use crate::store::Store;
use std::path::Path;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_directory_is_served_within_a_second() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::new(dir.path());
    let took = node.start().await;
    assert!(took < Duration::from_secs(1), "ready after {took:?}");
    let took = node.stop();
    assert!(took < STOP_WITHIN, "stopped after {took:?}");
}

/// Stops a node under load, deletes all that it has but its bucket, and looks for every acknowledged line.
async fn stop_and_lose_the_disk(dir: &Path, store: Store, yaml: &str) {
    let mut node = Node::new(dir).config(&store.config(yaml));
    let start = now_ns();
    node.start().await;
    let producers: Vec<Producer> = (0..8).map(|i| Producer::start(node.client(), &format!("p{i}"))).collect();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut written = vec![];
    let took = tokio::task::block_in_place(|| node.stop());
    for producer in producers {
        written.push(producer.finish().await);
    }
    assert!(took < STOP_WITHIN, "stopped after {took:?}");
    let log = node.log();
    assert!(log.contains("the ingester has stored everything") && log.contains("chunks=8"), "{log}");
    // Only what is in the object store survives.
    std::fs::remove_dir_all(dir.join("data")).unwrap();
    node.start().await;
    for (name, written) in written {
        let selector = format!("{{job=\"ledger\", producer=\"{name}\"}}");
        let lines = node.client().all_lines(&selector, start, now_ns() + 1).await;
        assert!(check(&name, &written, &lines) > 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_sigterm_nothing_is_lost_with_the_local_disk() {
    let dir = tempfile::tempdir().unwrap();
    stop_and_lose_the_disk(dir.path(), Store::directory(dir.path()), "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_sigterm_nothing_is_lost_with_the_local_disk_over_s3() {
    let dir = tempfile::tempdir().unwrap();
    stop_and_lose_the_disk(dir.path(), Store::s3().await, "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_sigterm_nothing_is_lost_of_a_node_without_a_log() {
    let dir = tempfile::tempdir().unwrap();
    let yaml = "ingester: {wal: {enabled: false}}\n";
    stop_and_lose_the_disk(dir.path(), Store::directory(dir.path()), yaml).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ingester_is_taken_out_of_service_in_lokis_ways() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::new(dir.path());
    node.start().await;
    let client = node.client();
    let check = async |requests: &[(&str, &str, u16, &str)]| {
        for (method, path, status, body) in requests {
            assert_eq!(client.send(method, path).await, (*status, body.to_string()), "{method} {path}");
        }
    };
    let (prepare, shutdown) = ("/ingester/prepare_shutdown", "/ingester/shutdown");
    check(&[
        ("GET", "/flush", 405, ""),
        ("GET", shutdown, 405, ""),
        ("GET", prepare, 200, "unset\n"),
        ("POST", prepare, 204, ""),
        ("GET", prepare, 200, "set\n"),
    ])
    .await;
    node.kill();
    node.start().await;
    check(&[
        ("GET", prepare, 200, "set\n"),
        ("DELETE", prepare, 204, ""),
        ("DELETE", prepare, 204, ""),
        ("GET", prepare, 200, "unset\n"),
        ("POST", "/flush", 204, ""),
    ])
    .await;
    let (line, now) = (vec![(now_ns(), "the last".to_string())], now_ns());
    assert_eq!(client.push(&[("app", "a")], &line).await, Some(204));
    check(&[
        ("POST", "/ingester/shutdown?terminate=false&delete_ring_tokens=true", 204, ""),
        ("POST", shutdown, 503, "the ingester is stopping\n"),
        ("POST", "/flush", 503, "the ingester is stopping\n"),
    ])
    .await;
    assert_eq!(client.push(&[("app", "a")], &line).await, Some(503));
    assert_eq!(client.status("/ready").await, Some(503));
    assert_eq!(client.all_lines("{app=\"a\"}", now - 1_000_000_000, now + 1_000_000_000).await.len(), 1);
    let took = tokio::task::block_in_place(|| node.stop());
    assert!(took < STOP_WITHIN, "stopped after {took:?}");
    node.start().await;
    check(&[("POST", "/ingester/shutdown?flush=false", 204, "")]).await;
    tokio::task::block_in_place(|| node.wait_end());
}
