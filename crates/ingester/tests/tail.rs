//! Tails: every push that ends after a tail is open is told, once, in order; a slow reader is told what it missed.

#![allow(clippy::disallowed_methods, reason = "a test joins the tasks that it starts")]

mod support;

use futures::StreamExt;
use futures::stream::BoxStream;
use model::{Kind, Matcher, Result, TenantId};
use rpc::ingester::{DroppedEntries, Ingester as _, Tailed};
use support::*;

const A: &str = r#"{app="a"}"#;
const B: &str = r#"{app="b"}"#;

type Tail = BoxStream<'static, Result<Tailed>>;

/// What is told until `last` comes: lines in order, and what was left out.
async fn told(tail: &mut Tail, last: &str) -> (Vec<Line>, Vec<DroppedEntries>) {
    let (mut lines, mut dropped) = (vec![], vec![]);
    while lines.last().is_none_or(|l: &Line| l.2 != last) {
        match tail.next().await.expect("the tail lasts").unwrap() {
            Tailed::Pushed(stream) => lines.extend(block_lines(&stream)),
            Tailed::Dropped(entries) => dropped.push(entries),
        }
    }
    (lines, dropped)
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_are_told_to_the_tails_that_match() {
    let world = World::new();
    let node = world.ready().await;
    node.push(&[(A, &[(0, "before")])]).await.unwrap();
    let mut all = node.ingester.tail(request(&[])).await.unwrap();
    let mut only_b = node.ingester.tail(request(&[("app", "b")])).await.unwrap();
    let mut other = request(&[]);
    other.tenant = TenantId::parse("other").unwrap();
    let mut other = node.ingester.tail(other).await.unwrap();
    for (at, stream) in [(1, A), (2, B), (2, A), (3, B)] {
        node.push(&[(stream, &[(at, "x"), (at, "y")])]).await.unwrap();
    }
    node.push(&[(A, &[(4, "end")]), (B, &[(4, "end")])]).await.unwrap();
    let expected = |wanted: &[(i64, &str)]| -> Vec<Line> {
        wanted.iter().flat_map(|(at, stream)| lines(stream, &[(*at, "x"), (*at, "y")])).collect()
    };
    let (lines_of_b, dropped) = told(&mut only_b, "end").await;
    assert_eq!(lines_of_b[..4], expected(&[(2, B), (3, B)]));
    assert_eq!(dropped, []);
    assert_eq!(told(&mut all, "end").await.0[..8], expected(&[(1, A), (2, B), (2, A), (3, B)]));
    assert!(futures::poll!(other.next()).is_pending(), "another tenant's lines");
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_entries_are_not_told() {
    let mut world = World::new();
    world.limits.unordered_writes = false;
    let node = world.ready().await;
    let mut tail = node.ingester.tail(request(&[])).await.unwrap();
    node.push(&[(A, &[(5, "kept"), (1, "refused"), (6, "end")])]).await.unwrap();
    assert_eq!(told(&mut tail, "end").await.0, lines(A, &[(5, "kept"), (6, "end")]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_is_told_what_it_missed_and_goes_on() {
    let world = World::new();
    let node = world.ready().await;
    let mut tail = node.ingester.tail(request(&[])).await.unwrap();
    let big = "x".repeat(200 << 10);
    for at in 0..60 {
        node.push(&[(A, &[(at, &big)])]).await.unwrap();
    }
    // Room for eight mebibytes: 40 such lines.
    let Tailed::Dropped(dropped) = tail.next().await.unwrap().unwrap() else { panic!("a note comes first") };
    assert_eq!((dropped.entries, dropped.ts_ns), (20, NOW + 40 * SECOND));
    assert_eq!(node.metric("loki_ingester_tail_entries_dropped_total"), 20.0);
    node.push(&[(B, &[(99, "end")])]).await.unwrap();
    let (rest, dropped) = told(&mut tail, "end").await;
    assert_eq!((rest.len(), dropped.len()), (41, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn tails_are_counted_and_forgotten() {
    let mut world = World::new();
    world.limits.max_concurrent_tail_requests = 2;
    let node = world.ready().await;
    let first = node.ingester.tail(request(&[])).await.unwrap();
    let second = node.ingester.tail(request(&[])).await.unwrap();
    let error = node.ingester.tail(request(&[])).await.err().unwrap();
    assert_eq!(error.kind, Kind::Invalid);
    assert_eq!(error.message, "max concurrent tail requests limit exceeded, count > limit (3 > 2)");
    assert_eq!(node.metric("loki_ingester_tails_active"), 2.0);
    drop(first);
    let mut third = node.ingester.tail(request(&[])).await.unwrap();
    drop(second);
    node.push(&[(A, &[(1, "waits")])]).await.unwrap();
    node.ingester.shutdown(false).await.unwrap();
    assert_eq!(told(&mut third, "waits").await.0.len(), 1);
    assert_eq!(third.next().await.unwrap().unwrap_err().message, "ingester is shutting down");
    assert!(third.next().await.is_none());
    assert_eq!(node.ingester.tail(request(&[])).await.err().unwrap().kind, Kind::Unavailable);
    drop(third);
    assert_eq!(node.metric("loki_ingester_tails_active"), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_entry_falls_between_a_select_and_a_tail() {
    let world = World::new();
    let node = std::sync::Arc::new(world.ready().await);
    let pushing = node.clone();
    let pusher = tokio::spawn(async move {
        for at in 0..500 {
            pushing.push(&[(A, &[(at, "x")])]).await.unwrap();
        }
        pushing.push(&[(A, &[(500, "end")])]).await.unwrap();
    });
    let mut request = request(&[]);
    request.matchers.push(Matcher::equal("app", "a"));
    let mut tail = node.ingester.tail(request.clone()).await.unwrap();
    let mut all: Vec<Line> = node.select(request).await.iter().flat_map(block_lines).collect();
    all.extend(told(&mut tail, "end").await.0);
    pusher.await.unwrap();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 501);
}
