//! A cluster of real processes on the loopback that find each other by gossip and share a bucket: start, kill, stop and
//! restart its nodes, and ask each what it sees.

use crate::client::{Client, now_ns};
use crate::ledger::{Producer, Written, check};
use crate::network::Host;
use crate::ports::free_port;
use crate::process::Node;
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};

/// So long everybody needs at most to see what has happened to one of them: a death is believed after the heartbeat
/// timeout.
pub const SEEN_WITHIN: Duration = Duration::from_secs(30);
const HEARTBEAT_TIMEOUT: &str = "4s";

pub struct Cluster {
    pub nodes: Vec<Node>,
}

/// How the nodes of a cluster are set up.
pub struct Setup<'a> {
    /// `memberlist.cluster_label`.
    pub label: &'a str,
    pub replication_factor: usize,
    /// Further blocks of the configuration file that all share.
    pub yaml: &'a str,
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Setup { label: "suite", replication_factor: 3, yaml: "" }
    }
}

impl Cluster {
    /// One node for each of `targets`, under `dir`, none of them started. Their names are `node-0`, `node-1`, ...
    pub fn new(dir: &Path, targets: &[&str], setup: &Setup) -> Cluster {
        Cluster::on(dir, targets, setup, &vec![Host::loopback(); targets.len()])
    }

    fn on(dir: &Path, targets: &[&str], setup: &Setup, hosts: &[Host]) -> Cluster {
        let ports: Vec<u16> = targets.iter().map(|_| free_port()).collect();
        let seeds: Vec<String> =
            hosts.iter().zip(&ports).map(|(host, port)| format!("\"{}:{port}\"", host.address)).collect();
        let node = |(number, target): (usize, &&str)| {
            let node = Node::new(&dir.join(format!("node-{number}"))).arg(format!("-target={target}"));
            node.on(&hosts[number])
                .env("NODE", format!("node-{number}"))
                .env("GOSSIP_PORT", ports[number].to_string())
                .config(&config(dir, &seeds.join(", "), setup))
        };
        Cluster { nodes: targets.iter().enumerate().map(node).collect() }
    }

    /// Starts every node and waits until each is ready and sees all.
    pub async fn start(dir: &Path, targets: &[&str], setup: &Setup<'_>) -> Cluster {
        Cluster::start_on(dir, targets, setup, &vec![Host::loopback(); targets.len()]).await
    }

    /// The same on a host for each.
    pub async fn start_on(dir: &Path, targets: &[&str], setup: &Setup<'_>, hosts: &[Host]) -> Cluster {
        let mut cluster = Cluster::on(dir, targets, setup, hosts);
        cluster.nodes.iter_mut().for_each(Node::spawn);
        for node in &mut cluster.nodes {
            node.wait_ready().await;
        }
        let all: Vec<usize> = (0..targets.len()).collect();
        cluster.wait_for_members(&all, targets.len()).await;
        cluster
    }

    pub fn client(&self, node: usize) -> Client {
        self.nodes[node].client()
    }

    /// Starts a node again and waits until it is ready.
    pub async fn restart(&mut self, node: usize) -> Duration {
        self.nodes[node].start().await
    }

    /// Waits until each of `nodes` sees `count` members that are well, and no others.
    pub async fn wait_for_members(&self, nodes: &[usize], count: usize) {
        for node in nodes {
            let well = |members: &[Value]| members.len() == count && members.iter().all(|m| m["state"] == "ACTIVE");
            self.wait_for(*node, &format!("{count} members, all ACTIVE"), well).await;
        }
    }

    /// Waits until `node` sees `id` in `state`.
    pub async fn wait_for_state(&self, node: usize, id: &str, state: &str) {
        let seen = |members: &[Value]| members.iter().any(|m| m["name"] == id && m["state"] == state);
        self.wait_for(node, &format!("{id} {state}"), seen).await;
    }

    async fn wait_for(&self, node: usize, what: &str, seen: impl Fn(&[Value]) -> bool) {
        let started = Instant::now();
        loop {
            let members = members(&self.client(node)).await;
            if seen(&members) {
                return;
            }
            let log = || self.nodes[node].log();
            assert!(started.elapsed() < SEEN_WITHIN, "node {node} does not see {what} but {members:?}\n{}", log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Every line that `written` holds is returned once, whichever of `nodes` is asked.
    pub async fn check_ledgers(&self, nodes: &[usize], since_ns: i64, written: &[(String, Written)]) -> usize {
        let mut lines = 0;
        for node in nodes {
            lines = 0;
            for (name, written) in written {
                let selector = format!("{{producer=\"{name}\"}}");
                let returned = self.client(*node).all_lines(&selector, since_ns, now_ns() + 1).await;
                lines += check(&format!("{name} at node {node}"), written, &returned);
            }
        }
        lines
    }

    /// Producers named after the nodes that they push to.
    pub fn produce(&self, nodes: &[usize]) -> Vec<Producer> {
        nodes.iter().map(|node| Producer::start(self.client(*node), &format!("p{node}-{}", now_ns()))).collect()
    }
}

pub async fn finish(producers: Vec<Producer>) -> Vec<(String, Written)> {
    let mut written = vec![];
    for producer in producers {
        written.push(producer.finish().await);
    }
    written
}

/// The members as `/memberlist` tells them.
pub async fn members(client: &Client) -> Vec<Value> {
    let body = client.get_json("/memberlist").await;
    body["members"].as_array().cloned().unwrap_or_default()
}

fn config(dir: &Path, seeds: &str, setup: &Setup) -> String {
    let Setup { label, replication_factor, yaml } = setup;
    format!(
        r#"
auth_enabled: false
common:
  path_prefix: ${{DIR}}/data
  replication_factor: {replication_factor}
  instance_addr: ${{ADDRESS}}
  storage:
    filesystem:
      chunks_directory: {dir}/bucket
      rules_directory: {dir}/rules
  ring:
    heartbeat_timeout: {HEARTBEAT_TIMEOUT}
memberlist:
  node_name: ${{NODE}}
  cluster_label: {label}
  bind_addr: ["${{ADDRESS}}"]
  bind_port: ${{GOSSIP_PORT}}
  join_members: [{seeds}]
{yaml}
"#,
        dir = dir.display(),
    )
}
