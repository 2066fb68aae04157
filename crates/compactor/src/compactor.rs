//! The compactor's rounds: every table, newest first; a table that fails is reported and tried again in the next round.

use crate::retention::Retention;
use crate::settings::Settings;
use crate::sweep;
use crate::table::{Compacted, Table};
use format::Schema;
use model::Result;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use runtime::clock::SharedClock;
use runtime::limits::Overrides;
use std::sync::Arc;
use storage::chunks::ChunkStore;
use storage::objects::Objects;
use tokio_util::sync::CancellationToken;

pub struct Compactor {
    pub objects: Objects,
    pub chunks: Arc<ChunkStore>,
    pub schema: Arc<Schema>,
    pub limits: Arc<Overrides>,
    pub clock: SharedClock,
    pub settings: Settings,
    pub metrics: Metrics,
}

/// Loki's names where the meaning is equal.
#[derive(Default)]
pub struct Metrics {
    compactions: Counter,
    failures: Counter,
    last_success_seconds: Gauge,
    chunks_deleted: Counter,
}

impl Metrics {
    pub fn register(registry: &mut Registry) -> Metrics {
        let m = Metrics::default();
        registry.register(
            "loki_boltdb_shipper_compact_tables_operation",
            "Rounds over all tables that ended without an error",
            m.compactions.clone(),
        );
        registry.register("loki_compactor_table_failures", "Tables that could not be compacted", m.failures.clone());
        registry.register(
            "loki_boltdb_shipper_compact_tables_operation_last_successful_run_timestamp_seconds",
            "When the last round ended without an error",
            m.last_success_seconds.clone(),
        );
        registry.register(
            "loki_compactor_deleted_chunks",
            "Chunks deleted after their retention",
            m.chunks_deleted.clone(),
        );
        m
    }
}

impl Compactor {
    /// Rounds until `stop`; the first begins after one interval, when the ingesters have shipped what they had.
    pub async fn run(&self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(self.settings.compaction_interval) => {}
            }
            match self.round().await {
                Ok(()) => {
                    self.metrics.compactions.inc();
                    self.metrics.last_success_seconds.set(self.clock.now_ns() / 1_000_000_000);
                }
                Err(e) => tracing::error!(error = %e, "compaction failed, the next round tries again"),
            }
        }
    }

    /// One round: compact every table, then delete what has been marked for long enough.
    pub async fn round(&self) -> Result<()> {
        let mut first_failure = None;
        for (prefix, version) in self.tables().await? {
            let table = Table { objects: &self.objects, prefix, version, now_ns: self.clock.now_ns() };
            if let Err(e) = self.compact(&table).await {
                tracing::error!(table = %table.prefix, error = %e, "table not compacted");
                self.metrics.failures.inc();
                first_failure.get_or_insert(e);
            }
        }
        let delay_ns = i64::try_from(self.settings.retention_delete_delay.as_nanos()).unwrap_or(i64::MAX);
        let deleted = sweep::sweep(&self.objects, &self.chunks, self.clock.now_ns(), delay_ns).await?;
        self.metrics.chunks_deleted.inc_by(deleted);
        first_failure.map_or(Ok(()), Err)
    }

    /// The mark is stored before this round ends, but after the index: a crash in between leaves chunks that nothing
    /// refers to, never rows without chunks.
    async fn compact(&self, table: &Table<'_>) -> Result<Compacted> {
        let retention = Retention { limits: &self.limits };
        let done = table.compact(self.settings.retention_enabled.then_some(&retention)).await?;
        if !done.expired.is_empty() {
            sweep::mark(&self.objects, &done.expired, self.clock.now_ns()).await?;
        }
        if done != Compacted::default() {
            tracing::info!(
                table = %table.prefix,
                merged = done.files_merged,
                written = done.files_written,
                expired = done.expired.len(),
                "table compacted"
            );
        }
        Ok(done)
    }

    /// The tables that exist, newest first, with the version of their index.
    async fn tables(&self) -> Result<Vec<(String, format::TsdbVersion)>> {
        let mut days = std::collections::BTreeMap::new();
        for period in self.schema.periods() {
            for object in self.objects.list(&period.path_prefix).await? {
                let rest = object.key.strip_prefix(&period.path_prefix).unwrap_or("");
                let Some((name, _)) = rest.split_once('/') else { continue };
                if let Some(day) = period.day_of_table(name) {
                    let prefix = format!("{}{name}/", period.path_prefix);
                    days.insert((day, prefix), period.schema.tsdb_version());
                }
            }
        }
        Ok(days.into_iter().rev().map(|((_, prefix), version)| (prefix, version)).collect())
    }
}
