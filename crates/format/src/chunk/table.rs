//! The block table and the tail of a chunk's data: where each block lies and what it spans.

use super::MAGIC;
use crate::Codec;
use crate::crc::crc32c;
use model::varint::{put_uvarint, put_varint, take, uvarint, varint};
use model::{Error, Result};
use std::ops::Range;

/// Bytes of a CRC-32C, as every section is followed by one.
pub(super) const CRC_BYTES: usize = 4;
/// The version written for blocks without structured metadata.
pub(super) const VERSION_PLAIN: u8 = 3;
/// The version with a symbol section and structured metadata.
pub(super) const VERSION_METADATA: u8 = 4;

/// What the table says of one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockMeta {
    pub entries: u64,
    /// Bounds of the entries' times, inclusive. Loki does not count a leading empty line, so the first entry may be older.
    pub min_ts_ns: i64,
    pub max_ts_ns: i64,
    /// From the first byte of the data.
    pub offset: u64,
    /// Compressed bytes, without the checksum that follows them.
    pub len: u64,
    /// Line bytes plus 8 for each metadata pair; 0 in versions 1 and 2.
    pub size_bytes: u64,
}

/// The sections of a chunk's data, as ranges of it.
pub(super) struct Sections {
    pub(super) version: u8,
    pub(super) codec: Codec,
    /// Version 4 only.
    pub(super) symbols: Option<Range<usize>>,
    /// Where the first block begins when blocks are laid back to back.
    pub(super) blocks: Range<usize>,
    pub(super) metas: Vec<BlockMeta>,
}

pub(super) fn put_preamble(out: &mut Vec<u8>, version: u8, codec: Codec) {
    out.extend_from_slice(&MAGIC.to_be_bytes());
    out.extend_from_slice(&[version, codec.byte()]);
}

pub(super) fn put_metas(out: &mut Vec<u8>, metas: &[BlockMeta]) {
    put_uvarint(out, metas.len() as u64);
    for meta in metas {
        put_uvarint(out, meta.entries);
        put_varint(out, meta.min_ts_ns);
        put_varint(out, meta.max_ts_ns);
        put_uvarint(out, meta.offset);
        put_uvarint(out, meta.size_bytes);
        put_uvarint(out, meta.len);
    }
}

/// Reads preamble, tail and block table of `data`; the table's checksum must agree.
pub(super) fn sections(data: &[u8]) -> Result<Sections> {
    let cut = || Error::corrupt("the chunk's data is cut short");
    let mut front = data;
    if take(&mut front, 4) != Some(&MAGIC.to_be_bytes()) {
        return Err(Error::corrupt("the chunk's data does not begin as a chunk's"));
    }
    let version = take(&mut front, 1).ok_or_else(cut)?[0];
    let codec = match version {
        1 => Codec::Gzip,
        2..=VERSION_METADATA => Codec::from_byte(take(&mut front, 1).ok_or_else(cut)?[0])?,
        _ => return Err(Error::corrupt(format!("unknown chunk version {version}"))),
    };
    let preamble = data.len() - front.len();
    let (symbols, metas) =
        tail(data, version, preamble).ok_or_else(|| Error::corrupt("the chunk's tail does not fit its data"))?;
    let table =
        checked(data, &metas).ok_or_else(|| Error::corrupt("the checksum of the chunk's block table differs"))?;
    let first_block = symbols.as_ref().map_or(preamble, |s| s.end + CRC_BYTES);
    let parsed = block_metas(table, version).ok_or_else(|| Error::corrupt("the chunk's block table is malformed"))?;
    Ok(Sections { version, codec, symbols, blocks: first_block..metas.start.max(first_block), metas: parsed })
}

/// The ranges of symbols and block table, each followed by its checksum inside `data`.
fn tail(data: &[u8], version: u8, preamble: usize) -> Option<(Option<Range<usize>>, Range<usize>)> {
    if version < VERSION_METADATA {
        let body = data.len().checked_sub(8)?;
        let start = number(data, body)?;
        let end = body.checked_sub(CRC_BYTES)?;
        return (preamble <= start && start <= end).then_some((None, start..end));
    }
    let body = data.len().checked_sub(32)?;
    let section = |at: usize| {
        let (len, start) = (number(data, at)?, number(data, at + 8)?);
        let end = start.checked_add(len)?;
        (preamble <= start && end.checked_add(CRC_BYTES)? <= body).then_some(start..end)
    };
    Some((Some(section(body)?), section(body + 16)?))
}

fn number(data: &[u8], at: usize) -> Option<usize> {
    let bytes = data.get(at..at.checked_add(8)?)?;
    usize::try_from(u64::from_be_bytes(bytes.try_into().ok()?)).ok()
}

/// The bytes of `range` when the checksum behind them agrees.
pub(super) fn checked<'a>(data: &'a [u8], range: &Range<usize>) -> Option<&'a [u8]> {
    let bytes = data.get(range.clone())?;
    let crc = data.get(range.end..range.end.checked_add(CRC_BYTES)?)?;
    (crc32c(bytes).to_be_bytes() == crc).then_some(bytes)
}

fn block_metas(mut table: &[u8], version: u8) -> Option<Vec<BlockMeta>> {
    // Each block takes one byte for each of its numbers at least.
    const NUMBERS: u64 = 5;
    let count = uvarint(&mut table)?;
    if count > table.len() as u64 / NUMBERS {
        return None;
    }
    let mut metas = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let entries = uvarint(&mut table)?;
        let (min_ts_ns, max_ts_ns) = (varint(&mut table)?, varint(&mut table)?);
        let offset = uvarint(&mut table)?;
        let size_bytes = if version >= VERSION_PLAIN { uvarint(&mut table)? } else { 0 };
        let len = uvarint(&mut table)?;
        metas.push(BlockMeta { entries, min_ts_ns, max_ts_ns, offset, len, size_bytes });
    }
    Some(metas)
}
