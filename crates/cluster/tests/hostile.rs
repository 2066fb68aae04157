//! What a sender that knows the cluster's name can do to members: no message of it ends the gossip, fills memory or keeps
//! members from each other. And a gossip that ends all the same is started again.

mod nodes;

use async_trait::async_trait;
use cluster::gossip::network::{Datagrams, Network};
use cluster::gossip::screen::DECODED_BYTES_MAX;
use cluster::gossip::{Incarnation, envelope};
use cluster::members::MemberState;
use cluster::testing::MemoryNetwork;
use cluster::testing::messages::{ack, bad_cluster, digest, key_value, max_version, node, plain, syn, syn_ack, zeros};
use nodes::{INTERVAL, Node, SECOND, Start, address, only, wait};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const RESTARTS: &str = "loki_memberlist_client_restarts_total";

fn own(node: &Node) -> Incarnation {
    let settings = node.gossip.settings();
    Incarnation { id: settings.id.clone(), generation: settings.generation, address: settings.advertise }
}

fn ghost(id: &str) -> Incarnation {
    Incarnation { id: id.into(), generation: 1, address: address(200) }
}

impl Node {
    /// Messages that were refused for a reason, which is not there before the first.
    fn refused(&self, reason: &str) -> u64 {
        let name = format!("loki_memberlist_udp_transport_refused_messages_total{{reason=\"{reason}\"}}");
        if self.metrics.print_classic().contains(&name) { self.metric(&name) } else { 0 }
    }

    /// Sends messages one after the other, and then one that makes it tell all that it holds.
    async fn is_told(&self, messages: Vec<Vec<u8>>) {
        for message in messages.into_iter().chain([syn("one", &digest(&[]))]) {
            let mut datagram = vec![];
            envelope::seal("one", &message, &mut datagram);
            self.network.inject(address(99), self.gossip.settings().bind, datagram);
            tokio::time::sleep(INTERVAL / 20).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_message_ends_the_gossip() {
    let start = Start::new();
    let nodes = start.nodes(3).await;
    let (me, a) = (own(&nodes[0]), ghost("a"));
    let known = || syn("one", &digest(&[(a.clone(), [1, 0, 0])]));
    let told = |of: &Incarnation, ops: &[Vec<u8>]| ack(&plain(&[&[node(of, 0, 0)], ops].concat().concat()));
    let long = |first: &str| digest(&[(ghost(&first.repeat(40_000)), [1, 0, 0])]);
    for (reason, messages) in [
        ("own_state", vec![told(&me, &[max_version(u64::MAX)])]),
        ("disordered", vec![known(), told(&a, &[key_value("k", "v", 9), max_version(3)])]),
        ("disordered", vec![known(), told(&a, &[key_value("k", "v", 5), max_version(4), key_value("l", "v", 5)])]),
        ("too_large", vec![syn("one", &long("x")), syn_ack(&long("y"), &plain(b""))]),
        ("too_large", vec![ack(&zeros(60_000, DECODED_BYTES_MAX / 60_000 + 1))]),
        ("malformed", vec![bad_cluster()]),
        ("foreign", vec![syn("two", &digest(&[]))]),
    ] {
        let before = nodes[0].refused(reason);
        nodes[0].is_told(messages).await;
        assert!(nodes[0].refused(reason) > before, "{reason}");
        for state in [MemberState::Leaving, MemberState::Active] {
            nodes[0].gossip.set_state(state);
            wait(2 * SECOND, || nodes.iter().all(|n| n.state_of("node-000").is_some_and(|(is, _)| is == state))).await;
        }
        assert_eq!(nodes[0].metric(RESTARTS), 0, "{reason}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_crowd_of_the_dead_parts_nobody() {
    let start = Start::new();
    let nodes = start.nodes(3).await;
    for group in 0..10 {
        let ids = (0..500).map(|n| (ghost(&format!("ghost-{group}-{n}")), [1, 0, 0]));
        nodes[group % 3].is_told(vec![syn("one", &digest(&ids.collect::<Vec<_>>()))]).await;
    }
    let active = |node: &Node| node.count(MemberState::Active) == 3;
    nodes::always(2 * nodes::HEARTBEAT_TIMEOUT, || nodes.iter().all(active)).await;
    assert!(nodes.iter().all(|node| node.refused("full") > 0 && node.metric(RESTARTS) == 0));
    // Nobody comes while they are remembered.
    tokio::time::sleep(4 * nodes::FORGET_AFTER).await;
    let late = start.node("late", 9).await;
    wait(60 * SECOND, || nodes.iter().chain([&late]).all(only(MemberState::Active, 4))).await;
}

/// A network that takes along who receives from it.
#[derive(Clone)]
struct Deadly {
    inner: MemoryNetwork,
    strikes: Arc<AtomicBool>,
}

struct DeadlySocket {
    inner: Box<dyn Datagrams>,
    strikes: Arc<AtomicBool>,
}

#[async_trait]
impl Network for Deadly {
    async fn open(&self, bind: SocketAddr) -> io::Result<Box<dyn Datagrams>> {
        let (inner, strikes) = (self.inner.open(bind).await?, self.strikes.clone());
        Ok(Box::new(DeadlySocket { inner, strikes }))
    }
}

#[async_trait]
impl Datagrams for DeadlySocket {
    async fn send(&self, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        self.inner.send(to, datagram).await
    }
    async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let received = self.inner.receive(buffer).await;
        assert!(!self.strikes.swap(false, Ordering::Relaxed), "struck");
        received
    }
}

#[tokio::test(start_paused = true)]
async fn a_gossip_that_ends_is_started_again() {
    let start = Start::new();
    let nodes = start.nodes(2).await;
    let strikes = Arc::new(AtomicBool::new(false));
    let network = Deadly { inner: start.network.clone(), strikes: strikes.clone() };
    let struck = start.node_over("node-002", 2, Arc::new(network)).await;
    let all = || nodes.iter().chain([&struck]);
    wait(10 * SECOND, || all().all(only(MemberState::Active, 3))).await;
    for restarts in 1..4 {
        strikes.store(true, Ordering::Relaxed);
        wait(5 * SECOND, || struck.metric(RESTARTS) == restarts).await;
        wait(30 * SECOND, || all().all(only(MemberState::Active, 3))).await;
    }
}
