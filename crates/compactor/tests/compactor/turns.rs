//! Several compactors on one bucket: one at a time, and no harm done when it is two.

use super::bucket::{Bench, Lines, bare, copied, keys, lines, one_period, tenant};
use super::deletes::{CANCEL_PERIOD, MINUTE, golden, request_recorded};
use async_trait::async_trait;
use bytes::Bytes;
use model::Result;
use rpc::deletes::{DeleteStatus, Deletes};
use runtime::limits::Limits;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use storage::objects::{Bucket, ObjectMeta, Objects};
use tokio_util::sync::CancellationToken;

const TENANTS: [&str; 2] = ["acme", "globex"];
const DELETE_DELAY: Duration = Duration::from_secs(2 * 3600);

/// A bucket at whose `at`-th call another compactor goes through a whole round.
struct Between {
    inner: Arc<dyn Bucket>,
    calls: AtomicUsize,
    at: AtomicUsize,
    other: Mutex<Option<Arc<Bench>>>,
}

impl fmt::Debug for Between {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Between")
    }
}

impl Between {
    async fn call(&self) {
        if self.calls.fetch_add(1, Ordering::SeqCst) == self.at.load(Ordering::SeqCst) {
            let other = self.other.lock().unwrap().take();
            if let Some(other) = other {
                // Boxed: a round is made of calls like this one.
                Box::pin(other.round()).await.unwrap();
            }
        }
    }
}

#[async_trait]
impl Bucket for Between {
    async fn get(&self, key: &str, bytes_max: u64) -> Result<Bytes> {
        self.call().await;
        self.inner.get(key, bytes_max).await
    }
    async fn size(&self, key: &str) -> Result<Option<u64>> {
        self.call().await;
        self.inner.size(key).await
    }
    async fn put(&self, key: &str, object: Bytes) -> Result<()> {
        self.call().await;
        self.inner.put(key, object).await
    }
    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>> {
        self.call().await;
        self.inner.list(prefix).await
    }
    async fn delete(&self, key: &str) -> Result<()> {
        self.call().await;
        self.inner.delete(key).await
    }
}

/// Two compactors; the second goes through a round in the middle of one of the first, at its call `at`. `None` when the
/// first has fewer calls.
async fn interleave(objects: &Objects, at: usize) -> Option<(Bench, Arc<Bench>)> {
    let mut between = None;
    let interrupted = objects.clone().wrapped(|inner| {
        let (calls, at, other) = (AtomicUsize::new(0), AtomicUsize::new(usize::MAX), Mutex::new(None));
        let bucket = Arc::new(Between { inner, calls, at, other });
        between = Some(bucket.clone());
        bucket
    });
    let (first, second) = (Bench::beside(interrupted, "a"), Arc::new(Bench::beside(objects.clone(), "b")));
    let between = between.unwrap();
    request_recorded(&second).await;
    for bench in [&first, &*second] {
        bench.advance(CANCEL_PERIOD + MINUTE);
    }
    *between.other.lock().unwrap() = Some(second.clone());
    between.at.store(between.calls.load(Ordering::SeqCst) + at, Ordering::SeqCst);
    // It may find that what it has listed is gone.
    let _ = first.round().await;
    let interrupted = between.other.lock().unwrap().is_none();
    interrupted.then_some((first, second))
}

async fn seen(objects: &Objects) -> Lines {
    lines(&one_period(), &HashMap::from([("s".to_string(), objects.clone())]), &TENANTS).await
}

#[tokio::test]
async fn two_at_once_lose_no_line_and_leave_none_that_is_deleted() {
    let after = golden("after-deletes").await;
    let mut interleaved = 0;
    for at in (0..).step_by(2) {
        let objects = copied("uncompacted").await;
        let Some((first, second)) = interleave(&objects, at).await else { break };
        let between = seen(&objects).await;
        for (stream, lines) in bare(&after) {
            assert!(bare(&between)[stream].is_superset(&lines), "{stream:?} at call {at}");
        }
        for _ in 0..4 {
            for bench in [&first, &*second] {
                bench.advance(DELETE_DELAY);
                bench.round().await.unwrap();
            }
        }
        let mut left = seen(&objects).await;
        left.retain(|_, lines| !lines.is_empty());
        assert_eq!(bare(&left), bare(&after), "at call {at}");
        for of in TENANTS {
            assert_eq!(first.stored(of).await.len(), first.chunks(of).await.len(), "{of} at call {at}");
            let listed = first.deletes.list(&tenant(of)).await.unwrap();
            assert!(listed.iter().all(|r| r.status == DeleteStatus::Processed), "{listed:?}");
        }
        assert_eq!(keys(&objects, "lokirs/expired").await, [""; 0], "at call {at}");
        interleaved += 1;
    }
    assert!(interleaved > 20, "{interleaved}");
}

#[tokio::test]
async fn requests_taken_by_two_at_once_are_both_kept() {
    let objects = copied("compacted").await;
    let (a, b) = (Bench::beside(objects.clone(), "a"), Bench::beside(objects, "b"));
    let acme = tenant("acme");
    let (before_a, before_b) = (a.deletes.list(&acme).await.unwrap(), b.deletes.list(&acme).await.unwrap());
    assert!(before_a.is_empty() && before_b.is_empty());
    tokio::join!(request_recorded(&a), request_recorded(&b));
    let listed = a.deletes.list(&acme).await.unwrap();
    assert_eq!(listed.len(), 8);
    assert_eq!(b.deletes.list(&acme).await.unwrap(), listed);
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_begins_as_soon_as_it_is_its_turn() {
    let (is_turn, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (told, counted) = (is_turn.clone(), asked.clone());
    let turn = Arc::new(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        told.load(Ordering::SeqCst)
    });
    let stores = HashMap::from([("s".to_string(), copied("uncompacted").await)]);
    let bench = Bench::taking_turns(one_period(), stores, Limits::default(), false, "a", turn);
    let files = keys(bench.objects(), "index").await;
    let stop = CancellationToken::new();
    let driver = async {
        tokio::time::sleep(Duration::from_secs(3 * 600)).await;
        assert!(asked.load(Ordering::SeqCst) > 3);
        assert_eq!(keys(bench.objects(), "index").await, files, "it is another's turn");
        assert_eq!(bench.metric("loki_boltdb_shipper_compactor_running"), 0);
        is_turn.store(true, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(bench.metric("loki_boltdb_shipper_compactor_running"), 1);
        assert_ne!(keys(bench.objects(), "index").await, files);
        stop.cancel();
    };
    tokio::join!(bench.compactor.run(stop.clone()), driver);
    assert_eq!(bench.metric("loki_boltdb_shipper_compactor_running"), 0);
}
