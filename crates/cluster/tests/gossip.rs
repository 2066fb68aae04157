//! Whole clusters in one process, over a network in memory whose faults the test decides on, in time that passes only when
//! everybody waits. A larger one than usual: `LOKIRS_MEMBERS=200 cargo test --release -p cluster --test gossip converge
//! -- --nocapture`.

mod nodes;

use cluster::gossip::envelope;
use cluster::members::{MemberState, Members};
use nodes::{FORGET_AFTER, HEARTBEAT_TIMEOUT, Node, SECOND, Start, address, always, only, wait};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long a cluster of `size` needs until everybody knows everybody, and what each member then sends a second.
async fn check_convergence(size: u16, within: Duration, bytes_per_second_max: u64) {
    let start = Start::new();
    let began = Instant::now();
    let nodes = start.nodes(size).await;
    let converged = began.elapsed();
    let (bytes_before, _) = start.network.sent();
    always(10 * SECOND, || nodes.iter().all(only(MemberState::Active, size.into()))).await;
    let bytes = (start.network.sent().0 - bytes_before) / 10 / u64::from(size);
    eprintln!("{size} members: converged in {converged:?}, then {bytes} bytes a second from each");
    assert!(converged < within, "{size} members need {converged:?}");
    assert!(bytes < bytes_per_second_max, "{size} members send {bytes} bytes a second each");
    // A death is known to all, and the list changes but once for it.
    let mut nodes = nodes;
    nodes.pop().unwrap().kill().await;
    let noticed = wait(2 * HEARTBEAT_TIMEOUT, || nodes.iter().all(|n| n.count(MemberState::Unhealthy) == 1)).await;
    eprintln!("{size} members: a death is known to all after {noticed:?}");
}

#[tokio::test(start_paused = true)]
async fn clusters_converge_fast_and_at_a_bounded_cost() {
    check_convergence(3, 5 * SECOND, 20_000).await;
    check_convergence(50, 10 * SECOND, 200_000).await;
    if let Some(size) = std::env::var("LOKIRS_MEMBERS").ok().and_then(|size| size.parse().ok()) {
        check_convergence(size, 30 * SECOND, 1_000_000).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_unchanged_cluster_is_the_same_list() {
    let nodes = Start::new().nodes(3).await;
    let all = nodes[0].gossip.all();
    always(20 * SECOND, || Arc::ptr_eq(&all, &nodes[0].gossip.all())).await;
    nodes[1].gossip.set_state(MemberState::Joining);
    wait(2 * SECOND, || nodes[0].state_of("node-001").unwrap().0 == MemberState::Joining).await;
}

#[tokio::test(start_paused = true)]
async fn who_leaves_is_gone_soon_and_comes_back_as_another_incarnation() {
    let start = Start::new();
    let mut nodes = start.nodes(5).await;
    let leaver = nodes.remove(3);
    leaver.gossip.set_state(MemberState::Leaving);
    wait(2 * SECOND, || nodes.iter().all(|n| n.count(MemberState::Leaving) == 1)).await;
    leaver.gossip.leave().await;
    wait(2 * SECOND, || nodes.iter().all(only(MemberState::Active, 4))).await;
    let back = start.node("node-003", 77).await;
    assert_eq!(back.gossip.joined(5 * SECOND, false).await, Ok(4));
    wait(3 * SECOND, || nodes.iter().all(only(MemberState::Active, 5))).await;
    assert_eq!(nodes[0].state_of("node-003"), Some((MemberState::Active, "10.0.0.77:9095".into())));
}

#[tokio::test(start_paused = true)]
async fn who_is_killed_is_unhealthy_replaced_by_its_restart_or_forgotten() {
    let start = Start::new();
    let mut nodes = start.nodes(4).await;
    nodes.pop().unwrap().kill().await;
    let took = wait(20 * SECOND, || nodes.iter().all(|n| n.count(MemberState::Unhealthy) == 1)).await;
    assert!(took >= HEARTBEAT_TIMEOUT - SECOND, "{took:?}");
    let again = start.node("node-003", 3).await;
    again.gossip.joined(5 * SECOND, false).await.unwrap();
    wait(5 * SECOND, || nodes.iter().all(only(MemberState::Active, 4))).await;
    again.kill().await;
    wait(20 * SECOND, || nodes.iter().all(|n| n.count(MemberState::Unhealthy) == 1)).await;
    assert_eq!(nodes[0].gossip.forgotten().len(), 0);
    wait(2 * FORGET_AFTER, || nodes.iter().all(only(MemberState::Active, 3))).await;
    assert_eq!(nodes[0].gossip.forgotten()[0].id, "node-003");
    assert_eq!(nodes[0].metric("loki_memberlist_client_forgotten_members_total"), 1);
    // Nobody who comes later hears of the dead again.
    let late = start.node("node-004", 4).await;
    late.gossip.joined(5 * SECOND, false).await.unwrap();
    wait(5 * SECOND, || nodes.iter().chain([&late]).all(only(MemberState::Active, 4))).await;
    always(2 * FORGET_AFTER, || nodes.iter().chain([&late]).all(only(MemberState::Active, 4))).await;
}

#[tokio::test(start_paused = true)]
async fn an_operator_has_the_dead_forgotten_by_all() {
    let mut nodes = Start::new().nodes(4).await;
    let refused = nodes[0].gossip.forget("node-003").unwrap_err();
    assert!(refused.message.contains("is ACTIVE"), "{refused:?}");
    nodes.pop().unwrap().kill().await;
    wait(20 * SECOND, || nodes.iter().all(|n| n.count(MemberState::Unhealthy) == 1)).await;
    nodes[1].gossip.forget("node-003").unwrap();
    wait(3 * SECOND, || nodes.iter().all(only(MemberState::Active, 3))).await;
}

#[tokio::test(start_paused = true)]
async fn a_partition_is_seen_from_both_sides_and_heals() {
    let start = Start::new();
    let nodes = start.nodes(5).await;
    for other in 1..5 {
        start.network.cut(address(0), address(other));
        start.network.cut(address(other), address(0));
    }
    wait(15 * SECOND, || nodes[0].count(MemberState::Unhealthy) == 4).await;
    wait(5 * SECOND, || nodes[1..].iter().all(|n| n.count(MemberState::Unhealthy) == 1)).await;
    start.network.heal();
    let healed = wait(20 * SECOND, || nodes.iter().all(only(MemberState::Active, 5))).await;
    eprintln!("healed in {healed:?}");
    // Also when both sides have forgotten each other: the seeds are asked for ever.
    for other in 1..5 {
        start.network.cut(address(0), address(other));
        start.network.cut(address(other), address(0));
    }
    wait(2 * FORGET_AFTER, || nodes[0].gossip.all().len() == 1).await;
    tokio::time::sleep(FORGET_AFTER).await;
    start.network.heal();
    wait(60 * SECOND, || nodes.iter().all(only(MemberState::Active, 5))).await;
}

#[tokio::test(start_paused = true)]
async fn who_is_heard_by_nobody_is_unhealthy_though_it_hears_all() {
    let start = Start::new();
    let nodes = start.nodes(4).await;
    for other in 0..3 {
        start.network.cut(address(3), address(other));
    }
    wait(15 * SECOND, || nodes[..3].iter().all(|n| n.count(MemberState::Unhealthy) == 1)).await;
    always(30 * SECOND, || nodes[3].count(MemberState::Active) == 4).await;
    start.network.heal();
    wait(20 * SECOND, || nodes.iter().all(only(MemberState::Active, 4))).await;
}

#[tokio::test(start_paused = true)]
async fn a_network_that_comes_and_goes_each_second_makes_nobody_unhealthy() {
    let start = Start::new();
    let nodes = start.nodes(4).await;
    for round in 0..30 {
        for other in 1..4 {
            start.network.cut(address(0), address(other));
            start.network.cut(address(other), address(0));
        }
        always(SECOND, || nodes.iter().all(only(MemberState::Active, 4))).await;
        start.network.heal();
        tokio::time::sleep(SECOND).await;
        assert!(nodes.iter().all(only(MemberState::Active, 4)), "round {round}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_process_with_the_same_id_is_refused_and_the_first_one_says_so() {
    let start = Start::new();
    let nodes = start.nodes(3).await;
    let second = start.node("node-001", 50).await;
    let refused = second.gossip.joined(5 * SECOND, false).await.unwrap_err();
    let expected = "another living process, at 10.0.0.1:7946, has the id node-001 (settings: memberlist.node_name, ingester.lifecycler.id)";
    assert_eq!(refused.message, expected);
    wait(10 * SECOND, || nodes[1].metric("loki_memberlist_client_duplicate_members") == 1).await;
    second.kill().await;
    wait(30 * SECOND, || nodes[1].metric("loki_memberlist_client_duplicate_members") == 0).await;
    wait(30 * SECOND, || nodes.iter().all(only(MemberState::Active, 3))).await;
    assert_eq!(nodes[0].state_of("node-001").unwrap().1, "10.0.0.1:9095");
}

#[tokio::test(start_paused = true)]
async fn two_clusters_that_know_each_others_addresses_never_merge() {
    let one = Start::new();
    let two = Start { cluster: "two", seeds: vec![address(0), address(100)], ..one.clone() };
    let ours = one.nodes(3).await;
    let mut theirs = vec![];
    for port in 100..103 {
        theirs.push(two.node(&format!("node-{port}"), port).await);
    }
    wait(20 * SECOND, || theirs.iter().all(only(MemberState::Active, 3))).await;
    // An address goes from one cluster to the other.
    let mut ours = ours;
    ours.pop().unwrap().kill().await;
    let moved = two.node("node-002", 2).await;
    wait(20 * SECOND, || theirs.iter().chain([&moved]).all(only(MemberState::Active, 4))).await;
    always(30 * SECOND, || {
        theirs.iter().chain([&moved]).all(only(MemberState::Active, 4))
            && ours.iter().all(|n| n.gossip.all().len() <= 3)
    })
    .await;
    assert!(ours[0].metric("loki_memberlist_udp_transport_foreign_packets_total") > 0);
    assert!(ours.iter().all(|n| n.count(MemberState::Active) == 2));
}

#[tokio::test(start_paused = true)]
async fn who_finds_nobody_goes_on_alone_unless_that_is_forbidden() {
    let alone = Start { seeds: vec![address(9)], ..Start::new() }.node("a", 1).await;
    assert_eq!(alone.gossip.joined(3 * SECOND, true).await, Ok(0));
    let error = alone.gossip.joined(3 * SECOND, false).await.unwrap_err();
    assert!(error.message.contains("memberlist.join_members"), "{error:?}");
    assert_eq!(alone.count(MemberState::Active), 1);
}

#[tokio::test(start_paused = true)]
async fn broken_datagrams_part_nobody() {
    let start = Start::new();
    let nodes = start.nodes(3).await;
    let mut random = 1u64;
    let mut next = || {
        // xorshift64: the same datagrams each time.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as usize
    };
    for _ in 0..3_000 {
        let mut payload = envelope::open("one", &start.network.last()).unwrap();
        for _ in 0..1 + next() % 4 {
            let at = next() % payload.len();
            payload[at] = next() as u8;
        }
        payload.truncate(payload.len() - next() % 3 % payload.len());
        let mut datagram = vec![];
        envelope::seal("one", &payload, &mut datagram);
        if next() % 2 == 0 {
            let at = next() % datagram.len();
            datagram[at] ^= 1 << (next() % 8);
        }
        start.network.inject(address(99), address((next() % 3) as u16), datagram);
        tokio::time::sleep(Duration::from_millis(7)).await;
    }
    let ours = |node: &Node| {
        (0..3).all(|n| node.state_of(&format!("node-{n:03}")).is_some_and(|(state, _)| state == MemberState::Active))
    };
    wait(60 * SECOND, || nodes.iter().all(ours)).await;
    // What was made up is forgotten like everybody who is silent.
    wait(4 * FORGET_AFTER, || nodes.iter().all(only(MemberState::Active, 3))).await;
    assert!(nodes[0].metric("loki_memberlist_udp_transport_packets_received_errors_total") > 0);
}
