//! One table compacted: its files of several tenants and its files of single tenants become one file per tenant,
//! without what has outlived its retention or is to be deleted, and with small chunks merged. For each tenant: the new file is stored and verified →
//! chunks that it lists no more are marked → the old files go. A crash in between leaves files that list the same twice.

use crate::erase::{Due, Eraser};
use crate::marks;
use crate::merge::Merger;
use crate::metrics::Metrics;
use crate::retention::Retention;
use crate::rows;
use crate::tables::{self, Table};
use format::ChunkRef;
use format::tsdb::SeriesChunks;
use model::time::NANOS_PER_MILLI;
use model::{Result, TenantId};
use parking_lot::Mutex;
use runtime::limits::Overrides;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use storage::chunks::ChunkStore;
use storage::index::file::{self, File, off_thread};
use storage::objects::Objects;

/// How long a day is over when its small chunks are merged: ingesters close chunks after two hours.
const MERGE_AFTER_MS: i64 = 3 * 3_600_000;

/// What one pass over all tables does to each.
pub struct Round<'a> {
    /// Where marks are put.
    pub state: &'a Objects,
    pub chunks: &'a ChunkStore,
    pub metrics: &'a Metrics,
    /// `None`: nothing expires.
    pub limits: Option<&'a Overrides>,
    /// Delete requests to carry out.
    pub due: &'a HashMap<TenantId, Vec<Due>>,
    /// Chunks with fewer bytes of lines are merged; 0: none is.
    pub merge_below_bytes: u64,
    /// Index files in which nothing was left to be merged.
    pub settled: &'a Mutex<HashSet<String>>,
    pub now_ns: i64,
    /// Added to the numbers of file names: another for each compactor.
    pub stamp_offset_ns: i64,
    /// The rules of the tenants met so far; `None` for one whose rules cannot be read.
    pub retention: HashMap<TenantId, Option<Arc<Retention>>>,
    /// Delete requests that stay due, because a chunk could not be read.
    pub unfinished: HashSet<(TenantId, String)>,
}

/// What a round did to a table.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    pub files_merged: usize,
    pub files_written: usize,
    pub chunks_marked: usize,
}

impl Round<'_> {
    /// Merges what there is to merge and drops what has to go. An error names the file, and leaves the table with all
    /// that it listed before.
    pub async fn compact(&mut self, table: &Table) -> Result<Compacted> {
        let mut done = Compacted::default();
        let mut tenants: BTreeMap<TenantId, Vec<Arc<File>>> =
            table.own.keys().map(|tenant| (tenant.clone(), vec![])).collect();
        for key in &table.shared {
            let file = Arc::new(file::read(&table.objects, key).await?);
            for tenant in rows::tenants(&file).map_err(|e| e.context(key))? {
                tenants.entry(tenant).or_default().push(file.clone());
            }
        }
        for (tenant, shared) in tenants {
            self.compact_tenant(table, &tenant, shared, &mut done).await?;
        }
        for key in &table.shared {
            table.objects.delete(key).await?;
        }
        done.files_merged += table.shared.len();
        Ok(done)
    }

    async fn compact_tenant(
        &mut self,
        table: &Table,
        tenant: &TenantId,
        shared: Vec<Arc<File>>,
        done: &mut Compacted,
    ) -> Result<()> {
        let sources = table.own.get(tenant).map_or(&[][..], Vec::as_slice);
        let retention = self.retention_of(tenant);
        let is_merge = !shared.is_empty() || sources.len() > 1;
        if !is_merge && !self.may_change(table, tenant, retention.as_deref(), sources) {
            return Ok(());
        }
        let mut rows = read_rows(table, tenant, shared, sources).await?;
        let mut gone = retention.map_or(vec![], |rules| rules.take_expired(&mut rows, self.now_ns));
        gone.extend(self.erase(table, tenant, &mut rows).await?);
        if self.merges(table) {
            let merger =
                Merger { tenant, below_bytes: self.merge_below_bytes, chunks: self.chunks, metrics: self.metrics };
            gone.extend(merger.merge(table, &mut rows).await?);
        }
        if !is_merge && gone.is_empty() {
            self.settled.lock().extend(sources.iter().cloned());
            return Ok(());
        }
        if rows.iter().any(|series| !series.chunks.is_empty()) {
            let dir = format!("{}/{tenant}", table.key);
            file::write(&table.objects, &dir, self.stamp(sources), table.version, rows).await?;
            done.files_written += 1;
        }
        marks::put(self.state, tenant, table.day, &gone, self.now_ns).await?;
        self.metrics.chunks_marked.inc_by(gone.len() as u64);
        done.chunks_marked += gone.len();
        for key in sources {
            table.objects.delete(key).await?;
        }
        done.files_merged += sources.len();
        Ok(())
    }

    /// Whether the only file of a tenant may list something that has to go, as far as names tell.
    fn may_change(&self, table: &Table, tenant: &TenantId, retention: Option<&Retention>, sources: &[String]) -> bool {
        // No chunk that the table lists ends before the table's day begins.
        let (day_start_ms, _) = table.bounds_ms();
        let expires = retention.is_some_and(|rules| rules.may_expire(day_start_ms, self.now_ns));
        let bounds = sources.first().and_then(|key| tables::bounds_of_name(key)).unwrap_or((i64::MIN, i64::MAX));
        let merges = || self.merges(table) && sources.iter().any(|key| !self.settled.lock().contains(key));
        expires || self.due.get(tenant).is_some_and(|due| due.iter().any(|due| due.overlaps(bounds))) || merges()
    }

    /// Whether small chunks of the table are merged: its day is over, and what ingesters held of it is stored.
    fn merges(&self, table: &Table) -> bool {
        let (_, end_ms) = table.bounds_ms();
        self.merge_below_bytes > 0 && self.now_ns.div_euclid(NANOS_PER_MILLI).saturating_sub(end_ms) > MERGE_AFTER_MS
    }

    async fn erase(&mut self, table: &Table, tenant: &TenantId, rows: &mut [SeriesChunks]) -> Result<Vec<ChunkRef>> {
        let Some(due) = self.due.get(tenant) else { return Ok(vec![]) };
        let eraser = Eraser { tenant, due, chunks: self.chunks, metrics: self.metrics };
        let erased = eraser.erase(table, rows).await?;
        self.unfinished.extend(erased.unfinished.into_iter().map(|id| (tenant.clone(), id)));
        Ok(erased.gone)
    }

    fn retention_of(&mut self, tenant: &TenantId) -> Option<Arc<Retention>> {
        let limits = self.limits?;
        let metrics = self.metrics;
        let read = || match Retention::of(&limits.tenant(tenant)) {
            Ok(rules) => Some(Arc::new(rules)),
            Err(e) => {
                tracing::error!(%tenant, error = %e, "retention rules cannot be read, nothing of the tenant expires");
                metrics.retention_failures.inc();
                None
            }
        };
        self.retention.entry(tenant.clone()).or_insert_with(read).clone()
    }

    /// The number in the new file's name: the time, or later than that of any source if clocks disagree. A name must
    /// never be used twice, for readers keep copies by name, and a compactor takes away its own file if it does not
    /// verify: that must not be the one on which another has relied.
    fn stamp(&self, sources: &[String]) -> i64 {
        let newest = sources.iter().filter_map(|key| tables::stamp_of_name(key)).max();
        let stamp = newest.map_or(self.now_ns, |stamp| self.now_ns.max(stamp.saturating_add(1)));
        stamp.saturating_add(self.stamp_offset_ns)
    }
}

async fn read_rows(
    table: &Table,
    tenant: &TenantId,
    shared: Vec<Arc<File>>,
    sources: &[String],
) -> Result<Vec<SeriesChunks>> {
    let mut own = Vec::with_capacity(sources.len());
    for key in sources {
        own.push(file::read(&table.objects, key).await?);
    }
    let (tenant, key) = (tenant.clone(), table.key.clone());
    off_thread(move || {
        let (shared, own): (Vec<&File>, Vec<&File>) = (shared.iter().map(Arc::as_ref).collect(), own.iter().collect());
        rows::merged(&tenant, &shared, &own).map_err(|e| e.context(format!("{key}: the files of {tenant}")))
    })
    .await
}
