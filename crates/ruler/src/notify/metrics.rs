//! What is counted of notifications, under Loki's names.

use runtime::metrics::{Counter, Family, Gauge, Histogram, Metrics};

type Labels = Vec<(&'static str, String)>;
type Histograms = Family<Labels, Histogram, fn() -> Histogram>;

#[derive(Clone)]
pub(super) struct NotifyMetrics {
    sent: Family<Labels, Counter>,
    errors: Family<Labels, Counter>,
    dropped: Family<Labels, Counter>,
    latency: Histograms,
    queue_length: Family<Labels, Gauge>,
    queue_capacity: Family<Labels, Gauge>,
    discovered: Family<Labels, Gauge>,
}

/// Of one Alertmanager of one tenant.
#[derive(Clone)]
pub(super) struct TargetMetrics {
    pub sent: Counter,
    pub errors: Counter,
    pub dropped: Counter,
    pub latency: Histogram,
    pub queue_length: Gauge,
}

impl NotifyMetrics {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let name = |name: &str| format!("prometheus_notifications_{name}");
        NotifyMetrics {
            sent: metrics.counters(&name("sent"), "Total number of alerts sent"),
            errors: metrics.counters(&name("errors"), "Total number of alerts whose sending failed, each try counted"),
            dropped: metrics.counters(&name("dropped"), "Total number of alerts dropped: too many, too old, refused"),
            latency: metrics.request_seconds(&name("latency_seconds"), "Time of requests to Alertmanagers"),
            queue_length: metrics.gauges(&name("queue_length"), "Alerts that wait for an Alertmanager"),
            queue_capacity: metrics.gauges(&name("queue_capacity"), "Alerts that may wait for an Alertmanager"),
            discovered: metrics
                .gauges(&name("alertmanagers_discovered"), "Alertmanagers that alerts of the tenant are sent to"),
        }
    }

    pub(super) fn target(&self, tenant: &str, alertmanager: &str, capacity: usize) -> TargetMetrics {
        let labels = of_target(tenant, alertmanager);
        self.queue_capacity.get_or_create(&labels).set(capacity as i64);
        TargetMetrics {
            sent: self.sent.get_or_create(&labels).clone(),
            errors: self.errors.get_or_create(&labels).clone(),
            dropped: self.dropped.get_or_create(&labels).clone(),
            latency: self.latency.get_or_create(&labels).clone(),
            queue_length: self.queue_length.get_or_create(&labels).clone(),
        }
    }

    pub(super) fn forget_target(&self, tenant: &str, alertmanager: &str) {
        let labels = of_target(tenant, alertmanager);
        for family in [&self.sent, &self.errors, &self.dropped] {
            family.remove(&labels);
        }
        self.latency.remove(&labels);
        self.queue_length.remove(&labels);
        self.queue_capacity.remove(&labels);
    }

    pub(super) fn discovered(&self, tenant: &str, count: usize) {
        self.discovered.get_or_create(&vec![("user", tenant.to_string())]).set(count as i64);
    }

    pub(super) fn forget_tenant(&self, tenant: &str) {
        self.discovered.remove(&vec![("user", tenant.to_string())]);
    }
}

fn of_target(tenant: &str, alertmanager: &str) -> Labels {
    vec![("user", tenant.to_string()), ("alertmanager", alertmanager.to_string())]
}
