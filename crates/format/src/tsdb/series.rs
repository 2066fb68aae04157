//! One series of an index file: fingerprint, labels as symbol ordinals, chunks; in version 3 also the bounds of each
//! page of 16 chunks, by which a reader skips to the page where its time range begins.

use super::section::{u32_be, u64_be, verify};
use super::toc::Toc;
use super::{PAGE_CHUNKS, PAGED_CHUNKS_MIN, SERIES_ALIGNMENT};
use crate::ChunkRef;
use crate::crc::crc32c;
use crate::schema::TsdbVersion;
use model::varint::{put_uvarint, put_varint, take, uvarint, varint};
use model::{Error, Fingerprint, Result};

/// The fewest bytes of a chunk: four numbers of at least one byte and the checksum.
const CHUNK_BYTES_MIN: usize = 8;

/// A series whose checksum holds, read front to back: first its labels, then its chunks.
pub(super) struct Entry<'a> {
    pub(super) fingerprint: Fingerprint,
    reference: u32,
    version: TsdbVersion,
    rest: &'a [u8],
}

impl<'a> Entry<'a> {
    pub(super) fn read(file: &'a [u8], version: TsdbVersion, toc: &Toc, reference: u32) -> Result<Self> {
        let at = u64::from(reference) * SERIES_ALIGNMENT as u64;
        let part =
            (toc.series..toc.label_indices).contains(&at).then(|| file.get(at as usize..toc.label_indices as usize));
        let mut rest = part.flatten().ok_or_else(|| junk(reference))?;
        let content = uvarint(&mut rest).and_then(|len| take(&mut rest, len)).ok_or_else(|| junk(reference))?;
        let crc = u32_be(&mut rest).ok_or_else(|| junk(reference))?;
        verify(content, crc, || format!("series {reference}"))?;
        let mut rest = content;
        let fingerprint = Fingerprint(u64_be(&mut rest).ok_or_else(|| junk(reference))?);
        Ok(Entry { fingerprint, reference, version, rest })
    }

    /// Gives each label's name and value, as symbol ordinals, to `visit`. To be called once, before the chunks.
    pub(super) fn labels(&mut self, mut visit: impl FnMut(u64, u64)) -> Result<()> {
        let reference = self.reference;
        let mut next = || uvarint(&mut self.rest).ok_or_else(|| junk(reference));
        for _ in 0..next()? {
            let name = next()?;
            visit(name, next()?);
        }
        Ok(())
    }

    /// Appends the chunks with `from_ms <= through` and `from < through_ms`, to be called after the labels.
    pub(super) fn chunks(self, from_ms: i64, through_ms: i64, out: &mut Vec<ChunkRef>) -> Result<()> {
        let reference = self.reference;
        self.try_chunks(from_ms, through_ms, out).ok_or_else(|| junk(reference))
    }

    /// Reads the series to its end: every chunk lies within `bounds_ms`, both inclusive, and nothing follows the last.
    pub(super) fn verify(mut self, bounds_ms: (i64, i64)) -> Result<()> {
        let (reference, mut chunks) = (self.reference, Vec::new());
        self.labels(|_, _| ())?;
        self.chunks(i64::MIN, i64::MAX, &mut chunks)?;
        let inside = |c: &ChunkRef| bounds_ms.0 <= c.from_ms && c.through_ms <= bounds_ms.1;
        if chunks.iter().all(inside) { Ok(()) } else { Err(junk(reference)) }
    }

    fn try_chunks(mut self, from_ms: i64, through_ms: i64, out: &mut Vec<ChunkRef>) -> Option<()> {
        let mut left = uvarint(&mut self.rest)?;
        if left == 0 {
            return Some(());
        }
        let mut start = Start::default();
        if self.version == TsdbVersion::V3 {
            let markers_bytes = u32_be(&mut self.rest)?;
            let markers = take(&mut self.rest, u64::from(markers_bytes))?;
            if left >= PAGED_CHUNKS_MIN {
                start = first_page(markers, left, from_ms)?;
            }
        }
        left -= start.chunks;
        let mut rest = self.rest.get(usize::try_from(start.at).ok()?..)?;
        if left > (rest.len() / CHUNK_BYTES_MIN) as u64 {
            return None;
        }
        let (mut previous_ms, mut forced_ms) = (0i64, start.from_ms);
        for _ in 0..left {
            let delta_ms = varint(&mut rest)?;
            // After a jump the chunk before is not known, but a page begins with its oldest chunk.
            let chunk_from_ms = match forced_ms.take() {
                Some(page_ms) => page_ms,
                None => previous_ms.checked_add(delta_ms)?,
            };
            let chunk_through_ms = chunk_from_ms.checked_add_unsigned(uvarint(&mut rest)?)?;
            let (kb, entries) = (uvarint(&mut rest)?, uvarint(&mut rest)?);
            let checksum = u32_be(&mut rest)?;
            previous_ms = chunk_through_ms;
            if chunk_from_ms >= through_ms {
                return Some(());
            }
            if chunk_through_ms >= from_ms {
                out.push(ChunkRef {
                    fingerprint: self.fingerprint,
                    from_ms: chunk_from_ms,
                    through_ms: chunk_through_ms,
                    checksum,
                    kb: u32::try_from(kb).ok()?,
                    entries: u32::try_from(entries).ok()?,
                });
            }
        }
        (rest.is_empty() || left == 0).then_some(())
    }
}

fn junk(reference: u32) -> Error {
    Error::corrupt(format!("series {reference}: malformed"))
}

/// Where to begin reading chunks: after how many, at which byte, and with which time.
#[derive(Default)]
struct Start {
    chunks: u64,
    at: u64,
    from_ms: Option<i64>,
}

/// The first page that ends at `from_ms` or later; after all chunks when there is none.
fn first_page(mut markers: &[u8], chunks: u64, from_ms: i64) -> Option<Start> {
    let mut before = 0u64;
    for _ in 0..uvarint(&mut markers)? {
        let in_page = uvarint(&mut markers)?;
        let (_kb, _entries) = (u32_be(&mut markers)?, u32_be(&mut markers)?);
        let at = uvarint(&mut markers)?;
        let page_from_ms = varint(&mut markers)?;
        let page_through_ms = page_from_ms.checked_add(varint(&mut markers)?)?;
        if page_through_ms >= from_ms {
            return (before < chunks).then_some(Start { chunks: before, at, from_ms: Some(page_from_ms) });
        }
        before = before.checked_add(in_page)?;
    }
    (before == chunks).then_some(Start { chunks, at: 0, from_ms: None })
}

/// Appends a series; `labels` are symbol ordinals, `chunks` are sorted. `content` is a buffer to reuse.
pub(super) fn write(
    out: &mut Vec<u8>,
    content: &mut Vec<u8>,
    version: TsdbVersion,
    fingerprint: Fingerprint,
    labels: &[(u32, u32)],
    chunks: &[ChunkRef],
) {
    content.clear();
    content.extend_from_slice(&fingerprint.0.to_be_bytes());
    put_uvarint(content, labels.len() as u64);
    for (name, value) in labels {
        put_uvarint(content, u64::from(*name));
        put_uvarint(content, u64::from(*value));
    }
    put_uvarint(content, chunks.len() as u64);
    match version {
        TsdbVersion::V2 => {
            let mut previous_ms = 0;
            chunks.iter().for_each(|chunk| put_chunk(content, chunk, &mut previous_ms));
        }
        TsdbVersion::V3 => write_paged(content, chunks),
    }
    put_uvarint(out, content.len() as u64);
    out.extend_from_slice(content);
    out.extend_from_slice(&crc32c(content).to_be_bytes());
}

fn write_paged(content: &mut Vec<u8>, chunks: &[ChunkRef]) {
    let (mut markers, mut metas) = (Vec::new(), Vec::new());
    put_uvarint(&mut markers, chunks.len().div_ceil(PAGE_CHUNKS) as u64);
    let mut previous_ms = 0;
    for page in chunks.chunks(PAGE_CHUNKS) {
        let at = metas.len() as u64;
        page.iter().for_each(|chunk| put_chunk(&mut metas, chunk, &mut previous_ms));
        let kb = page.iter().fold(0u32, |sum, c| sum.saturating_add(c.kb));
        let entries = page.iter().fold(0u32, |sum, c| sum.saturating_add(c.entries));
        let from_ms = page.iter().map(|c| c.from_ms).min().unwrap_or(0);
        let through_ms = page.iter().map(|c| c.through_ms).max().unwrap_or(0);
        put_uvarint(&mut markers, page.len() as u64);
        markers.extend_from_slice(&kb.to_be_bytes());
        markers.extend_from_slice(&entries.to_be_bytes());
        put_uvarint(&mut markers, at);
        put_varint(&mut markers, from_ms);
        put_varint(&mut markers, through_ms.wrapping_sub(from_ms));
    }
    // Loki writes length 0 for a series without chunks although the page count follows.
    let markers_bytes = if chunks.is_empty() { 0 } else { markers.len() as u32 };
    content.extend_from_slice(&markers_bytes.to_be_bytes());
    content.extend_from_slice(&markers);
    content.extend_from_slice(&metas);
}

fn put_chunk(out: &mut Vec<u8>, chunk: &ChunkRef, previous_ms: &mut i64) {
    put_varint(out, chunk.from_ms.wrapping_sub(*previous_ms));
    put_uvarint(out, chunk.through_ms.wrapping_sub(chunk.from_ms) as u64);
    put_uvarint(out, u64::from(chunk.kb));
    put_uvarint(out, u64::from(chunk.entries));
    out.extend_from_slice(&chunk.checksum.to_be_bytes());
    *previous_ms = chunk.through_ms;
}
