//! The index made anew from the chunks, which carry their streams' labels and bounds: for each day and tenant whose
//! chunks are not all listed, one file as a compactor writes it, read back before it counts. What is intact stays; so a
//! second run goes on where the first was cut off. It must not know why the index was lost.

use super::Room;
use super::catalog::Id;
use super::check::{Expiring, mark};
use super::findings::{Finding, FindingKind, Findings};
use super::rows::{self, Unreadable};
use super::survey::{Survey, Table};
use crate::index::Places;
use crate::index::file::{self, off_thread};
use format::ChunkRef;
use format::chunk::{Chunk, OBJECT_BYTES_MAX};
use format::schema::TsdbVersion;
use format::tsdb::SeriesChunks;
use futures::{StreamExt, stream};
use model::{Fingerprint, Kind, Labels, Result, TenantId};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RebuildSettings {
    /// Whether files are put; without, what would be done is told.
    pub writes: bool,
    /// Whether files that a new one takes the place of are deleted.
    pub replaces: bool,
    /// Whether what is intact is made anew as well.
    pub all: bool,
    /// Chunks on their way at a time.
    pub parallel_reads: usize,
}

/// One file that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// `<path_prefix><table>`
    pub table: String,
    pub tenant: TenantId,
    pub series: usize,
    pub chunks: usize,
    /// As stored.
    pub bytes: usize,
    /// The object's key, where it was put.
    pub key: Option<String>,
}

/// What a rebuild did, or would do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rebuilt {
    pub built: Vec<Built>,
    /// Files of one tenant and day that were found intact.
    pub kept: usize,
    /// Keys of the files whose place was taken.
    pub superseded: Vec<String>,
    /// Chunks that no row can be made of.
    pub findings: Vec<Finding>,
}

/// Makes index files. `now_ns` numbers their names.
pub async fn rebuild(
    places: &Places,
    expiring: &dyn Expiring,
    now_ns: i64,
    settings: &RebuildSettings,
) -> Result<Rebuilt> {
    let mut survey = Survey::of(places, &mut Findings::default()).await?;
    let unreadable = rows::read(&mut survey, rows::Damaged::LeftOut, &mut Findings::default()).await?;
    mark(&mut survey.catalog, expiring).await?;
    let mut done = Rebuilt::default();
    for (day, of_tenants) in wanted(&survey, &unreadable, settings.all, &mut done) {
        let Some(table) = survey.tables.remove(&day).or_else(|| super::survey::table(places, day)) else { continue };
        let (mut complete, tenants) = (BTreeSet::new(), of_tenants.len());
        for (tenant, ids) in of_tenants {
            let before = done.findings.len();
            let rows = series(places, &tenant, &ids, settings.parallel_reads, &mut done.findings).await?;
            if done.findings.len() == before {
                complete.insert(tenant.clone());
            }
            if !rows.is_empty() {
                done.built.push(build(&table, &tenant, rows, now_ns, settings.writes).await?);
            }
        }
        let superseded = superseded(&table, &unreadable, &complete, settings.all, complete.len() == tenants);
        if settings.replaces {
            for key in superseded {
                if settings.writes {
                    table.objects.delete(&key).await?;
                }
                done.superseded.push(key);
            }
        }
    }
    Ok(done)
}

/// The chunks of each day and tenant that a file is to be made for.
type Wanted = BTreeMap<i64, BTreeMap<TenantId, Vec<Sized>>>;

/// A chunk and the size of its object.
type Sized = (Id, u64);

fn wanted(survey: &Survey, unreadable: &Unreadable, all: bool, done: &mut Rebuilt) -> Wanted {
    let catalog = &survey.catalog;
    let mut parts: BTreeMap<(i64, TenantId), (Vec<Sized>, bool)> = BTreeMap::new();
    for (id, known) in &catalog.chunks {
        let Some(bytes) = known.stored_bytes.filter(|_| !known.is_expiring) else { continue };
        let missing = catalog.missing_days(id, known);
        for day in catalog.days(id) {
            let part = parts.entry((day, catalog.tenant(id).clone())).or_default();
            part.0.push((*id, bytes));
            part.1 |= missing.contains(&day);
        }
    }
    let mut wanted = Wanted::new();
    for ((day, tenant), (ids, is_broken)) in parts {
        let files = survey.tables.get(&day).map_or(&[][..], |table| &table.files);
        let own_is_bad = files.iter().any(|f| f.tenant.as_ref() == Some(&tenant) && unreadable.contains(&f.key));
        if all || is_broken || own_is_bad {
            wanted.entry(day).or_default().insert(tenant, ids);
        } else {
            done.kept += 1;
        }
    }
    wanted
}

/// The rows of the chunks.
async fn series(
    places: &Places,
    tenant: &TenantId,
    ids: &[Sized],
    parallel: usize,
    findings: &mut Vec<Finding>,
) -> Result<Vec<SeriesChunks>> {
    let room = &Room::new();
    let reads = ids.iter().filter_map(|(id, bytes)| {
        let (objects, name) = id.home(places, tenant)?;
        Some(async move {
            let _place = room.enter(*bytes).await?;
            let row = match objects.get_at_most(&name, OBJECT_BYTES_MAX as u64).await {
                Ok(object) => {
                    let (tenant, id) = (tenant.clone(), *id);
                    off_thread(move || row(object, &tenant, &id)).await
                }
                Err(e) => Err(e),
            };
            Ok::<_, model::Error>((name, row))
        })
    });
    let mut series: BTreeMap<(Fingerprint, Labels), Vec<ChunkRef>> = BTreeMap::new();
    let mut reads = stream::iter(reads).buffer_unordered(parallel.max(1));
    while let Some(read) = reads.next().await {
        match read? {
            (_, Ok((labels, chunk))) => series.entry((chunk.fingerprint, labels)).or_default().push(chunk),
            // Deleted since it was listed.
            (_, Err(e)) if e.kind == Kind::NotFound => {}
            (object, Err(e)) if matches!(e.kind, Kind::Corrupt | Kind::TooLarge) => {
                findings.push(Finding { kind: FindingKind::ChunkDamaged, object, detail: e.message });
            }
            (_, Err(e)) => return Err(e),
        }
    }
    let row = |((fingerprint, labels), chunks)| SeriesChunks { labels, fingerprint, chunks };
    Ok(series.into_iter().map(row).collect())
}

/// A chunk is listed when its header says whose it is, even if something behind that is damaged: a query that meets it
/// says so, while one that does not know of it would answer short in silence.
fn row(object: bytes::Bytes, tenant: &TenantId, id: &Id) -> Result<(Labels, ChunkRef)> {
    let chunk = Chunk::decode(object)?;
    chunk.verify(tenant, &id.reference())?;
    let reference = chunk.reference(id.checksum)?;
    Ok((chunk.labels, reference))
}

async fn build(table: &Table, tenant: &TenantId, rows: Vec<SeriesChunks>, now_ns: i64, writes: bool) -> Result<Built> {
    let (series, chunks) = (rows.len(), rows.iter().map(|s| s.chunks.len()).sum());
    let version: TsdbVersion = table.version;
    let (bytes, key) = if writes {
        let dir = format!("{}/{tenant}", table.key);
        let (key, bytes) = file::write(&table.objects, &dir, now_ns, version, rows).await?;
        (bytes, Some(key))
    } else {
        (off_thread(move || Ok(file::build(version, rows)?.1.len())).await?, None)
    };
    Ok(Built { table: table.key.clone(), tenant: tenant.clone(), series, chunks, bytes, key })
}

/// Files that new ones take the place of: those that cannot be read, with `all` the others too. Where a chunk could not be
/// listed, a file may know of it what no new one does, and stays.
fn superseded(
    table: &Table,
    unreadable: &Unreadable,
    complete: &BTreeSet<TenantId>,
    all: bool,
    is_whole: bool,
) -> Vec<String> {
    let goes = |file: &&super::survey::IndexObject| {
        let is_remade = match &file.tenant {
            Some(tenant) => complete.contains(tenant),
            None => is_whole,
        };
        is_remade && (all || unreadable.contains(&file.key))
    };
    table.files.iter().filter(goes).map(|file| file.key.clone()).collect()
}
