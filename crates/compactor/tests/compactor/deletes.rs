//! Delete requests: hidden at once, removed when they cannot be taken back any more, nothing else touched.

use super::bucket::{Bench, Lines, NOW_NS, bare, copied, keys, lines, one_period, tenant};
use model::time::floor_ms;
use model::{Kind, TimeRange};
use rpc::deletes::{DeleteStatus, Deletes, NewDelete};
use runtime::limits::{DeletionMode, LimitSet, Limits};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use storage::testing::{Faults, Faulty};

pub const CANCEL_PERIOD: Duration = Duration::from_secs(24 * 3600);
pub const MINUTE: Duration = Duration::from_secs(60);
const EVERYTHING: TimeRange = TimeRange { start_ns: 0, end_ns: i64::MAX };

/// The requests that Loki had processed in the bucket `after-deletes`.
const RECORDED: [(&str, &str, i64, i64); 5] = [
    ("acme", r#"{app="checkout",env="staging"}"#, 1_740_866_400, 1_740_895_200),
    ("acme", r#"{app="checkout",env="prod"} |= "level=error""#, 1_740_866_400, 1_740_895_200),
    ("acme", r#"{app="gateway"}"#, 1_740_867_000, 1_740_867_300),
    ("acme", r#"{job="nightly"} |= "step 1""#, 1_740_866_400, 1_740_895_200),
    ("globex", r#"{service="api"} | detected_level="debug""#, 1_740_866_400, 1_740_895_200),
];

fn new(query: &str, start_s: i64, end_s: i64) -> NewDelete {
    NewDelete::parse(query, start_s * 1000, end_s * 1000, floor_ms(NOW_NS)).unwrap()
}

pub async fn request_recorded(bench: &Bench) {
    for (of, query, start_s, end_s) in RECORDED {
        bench.deletes.create(&tenant(of), new(query, start_s, end_s)).await.unwrap();
    }
}

pub async fn golden(name: &str) -> Lines {
    let stores = HashMap::from([("s".to_string(), copied(name).await)]);
    let mut lines = lines(&one_period(), &stores, &["acme", "globex"]).await;
    lines.retain(|_, lines| !lines.is_empty());
    lines
}

#[tokio::test]
async fn what_is_left_is_what_loki_leaves() {
    let (before, after) = (golden("compacted").await, golden("after-deletes").await);
    let bench = Bench::new(copied("compacted").await);
    request_recorded(&bench).await;
    bench.advance(CANCEL_PERIOD);
    bench.round().await.unwrap();
    assert_eq!(bench.lines(&["acme", "globex"]).await, before, "requests can still be taken back");
    bench.advance(MINUTE);
    bench.round().await.unwrap();
    let left = bench.lines(&["acme", "globex"]).await;
    // Loki's own rewrite damages structured metadata: there what stays has to be as it was before.
    assert_eq!(bare(&left), bare(&after));
    assert!(left.iter().all(|(stream, lines)| lines.is_subset(&before[stream])));
    for of in ["acme", "globex"] {
        let listed = bench.deletes.list(&tenant(of)).await.unwrap();
        assert!(listed.iter().all(|r| r.status == DeleteStatus::Processed), "{listed:?}");
    }
    bench.advance(Duration::from_secs(2 * 3600));
    bench.round().await.unwrap();
    assert_eq!(bench.lines(&["acme", "globex"]).await, left, "what is listed is still there");
    let stored = bench.stored("acme").await.len() + bench.stored("globex").await.len();
    let listed = bench.chunks("acme").await.len() + bench.chunks("globex").await.len();
    assert_eq!(stored, listed, "what is not listed is gone");
    assert_eq!(keys(bench.objects(), "lokirs/expired").await, [""; 0]);
}

#[tokio::test]
async fn a_crash_at_any_call_loses_no_line_that_stays() {
    let after = golden("after-deletes").await;
    let mut crashes = 0;
    for calls in (0..).step_by(3) {
        let objects = copied("compacted").await;
        let mut bucket = None;
        let faulty = objects.clone().wrapped(|inner| {
            let faulty = Arc::new(Faulty::new(inner, Faults::default()));
            bucket = Some(faulty.clone());
            faulty
        });
        let (bench, bucket) = (Bench::new(faulty), bucket.unwrap());
        request_recorded(&bench).await;
        bench.advance(CANCEL_PERIOD + MINUTE);
        bucket.set(Faults { fail_after: Some(bucket.calls() + calls), ..Faults::default() });
        let crashed = bench.round().await.is_err();
        bucket.set(Faults::default());
        let between = bench.lines(&["acme", "globex"]).await;
        let between = bare(&between);
        for (stream, lines) in bare(&after) {
            assert!(between[stream].is_superset(&lines), "{stream:?} after {calls} calls");
        }
        bench.advance(Duration::from_secs(2 * 3600));
        bench.round().await.unwrap();
        bench.advance(Duration::from_secs(2 * 3600));
        bench.round().await.unwrap();
        assert_eq!(bare(&bench.lines(&["acme", "globex"]).await), bare(&after), "after {calls} calls");
        if !crashed {
            break;
        }
        crashes += 1;
    }
    assert!(crashes > 5);
}

#[tokio::test]
async fn filters_hide_at_once_and_survive_a_restart() {
    let bench = Bench::new(copied("compacted").await);
    let acme = tenant("acme");
    assert_eq!(bench.deletes.generation(&acme).await.unwrap(), "");
    request_recorded(&bench).await;
    let again = Bench::new(bench.objects().clone());
    for deletes in [&bench.deletes, &again.deletes] {
        for (range, filters) in [
            (EVERYTHING, 4),
            (TimeRange::new(1_740_867_300_000_000_000, 1_740_867_300_000_000_001), 4),
            (TimeRange::new(1_740_867_300_000_000_001, 1_740_867_300_000_000_002), 3),
            (TimeRange::new(0, 1_740_866_400_000_000_000), 0),
        ] {
            assert_eq!(deletes.filters(&acme, range).await.unwrap().len(), filters, "{range:?}");
        }
        assert_eq!(deletes.filters(&tenant("other"), EVERYTHING).await.unwrap(), []);
        assert_ne!(deletes.generation(&acme).await.unwrap(), "");
    }
}

#[tokio::test]
async fn requests_can_be_taken_back_in_time_only() {
    let bench = Bench::new(copied("compacted").await);
    let (acme, deletes) = (tenant("acme"), &bench.deletes);
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(deletes.create(&acme, new(r#"{app="gateway"}"#, 1, 2)).await.unwrap());
    }
    ids.dedup();
    assert!(ids.len() == 3 && ids.iter().all(|id| id.len() == 8), "{ids:?}");
    deletes.cancel(&acme, &ids[0], false).await.unwrap();
    let kind = |answer: model::Result<()>| answer.map_err(|e| e.kind);
    assert_eq!(kind(deletes.cancel(&acme, &ids[0], false).await), Err(Kind::NotFound));
    assert_eq!(kind(deletes.cancel(&tenant("globex"), &ids[1], true).await), Err(Kind::NotFound));
    bench.advance(CANCEL_PERIOD + Duration::from_nanos(1));
    assert_eq!(kind(deletes.cancel(&acme, &ids[1], false).await), Err(Kind::Invalid));
    deletes.cancel(&acme, &ids[1], true).await.unwrap();
    bench.advance(MINUTE);
    bench.round().await.unwrap();
    assert_eq!(kind(deletes.cancel(&acme, &ids[2], true).await), Err(Kind::Invalid), "it is processed");
    assert_eq!(deletes.list(&acme).await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_deletion_mode_of_a_tenant_decides() {
    let bench = Bench::new(copied("compacted").await);
    let (acme, before) = (tenant("acme"), bench.lines(&["acme"]).await);
    let mode = |deletion_mode| LimitSet {
        defaults: Arc::new(Limits { deletion_mode, ..Limits::default() }),
        tenants: HashMap::new(),
    };
    bench.limits.replace(mode(DeletionMode::FilterOnly));
    bench.deletes.create(&acme, new(r#"{app="gateway"}"#, 1_740_866_400, 1_740_895_200)).await.unwrap();
    bench.advance(CANCEL_PERIOD + MINUTE);
    bench.round().await.unwrap();
    assert_eq!(bench.lines(&["acme"]).await, before);
    assert_eq!(bench.deletes.filters(&acme, EVERYTHING).await.unwrap().len(), 1);
    bench.limits.replace(mode(DeletionMode::Disabled));
    bench.round().await.unwrap();
    assert_eq!(bench.lines(&["acme"]).await, before);
    assert_eq!(bench.deletes.filters(&acme, EVERYTHING).await.unwrap(), []);
    let refused = bench.deletes.list(&acme).await.unwrap_err();
    assert_eq!(
        (refused.kind, refused.message.as_str()),
        (Kind::Forbidden, "deletion is not available for this tenant")
    );
}

#[tokio::test]
async fn a_damaged_record_stops_neither_other_tenants_nor_other_marks() {
    let bench = Bench::new(copied("compacted").await);
    let (acme, globex) = (tenant("acme"), tenant("globex"));
    bench.deletes.create(&acme, new(r#"{app=~".+"}"#, 1, 1_795_000_000)).await.unwrap();
    for (i, junk) in ["", "{", "[1]", r#"["acme/x"]"#, "[\"\u{0}\"]"].into_iter().enumerate() {
        bench.objects().put(&format!("lokirs/expired/{i}-junk.json"), junk.into()).await.unwrap();
    }
    bench.objects().put("lokirs/deletes/globex/00000000000000000001-0000000a.json", "{}".into()).await.unwrap();
    let others = bench.stored("globex").await;
    bench.advance(CANCEL_PERIOD + MINUTE);
    bench.round().await.unwrap();
    bench.advance(Duration::from_secs(2 * 3600));
    bench.round().await.unwrap();
    let left = bench.lines(&["acme"]).await;
    assert!(left.keys().all(|(_, labels)| !labels.contains("app=")), "{:?}", left.keys());
    assert_eq!(bench.deletes.filters(&globex, EVERYTHING).await.unwrap_err().kind, Kind::Corrupt);
    assert_eq!(bench.stored("globex").await, others);
    assert_eq!(bench.stored("acme").await.len(), bench.chunks("acme").await.len());
}
