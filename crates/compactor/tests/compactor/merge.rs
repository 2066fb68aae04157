//! Small chunks merged: fewer objects, the same lines.

use super::bucket::{Bench, DAY, copied, tenant};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use storage::testing::{Faults, Faulty};

const TENANTS: [&str; 2] = ["acme", "globex"];
const EVERYTHING_IS_SMALL: u64 = 32 << 20;
/// After which marked chunks are deleted.
const DELAY: Duration = Duration::from_secs(2 * 3600);

async fn listed(bench: &Bench) -> usize {
    let mut listed = 0;
    for of in TENANTS {
        listed += bench.chunks(of).await.len();
    }
    listed
}

async fn stored(bench: &Bench) -> usize {
    let mut stored = 0;
    for of in TENANTS {
        stored += bench.stored(of).await.len();
    }
    stored
}

#[tokio::test]
async fn chunks_of_a_day_become_one_and_no_line_changes() {
    let bench = Bench::merging(copied("uncompacted").await, EVERYTHING_IS_SMALL);
    let (lines, before) = (bench.lines(&TENANTS).await, listed(&bench).await);
    bench.round().await.unwrap();
    assert_eq!(bench.lines(&TENANTS).await, lines);
    let after = listed(&bench).await;
    assert!(after < before, "{before} chunks, {after} after");
    for of in TENANTS {
        for series in bench.series(of).await {
            let days: Vec<i64> = series.chunks.iter().map(|c| c.from_ms.div_euclid(86_400_000)).collect();
            let distinct: BTreeSet<_> = days.iter().collect();
            // Only what reaches over midnight stays beside a day's chunk.
            let over_midnight =
                series.chunks.iter().filter(|c| c.through_ms.div_euclid(86_400_000) > c.from_ms.div_euclid(86_400_000));
            assert!(series.chunks.len() <= distinct.len() + 2 * over_midnight.count(), "{:?}", series.chunks);
        }
    }
    assert!(bench.metric("lokirs_compactor_chunks_merged_total") as usize > before - after);
    assert!(stored(&bench).await > after, "what was merged stays for queries that run");

    bench.advance(DELAY);
    bench.round().await.unwrap();
    assert_eq!((listed(&bench).await, stored(&bench).await), (after, after));
    assert_eq!(bench.lines(&TENANTS).await, lines);

    let merged = bench.metric("lokirs_compactor_chunks_merged_total");
    bench.advance(DAY);
    bench.round().await.unwrap();
    assert_eq!(bench.metric("lokirs_compactor_chunks_merged_total"), merged, "once is enough");
}

#[tokio::test]
async fn nothing_is_merged_unless_it_is_asked_for_or_where_nothing_is_small() {
    for below in [0, 1] {
        let bench = Bench::merging(copied("uncompacted").await, below);
        let before = listed(&bench).await;
        bench.round().await.unwrap();
        bench.round().await.unwrap();
        assert_eq!(listed(&bench).await, before, "below {below}");
    }
}

#[tokio::test]
async fn a_chunk_that_cannot_be_read_stays_and_so_does_its_group() {
    let objects = copied("uncompacted").await;
    let bench = Bench::merging(objects.clone(), EVERYTHING_IS_SMALL);
    let series = bench.series("acme").await;
    let small = series.iter().find(|series| series.chunks.len() > 1).unwrap();
    let broken = small.chunks[0].key(&tenant("acme"), format::schema::SchemaVersion::V13);
    objects.put(&broken, "not a chunk".into()).await.unwrap();
    bench.round().await.unwrap();
    assert!(bench.metric("lokirs_compactor_merge_failures_total") >= 1);
    let after = bench.series("acme").await;
    let kept = after.iter().find(|series| series.labels == small.labels).unwrap();
    assert!(kept.chunks.contains(&small.chunks[0]));
}

#[tokio::test]
async fn a_crash_at_any_call_loses_no_line() {
    let mut crashes = 0;
    for calls in (0..).step_by(7) {
        let objects = copied("uncompacted").await;
        let lines = Bench::merging(objects.clone(), 0).lines(&TENANTS).await;
        let mut bucket = None;
        let faulty = objects.clone().wrapped(|inner| {
            let faulty = Arc::new(Faulty::new(inner, Faults::default()));
            bucket = Some(faulty.clone());
            faulty
        });
        let bucket = bucket.unwrap();
        bucket.set(Faults { fail_after: Some(bucket.calls() + calls), ..Faults::default() });
        let crashed = Bench::merging(faulty, EVERYTHING_IS_SMALL).round().await.is_err();
        let bench = Bench::merging(objects, EVERYTHING_IS_SMALL);
        assert_eq!(bench.lines(&TENANTS).await, lines, "after {calls} calls");
        bench.round().await.unwrap();
        assert_eq!(bench.lines(&TENANTS).await, lines, "after {calls} calls and another round");
        if !crashed {
            break;
        }
        crashes += 1;
    }
    assert!(crashes > 5, "{crashes}");
}
