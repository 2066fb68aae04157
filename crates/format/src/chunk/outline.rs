//! The outline of a block ([`model::outline`]) inside its compressed bytes: a skippable frame behind the Zstandard frame
//! (RFC 8878, section 3.1.2), which every decoder steps over. Blocks of other encodings have none.
//!
//! Frame: `u32 MAGIC, u32 bytes of the content, content`. Content: `VERSION, 5 x uvarint bytes of a column, the columns as one
//! Zstandard frame, u32 crc32c of all this, u32 bytes of the content`, the last so that it is found from the end. Numbers
//! are little-endian.

use super::BLOCK_RAW_BYTES_MAX;
use super::decode::RATIO_EXPECTED_MAX;
use crate::Codec;
use crate::crc::crc32c;
use bytes::Bytes;
use model::outline::{COLUMNS, Columns};
use model::varint::{put_uvarint, take, uvarint};
use model::{BlockBuilder, Layout, Outline, Symbols};
use std::sync::Arc;

/// One of the sixteen that the format leaves to its users.
const MAGIC: [u8; 4] = 0x184d_2a5b_u32.to_le_bytes();
const VERSION: [u8; 4] = *b"lko1";
const WORD: usize = 4;
/// Fewer entries are read sooner than an outline of them, and would weigh less than it does.
const ENTRIES_MIN: u64 = 64;

/// Appends the outline of `block` to its compressed bytes, where there can be one and it is of use.
pub(super) fn append(payload: &mut Vec<u8>, codec: Codec, block: &BlockBuilder) {
    if codec != Codec::Zstd || block.entries < ENTRIES_MIN {
        return;
    }
    let Some(columns) = Columns::of(block.data(), block.layout()) else { return };
    let mut content = VERSION.to_vec();
    columns.each().iter().for_each(|column| put_uvarint(&mut content, column.len() as u64));
    content.extend_from_slice(&codec.compress(&columns.each().map(Vec::as_slice).concat()));
    content.extend_from_slice(&crc32c(&content).to_le_bytes());
    let Ok(bytes) = u32::try_from(content.len() + WORD) else { return };
    payload.reserve_exact(2 * WORD + bytes as usize);
    for part in [&MAGIC, &bytes.to_le_bytes(), content.as_slice(), &bytes.to_le_bytes()] {
        payload.extend_from_slice(part);
    }
}

/// Where the outline's frame begins in a block's compressed bytes, and its content.
fn frame(payload: &[u8]) -> Option<(usize, &[u8])> {
    let (_, bytes) = payload.split_last_chunk::<WORD>()?;
    let content_at = payload.len().checked_sub(usize::try_from(u32::from_le_bytes(*bytes)).ok()?)?;
    let start = content_at.checked_sub(2 * WORD)?;
    let head = payload.get(start..content_at)?;
    let content = payload.get(content_at..)?;
    (head[..WORD] == MAGIC && head[WORD..] == bytes[..] && content.starts_with(&VERSION)).then_some((start, content))
}

/// A block's compressed bytes without the outline.
pub fn without_outline(payload: &[u8]) -> &[u8] {
    frame(payload).map_or(payload, |(start, _)| &payload[..start])
}

/// The outline of the block that was compressed to `payload`. What is damaged is as if it was not there.
pub fn outline(payload: &[u8], layout: Layout, symbols: &Arc<Symbols>) -> Option<Outline> {
    let (_, content) = frame(payload)?;
    let (content, _) = content.split_last_chunk::<WORD>()?;
    let (summed, crc) = content.split_last_chunk::<WORD>()?;
    if crc32c(summed).to_le_bytes() != *crc {
        return None;
    }
    let mut rest = summed;
    take(&mut rest, VERSION.len() as u64)?;
    let mut ends = [0; COLUMNS];
    let mut end = 0usize;
    for column_end in &mut ends {
        end = end.checked_add(usize::try_from(uvarint(&mut rest)?).ok()?)?;
        *column_end = end;
    }
    let hint = end.min(rest.len().saturating_mul(RATIO_EXPECTED_MAX));
    let raw = Codec::Zstd.decompress(rest, hint, end.min(BLOCK_RAW_BYTES_MAX)).ok().filter(|raw| raw.len() == end)?;
    let (raw, mut start) = (Bytes::from(raw), 0);
    let columns = ends.map(|end| raw.slice(std::mem::replace(&mut start, end)..end));
    Some(Outline::new(Columns::from_each(columns), layout, symbols.clone()))
}
