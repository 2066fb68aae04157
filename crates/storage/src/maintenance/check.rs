//! The check of a bucket: one look at everything, and a second one at what the first found. Only what both found counts,
//! for a bucket in use changes between a listing and a read. Nothing is written.

use super::catalog::Catalog;
use super::findings::{FindingKind, Findings, Report};
use super::survey::{self, Survey};
use super::{chunks, rows};
use crate::index::Places;
use async_trait::async_trait;
use format::ChunkRef;
use model::{Result, TenantId};
use std::collections::BTreeSet;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckSettings {
    /// Whether chunks are read; without, their names are held against the index.
    pub reads_chunks: bool,
    /// Chunks on their way at a time.
    pub parallel_reads: usize,
}

impl Default for CheckSettings {
    fn default() -> Self {
        CheckSettings { reads_chunks: true, parallel_reads: 16 }
    }
}

/// Which chunks are marked to be deleted: no table lists them any more, and that is as it should be.
#[async_trait]
pub trait Expiring: Send + Sync {
    async fn chunks(&self) -> Result<Vec<(TenantId, ChunkRef)>>;
}

/// Looks at every object. An error means that the bucket could not be looked at.
pub async fn check(places: &Places, expiring: &dyn Expiring, settings: &CheckSettings) -> Result<Report> {
    let first = look(places, expiring, settings, None).await?;
    if first.is_empty() {
        return Ok(first.report());
    }
    let again = look(places, expiring, settings, Some(&first.objects())).await?;
    Ok(first.confirmed_by(again).report())
}

async fn look(
    places: &Places,
    expiring: &dyn Expiring,
    settings: &CheckSettings,
    only: Option<&BTreeSet<String>>,
) -> Result<Findings> {
    let mut findings = Findings::default();
    let mut survey = Survey::of(places, &mut findings).await?;
    rows::read(&mut survey, rows::Damaged::Entered, &mut findings).await?;
    mark(&mut survey.catalog, expiring).await?;
    compare_lists(places, &survey, &mut findings);
    if settings.reads_chunks {
        chunks::read(places, &survey, settings.parallel_reads, only, &mut findings).await?;
    } else {
        chunks::compare_names(places, &survey, &mut findings);
    }
    Ok(findings)
}

/// Notes what is marked to be deleted.
pub(super) async fn mark(catalog: &mut Catalog, expiring: &dyn Expiring) -> Result<()> {
    for (tenant, chunk) in expiring.chunks().await? {
        let id = catalog.id(&tenant, &chunk);
        if let Some(known) = catalog.chunks.get_mut(&id) {
            known.is_expiring = true;
        }
    }
    Ok(())
}

/// Chunks that some table does not list though it must.
fn compare_lists(places: &Places, survey: &Survey, findings: &mut Findings) {
    let catalog = &survey.catalog;
    for (id, known) in catalog.chunks.iter().filter(|(_, known)| known.stored_bytes.is_some()) {
        if known.is_expiring {
            findings.counts.expiring_chunks += 1;
            continue;
        }
        let missing = catalog.missing_days(id, known);
        let (false, Some((_, name))) = (missing.is_empty(), id.home(places, catalog.tenant(id))) else { continue };
        let tables: Vec<String> = missing.into_iter().filter_map(|day| Some(survey::table(places, day)?.key)).collect();
        let (kind, text) = match Catalog::is_listed(known) {
            true => (FindingKind::RowMissing, format!("{} does not list it", tables.join(", "))),
            false => (FindingKind::ChunkUnlisted, format!("no table lists it; {} should", tables.join(", "))),
        };
        findings.add(kind, &name, text);
    }
}
