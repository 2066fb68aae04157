//! Retention: what is older than its period goes from the index at once, from the bucket after the delay, and nothing
//! that is younger goes at all.

use super::bucket::{Bench, DAY, DAY_MS, copied, keys};
use bytes::Bytes;
use format::ChunkRef;
use format::schema::SchemaVersion;
use runtime::limits::{Limits, RetentionStream};
use std::collections::BTreeSet;
use std::time::Duration;

const DELAY: Duration = Duration::from_secs(2 * 3600);

fn days(days: u32) -> Limits {
    Limits { retention_period: DAY * days, ..Limits::default() }
}

/// The bucket after one round at `now_ms`, with nothing younger than a day removed by what came before.
async fn retained_at(now_ms: i64, limits: Limits) -> Bench {
    let bench = Bench::retaining(copied("compacted").await, limits);
    bench.clock.set(now_ms * 1_000_000);
    bench.round().await.unwrap();
    bench
}

fn named(chunks: &BTreeSet<ChunkRef>, of: &str) -> BTreeSet<String> {
    chunks.iter().map(|c| c.key(&super::bucket::tenant(of), SchemaVersion::V13)).collect()
}

#[tokio::test]
async fn at_every_moment_exactly_what_is_older_than_the_period_is_gone() {
    let all = Bench::new(copied("compacted").await).chunks("acme").await;
    let mut moments: Vec<i64> = all.iter().map(|c| c.through_ms + DAY_MS).collect();
    moments.sort();
    moments.dedup();
    assert!(moments.len() > 5);
    for moment in moments {
        for now_ms in [moment, moment + 1] {
            let bench = retained_at(now_ms, days(1)).await;
            let expected: BTreeSet<ChunkRef> =
                all.iter().copied().filter(|c| now_ms - c.through_ms <= DAY_MS).collect();
            assert_eq!(bench.chunks("acme").await, expected, "at {now_ms}");
            assert_eq!(bench.stored("acme").await, named(&all, "acme"), "objects stay until the delay is over");
            bench.advance(DELAY - Duration::from_millis(1));
            bench.round().await.unwrap();
            assert_eq!(bench.stored("acme").await, named(&all, "acme"), "at {now_ms}, before the delay is over");
            bench.advance(Duration::from_millis(1));
            bench.round().await.unwrap();
            // What expired meanwhile waits for a delay of its own.
            assert_eq!(bench.stored("acme").await, named(&expected, "acme"), "at {now_ms}, after the delay");
        }
    }
}

#[tokio::test]
async fn an_expired_tenant_s_folder_goes_and_zero_keeps_for_ever() {
    let bench = Bench::retaining(copied("compacted").await, days(1));
    bench.round().await.unwrap();
    assert_eq!(keys(bench.objects(), "index").await, [""; 0]);
    bench.advance(DELAY);
    bench.round().await.unwrap();
    assert_eq!(keys(bench.objects(), "").await, [""; 0], "chunks and marks are gone");
    let kept = Bench::retaining(copied("compacted").await, days(0));
    let before = keys(kept.objects(), "").await;
    kept.round().await.unwrap();
    assert_eq!(keys(kept.objects(), "").await, before);
}

#[tokio::test]
async fn streams_have_periods_of_their_own() {
    let rule = |selector: &str, priority, days: u32| RetentionStream {
        selector: selector.into(),
        priority,
        period: DAY * days,
    };
    let forever = 30_000;
    let limits = Limits {
        retention_stream: vec![rule(r#"{app="checkout"}"#, 1, 1), rule(r#"{env="prod"}"#, 2, forever)],
        ..Limits::default()
    };
    let bench = Bench::retaining(copied("compacted").await, limits);
    let before = bench.series("acme").await;
    bench.round().await.unwrap();
    let is_kept = |labels: &model::Labels| labels.get("app") != Some("checkout") || labels.get("env") == Some("prod");
    let expected: Vec<_> = before.into_iter().filter(|s| is_kept(&s.labels)).collect();
    assert_eq!(bench.series("acme").await, expected);
    assert!(!expected.is_empty());
}

#[tokio::test]
async fn rules_that_cannot_be_read_remove_nothing() {
    let broken = RetentionStream { selector: "{".into(), priority: 1, period: DAY };
    let bench = Bench::retaining(
        copied("compacted").await,
        Limits { retention_period: DAY, retention_stream: vec![broken], ..Limits::default() },
    );
    let before = keys(bench.objects(), "").await;
    bench.round().await.unwrap();
    assert_eq!(keys(bench.objects(), "").await, before);
    assert_eq!(bench.metric("loki_compactor_retention_failures_total"), 2, "one for each tenant");
}

#[tokio::test]
async fn a_chunk_over_midnight_stays_while_a_table_that_may_list_it_cannot_be_read() {
    let bench = Bench::retaining(copied("compacted").await, days(1));
    let all = bench.chunks("acme").await;
    let is_crossing = |c: &&ChunkRef| c.from_ms.div_euclid(DAY_MS) < c.through_ms.div_euclid(DAY_MS);
    let crossing: BTreeSet<ChunkRef> = all.iter().filter(is_crossing).copied().collect();
    assert_eq!(crossing.len(), 1);
    let second = keys(bench.objects(), "index/index_20149/acme").await.remove(0);
    let whole = bench.objects().get(&second).await.unwrap();
    bench.objects().put(&second, Bytes::from_static(b"damaged")).await.unwrap();
    assert!(bench.round().await.is_err());
    bench.advance(DELAY);
    assert!(bench.round().await.is_err());
    let stored = bench.stored("acme").await;
    assert!(named(&crossing, "acme").is_subset(&stored), "the other table may list it");
    let first_day = all.iter().filter(|c| c.through_ms < 20_149 * DAY_MS).copied().collect();
    assert!(named(&first_day, "acme").is_disjoint(&stored), "no table lists these");
    bench.objects().put(&second, whole).await.unwrap();
    bench.round().await.unwrap();
    assert!(named(&crossing, "acme").is_subset(&bench.stored("acme").await), "marked again, it waits again");
    bench.advance(DELAY);
    bench.round().await.unwrap();
    assert_eq!(bench.stored("acme").await, BTreeSet::new());
}
