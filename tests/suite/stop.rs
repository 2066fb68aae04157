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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_sigterm_nothing_is_lost_with_the_local_disk() {
    let dir = tempfile::tempdir().unwrap();
    a_lost_disk_loses_nothing(dir.path(), Store::directory(dir.path())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_sigterm_nothing_is_lost_with_the_local_disk_over_s3() {
    let dir = tempfile::tempdir().unwrap();
    a_lost_disk_loses_nothing(dir.path(), Store::s3().await).await;
}

async fn a_lost_disk_loses_nothing(dir: &Path, store: Store) {
    let mut node = Node::new(dir).config(&store.config(""));
    let start = now_ns();
    node.start().await;
    let producers: Vec<Producer> = (0..3).map(|i| Producer::start(node.client(), &format!("p{i}"))).collect();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut written = vec![];
    let took = tokio::task::block_in_place(|| node.stop());
    for producer in producers {
        written.push(producer.finish().await);
    }
    assert!(took < STOP_WITHIN, "stopped after {took:?}");
    // Only what is in the object store survives.
    std::fs::remove_dir_all(dir.join("data")).unwrap();
    node.start().await;
    for (name, written) in written {
        let selector = format!("{{job=\"ledger\", producer=\"{name}\"}}");
        let lines = node.client().all_lines(&selector, start, now_ns() + 1).await;
        assert!(check(&name, &written, &lines) > 0);
    }
}
