//! Writes chunk objects: compresses blocks one by one as they fill, and puts them together when the chunk is full.

use super::table::{BlockMeta, CRC_BYTES, VERSION_METADATA, VERSION_PLAIN, put_metas, put_preamble};
use super::{OBJECT_BYTES_MAX, frame, header, outline};
use crate::crc::crc32c;
use crate::{ChunkRef, Codec};
use bytes::Bytes;
use model::time::{ceil_ms, floor_ms};
use model::varint::{put_str, put_uvarint};
use model::{BlockBuilder, Error, Fingerprint, Labels, Layout, Result, Symbols, TenantId};

/// A compressed block on its way into a chunk.
#[derive(Clone, Debug)]
pub struct SealedBlock {
    pub codec: Codec,
    pub layout: Layout,
    pub payload: Bytes,
    pub entries: u64,
    pub min_ts_ns: i64,
    pub max_ts_ns: i64,
    /// Line bytes plus 8 for each metadata pair, as the block table states it.
    pub size_bytes: u64,
    /// Length of the block before compression.
    pub raw_bytes: u64,
}

/// Compresses a block, and adds its outline. The entries stay in the order they are in: sorting is up to the caller.
pub fn seal(codec: Codec, block: &BlockBuilder) -> SealedBlock {
    sealed(codec, block, codec.compress(block.data()))
}

/// A block whose compressed bytes, without an outline, are there already.
pub fn sealed(codec: Codec, block: &BlockBuilder, mut payload: Vec<u8>) -> SealedBlock {
    outline::append(&mut payload, codec, block);
    SealedBlock {
        codec,
        layout: block.layout(),
        payload: payload.into(),
        entries: block.entries,
        min_ts_ns: block.min_ts_ns,
        max_ts_ns: block.max_ts_ns,
        size_bytes: block.size_bytes,
        raw_bytes: block.data().len() as u64,
    }
}

/// What makes a chunk. Blocks must not overlap in time and ascend; entries ascend within a block: readers rely on it.
#[derive(Clone, Copy, Debug)]
pub struct ChunkParts<'a> {
    pub tenant: &'a TenantId,
    pub labels: &'a Labels,
    pub fingerprint: Fingerprint,
    pub codec: Codec,
    pub layout: Layout,
    /// What the metadata of every block refers to; not stored in the plain layout.
    pub symbols: &'a Symbols,
    pub blocks: &'a [SealedBlock],
}

/// The object of a chunk, and the reference that the index lists it under.
pub fn encode(parts: &ChunkParts<'_>) -> Result<(ChunkRef, Bytes)> {
    check(parts)?;
    let (from_ms, through_ms) = bounds_ms(parts.blocks)?;
    let data = encode_data(parts);
    let data_bytes = u32::try_from(data.len()).ok().filter(|len| *len as usize <= OBJECT_BYTES_MAX);
    let data_bytes = data_bytes.ok_or_else(|| Error::too_large(format!("a chunk of {} bytes", data.len())))?;
    let json = header::encode(parts.tenant.as_str(), parts.fingerprint, from_ms, through_ms, parts.labels);
    let mut object = frame::encode(&json, data_bytes);
    object.extend_from_slice(&data);
    let chunk = ChunkRef {
        fingerprint: parts.fingerprint,
        from_ms,
        through_ms,
        checksum: crc32c(&object),
        kb: kb(parts),
        entries: parts.blocks.iter().map(|b| b.entries).sum::<u64>().try_into().unwrap_or(u32::MAX),
    };
    Ok((chunk, object.into()))
}

fn check(parts: &ChunkParts<'_>) -> Result<()> {
    match parts.blocks.iter().find(|b| b.codec != parts.codec || b.layout != parts.layout) {
        None => Ok(()),
        Some(b) => Err(Error::internal(format!(
            "a block sealed as {:?}/{:?} in a chunk of {:?}/{:?}",
            b.codec, b.layout, parts.codec, parts.layout
        ))),
    }
}

/// The oldest time rounded down, the newest rounded up.
fn bounds_ms(blocks: &[SealedBlock]) -> Result<(i64, i64)> {
    let min = blocks.iter().filter(|b| b.entries > 0).map(|b| b.min_ts_ns).min();
    let max = blocks.iter().filter(|b| b.entries > 0).map(|b| b.max_ts_ns).max();
    match (min, max) {
        (Some(min), Some(max)) => Ok((floor_ms(min), ceil_ms(max))),
        _ => Err(Error::internal("a chunk without entries")),
    }
}

/// Uncompressed size in KiB, rounded half up.
fn kb(parts: &ChunkParts<'_>) -> u32 {
    let symbols = if parts.layout == Layout::Metadata { parts.symbols.text_bytes() as u64 } else { 0 };
    let bytes = symbols + parts.blocks.iter().map(|b| b.size_bytes).sum::<u64>();
    ((bytes + 512) / 1024).try_into().unwrap_or(u32::MAX)
}

fn encode_data(parts: &ChunkParts<'_>) -> Vec<u8> {
    let payload: usize = parts.blocks.iter().map(|b| b.payload.len() + 64).sum();
    let mut out = Vec::with_capacity(payload + parts.symbols.text_bytes() + 128);
    let version = if parts.layout == Layout::Metadata { VERSION_METADATA } else { VERSION_PLAIN };
    put_preamble(&mut out, version, parts.codec);
    let symbols_at = out.len();
    if version == VERSION_METADATA {
        put_symbols(&mut out, parts.codec, parts.symbols);
        put_crc(&mut out, symbols_at);
    }
    let symbols_bytes = out.len().saturating_sub(symbols_at + CRC_BYTES);
    let metas: Vec<BlockMeta> = parts.blocks.iter().filter(|b| b.entries > 0).map(|b| put_block(&mut out, b)).collect();
    let metas_at = out.len();
    put_metas(&mut out, &metas);
    put_crc(&mut out, metas_at);
    let metas_bytes = out.len() - metas_at - CRC_BYTES;
    if version == VERSION_METADATA {
        for number in [symbols_bytes, symbols_at, metas_bytes] {
            out.extend_from_slice(&(number as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&(metas_at as u64).to_be_bytes());
    out
}

fn put_symbols(out: &mut Vec<u8>, codec: Codec, symbols: &Symbols) {
    put_uvarint(out, symbols.len() as u64);
    let mut raw = Vec::with_capacity(symbols.text_bytes() + 2 * symbols.len());
    for symbol in symbols.iter() {
        put_str(&mut raw, symbol.as_bytes());
    }
    out.extend_from_slice(&codec.compress(&raw));
}

fn put_block(out: &mut Vec<u8>, block: &SealedBlock) -> BlockMeta {
    let offset = out.len() as u64;
    out.extend_from_slice(&block.payload);
    out.extend_from_slice(&crc32c(&block.payload).to_be_bytes());
    BlockMeta {
        entries: block.entries,
        min_ts_ns: block.min_ts_ns,
        max_ts_ns: block.max_ts_ns,
        offset,
        len: block.payload.len() as u64,
        size_bytes: block.size_bytes,
    }
}

/// Appends the checksum of everything from `start` on.
fn put_crc(out: &mut Vec<u8>, start: usize) {
    let crc = crc32c(&out[start..]);
    out.extend_from_slice(&crc.to_be_bytes());
}
