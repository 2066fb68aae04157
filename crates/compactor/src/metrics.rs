//! What the compactor counts, under Loki's names where the meaning is the same.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use runtime::metrics::Registry;
use std::sync::atomic::AtomicU64;

/// How a round over all tables ended.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct StatusLabel {
    pub(crate) status: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct UserLabel {
    pub(crate) user: String,
}

/// Cloning shares the counts. Counters get their `_total` from the exposition.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub(crate) running: Gauge,
    pub(crate) rounds: Family<StatusLabel, Counter>,
    pub(crate) last_success_seconds: Gauge,
    pub(crate) round_seconds: Gauge<f64, AtomicU64>,
    pub(crate) retention_rounds: Family<StatusLabel, Counter>,
    pub(crate) retention_last_success_seconds: Gauge,
    pub(crate) retention_seconds: Gauge<f64, AtomicU64>,
    pub(crate) table_failures: Counter,
    pub(crate) retention_failures: Counter,
    pub(crate) chunks_marked: Counter,
    pub(crate) chunks_deleted: Counter,
    pub(crate) chunks_kept: Counter,
    pub(crate) chunks_rewritten: Counter,
    pub(crate) chunks_merged: Counter,
    pub(crate) merge_failures: Counter,
    pub(crate) lines_deleted: Family<UserLabel, Counter>,
    pub(crate) requests_received: Family<UserLabel, Counter>,
    pub(crate) requests_processed: Family<UserLabel, Counter>,
    pub(crate) requests_pending: Gauge,
    pub(crate) requests_pending_age_seconds: Gauge,
}

impl Metrics {
    pub fn register(registry: &mut Registry) -> Metrics {
        let m = Metrics::default();
        registry.register(
            "loki_boltdb_shipper_compactor_running",
            "Whether this compactor is the one that compacts",
            m.running.clone(),
        );
        registry.register("loki_boltdb_shipper_compact_tables_operation", "Rounds over all tables", m.rounds.clone());
        registry.register(
            "loki_boltdb_shipper_compact_tables_operation_last_successful_run_timestamp_seconds",
            "When the last round ended without an error",
            m.last_success_seconds.clone(),
        );
        m.register_rounds(registry);
        // A rate over a count that is not there yet is no rate.
        for status in ["success", "failure"] {
            drop(m.rounds.get_or_create(&StatusLabel { status }));
            drop(m.retention_rounds.get_or_create(&StatusLabel { status }));
        }
        let mut add = |name: &str, help: &str, counter: &Counter| {
            registry.register(format!("loki_compactor_{name}"), help, counter.clone());
        };
        add("table_failures", "Tables that a round had to leave as they are", &m.table_failures);
        add("retention_failures", "Tenants whose retention rules cannot be read, once a round", &m.retention_failures);
        add("chunks_marked", "Chunks whose index rows were removed", &m.chunks_marked);
        add("chunks_deleted", "Chunks deleted after the delay", &m.chunks_deleted);
        add("chunks_kept", "Marked chunks not deleted as some table may list them, once a round", &m.chunks_kept);
        add("chunks_rewritten", "Chunks written anew without deleted lines", &m.chunks_rewritten);
        registry.register(
            "lokirs_compactor_chunks_merged",
            "Small chunks that became part of larger ones",
            m.chunks_merged.clone(),
        );
        registry.register(
            "lokirs_compactor_merge_failures",
            "Groups of small chunks that stay because one cannot be read",
            m.merge_failures.clone(),
        );
        registry.register("loki_compactor_deleted_lines", "Lines deleted out of chunks", m.lines_deleted.clone());
        registry.register(
            "loki_compactor_delete_requests_received",
            "Delete requests taken",
            m.requests_received.clone(),
        );
        registry.register(
            "loki_compactor_delete_requests_processed",
            "Delete requests carried out",
            m.requests_processed.clone(),
        );
        registry.register(
            "loki_compactor_pending_delete_requests_count",
            "Delete requests not yet carried out",
            m.requests_pending.clone(),
        );
        registry.register(
            "loki_compactor_oldest_pending_delete_request_age_seconds",
            "Age of the oldest of them",
            m.requests_pending_age_seconds.clone(),
        );
        m
    }

    /// Retention is a part of each round, so both have the same times.
    fn register_rounds(&self, registry: &mut Registry) {
        registry.register(
            "loki_boltdb_shipper_compact_tables_operation_duration_seconds",
            "Seconds of the last round that ended without an error",
            self.round_seconds.clone(),
        );
        registry.register(
            "loki_compactor_apply_retention_operation",
            "Rounds over all tables that apply retention",
            self.retention_rounds.clone(),
        );
        registry.register(
            "loki_compactor_apply_retention_last_successful_run_timestamp_seconds",
            "When the last of them ended without an error",
            self.retention_last_success_seconds.clone(),
        );
        registry.register(
            "loki_compactor_apply_retention_operation_duration_seconds",
            "Seconds of the last of them that ended without an error",
            self.retention_seconds.clone(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_by_user_has_lokis_names() {
        let mut registry = Registry::default();
        let m = Metrics::register(&mut registry);
        for family in [&m.lines_deleted, &m.requests_received, &m.requests_processed] {
            family.get_or_create(&UserLabel { user: "a".into() }).inc();
        }
        let text = registry.print();
        for name in ["deleted_lines", "delete_requests_received", "delete_requests_processed"] {
            let line = format!("loki_compactor_{name}_total{{user=\"a\"}} 1");
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
    }
}
