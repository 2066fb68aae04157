//! Sizes, volumes, names and series.

use crate::{DAY, HOUR, MINUTE, Memory, Setup, tenants};
use async_trait::async_trait;
use frontend::results::metadata::MetadataResults;
use frontend::results::shelf::{Shelf, ShelfMetrics};
use model::{Labels, Result, TimeRange};
use parking_lot::Mutex;
use rpc::call::{Call, Calls, Reply};
use rpc::queries::{Answer, IndexStats, MetadataRequest, Tenants, Volume, VolumeRequest};
use runtime::limits::Limits;
use std::sync::Arc;

const NOW: i64 = 20_000 * DAY + 12 * HOUR;

/// Answers the hours that were asked, so that an answer for another time is seen.
#[derive(Default)]
struct Next {
    asked: Mutex<Vec<(i64, i64)>>,
    warnings: Mutex<Vec<String>>,
}

#[async_trait]
impl Calls for Next {
    async fn call(&self, _: &Tenants, call: Call) -> Result<Reply> {
        let range = match &call {
            Call::Labels(request, _) | Call::Series(request) | Call::Stats(request) => request.range,
            Call::Volume(request) => request.range,
            Call::Query(_) | Call::Patterns(_) => panic!("{call:?}"),
        };
        self.asked.lock().push(hours(range));
        let warnings = self.warnings.lock().clone();
        let (from, until) = hours(range);
        let names = (from..until).map(|hour| format!("h{hour:03}")).chain(["every".to_string()]);
        Ok(match call {
            Call::Labels(..) => Reply::Labels(Answer { value: names.collect(), warnings }),
            Call::Series(_) => {
                Reply::Series(Answer { value: names.map(|n| Labels::new([("n", n)])).collect(), warnings })
            }
            Call::Stats(_) => Reply::Stats(Answer {
                value: IndexStats { bytes: (until - from) as u64, ..Default::default() },
                warnings,
            }),
            _ => Reply::Volume(Answer { value: vec![Volume { labels: Labels::default(), bytes: 7 }], warnings }),
        })
    }
}

/// Hours since five days ago, midnight.
fn hours(range: TimeRange) -> (i64, i64) {
    let from = NOW - 12 * HOUR - 5 * DAY;
    ((range.start_ns - from) / HOUR, (range.end_ns - from) / HOUR)
}

fn about(from: i64, until: i64) -> MetadataRequest {
    let at = |hour: i64| NOW - 12 * HOUR - 5 * DAY + hour * HOUR;
    MetadataRequest { selectors: vec![], range: TimeRange { start_ns: at(from), end_ns: at(until) } }
}

fn stage(setup: &Setup) -> (Arc<Next>, MetadataResults) {
    let (next, cache, metrics) =
        (Arc::new(Next::default()), Arc::new(Memory::default()), ShelfMetrics::new(&setup.metrics));
    let shelf = |kind| Some(Shelf::new(kind, cache.clone(), metrics.clone()));
    let stage = MetadataResults {
        next: next.clone(),
        stats: shelf("stats"),
        volume: shelf("volume"),
        series: shelf("series"),
        labels: shelf("labels"),
        generations: setup.generations(),
        limits: setup.limits.clone(),
        clock: setup.clock.clone(),
    };
    (next, stage)
}

#[tokio::test]
async fn names_and_series_are_kept_by_days_that_are_over() {
    let setup = Setup::new(Limits::default(), NOW);
    let (next, stage) = stage(&setup);
    let kinds = [|r| Call::Labels(r, None), |r| Call::Labels(r, Some("n".to_string())), |r| Call::Series(r)]
        as [fn(_) -> Call; 3];
    for of in kinds {
        for (from, until, asked) in [
            // The fourth day ended twelve hours ago: within the freshness of a day it may still change.
            (30, 130, vec![(30, 48), (48, 72), (72, 96), (96, 130)]),
            (30, 130, vec![(30, 48), (96, 130)]),
            (50, 96, vec![(50, 72)]),
            (48, 72, vec![]),
            (50, 60, vec![(50, 60)]),
        ] {
            let whole = next.call(&tenants("a"), of(about(from, until))).await.unwrap();
            next.asked.lock().clear();
            let got = stage.call(&tenants("a"), of(about(from, until))).await.unwrap();
            let names = |reply: Reply| match reply {
                Reply::Labels(answer) => {
                    let mut names = answer.value;
                    names.sort();
                    names
                }
                Reply::Series(answer) => {
                    let mut names: Vec<String> = answer.value.iter().map(|labels| labels.to_string()).collect();
                    names.sort();
                    names
                }
                other => panic!("{other:?}"),
            };
            assert_eq!(names(got), names(whole), "{from}..{until}");
            assert_eq!(std::mem::take(&mut *next.asked.lock()), asked, "{from}..{until}");
        }
    }
    stage.call(&tenants("b"), kinds[0](about(48, 72))).await.unwrap();
    assert_eq!(std::mem::take(&mut *next.asked.lock()), [(48, 72)], "another tenant");
}

#[tokio::test]
async fn sizes_and_volumes_are_kept_as_they_were_asked() {
    let setup = Setup::new(Limits::default(), NOW);
    let (next, stage) = stage(&setup);
    let volume = |no_cache| {
        move |request: MetadataRequest| {
            Call::Volume(VolumeRequest {
                matchers: vec![],
                range: request.range,
                limit: 5,
                target_labels: vec![],
                by_label_name: false,
                no_cache,
            })
        }
    };
    let asks = async |call: Call| {
        let reply = stage.call(&tenants("a"), call).await.unwrap();
        if let Reply::Stats(answer) = &reply {
            assert!(answer.value.bytes > 0);
        }
        next.asked.lock().drain(..).count()
    };
    let calls: [&dyn Fn(MetadataRequest) -> Call; 2] = [&Call::Stats, &volume(false)];
    for of in calls {
        assert_eq!(asks(of(about(100, 130))).await, 1);
        assert_eq!(asks(of(about(100, 130))).await, 0);
        assert_eq!(asks(of(about(100, 129))).await, 1);
        // Ends now.
        assert_eq!(asks(of(about(100, 132))).await, 1);
        assert_eq!(asks(of(about(100, 132))).await, 1);
        *next.warnings.lock() = vec!["an ingester is away".into()];
        assert_eq!(asks(of(about(100, 101))).await, 1);
        next.warnings.lock().clear();
        assert_eq!(asks(of(about(100, 101))).await, 1);
        assert_eq!(asks(of(about(100, 101))).await, 0);
        setup.deletes.0.lock().push('+');
        assert_eq!(asks(of(about(100, 101))).await, 1, "a delete request");
        setup.clock.advance(MINUTE);
    }
    assert_eq!(asks(volume(true)(about(100, 130))).await, 1, "no-cache");
}
