//! The distributor's metrics under Loki's names. It must not know how they are served.

use crate::discard::Reason;
use crate::intake::Valid;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use rpc::pusher::Format;
use runtime::limits::Limits;
use runtime::metrics::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Received {
    tenant: String,
    retention_hours: String,
    is_internal_stream: &'static str,
    policy: &'static str,
    format: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Lines {
    tenant: String,
    is_internal_stream: &'static str,
    policy: &'static str,
    format: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Discarded {
    reason: &'static str,
    tenant: String,
    retention_hours: String,
    policy: &'static str,
    format: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Mutated {
    reason: &'static str,
    tenant: String,
}

#[derive(Default)]
pub struct Metrics {
    bytes_received: Family<Received, Counter>,
    metadata_bytes_received: Family<Received, Counter>,
    lines_received: Family<Lines, Counter>,
    discarded_samples: Family<Discarded, Counter>,
    discarded_bytes: Family<Discarded, Counter>,
    mutated_samples: Family<Mutated, Counter>,
    mutated_bytes: Family<Mutated, Counter>,
    sharded_streams: Counter,
}

impl Metrics {
    /// `_total` is added to the names when they are written.
    pub fn register(&self, registry: &mut Registry) {
        let mut add = |name: &str, help: &str, family: &Family<Received, Counter>| {
            registry.register(name, help, family.clone());
        };
        add("loki_distributor_bytes_received", "Uncompressed bytes received", &self.bytes_received);
        add(
            "loki_distributor_structured_metadata_bytes_received",
            "Bytes of structured metadata received",
            &self.metadata_bytes_received,
        );
        registry.register("loki_distributor_lines_received", "Lines received", self.lines_received.clone());
        registry.register("loki_discarded_samples", "Lines that were not stored", self.discarded_samples.clone());
        registry.register("loki_discarded_bytes", "Bytes that were not stored", self.discarded_bytes.clone());
        registry.register(
            "loki_stream_sharding_count",
            "Streams of pushes that were spread",
            self.sharded_streams.clone(),
        );
        registry.register("loki_mutated_samples", "Lines that were stored changed", self.mutated_samples.clone());
        registry.register("loki_mutated_bytes", "Bytes that were cut off lines", self.mutated_bytes.clone());
    }

    pub(crate) fn received(&self, tenant: &str, limits: &Limits, format: Format, valid: &Valid) {
        let received = Received {
            tenant: tenant.into(),
            retention_hours: retention_hours(limits),
            is_internal_stream: "false",
            policy: "",
            format: format.as_str(),
        };
        let lines = Lines { tenant: tenant.into(), is_internal_stream: "false", policy: "", format: format.as_str() };
        self.bytes_received.get_or_create(&received).inc_by(valid.bytes);
        self.metadata_bytes_received.get_or_create(&received).inc_by(valid.metadata_bytes);
        self.lines_received.get_or_create(&lines).inc_by(valid.lines);
        self.sharded_streams.inc_by(valid.spread);
        if valid.truncated.lines > 0 {
            let mutated = Mutated { reason: Reason::LineTooLong.as_str(), tenant: tenant.into() };
            self.mutated_samples.get_or_create(&mutated).inc_by(valid.truncated.lines);
            self.mutated_bytes.get_or_create(&mutated).inc_by(valid.truncated.bytes);
        }
        for (reason, count) in &valid.discards.counts {
            self.discarded(reason.as_str(), tenant, limits, format, count.entries, count.bytes);
        }
    }

    pub(crate) fn discarded(
        &self,
        reason: &'static str,
        tenant: &str,
        limits: &Limits,
        format: Format,
        entries: u64,
        bytes: u64,
    ) {
        let labels = Discarded {
            reason,
            tenant: tenant.into(),
            retention_hours: retention_hours(limits),
            policy: "",
            format: format.as_str(),
        };
        self.discarded_samples.get_or_create(&labels).inc_by(entries);
        self.discarded_bytes.get_or_create(&labels).inc_by(bytes);
    }
}

fn retention_hours(limits: &Limits) -> String {
    match limits.retention_period.as_secs() / 3600 {
        0 => String::new(),
        hours => hours.to_string(),
    }
}
