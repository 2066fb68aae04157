//! The outer frame of a chunk object: where the header and the data lie. It must not know what they hold.

use super::{HEADER_BYTES_MAX, MAGIC};
use crate::codec::{Output, snappy};
use model::{Error, Result};
use std::ops::Range;

const WORD: usize = 4;

/// `u32 length of itself and the packed header, packed header, u32 length of the data`: everything before the data.
pub(super) fn encode(header_json: &str, data_bytes: u32) -> Vec<u8> {
    let packed = snappy::compress(header_json.as_bytes());
    let mut out = Vec::with_capacity(packed.len() + 2 * WORD + data_bytes as usize);
    out.extend_from_slice(&((WORD + packed.len()) as u32).to_be_bytes());
    out.extend_from_slice(&packed);
    out.extend_from_slice(&data_bytes.to_be_bytes());
    out
}

/// The decompressed header, and where the data lies in `object`.
pub(super) fn decode(object: &[u8]) -> Result<(Vec<u8>, Range<usize>)> {
    let stated = word(object, 0).ok_or_else(|| Error::corrupt("the chunk is cut short in its header length"))?;
    // Old writers did not count the length word itself.
    let data_word =
        [stated, stated.saturating_add(WORD)].into_iter().find(|at| *at >= WORD && leads_to_data(object, *at));
    let at = data_word.ok_or_else(|| Error::corrupt("the chunk's lengths do not lead to its data"))?;
    let mut header = Output::new(0, HEADER_BYTES_MAX);
    snappy::decompress(&object[WORD..at], &mut header).map_err(|e| e.context("chunk header"))?;
    Ok((header.bytes, at + WORD..object.len()))
}

/// Whether `at` holds the length of all the rest, and the rest begins as data does.
fn leads_to_data(object: &[u8], at: usize) -> bool {
    let data = at + WORD;
    word(object, at).is_some_and(|len| data.checked_add(len) == Some(object.len()))
        && word(object, data).is_some_and(|magic| magic == MAGIC as usize)
}

fn word(object: &[u8], at: usize) -> Option<usize> {
    let bytes = object.get(at..at.checked_add(WORD)?)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?) as usize)
}
