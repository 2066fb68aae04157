//! Roles behind the read path as processes of their own: an index gateway that dies, compactors that are killed, and
//! lines deleted through one process that another must not show.

use crate::client::{Client, encode, now_ns};
use crate::process::Node;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const WITHIN: Duration = Duration::from_secs(30);

/// A cluster of processes that share a bucket and a file.
struct Cluster {
    dir: tempfile::TempDir,
    nodes: Vec<(&'static str, Node)>,
}

impl Cluster {
    /// Processes by name and target; those in `members` are called by the others. `more` is added to the file.
    fn new(targets: &[(&'static str, &str)], members: &[&str], more: &str) -> Cluster {
        let dir = tempfile::tempdir().unwrap();
        let node = |(name, target): &(&'static str, &str)| {
            (*name, Node::new(&dir.path().join(name)).arg(format!("-target={target}")))
        };
        let nodes: Vec<(&'static str, Node)> = targets.iter().map(node).collect();
        let listed = nodes.iter().zip(targets).filter(|((name, _), _)| members.contains(name));
        let list: String = listed
            .map(|((name, node), (_, roles))| {
                format!("      - {{id: {name}, address: \"127.0.0.1:{}\", roles: [{roles}]}}\n", node.grpc_port)
            })
            .collect();
        let shared = dir.path().display();
        let yaml = format!(
            "auth_enabled: false\ncommon:\n  path_prefix: ${{DIR}}/data\n  replication_factor: 1\n  storage:\n    filesystem:\n      \
             chunks_directory: {shared}/bucket\n      rules_directory: {shared}/rules\n  ring:\n    static_members:\n{list}{more}"
        );
        let nodes = nodes.into_iter().map(|(name, node)| (name, node.config(&yaml))).collect();
        Cluster { dir, nodes }
    }

    fn node(&mut self, name: &str) -> &mut Node {
        &mut self.nodes.iter_mut().find(|(own, _)| *own == name).unwrap().1
    }

    fn client(&mut self, name: &str) -> Client {
        self.node(name).client()
    }

    async fn start(&mut self, names: &[&str]) {
        for name in names {
            self.node(name).start().await;
        }
    }

    /// Index files in the bucket. What a process that was killed has left of a put (`name#1`) is none.
    fn index_files(&self) -> Vec<PathBuf> {
        let files = files(&self.dir.path().join("bucket/index"));
        files.into_iter().filter(|file| !file.to_string_lossy().contains('#')).collect()
    }

    /// Pushes lines to `name`, stores them and ships their index; answers them.
    async fn write(&mut self, name: &str, app: &str, lines: usize) -> Vec<String> {
        let (client, shipped) = (self.client(name), self.index_files().len());
        let now = now_ns();
        let lines: Vec<(i64, String)> = (0..lines).map(|i| (now + i as i64, format!("{app} line {i}"))).collect();
        assert_eq!(client.push(&[("app", app)], &lines).await, Some(204));
        assert_eq!(client.post("/flush", &[], vec![]).await.unwrap().0, 204);
        until("the index is shipped", async || self.index_files().len() > shipped).await;
        lines.into_iter().map(|(_, line)| line).collect()
    }

    /// What `name` answers for an app, oldest first.
    async fn read(&mut self, name: &str, app: &str) -> Vec<String> {
        let end = now_ns() + 1_000_000_000;
        let lines = self.client(name).all_lines(&format!("{{app=\"{app}\"}}"), end - 3_600_000_000_000, end).await;
        lines.into_iter().map(|line| line.text).collect()
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return vec![] };
    entries
        .flat_map(|entry| entry.map(|e| e.path()))
        .flat_map(|p| if p.is_dir() { files(&p) } else { vec![p] })
        .collect()
}

async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < WITHIN, "not within {WITHIN:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_querier_asks_the_index_gateway_and_reads_itself_when_it_dies() {
    let targets = [("w", "ingester,distributor"), ("g", "index-gateway"), ("r", "querier")];
    for mode in ["simple", "ring"] {
        let mut cluster = Cluster::new(&targets, &["w", "g"], &format!("index_gateway: {{mode: {mode}}}\n"));
        cluster.start(&["w", "g", "r"]).await;
        let written = cluster.write("w", "a", 100).await;
        // What the ingester still announces would be found without any index.
        tokio::task::block_in_place(|| cluster.node("w").stop());
        cluster.node("w").start().await;
        assert_eq!(cluster.read("r", "a").await, written);
        let client = cluster.client("r");
        let (_, labels) = client.get("/loki/api/v1/label/app/values").await;
        assert!(labels.contains("\"a\""), "{labels}");
        let cache = cluster.node("r").dir.join("data/tsdb-shipper-cache");
        assert_eq!(files(&cache), [] as [PathBuf; 0], "the querier has read no index file itself");
        let asked = cluster.client("g").metric("loki_index_gateway_requests_total", "").await;
        assert!(asked >= 2.0, "{asked}");

        cluster.node("g").kill();
        assert_eq!(cluster.read("r", "a").await, written);
        let own = r#"loki_index_gateway_client_requests_total{operation="chunks",outcome="own"}"#;
        assert!(client.metric(own, "").await > 0.0);
        cluster.start(&["g"]).await;
        let gateway = cluster.client("g");
        until("the gateway is asked again", async || {
            assert_eq!(cluster.read("r", "a").await, written);
            gateway.metric("loki_index_gateway_requests_total", "").await > 0.0
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compactor_that_is_killed_in_its_work_leaves_it_to_another() {
    let targets = [("w", "ingester,distributor,querier"), ("c1", "compactor"), ("c2", "compactor")];
    let mut cluster = Cluster::new(&targets, &["w", "c1", "c2"], "compactor: {compaction_interval: 1s}\n");
    cluster.start(&["w", "c1"]).await;
    let page = cluster.client("c1").get_json("/compactor/ring").await;
    assert_eq!(page["shards"].as_array().unwrap().len(), 2);
    let owner = if page["owner"] == "c1" { "c1" } else { "c2" };
    let other = if owner == "c1" { "c2" } else { "c1" };
    cluster.node("c1").kill();

    let mut written = vec![];
    for round in 0..8u64 {
        for i in 0..3 {
            written.extend(cluster.write("w", &format!("a{i}"), 20).await.into_iter().map(|line| (i, line)));
        }
        // Killed at another moment each time: before, in and after a round.
        cluster.node(owner).spawn();
        tokio::time::sleep(Duration::from_millis(900 + round * 60)).await;
        cluster.node(owner).kill();
        for i in 0..3 {
            let expected: Vec<&String> = written.iter().filter(|(of, _)| *of == i).map(|(_, line)| line).collect();
            assert!(cluster.read("w", &format!("a{i}")).await.iter().eq(expected), "after {round} kills");
        }
    }
    // The other one sees itself as the only one left: a static list counts everybody as alive, so it has a list of its own.
    let file = cluster.node(other).dir.join("lokirs.yaml");
    let yaml = std::fs::read_to_string(&file).unwrap();
    let without: Vec<&str> = yaml.lines().filter(|line| !line.contains(&format!("id: {owner},"))).collect();
    std::fs::write(&file, without.join("\n")).unwrap();
    cluster.start(&[other]).await;
    until("one file is left of each day", async || {
        let days = std::fs::read_dir(cluster.dir.path().join("bucket/index")).unwrap().count();
        let running = cluster.client(other).metric("loki_boltdb_shipper_compactor_running", "").await;
        cluster.index_files().len() == days && running == 1.0
    })
    .await;
    tokio::task::block_in_place(|| cluster.node("w").stop());
    cluster.node("w").start().await;
    for i in 0..3 {
        let expected: Vec<&String> = written.iter().filter(|(of, _)| *of == i).map(|(_, line)| line).collect();
        assert!(cluster.read("w", &format!("a{i}")).await.iter().eq(expected));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_deleted_through_one_process_are_hidden_in_another() {
    let targets = [("w", "ingester,distributor"), ("c", "compactor"), ("r1", "querier"), ("r2", "querier")];
    let more = "compactor: {retention_enabled: true, delete_request_store: filesystem}\n";
    let mut cluster = Cluster::new(&targets, &["w", "c"], more);
    cluster.start(&["w", "c", "r1", "r2"]).await;
    let written = cluster.write("w", "a", 20).await;
    assert_eq!(cluster.read("r2", "a").await, written);
    let left: Vec<String> = written.iter().filter(|line| !line.ends_with('3')).cloned().collect();
    let delete = |name: &str| {
        let start = now_ns() / 1_000_000_000 - 60;
        format!("/loki/api/v1/delete?query={}&start={start}", encode(&format!("{{app=\"{name}\"}} |~ \"3$\"")))
    };
    let (status, body) = cluster.client("r1").post(&delete("a"), &[], vec![]).await.unwrap();
    assert_eq!((status, body.as_str()), (204, ""));
    assert_eq!(cluster.read("r1", "a").await, left, "at once where it was asked for");
    until("the other hides them", async || cluster.read("r2", "a").await == left).await;
    let (status, listed) = cluster.client("r2").get("/loki/api/v1/delete").await;
    assert!(status == 200 && listed.contains("received"), "{listed}");

    cluster.node("c").kill();
    assert_eq!(cluster.read("r2", "a").await, left);
    cluster.node("r2").kill();
    cluster.start(&["r2"]).await;
    assert_eq!(cluster.read("r2", "a").await, left, "without a compactor the bucket tells");
    let (status, _) = cluster.client("r2").post(&delete("b"), &[], vec![]).await.unwrap();
    assert_eq!(status, 503, "nobody takes requests");
}
