//! What index files cost and which of them were bad.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use runtime::metrics::Registry;
use std::time::Duration;

/// From a look into mapped files to a table that has to be downloaded.
const SECONDS_BUCKETS: [f64; 9] = [0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    operation: &'static str,
    status_code: &'static str,
}

#[derive(Clone, Debug)]
struct Requests(Family<Request, Histogram, fn() -> Histogram>);

impl Default for Requests {
    fn default() -> Self {
        Requests(Family::new_with_constructor(|| Histogram::new(SECONDS_BUCKETS)))
    }
}

#[derive(Clone, Debug, Default)]
pub struct IndexMetrics {
    pub(super) downloads: Counter,
    pub(super) downloaded_bytes: Counter,
    pub(super) bad_files: Counter,
    pub(super) cached_bytes: Gauge,
    pub(super) listings: Counter,
    pub(super) shipped: Counter,
    pub(super) shipped_bytes: Counter,
    requests: Requests,
}

impl IndexMetrics {
    pub fn register(registry: &mut Registry) -> Self {
        let m = IndexMetrics::default();
        registry.register("loki_index_downloaded_files", "Index files downloaded", m.downloads.clone());
        registry.register("loki_index_downloaded_bytes", "Bytes of them, as stored", m.downloaded_bytes.clone());
        registry.register("loki_index_bad_files", "Index files that did not verify", m.bad_files.clone());
        registry.register("loki_index_cached_bytes", "Local copies of index files", m.cached_bytes.clone());
        registry.register("loki_index_listings", "Index tables listed", m.listings.clone());
        registry.register("loki_index_shipped_files", "Index files put", m.shipped.clone());
        registry.register("loki_index_shipped_bytes", "Bytes of them, as stored", m.shipped_bytes.clone());
        registry.register("loki_index_request_duration_seconds", "Duration of a look-up", m.requests.0.clone());
        m
    }

    pub(super) fn request(&self, operation: &'static str, is_ok: bool, took: Duration) {
        let request = Request { operation, status_code: if is_ok { "200" } else { "500" } };
        self.requests.0.get_or_create(&request).observe(took.as_secs_f64());
    }
}
