//! kill -9 at random moments under load: every acknowledged line comes back exactly once.
//! `LOKIRS_KILLS` sets how often (default 20).

use crate::client::now_ns;
use crate::ledger::{ONE_STREAM, Producer, check};
use crate::process::Node;
use crate::store::Store;
use std::path::Path;
use std::time::{Duration, Instant};

/// Chunks and their index are written all the time.
const INGESTER: &str = "\
ingester:
  chunk_idle_period: 3s
  chunk_block_size: 16384
  chunk_target_size: 65536
  flush_check_period: 1s
";

/// Kills over S3, where each start and each flush takes longer.
const KILLS_OVER_S3: u32 = 5;
const FLUSHED_WITHIN: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_random_moments_no_acknowledged_line_is_lost_or_doubled() {
    let dir = tempfile::tempdir().unwrap();
    kill_under_load(dir.path(), Store::directory(dir.path()), kills(20)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_random_moments_no_acknowledged_line_is_lost_or_doubled_over_s3() {
    let dir = tempfile::tempdir().unwrap();
    kill_under_load(dir.path(), Store::s3().await, kills(KILLS_OVER_S3)).await;
}

fn kills(default: u32) -> u32 {
    std::env::var("LOKIRS_KILLS").ok().and_then(|k| k.parse().ok()).unwrap_or(default)
}

async fn kill_under_load(dir: &Path, store: Store, kills: u32) {
    let mut node = Node::new(dir).config(&store.config(&format!("{INGESTER}{ONE_STREAM}")));
    let start = now_ns();
    node.start().await;
    let producers: Vec<Producer> = (0..4).map(|i| Producer::start(node.client(), &format!("p{i}"))).collect();
    let mut seed = 0x9e37_79b9_7f4a_7c15u64 ^ u64::from(node.pid());
    for _ in 0..kills {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        tokio::time::sleep(Duration::from_millis(100 + (seed >> 33) % 1500)).await;
        // Half of the kills fall into the hand-over of everything in memory to the store.
        if seed >> 63 == 0 {
            let client = node.client();
            let flush = tokio::spawn(async move { client.post("/flush", &[], vec![]).await });
            tokio::time::sleep(Duration::from_millis((seed >> 20) % 400)).await;
            flush.abort();
        }
        node.kill();
        node.start().await;
    }
    let mut finished = vec![];
    for producer in producers {
        finished.push(producer.finish().await);
    }
    // What the kills left in memory is handed over as well, while it is read.
    assert_eq!(node.client().post("/flush", &[], vec![]).await.map(|(status, _)| status), Some(204));
    let mut acknowledged = 0;
    for (name, written) in finished {
        let selector = format!("{{job=\"ledger\", producer=\"{name}\"}}");
        let lines = node.client().all_lines(&selector, start, now_ns() + 1).await;
        acknowledged += check(&name, &written, &lines);
    }
    assert!(acknowledged > 1000, "only {acknowledged} lines were acknowledged");
    let deadline = Instant::now() + FLUSHED_WITHIN;
    while store.objects().list("index").await.unwrap().is_empty() {
        assert!(Instant::now() < deadline, "no index is written");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    eprintln!("{kills} kills, {acknowledged} acknowledged lines, all returned exactly once");
}
