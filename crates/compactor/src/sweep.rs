//! Deferred deletion: chunks whose marks are old enough are deleted, if no table lists them any more. A table that
//! cannot be read may list them. It must not know why a chunk was marked.

use crate::marks::{self, Mark};
use crate::metrics::Metrics;
use crate::rows;
use crate::tables::{self, Table};
use format::ChunkRef;
use model::{Kind, Result, TenantId};
use std::collections::{HashMap, HashSet};
use std::time::Duration;
use storage::chunks::ChunkStore;
use storage::index::Places;
use storage::index::file::{self, File};
use storage::objects::Objects;

pub struct Sweep<'a> {
    pub places: &'a Places,
    pub chunks: &'a ChunkStore,
    /// Where the marks are.
    pub state: &'a Objects,
    pub metrics: &'a Metrics,
    pub now_ns: i64,
    pub delay: Duration,
}

/// What identifies a chunk of a tenant.
type Identity = (TenantId, u64, i64, i64, u32);

fn identity(tenant: &TenantId, chunk: &ChunkRef) -> Identity {
    (tenant.clone(), chunk.fingerprint.0, chunk.from_ms, chunk.through_ms, chunk.checksum)
}

/// The chunks that a tenant's files of a table list; `None` when a file cannot be read.
type Listed = Option<HashSet<Identity>>;

/// Whether a table lists a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listing {
    Absent,
    /// A file cannot be read.
    Perhaps,
    Listed,
}

impl Sweep<'_> {
    /// Answers marked chunks that a table lists nevertheless: somebody who did not know has listed them once more.
    pub async fn run(&self) -> Result<Vec<(TenantId, ChunkRef)>> {
        let delay_ns = i64::try_from(self.delay.as_nanos()).unwrap_or(i64::MAX);
        let due = |mark: &Mark| self.now_ns.saturating_sub(mark.marked_ns) >= delay_ns;
        let (old, young): (Vec<Mark>, Vec<Mark>) = marks::list(self.state).await?.into_iter().partition(due);
        let mut listed_again = Vec::new();
        if old.is_empty() {
            return Ok(listed_again);
        }
        // A chunk that was marked again, because a table listed it once more, waits from then on.
        let mut waiting = HashSet::new();
        for mark in &young {
            waiting.extend(mark.chunks(self.state).await?.iter().map(|(tenant, chunk)| identity(tenant, chunk)));
        }
        let tables: HashMap<i64, Table> =
            tables::discover(self.places).await?.into_iter().map(|table| (table.day, table)).collect();
        for mark in old {
            match self.sweep(&mark, &waiting, &tables, &mut listed_again).await {
                Err(e) if e.kind == Kind::Corrupt => {
                    tracing::error!(mark = mark.key(), error = %e, "a mark cannot be read, its chunks stay");
                }
                swept => swept?,
            }
        }
        Ok(listed_again)
    }

    async fn sweep(
        &self,
        mark: &Mark,
        waiting: &HashSet<Identity>,
        tables: &HashMap<i64, Table>,
        listed_again: &mut Vec<(TenantId, ChunkRef)>,
    ) -> Result<()> {
        let marked = mark.chunks(self.state).await?;
        let before = marked.len();
        let mut listed: HashMap<(i64, TenantId), Listed> = HashMap::new();
        let mut kept = Vec::new();
        for (tenant, chunk) in marked {
            if waiting.contains(&identity(&tenant, &chunk)) {
                continue;
            }
            match self.delete_unlisted(&tenant, &chunk, tables, &mut listed).await {
                Ok(Listing::Absent) => {
                    self.metrics.chunks_deleted.inc();
                }
                Ok(listing) => {
                    if listing == Listing::Listed {
                        listed_again.push((tenant.clone(), chunk));
                    }
                    kept.push((tenant, chunk));
                }
                Err(e) if e.kind == Kind::Unavailable => return Err(e),
                Err(e) => {
                    tracing::error!(chunk = %self.chunks.key(&tenant, &chunk), error = %e, "a marked chunk stays");
                    kept.push((tenant, chunk));
                }
            }
        }
        self.metrics.chunks_kept.inc_by(kept.len() as u64);
        if kept.len() < before {
            mark.reduce(self.state, &kept).await?;
        }
        Ok(())
    }

    /// Deletes the chunk if it is listed nowhere.
    async fn delete_unlisted(
        &self,
        tenant: &TenantId,
        chunk: &ChunkRef,
        tables: &HashMap<i64, Table>,
        listed: &mut HashMap<(i64, TenantId), Listed>,
    ) -> Result<Listing> {
        let listing = self.listing(tenant, chunk, tables, listed).await?;
        if listing == Listing::Absent {
            self.chunks.delete(tenant, chunk).await?;
        }
        Ok(listing)
    }

    async fn listing(
        &self,
        tenant: &TenantId,
        chunk: &ChunkRef,
        tables: &HashMap<i64, Table>,
        listed: &mut HashMap<(i64, TenantId), Listed>,
    ) -> Result<Listing> {
        for table in self.places.schema().tables(chunk.from_ms, chunk.through_ms)? {
            let Some(table) = tables.get(&table.day) else { continue };
            let place = (table.day, tenant.clone());
            if !listed.contains_key(&place) {
                listed.insert(place.clone(), list(table, tenant).await?);
            }
            match listed.get(&place).and_then(Option::as_ref) {
                None => return Ok(Listing::Perhaps),
                Some(chunks) if chunks.contains(&identity(tenant, chunk)) => return Ok(Listing::Listed),
                Some(_) => {}
            }
        }
        Ok(Listing::Absent)
    }
}

async fn list(table: &Table, tenant: &TenantId) -> Result<Listed> {
    let (mut own, mut shared) = (Vec::new(), Vec::new());
    let keys = table.own.get(tenant).into_iter().flatten().map(|key| (key, false));
    for (key, is_shared) in keys.chain(table.shared.iter().map(|key| (key, true))) {
        match file::read(&table.objects, key).await {
            Ok(file) if is_shared => shared.push(file),
            Ok(file) => own.push(file),
            Err(e) if e.kind == Kind::Unavailable => return Err(e),
            Err(e) => {
                tracing::error!(file = %key, error = %e, "an index file cannot be read, chunks it may list stay");
                return Ok(None);
            }
        }
    }
    let (shared, own): (Vec<&File>, Vec<&File>) = (shared.iter().collect(), own.iter().collect());
    let Ok(rows) = rows::merged(tenant, &shared, &own) else { return Ok(None) };
    let chunks = rows.iter().flat_map(|series| &series.chunks);
    Ok(Some(chunks.map(|chunk| identity(tenant, chunk)).collect()))
}
