//! Storing chunks: nothing is lost, nothing is seen twice or not at all, and the log waits for the index.

#![allow(clippy::disallowed_methods, reason = "a test joins the tasks that it starts")]

mod support;

use model::Kind;
use rpc::ingester::Ingester as _;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use support::*;

const A: &str = r#"{app="a"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_store_loses_nothing_and_keeps_the_log() {
    let world = World::new();
    world.store.put_failures.store(7, Ordering::SeqCst);
    world.store.ship_failures.store(5, Ordering::SeqCst);
    let node = world.ready().await;
    let entries = [(0, "one"), (1, "two")];
    node.push(&[(A, &entries), (r#"{app="b"}"#, &entries[..1])]).await.unwrap();
    node.ingester.flush().await.unwrap();
    assert_eq!(world.store.lines().len(), 3);
    assert_eq!(node.metric("loki_ingester_chunks_flush_failures_total"), 7.0);
    assert_eq!(node.metric("loki_ingester_index_ship_failures_total"), 5.0);
    assert_eq!(node.metric("loki_ingester_flush_queue_length"), 0.0);
    assert_eq!(world.segments(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_chunk_is_logged_until_it_is_shipped_and_announced_until_it_is_visible() {
    let world = World::new();
    let node = world.ready().await;
    node.push(&[(A, &[(0, "one")])]).await.unwrap();
    world.clock.advance(1800 * SECOND);
    node.ingester.sweep();
    while world.store.objects.lock().is_empty() || !node.held().await.is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(node.metric("loki_ingester_chunks_flushed_total"), 1.0);
    let streams = node.select(request(&[])).await;
    assert_eq!((streams.len(), streams[0].flushed.len(), streams[0].blocks.len()), (1, 1, 0));
    let sizes = node.ingester.sizes(request(&[])).await.unwrap();
    assert_eq!((sizes[0].chunks, sizes[0].entries), (1, 1));
    assert_eq!(world.segments().len(), 1, "stored is not enough");
    drop(node);
    let node = world.ready().await;
    assert_eq!(node.held().await, lines(A, &[(0, "one")]), "not shipped, so it comes back after a crash");
    node.ingester.flush().await.unwrap();
    assert_eq!(world.segments(), []);
    assert_eq!(node.select(request(&[])).await[0].flushed.len(), 1, "shipped, but readers may not see it yet");
    world.clock.advance(120 * SECOND);
    node.ingester.sweep();
    assert_eq!(node.select(request(&[])).await.len(), 0);
    assert_eq!(node.ingester.streams(), 1, "an idle stream is remembered for its rule of order");
    world.clock.advance(1800 * SECOND);
    node.ingester.sweep();
    assert_eq!(node.ingester.streams(), 0);
    node.push(&[(A, &[(0, "again")])]).await.unwrap();
    assert_eq!(node.held().await, lines(A, &[(0, "again")]));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_entry_is_in_one_place_at_every_moment() {
    let mut world = World::new();
    world.settings.chunk_block_size = 500;
    world.settings.chunk_target_size = 1500;
    let node = Arc::new(world.ready().await);
    let (acked, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let writer = {
        let (node, acked, done) = (node.clone(), acked.clone(), done.clone());
        tokio::spawn(async move {
            for i in 0..1500 {
                let line = format!("line {i} {}", "z".repeat(i % 50));
                node.push(&[(A, &[(i as i64, &line)])]).await.unwrap();
                acked.store(i as u64 + 1, Ordering::SeqCst);
                if i % 100 == 50 {
                    let node = node.clone();
                    tokio::spawn(async move { node.ingester.flush().await.unwrap() });
                }
            }
            done.store(true, Ordering::SeqCst);
        })
    };
    let mut looked = 0;
    while !done.load(Ordering::SeqCst) {
        let before = acked.load(Ordering::SeqCst);
        let mut seen: BTreeMap<i64, u64> = BTreeMap::new();
        for stream in node.select(request(&[])).await {
            let stored = stream.flushed.iter().flat_map(|c| world.store.chunk_lines("acme", c, A));
            for (_, ts, _) in block_lines(&stream).into_iter().chain(stored) {
                *seen.entry((ts - NOW) / SECOND).or_default() += 1;
            }
        }
        let missing: Vec<_> = (0..before as i64).filter(|i| !seen.contains_key(i)).collect();
        assert_eq!(missing, Vec::<i64>::new(), "acked before the look");
        assert!(seen.values().all(|n| *n == 1), "no entry twice");
        looked += 1;
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
    assert!(looked > 10, "{looked} looks");
    node.ingester.shutdown(true).await.unwrap();
    assert_eq!(world.store.lines().len(), 1500);
    assert_eq!(world.segments(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_are_served_and_pushes_refused_before_ready_and_after_shutdown() {
    let world = World::new();
    let node = world.ready().await;
    node.push(&[(A, &[(0, "one")])]).await.unwrap();
    node.ingester.shutdown(false).await.unwrap();
    let error = node.push(&[(A, &[(1, "late")])]).await.unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (Kind::Unavailable, "ingester is shutting down"));
    assert_eq!(node.held().await.len(), 1);
    assert!(world.store.objects.lock().is_empty(), "left to the log");
    drop(node);
    let mut limited = World { memory_bytes: 10, ..world };
    let node = limited.start().await;
    let error = node.push(&[(A, &[(1, "early")])]).await.unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (Kind::Unavailable, "ingester is starting"));
    assert_eq!(node.held().await, [], "replay waits for memory, reads do not");
    drop(node);
    limited.memory_bytes = 1 << 20;
    assert_eq!(limited.ready().await.held().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_memory_pushes_are_refused_and_chunks_stored_early() {
    let mut world = World::new();
    world.memory_bytes = 100 << 10;
    let node = world.ready().await;
    let line = "m".repeat(10_000);
    let (mut at, mut refused) = (0, 0);
    while at < 60 {
        match node.push(&[(A, &[(at, &line)])]).await {
            Ok(_) => at += 1,
            Err(e) => {
                assert!(e.kind == Kind::Unavailable && e.message.contains("memory_limit"), "{}", e.message);
                refused += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
    assert!(refused > 0);
    node.ingester.flush().await.unwrap();
    assert_eq!(world.store.lines().len(), 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_found_by_matchers_range_and_shard() {
    let world = World::new();
    let node = world.ready().await;
    let streams: Vec<String> = (0..64).map(|i| format!(r#"{{app="a{}", pod="p{i}"}}"#, i % 4)).collect();
    for (i, labels) in streams.iter().enumerate() {
        node.push(&[(labels, &[(i as i64, "x")])]).await.unwrap();
    }
    for (matchers, found) in [
        (&[("app", "a1")][..], 16),
        (&[("app", "a1"), ("pod", "p5")], 1),
        (&[("app", "a1"), ("pod", "p6")], 0),
        (&[("app", "a1"), ("zone", "")], 16),
        (&[("zone", "")], 64),
        (&[("__name__", "logs"), ("pod", "p1")], 1),
    ] {
        assert_eq!(node.select(request(matchers)).await.len(), found, "{matchers:?}");
        assert_eq!(node.ingester.series(request(matchers)).await.unwrap().len(), found, "{matchers:?}");
    }
    let mut sharded = 0;
    for index in 0..4 {
        let shard = Some(logql::source::Shard { index, of: 4 });
        sharded += node.select(rpc::ingester::RecentRequest { shard, ..request(&[]) }).await.len();
    }
    assert_eq!(sharded, 64);
    let range = model::TimeRange::new(NOW + 10 * SECOND, NOW + 12 * SECOND);
    let two = rpc::ingester::RecentRequest { range, ..request(&[]) };
    assert_eq!(node.ingester.labels(two.clone(), None).await.unwrap(), ["app", "pod"]);
    assert_eq!(node.ingester.labels(two.clone(), Some("pod".into())).await.unwrap(), ["p10", "p11"]);
    assert_eq!(node.ingester.sizes(two).await.unwrap().iter().map(|s| s.bytes).sum::<u64>(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_counts_with_the_part_of_its_time_inside_the_range() {
    let world = World::new();
    let node = world.ready().await;
    let entries: Vec<(i64, &str)> = (0..=100).map(|i| (i, "0123456789")).collect();
    node.push(&[(r#"{app="a"}"#, &entries)]).await.unwrap();
    for (from, to, expected) in [(0, 101, Some(101)), (50, 101, Some(50)), (0, 25, Some(25)), (200, 300, None)] {
        let range = model::TimeRange::new(NOW + from * SECOND, NOW + to * SECOND);
        let sizes = node.ingester.sizes(rpc::ingester::RecentRequest { range, ..request(&[]) }).await.unwrap();
        assert_eq!(sizes.first().map(|s| s.entries), expected, "{from}..{to}");
        assert!(sizes.iter().all(|s| s.bytes.abs_diff(10 * s.entries) < 10), "{from}..{to}");
    }
}
