//! Query-frontends, query-schedulers and queriers as processes of their own: the same answers as from a querier, no failed
//! query when a querier is killed in the middle, and what happens when nobody can answer.

use crate::client::{encode, now_ns};
use crate::cluster::{Cluster, Setup};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const WRITE: usize = 0;
const FRONTEND: usize = 1;
const QUERIERS: [usize; 2] = [2, 3];
const SCHEDULER: usize = 4;
const TARGETS: [&str; 5] = ["write", "query-frontend", "querier", "querier", "query-scheduler"];
/// A querier that is gone is asked no more after this long.
const ANSWERED_WITHIN: Duration = Duration::from_secs(20);

/// Small parts, so that every query is several.
const SMALL_PARTS: &str = "limits_config: {split_queries_by_interval: 1m, tsdb_max_bytes_per_shard: 1KB}\n\
    ingester: {chunk_idle_period: 1s, flush_check_period: 500ms}\n";

fn setup() -> Setup<'static> {
    Setup { label: "frontend", replication_factor: 1, yaml: SMALL_PARTS }
}

/// Pushes a line a second for the five minutes before `end_ns`, of four streams.
async fn push(cluster: &Cluster, end_ns: i64) {
    for stream in ["a", "b", "c", "d"] {
        let lines: Vec<(i64, String)> =
            (0..300).map(|i| (end_ns - (300 - i) * 1_000_000_000, format!("stream {stream} line {i}"))).collect();
        let status = cluster.client(WRITE).push(&[("app", "x"), ("stream", stream)], &lines).await;
        assert_eq!(status, Some(204));
    }
}

/// Paths whose answers must be the same from everybody.
fn questions(end_ns: i64) -> Vec<String> {
    let range = format!("start={}&end={end_ns}", end_ns - 300_000_000_000);
    let over_time =
        |query: &str| format!("/loki/api/v1/query_range?query={}&{range}&step=15&limit=1000", encode(query));
    let selector = encode("{app=\"x\"}");
    let mut all: Vec<String> = [
        "{app=\"x\"}",
        "{app=\"x\"} |= \"line 2\"",
        "sum by (stream) (count_over_time({app=\"x\"}[1m]))",
        "topk(2, rate({app=\"x\"} |~ \"line [12]\" [1m]))",
        "quantile_over_time(0.5, {app=\"x\"} | pattern \"<_> line <n>\" | unwrap n [1m]) by (stream)",
    ]
    .map(over_time)
    .into();
    all.push(format!("/loki/api/v1/labels?{range}"));
    all.push(format!("/loki/api/v1/label/stream/values?{range}"));
    all.push(format!("/loki/api/v1/series?{range}&match[]={selector}"));
    all.push(format!("/loki/api/v1/index/volume?{range}&query={selector}"));
    all
}

/// An answer without what it cost.
async fn answer(cluster: &Cluster, node: usize, path: &str) -> (u16, serde_json::Value) {
    let (status, body) = cluster.client(node).get(path).await;
    let mut body: serde_json::Value = serde_json::from_str(&body).unwrap_or_else(|_| body.into());
    if let Some(data) = body.get_mut("data").and_then(|data| data.as_object_mut()) {
        data.remove("stats");
    }
    (status, body)
}

/// What `node` answers to every question.
async fn answers(cluster: &Cluster, node: usize, end_ns: i64) -> Vec<(String, serde_json::Value)> {
    let mut answers = vec![];
    for path in questions(end_ns) {
        let (status, body) = answer(cluster, node, &path).await;
        assert_eq!(status, 200, "{path}: {body}");
        answers.push((path, body));
    }
    answers
}

/// Clients that ask three of the questions over and over, and fail when an answer is not as it was.
struct Readers {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    tasks: tokio::task::JoinSet<()>,
}

impl Readers {
    fn start(cluster: &Cluster, node: usize, answers: &[(String, serde_json::Value)]) -> Readers {
        let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut tasks = tokio::task::JoinSet::new();
        for (path, expected) in answers.iter().take(3) {
            let (path, expected) = (path.clone(), expected["data"]["result"].clone());
            let (client, stop, asked) = (cluster.client(node), stop.clone(), asked.clone());
            tasks.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let (status, body) = client.get(&path).await;
                    assert_eq!(status, 200, "{body}");
                    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
                    assert_eq!(body["data"]["result"], expected, "{path}");
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Readers { stop, asked, tasks }
    }

    /// Waits until so many more questions are answered.
    async fn served(&self, least: usize) {
        let (before, started) = (self.asked.load(Ordering::Relaxed), Instant::now());
        while self.asked.load(Ordering::Relaxed) < before + least {
            assert!(started.elapsed() < 3 * ANSWERED_WITHIN, "the queries stand still");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn finish(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(done) = self.tasks.join_next().await {
            done.unwrap();
        }
        eprintln!("{} queries, none failed", self.asked.load(Ordering::Relaxed));
    }
}

/// Asks the frontend until an answer is a 200: queriers and queues find one another within seconds.
async fn wait_until_served(cluster: &Cluster, frontend: usize) {
    let started = Instant::now();
    let path = "/loki/api/v1/labels";
    while cluster.client(frontend).status(path).await != Some(200) {
        assert!(started.elapsed() < ANSWERED_WITHIN, "{}", cluster.nodes[frontend].log());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frontend_answers_as_a_querier_does_and_outlives_queriers_and_schedulers() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(dir.path(), &TARGETS, &setup()).await;
    let end_ns = now_ns() / 60_000_000_000 * 60_000_000_000;
    push(&cluster, end_ns).await;
    wait_until_served(&cluster, FRONTEND).await;
    for path in questions(end_ns) {
        let (expected, got) = (answer(&cluster, QUERIERS[0], &path).await, answer(&cluster, FRONTEND, &path).await);
        assert_eq!(expected.0, 200, "{path}: {}", expected.1);
        assert_eq!(got, expected, "{path}");
    }
    let counted = "sum(count_over_time({app=\"x\"}[1m]))";
    let split = cluster.client(FRONTEND).query_range(counted, end_ns - 300_000_000_000, end_ns, 100, "forward").await;
    assert!(split["data"]["stats"]["summary"]["splits"].as_u64() > Some(3), "{}", split["data"]["stats"]["summary"]);

    // Queries all the time, while a querier and then the scheduler is killed.
    let readers = Readers::start(&cluster, FRONTEND, &answers(&cluster, QUERIERS[1], end_ns).await);
    readers.served(10).await;
    cluster.nodes[QUERIERS[0]].kill();
    readers.served(20).await;
    cluster.restart(QUERIERS[0]).await;
    cluster.nodes[SCHEDULER].kill();
    readers.served(20).await;
    cluster.restart(SCHEDULER).await;
    readers.served(20).await;
    tokio::task::block_in_place(|| cluster.nodes[QUERIERS[1]].stop());
    readers.served(20).await;
    readers.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_scheduler_the_frontend_holds_the_queue() {
    let dir = tempfile::tempdir().unwrap();
    let mut setup = setup();
    let yaml = format!("{SMALL_PARTS}frontend: {{max_outstanding_per_tenant: 2}}\n");
    setup.yaml = &yaml;
    let mut cluster = Cluster::start(dir.path(), &TARGETS[..3], &setup).await;
    let end_ns = now_ns() / 60_000_000_000 * 60_000_000_000;
    push(&cluster, end_ns).await;
    wait_until_served(&cluster, FRONTEND).await;
    let path = &questions(end_ns)[0];
    assert_eq!(answer(&cluster, FRONTEND, path).await, answer(&cluster, QUERIERS[0], path).await);
    // Nobody takes what waits; one request too many is refused at once.
    cluster.nodes[QUERIERS[0]].kill();
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let client = cluster.client(FRONTEND);
        waiting.spawn(async move { client.get("/loki/api/v1/labels").await });
    }
    let (status, body) = waiting.join_next().await.unwrap().unwrap();
    assert_eq!((status, body.trim()), (429, "too many outstanding requests"));
    // The others are answered when somebody comes.
    cluster.restart(QUERIERS[0]).await;
    while let Some(done) = waiting.join_next().await {
        assert_eq!(done.unwrap().0, 200);
    }
}

/// The calls that a querier has had over the wire.
async fn calls(cluster: &Cluster, node: usize) -> f64 {
    cluster.client(node).metric("loki_request_duration_seconds_count", "route=\"/lokirs.v1.Queries/Ask\"").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_nodes_share_the_parts_of_a_query() {
    let dir = tempfile::tempdir().unwrap();
    let (asked, other) = (1, 2);
    let mut cluster = Cluster::start(dir.path(), &["write", "read", "read"], &setup()).await;
    let end_ns = now_ns() / 60_000_000_000 * 60_000_000_000;
    push(&cluster, end_ns).await;
    let expected = answers(&cluster, asked, end_ns).await;
    let started = Instant::now();
    // Places are offered within a second of a member's arrival.
    while calls(&cluster, other).await == 0.0 {
        assert!(started.elapsed() < ANSWERED_WITHIN, "{}", cluster.nodes[asked].log());
        assert_eq!(answers(&cluster, asked, end_ns).await, expected);
    }
    assert_eq!(calls(&cluster, asked).await, 0.0, "a frontend calls the querier of its own process without the wire");

    // What the other takes along when it is killed or stopped is made up for.
    let readers = Readers::start(&cluster, asked, &expected);
    readers.served(10).await;
    cluster.nodes[other].kill();
    readers.served(20).await;
    cluster.restart(other).await;
    readers.served(20).await;
    tokio::task::block_in_place(|| cluster.nodes[other].stop());
    readers.served(20).await;
    readers.finish().await;
}
