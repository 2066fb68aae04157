//! What index files cost and which of them were bad.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, Default)]
pub struct IndexMetrics {
    pub(super) downloads: Counter,
    pub(super) downloaded_bytes: Counter,
    pub(super) bad_files: Counter,
    pub(super) cached_bytes: Gauge,
    pub(super) listings: Counter,
    pub(super) shipped: Counter,
    pub(super) shipped_bytes: Counter,
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
        m
    }
}
