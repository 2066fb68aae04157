//! An opened index file: verified once as a whole, then asked for series by matchers, time and fingerprint.

use super::HEADER_BYTES;
use super::postings::PostingsTable;
use super::section::{self, u32_be, u64_be};
use super::select::select;
use super::series::Entry;
use super::symbols::SymbolOffsets;
use super::toc::Toc;
use crate::ChunkRef;
use crate::schema::TsdbVersion;
use model::{Error, Fingerprint, Labels, Matcher, Result};

/// A sampled fingerprint: reference and fingerprint.
const FINGERPRINT_BYTES: usize = 16;

/// A stream and those of its chunks that a request asked for, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesChunks {
    pub labels: Labels,
    pub fingerprint: Fingerprint,
    pub chunks: Vec<ChunkRef>,
}

/// A series as a visitor sees it: nothing is copied out of the file.
#[derive(Clone, Copy, Debug)]
pub struct SeriesView<'a> {
    pub fingerprint: Fingerprint,
    /// Names and values, sorted by name.
    pub labels: &'a [(&'a str, &'a str)],
    /// The chunks that were asked for, oldest first; at least one.
    pub chunks: &'a [ChunkRef],
}

impl SeriesView<'_> {
    /// A copy that lives on its own.
    pub fn to_owned(&self) -> SeriesChunks {
        SeriesChunks {
            labels: Labels::new(self.labels.iter().copied()),
            fingerprint: self.fingerprint,
            chunks: self.chunks.to_vec(),
        }
    }
}

/// An index file of version 2 or 3 in memory: `B` is a `Vec`, `Bytes` or a memory map. Its heap use is 4 bytes per
/// symbol and 4 per 32 label pairs.
#[derive(Debug)]
pub struct Index<B> {
    pub(super) bytes: B,
    version: TsdbVersion,
    pub(super) toc: Toc,
    pub(super) symbols: SymbolOffsets,
    pub(super) postings: PostingsTable,
    /// Reference and fingerprint of series 0, 1024, 2048, …
    fingerprints: Vec<(u32, u64)>,
}

impl<B: AsRef<[u8]>> Index<B> {
    /// Verifies everything but most series and the postings lists, which are verified whenever they are read.
    pub fn open(bytes: B) -> Result<Self> {
        let file = bytes.as_ref();
        let (version, toc) = Toc::read(file)?;
        if toc.symbols != HEADER_BYTES as u64 {
            return Err(Error::corrupt("table of contents: the symbols do not follow the header"));
        }
        let symbols = SymbolOffsets::read(file, toc.symbols)?;
        let postings = PostingsTable::read(file, toc.postings_table, toc.postings..toc.label_indices_table)?;
        let fingerprints = read_fingerprints(file, version, &toc)?;
        Ok(Index { bytes, version, toc, symbols, postings, fingerprints })
    }

    pub fn version(&self) -> TsdbVersion {
        self.version
    }
    /// The oldest millisecond of any chunk; above [`Index::through_ms`] in a file without chunks.
    pub fn from_ms(&self) -> i64 {
        self.toc.from_ms
    }
    /// The newest millisecond of any chunk.
    pub fn through_ms(&self) -> i64 {
        self.toc.through_ms
    }
    /// Whether a request for `[from_ms, through_ms)` needs this file, by the file's own bounds.
    pub fn overlaps(&self, from_ms: i64, through_ms: i64) -> bool {
        self.toc.from_ms < through_ms && self.toc.through_ms >= from_ms
    }
    /// The checksum of the table of contents: a part of the names that Loki's compactor gives. It covers offsets and
    /// bounds only, so files of different content may share it.
    pub fn toc_checksum(&self) -> u32 {
        let bytes = self.bytes.as_ref();
        bytes.last_chunk::<4>().map_or(0, |crc| u32::from_be_bytes(*crc))
    }
    /// The bytes of the file.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.as_ref()
    }
    /// Heap bytes held beside the file.
    pub fn heap_bytes(&self) -> usize {
        self.symbols.heap_bytes() + self.postings.heap_bytes() + self.fingerprints.capacity() * size_of::<(u32, u64)>()
    }

    /// The series that satisfy `matchers` and have chunks with `from <= through_ms` and `min < through`, with those
    /// chunks; of fingerprints in the inclusive range, if one is given. Sorted by fingerprint.
    pub fn series(
        &self,
        matchers: &[Matcher],
        from_ms: i64,
        through_ms: i64,
        fingerprints: Option<(u64, u64)>,
    ) -> Result<Vec<SeriesChunks>> {
        let mut found = Vec::new();
        self.for_each_series(matchers, from_ms, through_ms, fingerprints, |series| {
            found.push(series.to_owned());
            Ok(())
        })?;
        Ok(found)
    }

    /// As [`Index::series`], giving each series to `visit`; the first error ends it.
    pub fn for_each_series(
        &self,
        matchers: &[Matcher],
        from_ms: i64,
        through_ms: i64,
        fingerprints: Option<(u64, u64)>,
        visit: impl FnMut(SeriesView<'_>) -> Result<()>,
    ) -> Result<()> {
        let refs = select(self.bytes.as_ref(), &self.postings, matchers)?;
        let refs = self.within(&refs, fingerprints);
        self.walk(refs, (from_ms, through_ms), fingerprints, false, visit)
    }

    /// Gives every series with all its chunks to `visit`, in the order of the file; one may have no chunks.
    pub fn for_each_row(&self, visit: impl FnMut(SeriesView<'_>) -> Result<()>) -> Result<()> {
        let refs: Vec<u32> = self.postings.all(self.bytes.as_ref())?.iter().collect();
        self.walk(&refs, (i64::MIN, i64::MAX), None, true, visit)
    }

    fn walk(
        &self,
        refs: &[u32],
        (from_ms, through_ms): (i64, i64),
        fingerprints: Option<(u64, u64)>,
        keep_empty: bool,
        mut visit: impl FnMut(SeriesView<'_>) -> Result<()>,
    ) -> Result<()> {
        let file = self.bytes.as_ref();
        let (mut ordinals, mut labels, mut chunks) = (Vec::new(), Vec::new(), Vec::new());
        for reference in refs {
            let mut entry = self.entry(*reference)?;
            let fingerprint = entry.fingerprint;
            if fingerprints.is_some_and(|(low, high)| !(low..=high).contains(&fingerprint.0)) {
                continue;
            }
            ordinals.clear();
            entry.labels(|name, value| ordinals.push((name, value)))?;
            chunks.clear();
            entry.chunks(from_ms, through_ms, &mut chunks)?;
            if chunks.is_empty() && !keep_empty {
                continue;
            }
            labels.clear();
            for (name, value) in &ordinals {
                labels.push((self.symbols.get(file, *name)?, self.symbols.get(file, *value)?));
            }
            visit(SeriesView { fingerprint, labels: &labels, chunks: &chunks })?;
        }
        Ok(())
    }

    pub(super) fn entry(&self, reference: u32) -> Result<Entry<'_>> {
        Entry::read(self.bytes.as_ref(), self.version, &self.toc, reference)
    }

    /// The part of `refs` that can hold series of the fingerprints: series are stored by ascending fingerprint.
    fn within<'r>(&self, refs: &'r [u32], fingerprints: Option<(u64, u64)>) -> &'r [u32] {
        let Some((low, high)) = fingerprints else { return refs };
        let before = self.fingerprints.partition_point(|(_, fp)| *fp < low);
        let after = self.fingerprints.partition_point(|(_, fp)| *fp <= high);
        let first = before.checked_sub(1).map_or(0, |i| self.fingerprints[i].0);
        let end = self.fingerprints.get(after).map_or(u32::MAX, |(reference, _)| *reference);
        let refs = &refs[refs.partition_point(|r| *r < first)..];
        &refs[..refs.partition_point(|r| *r < end)]
    }
}

/// The sampled fingerprints, each compared with its series: a wrong table would hide series without a trace. The
/// samples are read to their ends because no checksum covers the version, which decides how a series is read.
fn read_fingerprints(file: &[u8], version: TsdbVersion, toc: &Toc) -> Result<Vec<(u32, u64)>> {
    let body = section::read(file, toc.fingerprint_offsets, "fingerprint offsets")?;
    let junk = || Error::corrupt("fingerprint offsets: malformed");
    let mut rest = body;
    let count = u32_be(&mut rest).ok_or_else(junk)? as usize;
    let mut samples: Vec<(u32, u64)> = Vec::with_capacity(count.min(body.len() / FINGERPRINT_BYTES));
    for _ in 0..count {
        let reference = u64_be(&mut rest).and_then(|r| u32::try_from(r).ok()).ok_or_else(junk)?;
        let sample = (reference, u64_be(&mut rest).ok_or_else(junk)?);
        let ascending = samples.last().is_none_or(|last| last.0 < sample.0 && last.1 <= sample.1);
        let series = Entry::read(file, version, toc, reference)?;
        if !ascending || series.fingerprint.0 != sample.1 {
            return Err(junk());
        }
        series.verify((toc.from_ms, toc.through_ms))?;
        samples.push(sample);
    }
    if !rest.is_empty() {
        return Err(junk());
    }
    Ok(samples)
}
