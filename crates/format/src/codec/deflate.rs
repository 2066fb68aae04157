//! Raw DEFLATE and gzip members.

use super::Output;
use crc_fast::{CrcAlgorithm, checksum};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use model::varint::take;
use model::{Error, Result};
use std::cell::RefCell;

/// Loki's header: DEFLATE, no flags, a modification time that is Go's zero time cut to 32 bits, unknown system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0x09, 0x6e, 0x88, 0, 0xff];
const FLAG_CRC: u8 = 2;
const FLAG_EXTRA: u8 = 4;
const FLAG_NAME: u8 = 8;
const FLAG_COMMENT: u8 = 16;

thread_local! {
    static COMPRESSOR: RefCell<Compress> = RefCell::new(Compress::new(Compression::default(), false));
    static DECOMPRESSOR: RefCell<Decompress> = RefCell::new(Decompress::new(false));
}

pub(super) fn deflate(raw: &[u8]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(raw.len() / 4 + 64);
    deflate_into(raw, &mut packed);
    packed
}

pub(super) fn gzip(raw: &[u8]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(raw.len() / 4 + 64);
    packed.extend_from_slice(&GZIP_HEADER);
    deflate_into(raw, &mut packed);
    packed.extend_from_slice(&crc32(raw).to_le_bytes());
    packed.extend_from_slice(&(raw.len() as u32).to_le_bytes());
    packed
}

fn deflate_into(raw: &[u8], packed: &mut Vec<u8>) {
    COMPRESSOR.with_borrow_mut(|context| {
        context.reset();
        loop {
            let rest = &raw[context.total_in() as usize..];
            let status =
                context.compress_vec(rest, packed, FlushCompress::Finish).expect("a fresh stream that takes any input");
            if status == Status::StreamEnd {
                break;
            }
            packed.reserve(packed.len().max(64));
        }
    });
}

pub(super) fn inflate(payload: &[u8], out: &mut Output) -> Result<()> {
    inflate_some(payload, out).map(drop)
}

/// Every member of a gzip stream; at least one.
pub(super) fn gunzip(mut payload: &[u8], out: &mut Output) -> Result<()> {
    loop {
        gzip_header(&mut payload).ok_or_else(|| Error::corrupt("gzip: malformed header"))?;
        let start = out.bytes.len();
        let used = inflate_some(payload, out)?;
        payload = &payload[used..];
        let trailer = take(&mut payload, 8).ok_or_else(|| Error::corrupt("gzip: unexpected end of data"))?;
        let member = &out.bytes[start..];
        if trailer[..4] != crc32(member).to_le_bytes() || trailer[4..] != (member.len() as u32).to_le_bytes() {
            return Err(Error::corrupt("gzip: checksum or length of the data differs"));
        }
        if payload.is_empty() {
            return Ok(());
        }
    }
}

/// Inflates one stream and answers how many bytes of `payload` it took.
fn inflate_some(payload: &[u8], out: &mut Output) -> Result<usize> {
    DECOMPRESSOR.with_borrow_mut(|context| {
        context.reset(false);
        loop {
            let read = context.total_in();
            let written = out.bytes.len();
            let status = context
                .decompress_vec(&payload[read as usize..], &mut out.bytes, FlushDecompress::None)
                .map_err(|e| Error::corrupt(format!("deflate: {e}")))?;
            if out.bytes.len() > out.limit_bytes {
                return Err(out.too_large());
            }
            if status == Status::StreamEnd {
                return Ok(context.total_in() as usize);
            }
            let full = out.bytes.len() == out.bytes.capacity();
            if !full && context.total_in() == read && out.bytes.len() == written {
                return Err(Error::corrupt("deflate: unexpected end of data"));
            }
            if full {
                out.reserve_some()?;
            }
        }
    })
}

fn gzip_header(buf: &mut &[u8]) -> Option<()> {
    let fixed = take(buf, 10)?;
    let flags = fixed[3];
    if fixed[..3] != GZIP_HEADER[..3] || flags & 0xe0 != 0 {
        return None;
    }
    if flags & FLAG_EXTRA != 0 {
        let len = take(buf, 2)?;
        take(buf, u64::from(u16::from_le_bytes([len[0], len[1]])))?;
    }
    for text in [FLAG_NAME, FLAG_COMMENT] {
        if flags & text != 0 {
            let end = buf.iter().position(|b| *b == 0)?;
            take(buf, end as u64 + 1)?;
        }
    }
    if flags & FLAG_CRC != 0 {
        take(buf, 2)?;
    }
    Some(())
}

fn crc32(bytes: &[u8]) -> u32 {
    checksum(CrcAlgorithm::Crc32IsoHdlc, bytes) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_members_with_every_header_field_are_read() {
        let mut payload = vec![0x1f, 0x8b, 8, 0x1f, 1, 2, 3, 4, 0, 3];
        payload.extend_from_slice(b"\x03\x00abcname\0comment\0hc");
        payload.extend_from_slice(&gzip(b"one ")[10..]);
        payload.extend_from_slice(&gzip(b"two"));
        let mut out = Output::new(0, 100);
        gunzip(&payload, &mut out).unwrap();
        assert_eq!(out.bytes, b"one two");
        assert!(gunzip(b"", &mut Output::new(0, 100)).is_err(), "an empty payload is no gzip stream");
    }
}
