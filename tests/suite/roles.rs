//! Roles as separate processes that reach each other over gRPC through a static member list.

use crate::client::now_ns;
use crate::ledger::{Producer, check};
use crate::process::Node;
use crate::store::Store;
use std::path::Path;
use std::time::Duration;

/// The file that all processes of a cluster share; the bucket is a directory that all of them see.
pub fn config(shared: &Path, ingester_grpc_port: u16) -> String {
    config_over(&Store::directory(shared), ingester_grpc_port)
}

fn config_over(store: &Store, ingester_grpc_port: u16) -> String {
    format!(
        r#"
auth_enabled: false
common:
  path_prefix: ${{DIR}}/data
  replication_factor: 1
  storage:
    {storage}
  ring:
    static_members:
      - {{id: ingester-0, address: "127.0.0.1:{ingester_grpc_port}", roles: [ingester]}}
"#,
        storage = store.yaml()
    )
}

/// Pushes through `write_to`, reads through `read_from`, restarts the ingester in between.
async fn write_restart_read(nodes: &mut [Node], ingester: usize, write_to: usize, read_from: usize) {
    for node in nodes.iter_mut() {
        node.start().await;
    }
    let start = now_ns();
    let producer = Producer::start(nodes[write_to].client(), "p0");
    tokio::time::sleep(Duration::from_secs(1)).await;
    if ingester != write_to {
        nodes[ingester].kill();
        nodes[ingester].start().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let (name, written) = producer.finish().await;
    let selector = format!("{{producer=\"{name}\"}}");
    let lines = nodes[read_from].client().all_lines(&selector, start, now_ns() + 1).await;
    assert!(check(&name, &written, &lines) > 0);
    let took = tokio::task::block_in_place(|| nodes[ingester].stop());
    nodes[ingester].start().await;
    let lines = nodes[read_from].client().all_lines(&selector, start, now_ns() + 1).await;
    assert!(check(&name, &written, &lines) > 0, "after a flush that took {took:?}");
}

fn node(dir: &Path, name: &str, target: &str) -> Node {
    Node::new(&dir.join(name)).arg(format!("-target={target}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn distributor_ingester_and_querier_work_as_three_processes() {
    let dir = tempfile::tempdir().unwrap();
    three_processes(dir.path(), Store::directory(dir.path())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn distributor_ingester_and_querier_work_as_three_processes_over_s3() {
    let dir = tempfile::tempdir().unwrap();
    three_processes(dir.path(), Store::s3().await).await;
}

async fn three_processes(dir: &Path, store: Store) {
    let targets = ["distributor", "ingester", "querier"];
    let nodes: Vec<Node> = targets.iter().map(|t| node(dir, t, t)).collect();
    let shared = config_over(&store, nodes[1].grpc_port);
    let mut nodes: Vec<Node> = nodes.into_iter().map(|n| n.config(&shared)).collect();
    write_restart_read(&mut nodes, 1, 0, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn write_and_read_work_as_two_processes() {
    let dir = tempfile::tempdir().unwrap();
    let nodes: Vec<Node> = ["write", "read"].iter().map(|t| node(dir.path(), t, t)).collect();
    let shared = config(dir.path(), nodes[0].grpc_port);
    let mut nodes: Vec<Node> = nodes.into_iter().map(|n| n.config(&shared)).collect();
    write_restart_read(&mut nodes, 0, 0, 1).await;
}
