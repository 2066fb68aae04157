//! The directory below which samples wait, of all tenants: what is found there, how much it is, and what goes when it
//! is too much or too old. It must not know how samples are sent.

use super::backlog::Backlog;
use super::metrics::{RemoteMetrics, TOO_OLD, WAL_FULL};
use super::spool;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use std::{fs, io};

/// Of all samples on disk; of more, what was written longest ago is dropped.
pub(super) const DIRECTORY_BYTES_MAX: u64 = 4 << 30;

/// One file of samples.
pub(super) struct Segment {
    pub tenant: String,
    /// Of a client.
    dir: PathBuf,
    number: u64,
    path: PathBuf,
    bytes: u64,
    written: SystemTime,
}

/// Those in use, by their directory.
pub(super) type Backlogs = HashMap<PathBuf, Arc<Backlog>>;

/// What may be on disk.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub bytes: u64,
    pub age: Duration,
}

/// Every segment below `dir`, with `<tenant>/<client>` between, and the tenants that have a directory.
pub(super) fn find(dir: &Path) -> io::Result<(Vec<Segment>, BTreeMap<String, u64>)> {
    let (mut found, mut tenants) = (vec![], BTreeMap::new());
    for (tenant, clients) in entries(dir)? {
        if !clients.is_dir() {
            continue;
        }
        tenants.insert(tenant.clone(), 0);
        for (_, client) in entries(&clients)?.into_iter().filter(|(_, path)| path.is_dir()) {
            for (_, path) in entries(&client)? {
                // A segment may be sent meanwhile.
                let Some(number) = spool::number(&path) else { continue };
                let Ok(known) = fs::metadata(&path) else { continue };
                let (bytes, written) = (known.len(), known.modified()?);
                found.push(Segment { tenant: tenant.clone(), dir: client.clone(), number, path, bytes, written });
            }
        }
    }
    Ok((found, tenants))
}

/// None where there is no directory.
fn entries(dir: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        entries => entries?,
    };
    let named = |entry: io::Result<fs::DirEntry>| {
        let entry = entry?;
        Ok((entry.file_name().to_string_lossy().into_owned(), entry.path()))
    };
    entries.map(named).collect()
}

/// Drops what is too old, then the oldest of what is too much. What stays, and how many samples that costs.
pub(super) fn bound(
    mut found: Vec<Segment>,
    bounds: Bounds,
    now: SystemTime,
    in_use: &Backlogs,
    metrics: &RemoteMetrics,
) -> io::Result<(Vec<Segment>, u64)> {
    found.sort_by_key(|segment| (segment.written, segment.number));
    let (mut bytes, mut lost) = (found.iter().map(|segment| segment.bytes).sum::<u64>(), 0);
    let mut kept = vec![];
    for segment in found {
        let too_old = now.duration_since(segment.written).is_ok_and(|age| age > bounds.age);
        let reason = if too_old { TOO_OLD } else { WAL_FULL };
        if !too_old && bytes <= bounds.bytes {
            kept.push(segment);
            continue;
        }
        bytes -= segment.bytes;
        lost += match in_use.get(&segment.dir) {
            Some(backlog) => backlog.drop_through(segment.number, reason)?,
            None => drop_of_nobody(&segment, reason, metrics)?,
        };
    }
    Ok((kept, lost))
}

fn drop_of_nobody(segment: &Segment, reason: &'static str, metrics: &RemoteMetrics) -> io::Result<u64> {
    let (_, samples) = spool::scan(&segment.path, 0)?;
    spool::remove(&segment.path)?;
    let client = segment.dir.file_name().unwrap_or_default().to_string_lossy();
    metrics.dropped_of_nobody(&segment.tenant, &client, reason, samples);
    Ok(samples)
}

/// Bytes by tenant, of `tenants` and what they have.
pub(super) fn sizes(mut tenants: BTreeMap<String, u64>, segments: &[Segment]) -> BTreeMap<String, u64> {
    for segment in segments {
        *tenants.entry(segment.tenant.clone()).or_default() += segment.bytes;
    }
    tenants
}
