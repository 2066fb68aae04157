//! What tests of the gossip share: members over a network in memory, and how to wait for them.
#![allow(dead_code, reason = "each test binary uses a part")]

use cluster::gossip::network::Network;
use cluster::gossip::{Facts, Gossip, Settings, Told};
use cluster::members::{MemberState, Members};
use cluster::testing::MemoryNetwork;
use runtime::metrics::Metrics;
use runtime::tasks::Tasks;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

pub const INTERVAL: Duration = Duration::from_millis(200);
pub const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(10);
pub const FORGET_AFTER: Duration = Duration::from_secs(60);
pub const SECOND: Duration = Duration::from_secs(1);

pub struct Node {
    pub network: MemoryNetwork,
    pub gossip: Arc<Gossip>,
    pub tasks: Tasks,
    pub metrics: Metrics,
}

/// How to start a node: each start is a new incarnation.
#[derive(Clone)]
pub struct Start {
    pub network: MemoryNetwork,
    pub cluster: &'static str,
    pub seeds: Vec<SocketAddr>,
}

pub fn address(port: u16) -> SocketAddr {
    ([10, 0, (port >> 8) as u8, port as u8], 7946).into()
}

impl Start {
    pub fn new() -> Start {
        Start { network: MemoryNetwork::default(), cluster: "one", seeds: vec![address(0)] }
    }

    pub async fn node(&self, id: &str, port: u16) -> Node {
        self.node_over(id, port, Arc::new(self.network.clone())).await
    }

    pub async fn node_over(&self, id: &str, port: u16, network: Arc<dyn Network>) -> Node {
        static GENERATION: AtomicU64 = AtomicU64::new(1);
        let settings = Settings {
            cluster: self.cluster.into(),
            id: id.into(),
            generation: GENERATION.fetch_add(1, Ordering::SeqCst),
            bind: address(port),
            advertise: address(port),
            facts: Facts {
                grpc_address: format!("10.0.0.{port}:9095"),
                zone: "zone-a".into(),
                roles: vec!["ingester".into()],
                state: Told::Active,
                version: "1".into(),
            },
            interval: INTERVAL,
            heartbeat_timeout: HEARTBEAT_TIMEOUT,
            forget_after: FORGET_AFTER,
            rejoin_interval: 30 * SECOND,
        };
        let metrics = Metrics::default();
        let tasks = Tasks::new(&metrics);
        let seeds = Arc::new(self.seeds.clone());
        let gossip = Gossip::start(settings, seeds, network, &metrics, &tasks).await.unwrap();
        Node { network: self.network.clone(), gossip, tasks, metrics }
    }

    pub async fn nodes(&self, count: u16) -> Vec<Node> {
        let mut nodes = vec![];
        for port in 0..count {
            nodes.push(self.node(&format!("node-{port:03}"), port).await);
        }
        wait(60 * SECOND, || nodes.iter().all(|node| node.count(MemberState::Active) == nodes.len())).await;
        nodes
    }
}

impl Node {
    pub fn count(&self, state: MemberState) -> usize {
        self.gossip.all().iter().filter(|member| member.state == state).count()
    }

    pub fn state_of(&self, id: &str) -> Option<(MemberState, String)> {
        self.gossip.all().iter().find(|m| m.id == id).map(|m| (m.state, m.grpc_address.clone()))
    }

    pub fn metric(&self, name: &str) -> u64 {
        let printed = self.metrics.print_classic();
        let line = printed.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.trim().parse().unwrap()
    }

    /// As if it were killed: says goodbye to nobody.
    pub async fn kill(self) {
        self.tasks.stop(SECOND).await;
        wait(SECOND, || !self.network.is_open(self.gossip.settings().bind)).await;
    }
}

/// Waits until `condition` holds, at most `within`; answers how long that took.
pub async fn wait(within: Duration, condition: impl Fn() -> bool) -> Duration {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < within, "it does not hold after {within:?}");
        tokio::time::sleep(INTERVAL / 4).await;
    }
    start.elapsed()
}

/// Fails if `condition` does not hold all the time.
pub async fn always(during: Duration, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while start.elapsed() < during {
        assert!(condition(), "it does not hold after {:?}", start.elapsed());
        tokio::time::sleep(INTERVAL / 4).await;
    }
}

pub fn only(state: MemberState, count: usize) -> impl Fn(&Node) -> bool {
    move |node| node.count(state) == count && node.gossip.all().len() == count
}
