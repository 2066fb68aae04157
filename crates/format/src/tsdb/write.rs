//! Writing an index file, byte for byte as Loki does: series sorted and merged, every part from the same sorted symbols.

use super::read::SeriesChunks;
use super::series;
use super::symbols::SymbolTable;
use super::toc::Toc;
use super::{FINGERPRINT_SAMPLE, MAGIC, SERIES_ALIGNMENT, section};
use crate::ChunkRef;
use crate::schema::TsdbVersion;
use model::labels::METRIC_NAME;
use model::varint::{put_str, put_uvarint};
use model::{Error, Fingerprint, Labels, Result};

/// Label indices and postings lists begin at multiples of this.
const LIST_ALIGNMENT: usize = 4;

/// Collects series and writes them as one file.
#[derive(Debug)]
pub struct IndexBuilder {
    version: TsdbVersion,
    rows: Vec<SeriesChunks>,
}

impl IndexBuilder {
    pub fn new(version: TsdbVersion) -> Self {
        IndexBuilder { version, rows: Vec::new() }
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Adds chunks of a series; the same series may be added several times. In a file of several tenants `labels` hold
    /// [`super::TENANT_LABEL`], which `fingerprint` does not cover. The metric name and empty values are left out, as
    /// Loki leaves them out: to a matcher they are not there.
    pub fn add(&mut self, labels: Labels, fingerprint: Fingerprint, chunks: impl IntoIterator<Item = ChunkRef>) {
        let stored = |l: &model::Label| l.name != METRIC_NAME && !l.value.is_empty();
        let labels = if labels.iter().all(stored) {
            labels
        } else {
            Labels::new(labels.iter().filter(|l| stored(l)).map(|l| (l.name.clone(), l.value.clone())))
        };
        self.rows.push(SeriesChunks { fingerprint, labels, chunks: chunks.into_iter().collect() });
    }

    /// The file. `Invalid` for a label without a name or a chunk that ends before it begins, `TooLarge` for more than
    /// the format can address.
    pub fn build(self) -> Result<Vec<u8>> {
        let rows = merge(self.rows);
        check(&rows)?;
        let symbols = SymbolTable::of(rows.iter().map(|r| &r.labels))?;
        let mut out = Vec::new();
        out.extend_from_slice(&MAGIC.to_be_bytes());
        out.push(self.version as u8);
        let mut toc = Toc { symbols: out.len() as u64, ..bounds(&rows) };
        symbols.write(&mut out)?;
        toc.series = out.len() as u64;
        let written = write_series(&mut out, self.version, &symbols, &rows)?;
        toc.label_indices = out.len() as u64;
        let pairs = group(written.pairs);
        let indices = write_label_indices(&mut out, &pairs)?;
        toc.postings = out.len() as u64;
        let lists = write_postings(&mut out, &written.refs, &pairs)?;
        toc.label_indices_table = out.len() as u64;
        write_label_indices_table(&mut out, &symbols, &indices)?;
        toc.postings_table = out.len() as u64;
        write_postings_table(&mut out, &symbols, &lists)?;
        toc.fingerprint_offsets = out.len() as u64;
        write_fingerprints(&mut out, &written.refs, &rows)?;
        toc.write(&mut out);
        Ok(out)
    }
}

/// Series by fingerprint and labels, equal ones joined, and each one's chunks by time, equal ones once.
pub fn merge(mut rows: Vec<SeriesChunks>) -> Vec<SeriesChunks> {
    rows.sort_by(|a, b| (a.fingerprint, &a.labels).cmp(&(b.fingerprint, &b.labels)));
    rows.dedup_by(|row, kept| {
        let same = (row.fingerprint, &row.labels) == (kept.fingerprint, &kept.labels);
        if same {
            kept.chunks.append(&mut row.chunks);
        }
        same
    });
    for row in &mut rows {
        let key = |c: &ChunkRef| (c.from_ms, c.through_ms, c.checksum);
        row.chunks.sort_by_key(key);
        row.chunks.dedup_by_key(|c| key(c));
    }
    rows
}

/// Refuses what no index file may hold.
fn check(rows: &[SeriesChunks]) -> Result<()> {
    for row in rows {
        if let Some(chunk) = row.chunks.iter().find(|c| c.through_ms < c.from_ms) {
            return Err(Error::invalid(format!(
                "index file: a chunk of {} ends before it begins: {chunk:?}",
                row.labels
            )));
        }
        if row.labels.iter().any(|l| l.name.is_empty()) {
            return Err(Error::invalid(format!("index file: a label without a name in {}", row.labels)));
        }
    }
    Ok(())
}

/// A table of contents with the time bounds of all chunks.
fn bounds(rows: &[SeriesChunks]) -> Toc {
    let chunks = || rows.iter().flat_map(|r| &r.chunks);
    Toc {
        from_ms: chunks().map(|c| c.from_ms).min().unwrap_or(i64::MAX),
        through_ms: chunks().map(|c| c.through_ms).max().unwrap_or(i64::MIN),
        ..Toc::default()
    }
}

/// References in file order; and each label pair of each series, as ordinals.
struct Written {
    refs: Vec<u32>,
    pairs: Vec<(u32, u32, u32)>,
}

fn write_series(
    out: &mut Vec<u8>,
    version: TsdbVersion,
    symbols: &SymbolTable<'_>,
    rows: &[SeriesChunks],
) -> Result<Written> {
    let mut written = Written { refs: Vec::with_capacity(rows.len()), pairs: Vec::new() };
    let (mut content, mut labels) = (Vec::new(), Vec::new());
    for row in rows {
        section::pad(out, SERIES_ALIGNMENT);
        let reference = u32::try_from(out.len() / SERIES_ALIGNMENT)
            .map_err(|_| Error::too_large("index file: the series are larger than 64 GiB"))?;
        labels.clear();
        labels.extend(row.labels.iter().map(|l| (symbols.ordinal(&l.name), symbols.ordinal(&l.value))));
        written.refs.push(reference);
        written.pairs.extend(labels.iter().map(|(name, value)| (*name, *value, reference)));
        series::write(out, &mut content, version, row.fingerprint, &labels, &row.chunks);
    }
    Ok(written)
}

/// A label pair and the series that have it.
struct Pair {
    name: u32,
    value: u32,
    refs: Vec<u32>,
}

fn group(mut rows: Vec<(u32, u32, u32)>) -> Vec<Pair> {
    rows.sort_unstable();
    let same = |a: &(u32, u32, u32), b: &(u32, u32, u32)| (a.0, a.1) == (b.0, b.1);
    let pair =
        |rows: &[(u32, u32, u32)]| Pair { name: rows[0].0, value: rows[0].1, refs: rows.iter().map(|r| r.2).collect() };
    rows.chunk_by(same).map(pair).collect()
}

/// For each name the ordinals of its values. No reader uses them; Loki's files have them.
fn write_label_indices(out: &mut Vec<u8>, pairs: &[Pair]) -> Result<Vec<(u32, u64)>> {
    let mut places = Vec::new();
    for values in pairs.chunk_by(|a, b| a.name == b.name) {
        section::pad(out, LIST_ALIGNMENT);
        places.push((values[0].name, out.len() as u64));
        section::write(out, "label index", |body| {
            body.extend_from_slice(&1u32.to_be_bytes());
            put_list(body, values.iter().map(|pair| pair.value));
        })?;
    }
    Ok(places)
}

/// A label pair, as ordinals, and the place of its list. The list of all series has no pair.
type ListPlace = (Option<(u32, u32)>, u64);

/// The list of all series, then the list of each pair.
fn write_postings(out: &mut Vec<u8>, all: &[u32], pairs: &[Pair]) -> Result<Vec<ListPlace>> {
    let mut places = Vec::with_capacity(pairs.len() + 1);
    let lists = pairs.iter().map(|pair| (Some((pair.name, pair.value)), pair.refs.as_slice()));
    for (pair, refs) in std::iter::once((None, all)).chain(lists) {
        section::pad(out, LIST_ALIGNMENT);
        places.push((pair, out.len() as u64));
        section::write(out, "postings", |body| put_list(body, refs.iter().copied()))?;
    }
    Ok(places)
}

fn put_list(body: &mut Vec<u8>, items: impl ExactSizeIterator<Item = u32>) {
    body.extend_from_slice(&(items.len() as u32).to_be_bytes());
    items.for_each(|item| body.extend_from_slice(&item.to_be_bytes()));
}

fn write_label_indices_table(out: &mut Vec<u8>, symbols: &SymbolTable<'_>, places: &[(u32, u64)]) -> Result<()> {
    section::write(out, "label index table", |body| {
        body.extend_from_slice(&(places.len() as u32).to_be_bytes());
        for (name, at) in places {
            put_uvarint(body, 1);
            put_str(body, symbols.get(*name).as_bytes());
            put_uvarint(body, *at);
        }
    })
}

fn write_postings_table(out: &mut Vec<u8>, symbols: &SymbolTable<'_>, places: &[ListPlace]) -> Result<()> {
    section::write(out, "postings table", |body| {
        body.extend_from_slice(&(places.len() as u32).to_be_bytes());
        for (pair, at) in places {
            let (name, value) = pair.map_or(("", ""), |(name, value)| (symbols.get(name), symbols.get(value)));
            put_uvarint(body, 2);
            put_str(body, name.as_bytes());
            put_str(body, value.as_bytes());
            put_uvarint(body, *at);
        }
    })
}

fn write_fingerprints(out: &mut Vec<u8>, refs: &[u32], rows: &[SeriesChunks]) -> Result<()> {
    section::write(out, "fingerprint offsets", |body| {
        let samples = refs.iter().zip(rows).step_by(FINGERPRINT_SAMPLE);
        body.extend_from_slice(&(samples.len() as u32).to_be_bytes());
        for (reference, row) in samples {
            body.extend_from_slice(&u64::from(*reference).to_be_bytes());
            body.extend_from_slice(&row.fingerprint.0.to_be_bytes());
        }
    })
}
