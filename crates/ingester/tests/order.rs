//! Which entries are taken, and in what order they are given back.

mod support;

use model::{BatchBuilder, Kind, Labels};
use rpc::ingester::{Ingester as _, Rejection};
use support::*;

const A: &str = r#"{app="a"}"#;

type Push<'a> = &'a [(i64, &'a str)];
/// Pushes, what is kept of them, and the reasons and counts of what is refused.
type Case<'a> = (&'a [Push<'a>], Push<'a>, &'a [(&'a str, u64)]);

async fn check(world: &World, pushes: &[Push<'_>], kept: Push<'_>, reasons: &[(&str, u64)]) {
    let node = world.ready().await;
    let mut rejected: Vec<Rejection> = vec![];
    for entries in pushes {
        rejected.extend(node.push(&[(A, entries)]).await.unwrap().rejected);
    }
    assert_eq!(node.held().await, lines(A, kept), "{pushes:?}");
    let found: Vec<_> = rejected.iter().map(|r| (r.reason.as_str(), r.entries)).collect();
    assert_eq!(found, reasons, "{pushes:?}");
    drop(node);
    let node = world.ready().await;
    assert_eq!(node.held().await, lines(A, kept), "a crash neither loses nor brings back: {pushes:?}");
    node.ingester.shutdown(true).await.unwrap();
    assert_eq!(world.store.lines(), lines(A, kept), "stored: {pushes:?}");
    assert_eq!(world.segments(), [], "all is shipped, so the log is empty");
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_are_taken_by_loki_s_rule_of_order_and_each_once() {
    let cases: &[Case<'_>] = &[
        (&[&[(0, "a"), (1, "b")]], &[(0, "a"), (1, "b")], &[]),
        (&[&[(0, "a"), (0, "a"), (0, "b"), (1, "a")]], &[(0, "a"), (0, "b"), (1, "a")], &[]),
        (&[&[(0, "a")], &[(0, "a")]], &[(0, "a")], &[]),
        (&[&[(9, "c")], &[(0, "a"), (5, "b"), (0, "a")], &[(9, "c")]], &[(0, "a"), (5, "b"), (9, "c")], &[]),
        (&[&[(0, "new")], &[(-3600, "half an age")]], &[(-3600, "half an age"), (0, "new")], &[]),
        (
            &[&[(0, "new")], &[(-3601, "older"), (-1800, "old")]],
            &[(-1800, "old"), (0, "new")],
            &[("too_far_behind", 1)],
        ),
        (&[&[(0, "new"), (-7200, "x"), (-7199, "y")]], &[(0, "new")], &[("too_far_behind", 2)]),
        (&[&[(0, "new")], &[(-7200, "x")]], &[(0, "new")], &[("too_far_behind", 1)]),
    ];
    for (pushes, kept, reasons) in cases {
        check(&World::new(), pushes, kept, reasons).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_unordered_writes_nothing_goes_back() {
    let mut world = World::new();
    world.limits.unordered_writes = false;
    check(&world, &[&[(0, "a"), (-1, "x"), (0, "b")]], &[(0, "a"), (0, "b")], &[("out_of_order", 1)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_may_not_exceed_its_rate() {
    let mut world = World::new();
    world.limits.per_stream_rate_limit = 100;
    world.limits.per_stream_rate_limit_burst = 10;
    let node = world.ready().await;
    assert_eq!(node.push(&[(A, &[(0, "1234567")])]).await.unwrap().rejected, []);
    let rejected = node.push(&[(A, &[(0, "7654321")]), (r#"{app="b"}"#, &[(0, "other")])]).await.unwrap().rejected;
    assert_eq!((rejected[0].kind, rejected.len(), rejected[0].bytes), (Kind::Limited, 1, 7));
    assert!(
        rejected[0].message.contains("Per stream rate limit exceeded (limit: 100B/sec)"),
        "{}",
        rejected[0].message
    );
    assert_eq!(node.held().await.len(), 2);
    world.clock.advance(SECOND / 10);
    assert_eq!(node.push(&[(A, &[(0, "7654321")])]).await.unwrap().rejected, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_may_not_have_more_streams_than_its_limit() {
    let mut world = World::new();
    world.limits.max_streams_per_user = 2;
    let node = world.ready().await;
    let three: Vec<String> = (0..3).map(|i| format!(r#"{{app="{i}"}}"#)).collect();
    let entries: Push<'_> = &[(0, "x"), (1, "y")];
    let streams: Vec<_> = three.iter().map(|labels| (labels.as_str(), entries)).collect();
    let rejected = node.push(&streams).await.unwrap().rejected;
    assert_eq!(rejected.len(), 1);
    assert_eq!(
        (rejected[0].kind, rejected[0].reason.as_str(), rejected[0].entries),
        (Kind::Limited, "stream_limit", 2)
    );
    let text = r#"maximum active stream limit exceeded when trying to create stream {app="2"}, reduce"#;
    assert!(rejected[0].message.starts_with(text), "{}", rejected[0].message);
    assert_eq!(node.held().await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_with_one_fingerprint_are_not_mixed() {
    let world = World::new();
    let node = world.ready().await;
    let fingerprint = Labels::parse(A).unwrap().fingerprint();
    let mut b = BatchBuilder::default();
    for labels in [A, r#"{app="b"}"#] {
        b.entry(NOW, labels.as_bytes(), [("k", "v")].into_iter());
        b.end_stream(labels, fingerprint);
    }
    node.ingester.push(&acme(), b.finish()).await.unwrap();
    let streams = node.select(request(&[])).await;
    assert_eq!(streams.len(), 2);
    assert_ne!(streams[0].fingerprint, streams[1].fingerprint);
    for stream in &streams {
        assert_eq!(block_lines(stream), [(stream.labels.to_string(), NOW, format!("{} k=v", stream.labels))]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_disordered_streams_are_stored_in_order() {
    let mut world = World::new();
    world.settings.chunk_block_size = 1000;
    world.settings.chunk_target_size = 4000;
    let node = world.ready().await;
    let text = "x".repeat(90);
    let all: Vec<(i64, String)> = (0..600).map(|i| ((i * 7919) % 600, format!("{text}{}", (i * 7919) % 600))).collect();
    for part in all.chunks(13) {
        let entries: Vec<_> = part.iter().map(|(at, line)| (*at, line.as_str())).collect();
        assert_eq!(node.push(&[(A, &entries), (A, &entries[..1])]).await.unwrap().rejected, []);
    }
    let mut expected: Vec<_> = all.iter().map(|(at, line)| (*at, line.as_str())).collect();
    expected.sort();
    let mut held = node.held().await;
    held.dedup();
    node.ingester.flush().await.unwrap();
    assert!(world.store.shipped.lock().len() > 1, "several chunks");
    let mut stored = world.store.lines();
    stored.dedup();
    assert_eq!(stored, lines(A, &expected));
    assert!(node.metric("loki_ingester_chunks_flushed_total") > 1.0);
    assert_eq!(node.held().await, []);
}
