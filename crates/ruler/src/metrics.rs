//! What is counted of the evaluation of rules, under Prometheus's names as Loki exposes them.

use crate::group::GroupId;
use runtime::metrics::{Counter, Family, FloatGauge, Gauge, Histogram, Metrics};
use std::time::Duration;

type OfGroup = Vec<(&'static str, String)>;

#[derive(Clone)]
pub struct RulerMetrics {
    evaluations: Family<OfGroup, Counter>,
    failures: Family<OfGroup, Counter>,
    iterations: Family<OfGroup, Counter>,
    missed: Family<OfGroup, Counter>,
    rules: Family<OfGroup, Gauge>,
    interval: Family<OfGroup, FloatGauge>,
    last_seconds: Family<OfGroup, FloatGauge>,
    last_timestamp: Family<OfGroup, FloatGauge>,
    last_samples: Family<OfGroup, Gauge>,
    rule_seconds: Histogram,
    group_seconds: Histogram,
    pub syncs: Counter,
    pub failed_syncs: Counter,
    pub tenants: Gauge,
}

/// Of one group; dropping it takes its series away.
pub struct GroupMetrics {
    all: RulerMetrics,
    labels: OfGroup,
}

/// Seconds, as rules take.
const SECONDS: [f64; 10] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

impl RulerMetrics {
    pub fn new(metrics: &Metrics) -> Self {
        let float = |name: &str, help: &str| {
            let family = Family::<OfGroup, FloatGauge>::default();
            metrics.register(name, help, family.clone());
            family
        };
        RulerMetrics {
            evaluations: metrics.counters("prometheus_rule_evaluations", "Rules evaluated"),
            failures: metrics.counters("prometheus_rule_evaluation_failures", "Evaluations of rules that failed"),
            iterations: metrics.counters("prometheus_rule_group_iterations", "Evaluations of groups that were due"),
            missed: metrics.counters(
                "prometheus_rule_group_iterations_missed",
                "Evaluations of groups left out, as one took long",
            ),
            rules: metrics.gauges("prometheus_rule_group_rules", "Rules of the group"),
            interval: float("prometheus_rule_group_interval_seconds", "Interval of the group"),
            last_seconds: float("prometheus_rule_group_last_duration_seconds", "Time of the group's last evaluation"),
            last_timestamp: float(
                "prometheus_rule_group_last_evaluation_timestamp_seconds",
                "When the group was last evaluated, in seconds since the epoch",
            ),
            last_samples: metrics.gauges(
                "prometheus_rule_group_last_evaluation_samples",
                "Series and alerts that the group's last evaluation gave",
            ),
            rule_seconds: metrics.histogram(
                "prometheus_rule_evaluation_duration_seconds",
                "Time of the evaluation of a rule",
                &SECONDS,
            ),
            group_seconds: metrics.histogram(
                "prometheus_rule_group_duration_seconds",
                "Time of the evaluation of a group",
                &SECONDS,
            ),
            syncs: metrics.counter("ruler_sync_rules", "Times that the rules were read from their store"),
            failed_syncs: metrics
                .counter("ruler_sync_rules_failed", "Times that the rules could not be read, and the ones before held"),
            tenants: metrics.gauge("ruler_managers", "Tenants of which this ruler evaluates groups"),
        }
    }

    pub fn group(&self, id: &GroupId) -> GroupMetrics {
        let rule_group = format!("{}/{};{}", id.tenant, id.namespace, id.name);
        let labels = vec![("rule_group", rule_group), ("user", id.tenant.to_string())];
        GroupMetrics { all: self.clone(), labels }
    }
}

impl GroupMetrics {
    pub fn defined(&self, rules: usize, interval: Duration) {
        self.all.rules.get_or_create(&self.labels).set(rules as i64);
        self.all.interval.get_or_create(&self.labels).set(interval.as_secs_f64());
    }

    pub fn rule(&self, took: Duration, failed: bool) {
        self.all.evaluations.get_or_create(&self.labels).inc();
        self.all.failures.get_or_create(&self.labels).inc_by(u64::from(failed));
        self.all.rule_seconds.observe(took.as_secs_f64());
    }

    pub fn evaluated(&self, at_ns: i64, took: Duration, samples: usize) {
        self.all.iterations.get_or_create(&self.labels).inc();
        self.all.last_seconds.get_or_create(&self.labels).set(took.as_secs_f64());
        self.all.last_timestamp.get_or_create(&self.labels).set(at_ns as f64 / 1e9);
        self.all.last_samples.get_or_create(&self.labels).set(samples as i64);
        self.all.group_seconds.observe(took.as_secs_f64());
    }

    /// Evaluations that were due and did not take place.
    pub fn missed(&self, count: u64) {
        self.all.iterations.get_or_create(&self.labels).inc_by(count);
        self.all.missed.get_or_create(&self.labels).inc_by(count);
    }
}

impl Drop for GroupMetrics {
    fn drop(&mut self) {
        let RulerMetrics {
            evaluations,
            failures,
            iterations,
            missed,
            rules,
            interval,
            last_seconds,
            last_timestamp,
            last_samples,
            ..
        } = &self.all;
        for counters in [evaluations, failures, iterations, missed] {
            counters.remove(&self.labels);
        }
        for gauges in [rules, last_samples] {
            gauges.remove(&self.labels);
        }
        for gauges in [interval, last_seconds, last_timestamp] {
            gauges.remove(&self.labels);
        }
    }
}
