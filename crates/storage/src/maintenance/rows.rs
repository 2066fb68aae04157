//! What the index says: every file read and audited, every row held against the names of the chunks.
//! It must not know what is in a chunk.

use super::Room;
use super::catalog::Row;
use super::findings::{FindingKind, Findings};
use super::survey::{IndexObject, Survey, Table};
use crate::index::file::{self, File, off_thread};
use format::chunk::is_fingerprint_of;
use format::tsdb::{SeriesView, TENANT_LABEL};
use futures::{StreamExt, stream};
use model::{Error, Kind, Labels, Result, TenantId};
use std::collections::BTreeSet;

/// Files on their way at a time.
const PARALLEL_FILES: usize = 4;

/// Index files that do not verify.
pub(super) type Unreadable = BTreeSet<String>;

/// What becomes of the rows of a file that opens but does not verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damaged {
    Entered,
    LeftOut,
}

/// Reads every index file into the catalog; answers those that do not verify.
pub(super) async fn read(survey: &mut Survey, damaged: Damaged, findings: &mut Findings) -> Result<Unreadable> {
    let (room, mut unreadable) = (Room::new(), Unreadable::new());
    let tables: Vec<(i64, Table)> = survey.tables.iter().map(|(day, table)| (*day, table.clone())).collect();
    let files = tables.iter().flat_map(|(day, table)| table.files.iter().map(move |file| (*day, table, file)));
    let room = &room;
    let opened = files.map(|(day, table, object)| async move {
        let place = room.enter(object.bytes).await?;
        let opened = open(table, object).await;
        Ok::<_, Error>((day, object, opened, place))
    });
    let mut opened = stream::iter(opened).buffered(PARALLEL_FILES);
    while let Some(next) = opened.next().await {
        let (day, object, opened, _place) = next?;
        match opened {
            Ok((file, audited)) => {
                if let Err(e) = audited {
                    unreadable.insert(object.key.clone());
                    findings.add(FindingKind::IndexFile, &object.key, e.message);
                    if damaged == Damaged::LeftOut {
                        continue;
                    }
                }
                if let Some(fault) = name_fault(&object.key, &file) {
                    findings.add(FindingKind::IndexName, &object.key, fault);
                }
                if let Err(e) = enter(survey, day, object, &file, findings) {
                    is_of_the_file(e).map(|e| findings.add(FindingKind::IndexFile, &object.key, e.message))?;
                }
            }
            Err(e) => {
                let e = is_of_the_file(e)?;
                unreadable.insert(object.key.clone());
                findings.add(FindingKind::IndexFile, &object.key, e.message);
            }
        }
    }
    Ok(unreadable)
}

/// An error that says something of the file; others end the check.
fn is_of_the_file(e: Error) -> Result<Error> {
    if matches!(e.kind, Kind::Corrupt | Kind::TooLarge | Kind::NotFound) { Ok(e) } else { Err(e) }
}

async fn open(table: &Table, object: &IndexObject) -> Result<(File, Result<()>)> {
    let file = file::read(&table.objects, &object.key).await?;
    off_thread(move || {
        let audited = file.audit();
        Ok((file, audited))
    })
    .await
}

/// A compactor's file carries bounds and checksum of its table of contents in its name.
fn name_fault(key: &str, file: &File) -> Option<String> {
    let (_, rest) = key.rsplit('/').next()?.split_once("-compactor-")?;
    let stated = rest.strip_suffix(".gz").unwrap_or(rest).strip_suffix(".tsdb")?;
    let own = format!("{}-{}-{:x}", file.from_ms(), file.through_ms(), file.toc_checksum());
    (stated != own).then(|| format!("its name says {stated}, its content {own}"))
}

fn enter(survey: &mut Survey, day: i64, object: &IndexObject, file: &File, findings: &mut Findings) -> Result<()> {
    file.for_each_row(|series| {
        let tenant = match owner(object, &series) {
            Ok(tenant) => tenant,
            Err(e) => {
                findings.add(FindingKind::IndexRow, &object.key, e.message);
                return Ok(());
            }
        };
        let labels = Labels::new(series.labels.iter().copied().filter(|(name, _)| *name != TENANT_LABEL));
        let hashed = labels.fingerprint();
        if !is_fingerprint_of(series.fingerprint, hashed) {
            let text = format!("{labels} has the fingerprint {hashed}, it is listed under {}", series.fingerprint);
            findings.add(FindingKind::IndexRow, &object.key, text);
        }
        for chunk in series.chunks {
            findings.counts.rows += 1;
            let id = survey.catalog.id(&tenant, chunk);
            if !survey.catalog.days(&id).contains(&day) {
                let text =
                    format!("a chunk of {labels} from {} to {} ms is of other tables", chunk.from_ms, chunk.through_ms);
                findings.add(FindingKind::IndexRow, &object.key, text);
                continue;
            }
            findings.counts.duplicate_rows += u64::from(survey.catalog.list(id, day)?);
            let row = Row { kb: chunk.kb, entries: chunk.entries, labels: hashed };
            let known = survey.catalog.known(id)?;
            match known.row {
                None => known.row = Some(row),
                Some(other) if other == row => {}
                Some(other) => {
                    let text = format!("a chunk of {labels} has {row:?} here and {other:?} in another file");
                    findings.add(FindingKind::RowDisagrees, &object.key, text);
                }
            }
        }
        Ok(())
    })
}

/// Whose series it is: its label tells in a file of several tenants, its place in a file of one.
fn owner(object: &IndexObject, series: &SeriesView<'_>) -> Result<TenantId> {
    let label = series.labels.iter().find(|(name, _)| *name == TENANT_LABEL).map(|(_, value)| *value);
    match (&object.tenant, label) {
        (None, Some(tenant)) => TenantId::parse(tenant),
        (Some(tenant), None) => Ok(tenant.clone()),
        (None, None) => Err(Error::corrupt(format!("a series names no tenant ({TENANT_LABEL})"))),
        (Some(_), Some(other)) => Err(Error::corrupt(format!("a series of {other} in a file of one tenant"))),
    }
}
