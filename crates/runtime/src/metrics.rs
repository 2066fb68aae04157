//! The process's metrics: who measures registers here, `/metrics` prints them. Loki's names are used where Loki has one.
//! It must not know what is measured.

mod classic;
mod process;
mod registry;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::registry::Metric;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

pub use prometheus_client::metrics::counter::Counter;
pub use prometheus_client::metrics::family::Family;
pub use prometheus_client::metrics::gauge::Gauge;
pub use prometheus_client::metrics::histogram::Histogram;
pub use registry::{Described, Registry};

/// Bounds of Loki's request histograms, in seconds.
pub const REQUEST_SECONDS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0];

/// A gauge of fractions.
pub type FloatGauge = Gauge<f64, std::sync::atomic::AtomicU64>;

/// Content type of the exposition format that [`Metrics::print_openmetrics`] writes.
pub const OPENMETRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Content type of the exposition format that [`Metrics::print_classic`] writes.
pub const CLASSIC_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A cheap handle; clones share the registry.
#[derive(Clone)]
pub struct Metrics {
    namespace: Arc<str>,
    registry: Arc<Mutex<Registry>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new("loki")
    }
}

impl Metrics {
    /// `namespace` (setting `metrics_namespace`) stands before every name that is registered here.
    pub fn new(namespace: &str) -> Self {
        Metrics { namespace: namespace.into(), registry: Arc::default() }
    }

    /// For crates that name their metrics in full.
    pub fn with_registry<T>(&self, register: impl FnOnce(&mut Registry) -> T) -> T {
        register(&mut self.registry.lock())
    }

    /// Names have no namespace and counters no `_total`: `ingester_chunks_flushed`.
    pub fn register<M: Metric>(&self, name: &str, help: &str, metric: M) {
        self.registry.lock().register(format!("{}_{name}", self.namespace), help.trim_end_matches('.'), metric);
    }

    pub fn counter(&self, name: &str, help: &str) -> Counter {
        let counter = Counter::default();
        self.register(name, help, counter.clone());
        counter
    }

    pub fn gauge(&self, name: &str, help: &str) -> Gauge {
        let gauge = Gauge::default();
        self.register(name, help, gauge.clone());
        gauge
    }

    /// One counter per label set.
    pub fn counters<L>(&self, name: &str, help: &str) -> Family<L, Counter>
    where
        L: Clone + Debug + Hash + Eq + EncodeLabelSet + Send + Sync + 'static,
    {
        let family = Family::default();
        self.register(name, help, family.clone());
        family
    }

    /// One gauge per label set.
    pub fn gauges<L>(&self, name: &str, help: &str) -> Family<L, Gauge>
    where
        L: Clone + Debug + Hash + Eq + EncodeLabelSet + Send + Sync + 'static,
    {
        let family = Family::default();
        self.register(name, help, family.clone());
        family
    }

    pub fn histogram(&self, name: &str, help: &str, bounds: &[f64]) -> Histogram {
        let histogram = Histogram::new(bounds.iter().copied());
        self.register(name, help, histogram.clone());
        histogram
    }

    /// One histogram of seconds per label set, with Loki's bounds.
    pub fn request_seconds<L>(&self, name: &str, help: &str) -> Family<L, Histogram, fn() -> Histogram>
    where
        L: Clone + Debug + Hash + Eq + EncodeLabelSet + Send + Sync + 'static,
    {
        let new: fn() -> Histogram = || Histogram::new(REQUEST_SECONDS);
        let family = Family::new_with_constructor(new);
        self.register(name, help, family.clone());
        family
    }

    /// Adds what the kernel knows of this process, and the build's version.
    pub fn register_process(&self, version: &str) {
        let mut registry = self.registry.lock();
        registry.register_collector(Box::new(process::Process));
        registry.register_collector(Box::new(process::Build::new(version)));
    }

    pub fn print_openmetrics(&self) -> String {
        self.registry.lock().print()
    }

    /// What is registered, by name, whether it has a sample yet or not.
    pub fn described(&self) -> Vec<Described> {
        let mut all = self.registry.lock().described().to_vec();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// The text format 0.0.4, which every Prometheus reads.
    pub fn print_classic(&self) -> String {
        classic::from_openmetrics(&self.print_openmetrics())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_namespace_and_both_formats_agree() {
        let metrics = Metrics::new("loki");
        metrics.register_process("1.2.3");
        metrics.counter("ingester_chunks_flushed", "Chunks that were flushed.").inc_by(3);
        let per_tenant = metrics.gauges::<Vec<(String, String)>>("ingester_memory_streams", "Streams in memory");
        per_tenant.get_or_create(&vec![("tenant".into(), "a\"b".into())]).set(5);
        metrics.histogram("wait_seconds", "Waiting", &[1.0]).observe(0.5);

        let open = metrics.print_openmetrics();
        for line in ["# TYPE loki_ingester_chunks_flushed counter", "loki_ingester_chunks_flushed_total 3", "# EOF"] {
            assert!(open.lines().any(|l| l == line), "{line} in\n{open}");
        }
        let classic = metrics.print_classic();
        for line in [
            "# HELP loki_ingester_chunks_flushed_total Chunks that were flushed.",
            "# TYPE loki_ingester_chunks_flushed_total counter",
            "loki_ingester_chunks_flushed_total 3",
            "loki_ingester_memory_streams{tenant=\"a\\\"b\"} 5",
            "loki_wait_seconds_bucket{le=\"+Inf\"} 1",
            "# TYPE process_cpu_seconds_total counter",
            "# TYPE process_resident_memory_bytes gauge",
        ] {
            assert!(classic.lines().any(|l| l == line), "{line} in\n{classic}");
        }
        assert!(classic.contains("loki_build_info{version=\"1.2.3\""));
        assert!(!classic.contains("# EOF") && !classic.contains("# UNIT"));
    }
}
