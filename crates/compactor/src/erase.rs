//! Delete requests carried out on the rows of one table: a chunk that a request names as a whole goes, one that it
//! names in part is replaced by what is left of it. It must not know index files, nor how requests are kept.

use crate::metrics::{Metrics, UserLabel};
use crate::rewrite::{self, Rest};
use crate::tables::Table;
use format::ChunkRef;
use format::tsdb::SeriesChunks;
use model::matcher::all_match;
use model::time::{ceil_ms, floor_ms};
use model::{Kind, Result, TenantId};
use rpc::deletes::DeleteFilter;
use std::collections::HashSet;
use storage::chunks::ChunkStore;
use storage::index::file::off_thread;

/// A request that is to be carried out.
#[derive(Clone, Debug, PartialEq)]
pub struct Due {
    pub id: String,
    pub filter: DeleteFilter,
}

impl Due {
    /// Whether it may speak of lines of a chunk, or of a file, with these bounds.
    pub fn overlaps(&self, (from_ms, through_ms): (i64, i64)) -> bool {
        floor_ms(self.filter.start_ns) <= through_ms && ceil_ms(self.filter.end_ns) >= from_ms
    }

    /// Whether it names every line of a chunk with these bounds.
    fn is_all_of(&self, chunk: &ChunkRef) -> bool {
        let (start_ms, end_ms) = (ceil_ms(self.filter.start_ns), floor_ms(self.filter.end_ns));
        self.filter.stages.is_empty() && start_ms <= chunk.from_ms && chunk.through_ms <= end_ms
    }
}

/// The requests of one tenant.
pub struct Eraser<'a> {
    pub tenant: &'a TenantId,
    pub due: &'a [Due],
    pub chunks: &'a ChunkStore,
    pub metrics: &'a Metrics,
}

/// What became of a table's rows.
#[derive(Debug, Default, PartialEq)]
pub struct Erased {
    /// Chunks that the table does not list any more.
    pub gone: Vec<ChunkRef>,
    /// Requests that could not be carried out on some chunk, because it does not verify.
    pub unfinished: HashSet<String>,
}

impl Eraser<'_> {
    /// Takes what the requests name out of `rows`. What is left of a chunk is stored, and verified, before this answers.
    pub async fn erase(&self, table: &Table, rows: &mut [SeriesChunks]) -> Result<Erased> {
        let mut erased = Erased::default();
        for series in rows {
            let of_series: Vec<&Due> =
                self.due.iter().filter(|due| all_match(&due.filter.matchers, &series.labels)).collect();
            if of_series.is_empty() {
                continue;
            }
            for chunk in std::mem::take(&mut series.chunks) {
                let bounds = (chunk.from_ms, chunk.through_ms);
                let due: Vec<&Due> = of_series.iter().copied().filter(|due| due.overlaps(bounds)).collect();
                let rest = self.rest_of(&chunk, &due, &mut erased).await?;
                if rest != Some(chunk) {
                    erased.gone.push(chunk);
                }
                series.chunks.extend(rest.filter(|rest| table.lists(rest.from_ms, rest.through_ms)));
            }
        }
        Ok(erased)
    }

    /// The chunk that takes the place of `chunk`: itself when nothing is to be deleted.
    async fn rest_of(&self, chunk: &ChunkRef, due: &[&Due], erased: &mut Erased) -> Result<Option<ChunkRef>> {
        if due.is_empty() {
            return Ok(Some(*chunk));
        }
        if due.iter().any(|due| due.is_all_of(chunk)) {
            return Ok(None);
        }
        match self.rewrite(chunk, due).await {
            Err(e) if matches!(e.kind, Kind::Corrupt | Kind::TooLarge) => {
                tracing::error!(error = %e, "deleted lines stay in a chunk that does not verify");
                erased.unfinished.extend(due.iter().map(|due| due.id.clone()));
                Ok(Some(*chunk))
            }
            Err(e) if e.kind == Kind::NotFound => {
                tracing::warn!(error = %e, "a chunk that the index lists is gone, nothing is left to be deleted");
                Ok(Some(*chunk))
            }
            rest => rest,
        }
    }

    async fn rewrite(&self, chunk: &ChunkRef, due: &[&Due]) -> Result<Option<ChunkRef>> {
        let opened = self.chunks.get(self.tenant, chunk).await?;
        let filters: Vec<DeleteFilter> = due.iter().map(|due| due.filter.clone()).collect();
        let tenant = self.tenant.clone();
        let (rest, lines) = off_thread(move || rewrite::without(&opened, &tenant, &filters)).await?;
        let rest = match rest {
            Rest::All => return Ok(Some(*chunk)),
            Rest::Nothing => None,
            Rest::Some(reference, object) => {
                self.chunks.put(self.tenant, &reference, object).await?;
                self.chunks.get(self.tenant, &reference).await?;
                self.metrics.chunks_rewritten.inc();
                Some(reference)
            }
        };
        self.metrics.lines_deleted.get_or_create(&UserLabel { user: self.tenant.to_string() }).inc_by(lines);
        Ok(rest)
    }
}
