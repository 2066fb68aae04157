//! An object store in trouble: pushes go on, answers are whole or say that they are not, and when the store is back
//! everything that waited is stored without anybody's doing.

use crate::client::{Client, lines, now_ns};
use crate::ledger::{Producer, Written, check};
use crate::process::Node;
use crate::s3::Weather;
use crate::store::Store;
use std::time::{Duration, Instant};

/// Chunks and their index are written all the time.
const INGESTER: &str = "\
ingester:
  chunk_idle_period: 1s
  chunk_block_size: 16384
  chunk_target_size: 65536
  flush_check_period: 500ms
";

/// How long each kind of trouble lasts.
const TROUBLE: Duration = Duration::from_secs(4);
/// What waited is stored after at most this.
const RESUMED_WITHIN: Duration = Duration::from_secs(60);

const SLOW_DOWN: &str = "<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>Please reduce</Message></Error>";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushes_go_on_while_the_store_is_in_trouble_and_flushes_resume_by_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::s3().await;
    let Store::S3(s3) = &store else { unreachable!("the store is S3") };
    let mut node = Node::new(dir.path()).config(&store.config(INGESTER));
    let start = now_ns();
    node.start().await;
    let mut all: Vec<(String, Written)> = vec![load(&node, "fair").await];
    until_stored(&store, &node, 1).await;
    for (name, weather) in [
        ("away", Weather::Outage),
        ("slow", Weather::Answers("503 Slow Down", SLOW_DOWN)),
        ("broken", Weather::Answers("500 Internal Server Error", "garbage \u{0}\u{1}")),
        ("lying", Weather::Answers("200 OK", "not what was asked for")),
        ("cut", Weather::Cut),
    ] {
        s3.set(weather);
        let (producer, written) = load(&node, name).await;
        assert_eq!(written.failed_pushes, 0, "{name}: pushes go on\n{}", node.log());
        honest(&node.client(), &producer, &written, start).await;
        for (producer, written) in &all {
            honest(&node.client(), producer, written, start).await;
        }
        all.push((producer, written));
        s3.set(Weather::Fair);
        until_stored(&store, &node, all.len()).await;
    }
    for (producer, written) in &all {
        let lines = node.client().all_lines(&selector(producer), start, now_ns() + 1).await;
        check(producer, written, &lines);
    }
    tokio::task::block_in_place(|| node.stop());
    std::fs::remove_dir_all(dir.path().join("data")).unwrap();
    node.start().await;
    for (producer, written) in &all {
        let lines = node.client().all_lines(&selector(producer), start, now_ns() + 1).await;
        assert!(check(producer, written, &lines) > 0, "{producer}: nothing was acknowledged");
    }
}

fn selector(producer: &str) -> String {
    format!("{{job=\"ledger\", producer=\"{producer}\"}}")
}

/// Pushes for as long as a trouble lasts.
async fn load(node: &Node, name: &str) -> (String, Written) {
    let producer = Producer::start(node.client(), name);
    tokio::time::sleep(TROUBLE).await;
    producer.finish().await
}

/// Waits until chunks of so many producers' streams are in the store.
async fn until_stored(store: &Store, node: &Node, streams: usize) {
    let started = Instant::now();
    loop {
        let objects = store.objects().list("").await.unwrap();
        let fingerprints: std::collections::BTreeSet<&str> =
            objects.iter().filter_map(|o| o.key.strip_prefix("fake/")?.split('/').next()).collect();
        if fingerprints.len() >= streams {
            return;
        }
        assert!(
            started.elapsed() < RESUMED_WITHIN,
            "{} streams stored of {streams}\n{}",
            fingerprints.len(),
            node.log()
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// An answer in bad weather is whole, or has a warning, or is an error: never short in silence.
async fn honest(client: &Client, producer: &str, written: &Written, start: i64) {
    let query = crate::client::encode(&selector(producer));
    let url = format!(
        "/loki/api/v1/query_range?query={query}&start={start}&end={}&limit=5000&direction=forward",
        now_ns() + 1
    );
    let (status, body) = client.get(&url).await;
    if status != 200 {
        assert!(status >= 500, "{producer}: {status} {body}");
        return;
    }
    let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
    let lines = lines(&answer);
    if answer.get("warnings").is_none() && lines.len() < 5000 {
        check(producer, written, &lines);
    }
}
