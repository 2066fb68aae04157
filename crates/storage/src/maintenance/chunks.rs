//! Every chunk read: its object held against its name and against its row. It must not know index files.

use super::Room;
use super::catalog::{Catalog, Id, Known, Row};
use super::findings::{FindingKind, Findings};
use super::survey::Survey;
use crate::index::Places;
use crate::index::file::off_thread;
use bytes::Bytes;
use format::chunk::{Chunk, OBJECT_BYTES_MAX};
use format::crc::crc32c;
use futures::{StreamExt, stream};
use model::{Kind, Result, TenantId};
use std::collections::BTreeSet;

/// Faults of one chunk that are told.
const FAULTS_MAX: usize = 5;

/// Reads the chunks, only those of the names in `only` if there is one, and says what is wrong with them.
pub(super) async fn read(
    places: &Places,
    survey: &Survey,
    parallel: usize,
    only: Option<&BTreeSet<String>>,
    findings: &mut Findings,
) -> Result<()> {
    let (room, catalog) = (Room::new(), &survey.catalog);
    let room = &room;
    let reads = catalog.chunks.iter().filter_map(|(id, known)| {
        let tenant = catalog.tenant(id);
        let (objects, name) = id.home(places, tenant)?;
        only.is_none_or(|only| only.contains(&name)).then_some(async move {
            let _place = room.enter(known.stored_bytes.unwrap_or(0)).await?;
            let faults = match objects.get_at_most(&name, OBJECT_BYTES_MAX as u64).await {
                Ok(object) => {
                    let (tenant, id, row) = (tenant.clone(), *id, known.row);
                    off_thread(move || Ok(faults(object, &tenant, &id, row))).await?
                }
                Err(e) if e.kind == Kind::NotFound => gone(known),
                Err(e) if e.kind == Kind::TooLarge => vec![(FindingKind::ChunkDamaged, e.message)],
                Err(e) => return Err(e),
            };
            Ok((name, faults))
        })
    });
    let mut reads = stream::iter(reads).buffer_unordered(parallel.max(1));
    while let Some(read) = reads.next().await {
        let (name, faults) = read?;
        for (kind, text) in faults {
            findings.add(kind, &name, text);
        }
    }
    Ok(())
}

/// The same by names alone: rows whose chunks were not listed.
pub(super) fn compare_names(places: &Places, survey: &Survey, findings: &mut Findings) {
    for (id, known) in &survey.catalog.chunks {
        let home = id.home(places, survey.catalog.tenant(id)).filter(|_| known.stored_bytes.is_none());
        for ((_, name), (kind, text)) in home.into_iter().zip(gone(known)) {
            findings.add(kind, &name, text);
        }
    }
}

/// One that nobody lists may go.
fn gone(known: &Known) -> Vec<(FindingKind, String)> {
    let lists = known.row.is_some() || Catalog::is_listed(known);
    let text = || (FindingKind::RowWithoutChunk, "the index lists it, and it is not there".to_string());
    lists.then(text).into_iter().collect()
}

fn faults(object: Bytes, tenant: &TenantId, id: &Id, row: Option<Row>) -> Vec<(FindingKind, String)> {
    let (mut damage, mut disagreement) = (Vec::new(), Vec::new());
    let checksum = crc32c(&object);
    if checksum != id.checksum {
        damage.push(format!("the object's checksum is {checksum:x}, its name says {:x}", id.checksum));
    }
    match Chunk::decode(object) {
        Ok(chunk) => {
            damage.extend(chunk.verify(tenant, &id.reference()).err().map(|e| e.message));
            damage.extend(chunk.audit());
            if let Some(row) = row {
                disagreement = row_faults(&chunk, row);
            }
        }
        Err(e) => damage.push(e.message),
    }
    [(FindingKind::ChunkDamaged, damage), (FindingKind::RowDisagrees, disagreement)]
        .into_iter()
        .filter(|(_, faults)| !faults.is_empty())
        .map(|(kind, faults)| (kind, faults.into_iter().take(FAULTS_MAX).collect::<Vec<_>>().join("; ")))
        .collect()
}

fn row_faults(chunk: &Chunk, row: Row) -> Vec<String> {
    let mut faults = Vec::new();
    if row.labels != chunk.labels.fingerprint() {
        faults.push(format!("the index lists it under other labels than {}", chunk.labels));
    }
    // A chunk that cannot be read is damaged, and told as that.
    if let Ok(own) = chunk.reference(0)
        && (own.entries, own.kb) != (row.entries, row.kb)
    {
        faults.push(format!(
            "it has {} entries and {} KB, the index says {} and {}",
            own.entries, own.kb, row.entries, row.kb
        ));
    }
    faults
}
