//! Nodes that gossip: what one death costs, what two cost, and who is not let in.

use crate::client::{Client, now_ns};
use crate::cluster::{Cluster, SEEN_WITHIN, Setup, finish, members};
use serde_json::json;
use std::time::{Duration, Instant};

const ALL: [&str; 3] = ["all", "all", "all"];

/// How long producers push between two events.
const LOAD: Duration = Duration::from_secs(1);

/// Status and text of one push.
async fn push(client: &Client) -> (u16, String) {
    let body = json!({"streams": [{"stream": {"job": "probe"}, "values": [[now_ns().to_string(), "x"]]}]});
    client.post("/loki/api/v1/push", &[("Content-Type", "application/json")], body.to_string().into()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_bear_one_death_refuse_clearly_after_two_and_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(dir.path(), &ALL, &Setup::default()).await;
    let since = now_ns();
    let producers = cluster.produce(&[0, 1]);
    tokio::time::sleep(LOAD).await;

    cluster.nodes[2].kill();
    tokio::time::sleep(LOAD).await;
    cluster.wait_for_state(0, "node-2", "Unhealthy").await;
    cluster.restart(2).await;
    cluster.wait_for_members(&[0, 1, 2], 3).await;
    let written = finish(producers).await;
    for (name, written) in &written {
        assert_eq!(written.failed_pushes, 0, "{name}: a death cost pushes");
    }
    assert!(cluster.check_ledgers(&[0, 1, 2], since, &written).await > 0);

    cluster.nodes[1].kill();
    cluster.nodes[2].kill();
    let started = Instant::now();
    loop {
        let (status, text) = push(&cluster.client(0)).await;
        assert!((500..600).contains(&status), "two of three are dead: {status} {text}");
        if text.contains("at least 2 live replicas required, could only find 1") {
            break;
        }
        assert!(started.elapsed() < SEEN_WITHIN, "{text}");
    }
    let (status, text) = cluster.client(0).get("/loki/api/v1/query_range?query=%7Bjob%3D%22ledger%22%7D").await;
    assert!((500..600).contains(&status) && text.contains("unhealthy"), "{status} {text}");

    cluster.restart(1).await;
    cluster.restart(2).await;
    cluster.wait_for_members(&[0, 1, 2], 3).await;
    assert_eq!(push(&cluster.client(0)).await.0, 204);
    cluster.check_ledgers(&[0, 1, 2], since, &written).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_told_to_stop_leaves_without_a_failed_push() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(dir.path(), &ALL, &Setup::default()).await;
    let since = now_ns();
    let producers = cluster.produce(&[0]);
    tokio::time::sleep(LOAD).await;
    tokio::task::block_in_place(|| cluster.nodes[1].stop());
    cluster.wait_for_members(&[0, 2], 2).await;
    tokio::time::sleep(LOAD).await;
    let written = finish(producers).await;
    assert_eq!(written[0].1.failed_pushes, 0);
    cluster.check_ledgers(&[0, 2], since, &written).await;
    cluster.restart(1).await;
    cluster.wait_for_members(&[0, 1, 2], 3).await;
    cluster.check_ledgers(&[1], since, &written).await;

    let ring = cluster.client(1).get_json("/ring").await;
    let shards = ring["shards"].as_array().unwrap();
    assert_eq!(shards.iter().map(|s| s["id"].as_str().unwrap()).collect::<Vec<_>>(), ["node-0", "node-1", "node-2"]);
    assert!(shards.iter().all(|s| s["state"] == "ACTIVE" && s["timestamp"].is_string()), "{ring}");
    let (_, metrics) = cluster.client(1).get("/metrics").await;
    for line in
        ["loki_memberlist_client_cluster_members_count 3", "loki_ring_members{state=\"ACTIVE\",name=\"ingester\"} 3"]
    {
        assert!(metrics.lines().any(|l| l == line), "{line}");
    }
    let (_, page) = cluster.client(1).get("/ring").await;
    assert!(page.contains("<td>node-2</td>"), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_hangs_costs_neither_pushes_nor_answers() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path(), &ALL, &Setup::default()).await;
    let since = now_ns();
    let producers = cluster.produce(&[0]);
    tokio::time::sleep(LOAD).await;
    cluster.nodes[2].pause();
    let hung = Instant::now();
    cluster.client(0).all_lines("{job=\"ledger\"}", since, since + 1).await;
    assert!(hung.elapsed() < SEEN_WITHIN / 3, "an answer took {:?}", hung.elapsed());
    cluster.wait_for_state(0, "node-2", "Unhealthy").await;
    tokio::time::sleep(LOAD).await;
    cluster.nodes[2].resume();
    cluster.wait_for_members(&[0, 1, 2], 3).await;
    let written = finish(producers).await;
    assert_eq!(written[0].1.failed_pushes, 0);
    assert!(cluster.check_ledgers(&[0, 1, 2], since, &written).await > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_another_cluster_nor_a_second_process_of_one_name_is_let_in() {
    let dir = tempfile::tempdir().unwrap();
    let setup = Setup { replication_factor: 1, ..Setup::default() };
    let mut cluster = Cluster::new(&dir.path().join("one"), &["all", "all"], &setup);
    cluster.restart(0).await;
    let one = cluster.client(0);

    // Another cluster whose seeds are ours.
    let seeds = cluster.nodes[0].variable("GOSSIP_PORT");
    let own = crate::ports::free_port();
    let ports = format!("  join_members: [\"127.0.0.1:{seeds}\"]\n");
    let other = Setup { label: "other", ..setup };
    let mut foreign = Cluster::new(&dir.path().join("two"), &["all"], &other);
    foreign.nodes[0].rewrite_config(|yaml| {
        let kept = yaml.lines().filter(|line| !line.contains("join_members")).map(|line| format!("{line}\n"));
        kept.map(|line| if line.starts_with("memberlist:") { line + &ports } else { line }).collect()
    });
    foreign.nodes[0].set_variable("GOSSIP_PORT", own.to_string());
    foreign.restart(0).await;
    let started = Instant::now();
    while !cluster.nodes[0].log().contains("gossip of another cluster is refused") {
        assert!(started.elapsed() < SEEN_WITHIN, "{}", cluster.nodes[0].log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for client in [&one, &foreign.client(0)] {
        assert_eq!(members(client).await.len(), 1);
    }

    // A second process under the name of the first.
    cluster.nodes[1].set_variable("NODE", "node-0".into());
    let (status, log) = cluster.nodes[1].run_to_its_end().await;
    assert!(!status.success());
    assert!(log.contains("has the id node-0 (settings: memberlist.node_name"), "{log}");
    assert_eq!(push(&one).await.0, 204);
    cluster.nodes[1].set_variable("NODE", "node-1".into());
    cluster.restart(1).await;
    cluster.wait_for_members(&[0, 1], 2).await;
}
