//! A bucket whose calls are counted, timed and weighed.

use super::{Bucket, ObjectMeta};
use async_trait::async_trait;
use bytes::Bytes;
use model::{Kind, Result};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Unit;
use runtime::metrics::Registry;
use std::future::Future;
use std::sync::Arc;
use tokio::time::Instant;

/// From a hit in a local page cache to a slow listing.
const SECONDS_BUCKETS: [f64; 11] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    bucket: String,
    operation: &'static str,
}

/// Loki's own metric for each kind of store beside the one for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    S3,
    Gcs,
    Azure,
    /// In memory or in a directory: none.
    Local,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    operation: &'static str,
    status_code: &'static str,
}

type Requests = Family<Request, Histogram, fn() -> Histogram>;

/// The metrics of every object store of the process. Cloning shares them.
#[derive(Clone, Debug)]
pub struct ObjectMetrics {
    operations: Family<Call, Counter>,
    failures: Family<Call, Counter>,
    seconds: Family<Call, Histogram>,
    bytes: Family<Call, Counter>,
    s3: Requests,
    gcs: Requests,
    azure: Requests,
}

impl ObjectMetrics {
    pub fn register(registry: &mut Registry) -> Self {
        let requests = || Requests::new_with_constructor(|| Histogram::new(SECONDS_BUCKETS));
        let metrics = ObjectMetrics {
            operations: Family::default(),
            failures: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(SECONDS_BUCKETS)),
            bytes: Family::default(),
            s3: requests(),
            gcs: requests(),
            azure: requests(),
        };
        let name = |what: &str| format!("loki_objstore_bucket_{what}");
        registry.register(name("operations"), "Calls of the object store", metrics.operations.clone());
        registry.register(
            name("operation_failures"),
            "Calls of the object store that failed; a missing object is no failure",
            metrics.failures.clone(),
        );
        registry.register_with_unit(
            name("operation_duration"),
            "Duration of a call of the object store",
            Unit::Seconds,
            metrics.seconds.clone(),
        );
        registry.register_with_unit(
            name("operation_transferred"),
            "Bytes of objects read and written",
            Unit::Bytes,
            metrics.bytes.clone(),
        );
        for (kind, family) in [("s3", &metrics.s3), ("gcs", &metrics.gcs), ("azure_blob", &metrics.azure)] {
            let name = format!("loki_{kind}_request_duration_seconds");
            registry.register(name, "Duration of a request to a store of this kind", family.clone());
        }
        metrics
    }

    fn of_kind(&self, kind: StoreKind) -> Option<&Requests> {
        match kind {
            StoreKind::S3 => Some(&self.s3),
            StoreKind::Gcs => Some(&self.gcs),
            StoreKind::Azure => Some(&self.azure),
            StoreKind::Local => None,
        }
    }
}

#[derive(Debug)]
pub struct Metered {
    inner: Arc<dyn Bucket>,
    store: String,
    kind: StoreKind,
    metrics: ObjectMetrics,
}

impl Metered {
    /// `store` is the name that the metrics carry, as in the schema's `object_store`.
    pub fn new(inner: Arc<dyn Bucket>, store: &str, kind: StoreKind, metrics: ObjectMetrics) -> Self {
        Metered { inner, store: store.to_string(), kind, metrics }
    }

    async fn call<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T>>,
        bytes: impl FnOnce(&T) -> usize,
    ) -> Result<T> {
        let label = Call { bucket: self.store.clone(), operation };
        let start = Instant::now();
        let answer = call.await;
        let seconds = start.elapsed().as_secs_f64();
        self.metrics.seconds.get_or_create(&label).observe(seconds);
        if let Some(requests) = self.metrics.of_kind(self.kind) {
            let request = Request { operation, status_code: status_code(&answer) };
            requests.get_or_create(&request).observe(seconds);
        }
        self.metrics.operations.get_or_create(&label).inc();
        match &answer {
            Ok(value) => drop(self.metrics.bytes.get_or_create(&label).inc_by(bytes(value) as u64)),
            Err(e) if e.kind == Kind::NotFound => {}
            Err(_) => drop(self.metrics.failures.get_or_create(&label).inc()),
        }
        answer
    }
}

/// What the store said, as far as it is known.
fn status_code<T>(answer: &Result<T>) -> &'static str {
    match answer {
        Ok(_) => "200",
        Err(e) if e.kind == Kind::NotFound => "404",
        Err(_) => "500",
    }
}

#[async_trait]
impl Bucket for Metered {
    async fn get(&self, key: &str, bytes_max: u64) -> Result<Bytes> {
        self.call("get", self.inner.get(key, bytes_max), Bytes::len).await
    }
    async fn size(&self, key: &str) -> Result<Option<u64>> {
        self.call("attributes", self.inner.size(key), |_| 0).await
    }
    async fn put(&self, key: &str, object: Bytes) -> Result<()> {
        let len = object.len();
        self.call("upload", self.inner.put(key, object), |()| len).await
    }
    async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>> {
        self.call("iter", self.inner.list(prefix), |_| 0).await
    }
    async fn delete(&self, key: &str) -> Result<()> {
        self.call("delete", self.inner.delete(key), |()| 0).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::Objects;

    #[tokio::test]
    async fn calls_failures_and_bytes_are_counted_by_operation() {
        let mut registry = Registry::default();
        let metrics = ObjectMetrics::register(&mut registry);
        let objects = Objects::memory().wrapped(|inner| Arc::new(Metered::new(inner, "s3", StoreKind::S3, metrics)));
        objects.put("a/b", Bytes::from_static(b"12345")).await.unwrap();
        objects.get("a/b").await.unwrap();
        objects.get("a/c").await.unwrap_err();
        objects.get_at_most("a/b", 4).await.unwrap_err();
        let text = registry.print();
        for line in [
            "loki_objstore_bucket_operations_total{bucket=\"s3\",operation=\"get\"} 3",
            "loki_objstore_bucket_operation_failures_total{bucket=\"s3\",operation=\"get\"} 1",
            "loki_objstore_bucket_operation_transferred_bytes_total{bucket=\"s3\",operation=\"upload\"} 5",
            "loki_objstore_bucket_operation_duration_seconds_count{bucket=\"s3\",operation=\"upload\"} 1",
            "loki_s3_request_duration_seconds_count{operation=\"get\",status_code=\"404\"} 1",
            "loki_s3_request_duration_seconds_count{operation=\"upload\",status_code=\"200\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
    }

    #[tokio::test]
    async fn each_kind_of_store_has_lokis_metric_of_its_own() {
        for (kind, name) in [
            (StoreKind::S3, Some("s3")),
            (StoreKind::Gcs, Some("gcs")),
            (StoreKind::Azure, Some("azure_blob")),
            (StoreKind::Local, None),
        ] {
            let mut registry = Registry::default();
            let metrics = ObjectMetrics::register(&mut registry);
            let objects = Objects::memory().wrapped(|inner| Arc::new(Metered::new(inner, "x", kind, metrics)));
            objects.put("a/b", Bytes::from_static(b"12345")).await.unwrap();
            let text = registry.print();
            let found: Vec<&str> = ["s3", "gcs", "azure_blob"]
                .into_iter()
                .filter(|name| {
                    text.contains(&format!("loki_{name}_request_duration_seconds_count{{operation=\"upload\""))
                })
                .collect();
            assert_eq!(found, Vec::from_iter(name), "{kind:?}");
        }
    }
}
