//! What is counted of remote write, under Loki's names.

use crate::sample::Sample;
use runtime::metrics::{Counter, Family, FloatGauge, Gauge, Histogram, Metrics};

type Labels = Vec<(&'static str, String)>;
type Histograms = Family<Labels, Histogram, fn() -> Histogram>;

/// Why samples are dropped, as `reason`.
const REASONS: [&str; 5] = ["queue_full", TOO_OLD, "dropped_series", WAL_FULL, "unreadable"];
pub(super) const TOO_OLD: &str = "too_old";
/// More is on disk than may be.
pub(super) const WAL_FULL: &str = "wal_full";

#[derive(Clone)]
pub(super) struct RemoteMetrics {
    appended: Family<Labels, Counter>,
    samples: Family<Labels, Counter>,
    failed: Family<Labels, Counter>,
    retried: Family<Labels, Counter>,
    dropped: Family<Labels, Counter>,
    bytes: Family<Labels, Counter>,
    pending: Family<Labels, Gauge>,
    shards: Family<Labels, Gauge>,
    seconds: Histograms,
    highest: Family<Labels, FloatGauge>,
    highest_sent: Family<Labels, FloatGauge>,
    ready: Family<Labels, Gauge>,
    disk_size: Family<Labels, Gauge>,
    disk_failures: Family<Labels, Counter>,
}

/// Of one client of one tenant.
#[derive(Clone)]
pub(super) struct ClientMetrics {
    all: RemoteMetrics,
    labels: Labels,
    pub samples: Counter,
    pub failed: Counter,
    pub retried: Counter,
    pub queue_full: Counter,
    pub too_old: Counter,
    pub dropped_series: Counter,
    pub wal_full: Counter,
    pub unreadable: Counter,
    pub disk_failures: Counter,
    pub bytes: Counter,
    pub pending: Gauge,
    pub shards: Gauge,
    pub seconds: Histogram,
    pub highest_sent: FloatGauge,
}

impl RemoteMetrics {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let name = |name: &str| format!("ruler_wal_prometheus_remote_storage_{name}");
        let (highest, highest_sent) = (Family::default(), Family::default());
        let help = "Highest timestamp of a sample that was recorded, in seconds since the epoch";
        metrics.register(&name("highest_timestamp_in_seconds"), help, Family::clone(&highest));
        let help = "Highest timestamp of a sample that was sent, in seconds since the epoch";
        metrics.register(&name("queue_highest_sent_timestamp_seconds"), help, Family::clone(&highest_sent));
        RemoteMetrics {
            appended: metrics.counters("ruler_wal_samples_appended", "Total number of samples that rules recorded"),
            samples: metrics.counters(&name("samples"), "Total number of samples sent to remote storage"),
            failed: metrics.counters(&name("samples_failed"), "Total number of samples that remote storage refused"),
            retried: metrics.counters(&name("samples_retried"), "Total number of samples sent again after a failure"),
            dropped: metrics
                .counters(&name("samples_dropped"), "Total number of samples dropped before they were sent"),
            bytes: metrics.counters(&name("bytes"), "Total number of bytes of samples sent, compressed"),
            pending: metrics.gauges(&name("samples_pending"), "Samples that wait to be sent, in memory and on disk"),
            shards: metrics.gauges(&name("shards"), "Requests of the last round, sent at one time"),
            seconds: metrics
                .request_seconds(&name("sent_batch_duration_seconds"), "Time of requests to remote storage"),
            highest,
            highest_sent,
            ready: metrics.gauges("ruler_wal_appender_ready", "Whether samples of the tenant can be written to disk"),
            disk_size: metrics.gauges("ruler_wal_disk_size", "Bytes of samples of the tenant that wait on disk"),
            disk_failures: metrics
                .counters("ruler_wal_disk_failures", "Total number of failures of the disk on which samples wait"),
        }
    }

    pub(super) fn recorded(&self, tenant: &str, samples: &[Sample]) {
        self.appended.get_or_create(&of_tenant(tenant)).inc_by(samples.len() as u64);
        if let Some(highest) = highest_seconds(samples) {
            rise(&self.highest.get_or_create(&of_tenant(tenant)), highest);
        }
    }

    pub(super) fn client(&self, tenant: &str, remote_name: &str, url: &str) -> ClientMetrics {
        let mut labels = of_tenant(tenant);
        labels.extend([("remote_name", remote_name.to_string()), ("url", url.to_string())]);
        let dropped = |reason| self.dropped.get_or_create(&with_reason(&labels, reason)).clone();
        let [queue_full, too_old, dropped_series, wal_full, unreadable] = REASONS.map(dropped);
        ClientMetrics {
            all: self.clone(),
            samples: self.samples.get_or_create(&labels).clone(),
            failed: self.failed.get_or_create(&labels).clone(),
            retried: self.retried.get_or_create(&labels).clone(),
            queue_full,
            too_old,
            dropped_series,
            wal_full,
            unreadable,
            disk_failures: self.disk_failures.get_or_create(&of_tenant(tenant)).clone(),
            bytes: self.bytes.get_or_create(&labels).clone(),
            pending: self.pending.get_or_create(&labels).clone(),
            shards: self.shards.get_or_create(&labels).clone(),
            seconds: self.seconds.get_or_create(&labels).clone(),
            highest_sent: self.highest_sent.get_or_create(&labels).clone(),
            labels,
        }
    }

    /// Samples on disk of a client that the settings do not name.
    pub(super) fn dropped_of_nobody(&self, tenant: &str, client: &str, reason: &'static str, count: u64) {
        let mut labels = of_tenant(tenant);
        labels.extend([("remote_name", client.to_string()), ("url", String::new())]);
        self.dropped.get_or_create(&with_reason(&labels, reason)).inc_by(count);
    }

    /// Whether the tenant's disk takes samples.
    pub(super) fn ready(&self, tenant: &str, ready: bool) {
        self.ready.get_or_create(&of_tenant(tenant)).set(i64::from(ready));
    }

    /// `None`: the tenant has no directory any more.
    pub(super) fn disk_size(&self, tenant: &str, bytes: Option<u64>) {
        match bytes {
            Some(bytes) => _ = self.disk_size.get_or_create(&of_tenant(tenant)).set(bytes as i64),
            None => _ = self.disk_size.remove(&of_tenant(tenant)),
        }
    }

    pub(super) fn forget_tenant(&self, tenant: &str) {
        for counters in [&self.appended, &self.disk_failures] {
            counters.remove(&of_tenant(tenant));
        }
        self.highest.remove(&of_tenant(tenant));
        self.ready.remove(&of_tenant(tenant));
    }
}

impl ClientMetrics {
    pub(super) fn sent(&self, samples: &[Sample]) {
        self.samples.inc_by(samples.len() as u64);
        if let Some(highest) = highest_seconds(samples) {
            rise(&self.highest_sent, highest);
        }
    }

    /// Of what is on disk.
    pub(super) fn dropped(&self, reason: &'static str, count: u64) {
        let counter = if reason == TOO_OLD { &self.too_old } else { &self.wal_full };
        counter.inc_by(count);
    }

    pub(super) fn forget(&self) {
        let (all, labels) = (&self.all, &self.labels);
        for family in [&all.samples, &all.failed, &all.retried, &all.bytes] {
            family.remove(labels);
        }
        for reason in REASONS {
            all.dropped.remove(&with_reason(labels, reason));
        }
        all.pending.remove(labels);
        all.shards.remove(labels);
        all.seconds.remove(labels);
        all.highest_sent.remove(labels);
    }
}

fn of_tenant(tenant: &str) -> Labels {
    vec![("tenant", tenant.to_string())]
}

fn with_reason(labels: &Labels, reason: &str) -> Labels {
    labels.iter().cloned().chain([("reason", reason.to_string())]).collect()
}

fn highest_seconds(samples: &[Sample]) -> Option<f64> {
    samples.iter().map(|sample| sample.timestamp_ms).max().map(|ms| ms as f64 / 1000.0)
}

fn rise(gauge: &FloatGauge, to: f64) {
    if to > gauge.get() {
        gauge.set(to);
    }
}
