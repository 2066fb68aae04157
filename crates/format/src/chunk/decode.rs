//! Reads chunk objects of every version, block by block. Junk is an error, never a panic, and nothing is allocated on
//! the word of a number that was not checked against the bytes that are there.

use super::table::{BlockMeta, CRC_BYTES, Sections, VERSION_METADATA, checked, sections};
use super::{BLOCK_RAW_BYTES_MAX, SYMBOLS_BYTES_MAX, frame, header, outline};
use crate::crc::crc32c;
use crate::{ChunkRef, Codec};
use bytes::Bytes;
use model::varint::{bytes, uvarint};
use model::{Error, Fingerprint, Labels, Layout, Outline, RawBlock, Result, Symbols, TenantId};
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// An opened chunk: its identity, its symbols and where its blocks are. Blocks stay compressed until asked for.
#[derive(Clone, Debug)]
pub struct Chunk {
    pub tenant: String,
    /// Without the `__name__` that Loki adds.
    pub labels: Labels,
    pub fingerprint: Fingerprint,
    pub from_ms: i64,
    pub through_ms: i64,
    pub codec: Codec,
    pub version: u8,
    /// Empty before version 4.
    pub symbols: Arc<Symbols>,
    metas: Vec<BlockMeta>,
    /// Where each block was found to lie when its checksum was compared.
    verified: Vec<OnceLock<Range<usize>>>,
    data: Bytes,
    /// Where blocks may lie in `data`.
    area: Range<usize>,
    object_bytes: usize,
}

impl Chunk {
    /// Opens the object stored for `chunk` of `tenant`: its checksum, and every field that repeats the reference, must agree.
    pub fn open(object: Bytes, tenant: &TenantId, chunk: &ChunkRef) -> Result<Chunk> {
        let checksum = crc32c(&object);
        if checksum != chunk.checksum {
            let expected = chunk.checksum;
            return Err(Error::corrupt(format!("the object's checksum is {checksum:x}, the index has {expected:x}")));
        }
        let opened = Self::decode(object)?;
        opened.verify(tenant, chunk)?;
        Ok(opened)
    }

    /// Opens an object without a reference to compare it with.
    pub fn decode(object: Bytes) -> Result<Chunk> {
        let (json, range) = frame::decode(&object)?;
        let header = header::decode(&json)?;
        let data = object.slice(range);
        let Sections { version, codec, symbols, blocks, metas } = sections(&data)?;
        let symbols = match symbols {
            Some(range) => decode_symbols(&data, range, codec).map_err(|e| e.context("chunk symbols"))?,
            None => Symbols::default(),
        };
        Ok(Chunk {
            tenant: header.tenant,
            labels: header.labels,
            fingerprint: header.fingerprint,
            from_ms: header.from_ms,
            through_ms: header.through_ms,
            codec,
            version,
            symbols: Arc::new(symbols),
            verified: metas.iter().map(|_| OnceLock::new()).collect(),
            metas,
            data,
            area: blocks,
            object_bytes: object.len(),
        })
    }

    /// Whether the header names the chunk that `chunk` of `tenant` refers to.
    pub fn verify(&self, tenant: &TenantId, chunk: &ChunkRef) -> Result<()> {
        let own = (self.tenant.as_str(), self.fingerprint, self.from_ms, self.through_ms);
        let asked = (tenant.as_str(), chunk.fingerprint, chunk.from_ms, chunk.through_ms);
        if own != asked {
            return Err(Error::corrupt(format!("the chunk's header says {own:?}, the index {asked:?}")));
        }
        Ok(())
    }

    /// The block table, in the order of time that the writer kept.
    pub fn blocks(&self) -> &[BlockMeta] {
        &self.metas
    }

    pub fn layout(&self) -> Layout {
        if self.version >= VERSION_METADATA { Layout::Metadata } else { Layout::Plain }
    }

    pub fn entries(&self) -> u64 {
        self.metas.iter().fold(0, |sum, m| sum.saturating_add(m.entries))
    }

    /// Bytes of the stored object.
    pub fn object_bytes(&self) -> usize {
        self.object_bytes
    }

    /// What the chunk holds in memory, without decompressed blocks.
    pub fn memory_bytes(&self) -> usize {
        self.object_bytes
            + self.symbols.text_bytes()
            + 4 * self.symbols.len()
            + size_of_val(self.metas.as_slice())
            + size_of_val(self.verified.as_slice())
            + size_of::<Chunk>()
    }

    /// Verifies and decompresses block `i`.
    pub fn block(&self, i: usize) -> Result<RawBlock> {
        self.block_into(i, Vec::new())
    }

    /// The same in the memory of `reused`, where decompression needs any.
    pub fn block_into(&self, i: usize, reused: Vec<u8>) -> Result<RawBlock> {
        let meta = self
            .metas
            .get(i)
            .ok_or_else(|| Error::internal(format!("a chunk of {} blocks has no block {i}", self.metas.len())))?;
        let payload = self.payload(i)?;
        let data = match self.codec {
            Codec::None if payload.len() <= BLOCK_RAW_BYTES_MAX => self.data.slice_ref(payload),
            codec => {
                let hint = size_hint(meta, payload.len());
                let raw = codec.decompress_into(payload, hint, BLOCK_RAW_BYTES_MAX, reused);
                raw.map_err(|e| e.context(format!("block {i}")))?.into()
            }
        };
        Ok(RawBlock { data, layout: self.layout(), symbols: self.symbols.clone() })
    }

    /// The outline of block `i`, if it has one: lokirs writes them, Loki does not. It has a checksum of its own.
    pub fn outline(&self, i: usize) -> Option<Outline> {
        let meta = self.metas.get(i).filter(|_| self.codec == Codec::Zstd)?;
        let start = usize::try_from(meta.offset).ok()?;
        let payload = self.data.get(start..start.checked_add(usize::try_from(meta.len).ok()?)?)?;
        outline(payload, self.layout(), &self.symbols)
    }

    /// The compressed bytes of block `i`, their checksum compared the first time. When the checksum at the stated place differs, the block is looked for where
    /// the one before it ends: Loki does so because some old writers stated wrong offsets.
    pub fn payload(&self, i: usize) -> Result<&[u8]> {
        if let Some(range) = self.verified[i].get() {
            return Ok(&self.data[range.clone()]);
        }
        let range = self.verify_block(i)?;
        Ok(&self.data[self.verified[i].get_or_init(|| range).clone()])
    }

    fn verify_block(&self, i: usize) -> Result<Range<usize>> {
        let implied = match i.checked_sub(1) {
            None => self.area.start as u64,
            Some(previous) => {
                let m = &self.metas[previous];
                m.offset.saturating_add(m.len).saturating_add(CRC_BYTES as u64)
            }
        };
        let meta = &self.metas[i];
        let at = |offset: u64| {
            let start = usize::try_from(offset).ok()?;
            let end = start.checked_add(usize::try_from(meta.len).ok()?)?;
            if start < self.area.start || end.checked_add(CRC_BYTES)? > self.area.end {
                return None;
            }
            checked(&self.data, &(start..end)).map(|_| start..end)
        };
        at(meta.offset)
            .or_else(|| at(implied))
            .ok_or_else(|| Error::corrupt(format!("the checksum of block {i} differs")))
    }
}

/// A size that a block or an outline states is believed up to this many times its compressed bytes; beyond it, memory
/// grows only as bytes come out.
pub(super) const RATIO_EXPECTED_MAX: usize = 256;
/// What an entry takes on top of its line and metadata: a time, two or three lengths.
const ENTRY_BYTES: u64 = 16;

/// About how many bytes a block will have.
fn size_hint(meta: &BlockMeta, payload_bytes: usize) -> usize {
    if meta.size_bytes == 0 {
        return payload_bytes.saturating_mul(4);
    }
    let stated = meta.size_bytes.saturating_add(meta.entries.saturating_mul(ENTRY_BYTES)).saturating_add(64);
    usize::try_from(stated).unwrap_or(usize::MAX).min(payload_bytes.saturating_mul(RATIO_EXPECTED_MAX))
}

fn decode_symbols(data: &[u8], range: Range<usize>, codec: Codec) -> Result<Symbols> {
    let mut section = checked(data, &range).ok_or_else(|| Error::corrupt("the checksum differs"))?;
    let malformed = || Error::corrupt("malformed list");
    let count = uvarint(&mut section).ok_or_else(malformed)?;
    if count == 0 {
        return Ok(Symbols::default());
    }
    let raw = codec.decompress(section, section.len().saturating_mul(3), SYMBOLS_BYTES_MAX)?;
    let mut rest = raw.as_slice();
    if count > rest.len() as u64 {
        return Err(malformed());
    }
    let list = (0..count).map(|_| bytes(&mut rest).map(String::from_utf8_lossy));
    list.collect::<Option<Symbols>>().ok_or_else(malformed)
}
