//! Where metrics are registered: the registry that prints them, and what the reference says of each, which the printed
//! text leaves out while a metric has no sample.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Metric, Registry as Printed, Unit};

#[derive(Debug, Default)]
pub struct Registry {
    printed: Printed,
    described: Vec<Described>,
}

/// A metric as the reference names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// As a dashboard writes it, `_total` included; of a histogram without `_bucket`.
    pub name: String,
    pub kind: &'static str,
    pub help: String,
}

impl Registry {
    /// A counter's name has no `_total`.
    pub fn register(&mut self, name: impl Into<String>, help: &str, metric: impl Metric) {
        let name = name.into();
        self.describe(&name, help, &metric);
        self.printed.register(name, help, metric);
    }

    /// The unit is added to the name.
    pub fn register_with_unit(&mut self, name: impl Into<String>, help: &str, unit: Unit, metric: impl Metric) {
        let name = name.into();
        self.describe(&format!("{name}_{}", unit.as_str()), help, &metric);
        self.printed.register_with_unit(name, help, unit, metric);
    }

    /// Metrics that are made when they are asked for.
    pub fn register_collector(&mut self, collector: Box<dyn Collector>) {
        self.printed.register_collector(collector);
    }

    /// All that were registered but those of collectors.
    pub fn described(&self) -> &[Described] {
        &self.described
    }

    /// OpenMetrics text.
    pub fn print(&self) -> String {
        let mut out = String::new();
        // Writing to a string does not fail, and a metric that cannot print itself must not take the others along.
        let _ = encode(&mut out, &self.printed);
        out
    }

    fn describe(&mut self, name: &str, help: &str, metric: &impl Metric) {
        let (kind, suffix) = match metric.metric_type() {
            MetricType::Counter => ("counter", "_total"),
            MetricType::Gauge => ("gauge", ""),
            MetricType::Histogram => ("histogram", ""),
            MetricType::Info => ("gauge", "_info"),
            _ => ("untyped", ""),
        };
        self.described.push(Described { name: format!("{name}{suffix}"), kind, help: help.to_string() });
    }
}
