//! LZ4 frames with independent blocks and no checksums, as Loki's writer makes them; a reader for any valid frame.

use super::Output;
use lz4_flex::block::{
    CompressTable, DecompressError, compress_into_with_table, decompress_into, get_maximum_output_size,
};
use lz4_flex::frame::FrameDecoder;
use model::varint::take;
use model::{Error, Result};
use std::cell::RefCell;
use std::io::Read;

const MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
/// Version 1, independent blocks, no checksums, no content size, no dictionary.
const FLAGS: u8 = 0x60;
/// Set in a block's length when the block is stored as it is.
const STORED: u32 = 1 << 31;

/// The largest block of a frame.
#[derive(Clone, Copy)]
pub(super) enum BlockMax {
    K64,
    K256,
    M1,
    M4,
}

impl BlockMax {
    fn bytes(self) -> usize {
        match self {
            BlockMax::K64 => 64 << 10,
            BlockMax::K256 => 256 << 10,
            BlockMax::M1 => 1 << 20,
            BlockMax::M4 => 4 << 20,
        }
    }

    /// The frame descriptor's size byte and its checksum: the second byte of XXH32 over flags and size.
    fn descriptor(self) -> [u8; 2] {
        match self {
            BlockMax::K64 => [0x40, 0x82],
            BlockMax::K256 => [0x50, 0xfb],
            BlockMax::M1 => [0x60, 0x51],
            BlockMax::M4 => [0x70, 0x73],
        }
    }

    fn from_descriptor(descriptor: &[u8]) -> Option<BlockMax> {
        [Self::K64, Self::K256, Self::M1, Self::M4].into_iter().find(|b| b.descriptor() == descriptor)
    }
}

thread_local! {
    static TABLE: RefCell<CompressTable> = RefCell::new(CompressTable::default());
}

pub(super) fn compress(raw: &[u8], block_max: BlockMax) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len() / 2 + get_maximum_output_size(raw.len().min(block_max.bytes())) + 16);
    out.extend_from_slice(&MAGIC);
    out.push(FLAGS);
    out.extend_from_slice(&block_max.descriptor());
    TABLE.with_borrow_mut(|table| {
        for block in raw.chunks(block_max.bytes()) {
            put_block(table, block, &mut out);
        }
    });
    out.extend_from_slice(&[0; 4]);
    out.shrink_to_fit();
    out
}

fn put_block(table: &mut CompressTable, raw: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + 4 + get_maximum_output_size(raw.len()), 0);
    let packed =
        compress_into_with_table(raw, &mut out[start + 4..], table).expect("the output has room for any input");
    let word = if packed >= raw.len() {
        out.truncate(start + 4);
        out.extend_from_slice(raw);
        raw.len() as u32 | STORED
    } else {
        out.truncate(start + 4 + packed);
        packed as u32
    };
    out[start..start + 4].copy_from_slice(&word.to_le_bytes());
}

pub(super) fn decompress(payload: &[u8], out: &mut Output) -> Result<()> {
    match plain_frame(payload) {
        Some((blocks, block_max)) => plain_blocks(blocks, block_max.bytes(), out),
        None => any_frame(payload, out),
    }
}

/// The blocks of a frame of Loki's kind.
fn plain_frame(payload: &[u8]) -> Option<(&[u8], BlockMax)> {
    let head = payload.get(..7)?;
    let block_max = BlockMax::from_descriptor(&head[5..])?;
    (head[..4] == MAGIC && head[4] == FLAGS).then_some((&payload[7..], block_max))
}

fn plain_blocks(mut rest: &[u8], block_bytes_max: usize, out: &mut Output) -> Result<()> {
    loop {
        let short = || Error::corrupt("lz4: unexpected end of data");
        let word = take(&mut rest, 4).ok_or_else(short)?;
        let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        if word == 0 {
            break;
        }
        let block = take(&mut rest, u64::from(word & !STORED)).ok_or_else(short)?;
        if word & STORED != 0 {
            out.extend(block)?;
        } else {
            unpack_block(block, block_bytes_max, out)?;
        }
    }
    if rest.is_empty() { Ok(()) } else { any_frame(rest, out) }
}

/// Decompresses into the room that is there, or into the largest block's when that was too little.
fn unpack_block(block: &[u8], block_bytes_max: usize, out: &mut Output) -> Result<()> {
    let start = out.bytes.len();
    let most = block_bytes_max.min(out.room());
    let mut room = (out.bytes.capacity() - start).min(most);
    loop {
        out.bytes.resize(start + room, 0);
        match decompress_into(block, &mut out.bytes[start..]) {
            Ok(len) => {
                out.bytes.truncate(start + len);
                return Ok(());
            }
            Err(DecompressError::OutputTooSmall { .. }) if room < most => room = most,
            Err(DecompressError::OutputTooSmall { .. }) if most < block_bytes_max => return Err(out.too_large()),
            Err(e) => return Err(Error::corrupt(format!("lz4: {e}"))),
        }
    }
}

/// Frames with checksums, linked blocks or a content size, one after the other.
fn any_frame(payload: &[u8], out: &mut Output) -> Result<()> {
    let mut source = payload;
    while !source.is_empty() {
        let allowed = out.room() as u64 + 1;
        let mut decoder = FrameDecoder::new(source);
        (&mut decoder).take(allowed).read_to_end(&mut out.bytes).map_err(|e| Error::corrupt(format!("lz4: {e}")))?;
        if out.bytes.len() > out.limit_bytes {
            return Err(out.too_large());
        }
        let rest = decoder.into_inner();
        if rest.len() == source.len() {
            return Err(Error::corrupt("lz4: unexpected end of data"));
        }
        source = rest;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    use std::io::Write;

    #[test]
    fn frames_of_every_kind_are_read() {
        let raw: Vec<u8> = (0..300_000u32).flat_map(|i| (i / 5).to_le_bytes()).collect();
        for mode in [BlockMode::Independent, BlockMode::Linked] {
            for checksums in [false, true] {
                let info = FrameInfo::new().block_mode(mode).block_checksums(checksums).content_checksum(checksums);
                let info = info.block_size(BlockSize::Max64KB).content_size(checksums.then_some(raw.len() as u64));
                let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
                encoder.write_all(&raw).unwrap();
                let payload = encoder.finish().unwrap();
                let mut out = Output::new(0, raw.len());
                decompress(&payload, &mut out).unwrap();
                assert!(out.bytes == raw, "{mode:?} {checksums}");
            }
        }
    }

    #[test]
    fn our_frames_are_read_by_another_implementation() {
        let raw: Vec<u8> = (0..300_000u32).flat_map(|i| (i / 5).to_le_bytes()).collect();
        for block_max in [BlockMax::K64, BlockMax::K256, BlockMax::M1, BlockMax::M4] {
            let mut theirs = Vec::new();
            FrameDecoder::new(compress(&raw, block_max).as_slice()).read_to_end(&mut theirs).unwrap();
            assert!(theirs == raw);
        }
    }
}
