//! Three replicas of every line: they compress it once and store it once, and it is returned once.

use crate::client::now_ns;
use crate::cluster::{Cluster, Setup};
use std::path::Path;

const NODES: [&str; 4] = ["write", "write", "write", "read"];
const STREAMS: usize = 6;
const PUSHES: usize = 40;
const LINES: usize = 50;

async fn sum(cluster: &Cluster, metric: &str) -> f64 {
    let mut sum = 0.0;
    for node in 0..3 {
        sum += cluster.client(node).metric(metric, "").await;
    }
    sum
}

/// The files below a directory.
fn files(dir: &Path) -> usize {
    let of_entry = |path: &Path| if path.is_dir() { files(path) } else { 1 };
    std::fs::read_dir(dir).unwrap().map(|entry| of_entry(&entry.unwrap().path())).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_replicas_compress_and_store_a_chunk_once() {
    let dir = tempfile::tempdir().unwrap();
    let setup = Setup { yaml: "ingester: {chunk_block_size: 8192}", ..Setup::default() };
    let cluster = Cluster::start(dir.path(), &NODES, &setup).await;
    let start = now_ns();
    let line = |push: usize, i: usize| format!("push {push} line {i} {:x}", (push * 7919 + i * 104_729).pow(2));
    for push in 0..PUSHES {
        for stream in 0..STREAMS {
            let lines: Vec<_> = (0..LINES).map(|i| (start + (push * LINES + i) as i64 * 1000, line(push, i))).collect();
            let app = format!("app-{stream}");
            assert_eq!(cluster.client(push % 3).push(&[("app", &app)], &lines).await, Some(204));
        }
    }
    for node in 0..3 {
        assert_eq!(cluster.client(node).send("POST", "/flush").await.0, 204);
    }
    let (stored, deduped) =
        (sum(&cluster, "loki_chunk_store_stored_chunks").await, sum(&cluster, "loki_chunk_store_deduped_chunks").await);
    // Two replicas may ask at one moment, and then both put the same object.
    assert_eq!(stored + deduped, 3.0 * STREAMS as f64);
    assert_eq!(
        files(&dir.path().join("bucket/fake")),
        STREAMS,
        "three replicas, one object: {stored} put, {deduped} found there"
    );
    let (sealed, adopted) =
        (sum(&cluster, "loki_ingester_blocks_sealed").await, sum(&cluster, "lokirs_ingester_blocks_adopted").await);
    // How many depends on how busy the machine is: who waits too long compresses by itself.
    assert!(adopted > 0.0, "{adopted} blocks taken from others, {sealed} compressed");
    assert_eq!(sum(&cluster, "lokirs_ingester_block_offers_refused").await, 0.0);
    for stream in 0..STREAMS {
        let selector = format!("{{app=\"app-{stream}\"}}");
        let found = cluster.client(3).all_lines(&selector, start, now_ns() + 1).await;
        let expected: Vec<String> = (0..PUSHES).flat_map(|push| (0..LINES).map(move |i| line(push, i))).collect();
        let texts: Vec<String> = found.into_iter().map(|line| line.text).collect();
        assert_eq!(texts, expected, "{selector}");
    }
}
