//! Mutated datagrams into a live member: none ends its gossip, and the cluster finds together afterwards.

#[path = "../../../tests/fuzz/mod.rs"]
mod fuzz;
mod nodes;

use cluster::gossip::screen::{Held, Screen};
use cluster::gossip::{Incarnation, envelope};
use cluster::members::MemberState;
use cluster::testing::messages::{ack, digest, key_value, max_version, node, plain, syn, syn_ack, zeros};
use fuzz::fuzz;
use nodes::{FORGET_AFTER, Node, SECOND, Start, address, wait};
use std::time::Duration;

fn own(node: &Node) -> Incarnation {
    let settings = node.gossip.settings();
    Incarnation { id: settings.id.clone(), generation: settings.generation, address: settings.advertise }
}

/// Messages about members that are not there, but for one that the first member is told of itself.
fn seeds(own: &Incarnation) -> Vec<Vec<u8>> {
    let ghost =
        |n: u64| Incarnation { id: format!("ghost-{n}"), generation: n, address: ([10, 9, 9, n as u8], 7946).into() };
    let known = digest(&[(ghost(1), [3, 0, 4]), (own.clone(), [9, 0, 5]), (ghost(2), [1, 0, 0])]);
    let facts = |first: u64| {
        let facts = [("grpc", "h:1"), ("zone", "z"), ("roles", "ingester"), ("state", "active"), ("version", "1")];
        let told = facts.iter().zip(first..).map(|((key, value), version)| key_value(key, value, version));
        told.collect::<Vec<_>>().concat()
    };
    let both = [node(&ghost(1), 0, 0), facts(1), node(&ghost(2), 3, 0), max_version(4)].concat();
    let packed = |told: &[u8]| {
        let block = zstd::bulk::compress(told, 1).unwrap();
        [&[1][..], &(block.len() as u16).to_le_bytes(), &block, &[0]].concat()
    };
    vec![
        syn("one", &known),
        syn("one", &digest(&[])),
        syn_ack(&known, &plain(&both)),
        syn_ack(&known, &packed(&both)),
        ack(&plain(&[node(&ghost(1), 0, 5), facts(6)].concat())),
        ack(&packed(&[node(own, 0, 0), facts(9)].concat())),
        ack(&zeros(1000, 3)),
    ]
}

#[test]
fn datagrams_are_taken_or_refused_and_the_cluster_converges() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let start = Start::new();
    let nodes = runtime.block_on(start.nodes(3));
    let own = own(&nodes[0]);
    let id = chitchat::ChitchatId::new(own.id.as_str(), own.generation, own.address);
    let screen = Screen { cluster: "one".into(), own: id, held: Held::default() };
    let pieces: [&[u8]; 6] =
        [&[0xff; 8], &[0; 8], &[2, 255, 255], b"\x02\x04\x00\x00\x00\x00\x00\x00\x00", b"ghost-1", b"lkrs\x01"];
    fuzz(&seeds(&own), &pieces, |input, random| {
        let mut datagram = vec![];
        envelope::seal("one", input, &mut datagram);
        if random.below(8) == 0 {
            let at = random.below(datagram.len());
            datagram[at] ^= 1 << random.below(8);
        }
        let taken = envelope::open("one", &datagram).is_ok_and(|message| screen.admit(&message).is_ok());
        start.network.inject(address(99), address(0), datagram);
        runtime.block_on(async { tokio::time::sleep(Duration::from_millis(5)).await });
        taken
    });
    runtime.block_on(async {
        let late = start.node("late", 7).await;
        let ids = ["node-000", "node-001", "node-002", "late"];
        let active = |node: &Node, id: &str| node.state_of(id).is_some_and(|(state, _)| state == MemberState::Active);
        let sees_all = |node: &Node| ids.iter().all(|id| active(node, id));
        wait(8 * FORGET_AFTER + 60 * SECOND, || nodes.iter().chain([&late]).all(sees_all)).await;
    });
    assert_eq!(nodes[0].metric("loki_memberlist_client_restarts_total"), 0);
}
