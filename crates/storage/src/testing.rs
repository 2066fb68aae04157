//! For tests: what every bucket must do, and a bucket that fails as it is told.

use crate::objects::{Bucket, ObjectMeta, Objects};
use async_trait::async_trait;
use bytes::Bytes;
use model::{Error, Kind, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Panics unless `objects`, which must be empty, behaves as a bucket.
pub async fn bucket_contract(objects: &Objects) {
    objects_are_put_read_replaced_and_deleted(objects).await;
    listings_are_by_whole_segments(objects).await;
    bad_keys_and_large_objects_are_refused(objects).await;
    concurrent_puts_never_mix(objects).await;
}

async fn keys(objects: &Objects, prefix: &str) -> Vec<String> {
    objects.list(prefix).await.expect("a listing").into_iter().map(|o| o.key).collect()
}

async fn objects_are_put_read_replaced_and_deleted(objects: &Objects) {
    assert_eq!(keys(objects, "").await, [""; 0], "the bucket is empty");
    for body in [&b"first"[..], b"", b"\0\xff second"] {
        objects.put("a/1:2", Bytes::copy_from_slice(body)).await.expect("a put");
        assert_eq!(objects.get("a/1:2").await.expect("a get"), body);
    }
    let missing = objects.get("a/none").await.expect_err("no such object");
    assert_eq!(missing.kind, Kind::NotFound);
    assert!(missing.message.contains("a/none"), "{missing}");
    objects.delete("a/1:2").await.expect("a delete");
    objects.delete("a/1:2").await.expect("a delete of what is gone");
    assert_eq!(objects.get("a/1:2").await.expect_err("it is gone").kind, Kind::NotFound);
}

async fn listings_are_by_whole_segments(objects: &Objects) {
    let all = ["index/t_1/2-x.gz", "index/t_1/ten'ant(1)/3.gz", "index/t_10/1.gz", "other/1"];
    for key in all.iter().rev() {
        objects.put(key, Bytes::from(vec![b'x'; key.len()])).await.expect("a put");
    }
    assert_eq!(keys(objects, "").await, all);
    assert_eq!(keys(objects, "index/t_1").await, all[..2]);
    assert_eq!(keys(objects, "index/t_1/").await, all[..2]);
    assert_eq!(keys(objects, "index/t").await, [""; 0]);
    let sizes = objects.list("other").await.expect("a listing");
    assert_eq!(sizes, [ObjectMeta { key: "other/1".into(), size: 7 }]);
    for key in all {
        objects.delete(key).await.expect("a delete");
    }
    assert_eq!(keys(objects, "").await, [""; 0]);
}

async fn bad_keys_and_large_objects_are_refused(objects: &Objects) {
    for bad in ["../x", "a//b", "a/./b", "a/.."] {
        assert_eq!(objects.get(bad).await.expect_err(bad).kind, Kind::Invalid, "{bad}");
        assert_eq!(objects.put(bad, Bytes::new()).await.expect_err(bad).kind, Kind::Invalid, "{bad}");
    }
    objects.put("large", Bytes::from_static(b"12345")).await.expect("a put");
    assert_eq!(objects.get_at_most("large", 4).await.expect_err("too large").kind, Kind::TooLarge);
    assert_eq!(objects.get_at_most("large", 5).await.expect("a get").len(), 5);
    objects.delete("large").await.expect("a delete");
}

async fn concurrent_puts_never_mix(objects: &Objects) {
    const BYTES: usize = 100_000;
    let put = |fill: u8| objects.put("same", Bytes::from(vec![fill; BYTES]));
    let read = || async {
        match objects.get("same").await {
            Ok(object) => {
                assert!(object.len() == BYTES && object.iter().all(|b| *b == object[0]), "a part of an object")
            }
            Err(e) => assert_eq!(e.kind, Kind::NotFound),
        }
    };
    let (a, b, (), c, ()) = tokio::join!(put(1), put(2), read(), put(3), read());
    a.and(b).and(c).expect("concurrent puts");
    read().await;
    objects.delete("same").await.expect("a delete");
}

/// How a [`Faulty`] bucket treats the calls that come.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Of 100 gets, puts, listings or deletes, how many fail as if the store were down.
    pub fail_percent: u64,
    /// Fail the next so many calls, whatever the percentage.
    pub fail_next: u64,
    /// Let so many calls through, counted from the bucket's making, and fail every later one: the caller's last moment.
    pub fail_after: Option<u64>,
    /// Every call takes this much longer.
    pub latency: Duration,
    /// Answers of gets are cut to this many bytes.
    pub truncate_to: Option<usize>,
    /// The bit to flip in the answers of gets: byte times 8 plus bit.
    pub flip_bit: Option<usize>,
}

/// A bucket that fails as its [`Faults`] say, by a fixed sequence of chances.
#[derive(Debug)]
pub struct Faulty {
    inner: Arc<dyn Bucket>,
    faults: std::sync::Mutex<Faults>,
    calls: AtomicU64,
}

impl Faulty {
    pub fn new(inner: Arc<dyn Bucket>, faults: Faults) -> Self {
        Faulty { inner, faults: std::sync::Mutex::new(faults), calls: AtomicU64::new(0) }
    }

    pub fn set(&self, faults: Faults) {
        *self.faults.lock().expect("no panic while it was held") = faults;
    }

    /// The calls so far, failed ones included.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    /// Waits, fails, or lets the call through with what it is to do to an answer.
    async fn admit(&self, operation: &str, key: &str) -> Result<Faults> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let (faults, forced) = {
            let mut faults = self.faults.lock().expect("no panic while it was held");
            let forced = faults.fail_next > 0;
            faults.fail_next = faults.fail_next.saturating_sub(1);
            (faults.clone(), forced)
        };
        tokio::time::sleep(faults.latency).await;
        // Fibonacci hashing spreads consecutive calls evenly over the percentages.
        let chance = (call.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % 100;
        if forced || chance < faults.fail_percent || faults.fail_after.is_some_and(|calls| call >= calls) {
            return Err(Error::unavailable(format!("{operation} {key}: injected fault")));
        }
        Ok(faults)
    }
}

#[async_trait]
impl Bucket for Faulty {
    async fn get(&self, key: &str, bytes_max: u64) -> Result<Bytes> {
        let faults = self.admit("get", key).await?;
        let object = self.inner.get(key, bytes_max).await?;
        let mut object = object.slice(..faults.truncate_to.unwrap_or(object.len()).min(object.len())).to_vec();
        if let Some(byte) = faults.flip_bit.and_then(|bit| object.get_mut(bit / 8)) {
            *byte ^= 1 << (faults.flip_bit.unwrap_or_default() % 8);
        }
        Ok(object.into())
    }
    async fn size(&self, key: &str) -> Result<Option<u64>> {
        self.admit("head", key).await?;
        self.inner.size(key).await
    }
    async fn put(&self, key: &str, object: Bytes) -> Result<()> {
        self.admit("put", key).await?;
        self.inner.put(key, object).await
    }
    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>> {
        self.admit("list", prefix).await?;
        self.inner.list(prefix).await
    }
    async fn delete(&self, key: &str) -> Result<()> {
        self.admit("delete", key).await?;
        self.inner.delete(key).await
    }
}
