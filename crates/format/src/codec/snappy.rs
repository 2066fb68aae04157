//! The snappy framing format: a stream identifier, then frames of at most 64 KiB with a masked CRC-32C each.
//! Also the compression of a chunk's header.

use super::Output;
use crate::crc::crc32c;
use model::varint::take;
use model::{Error, Result};
use snap::raw::{Decoder, Encoder, decompress_len, max_compress_len};
use std::cell::RefCell;

const IDENTIFIER: &[u8; 10] = b"\xff\x06\x00\x00sNaPpY";
const TYPE_COMPRESSED: u8 = 0;
const TYPE_STORED: u8 = 1;
const TYPE_IDENTIFIER: u8 = 0xff;
/// Types from here on may be skipped by a reader that does not know them; lower ones may not.
const TYPE_SKIPPABLE_FIRST: u8 = 0x80;
/// The most uncompressed bytes in a frame.
const FRAME_BYTES_MAX: usize = 64 << 10;

thread_local! {
    static ENCODER: RefCell<Encoder> = RefCell::new(Encoder::new());
}

/// Nothing for an empty input, as Loki's writer has it.
pub(crate) fn compress(raw: &[u8]) -> Vec<u8> {
    if raw.is_empty() {
        return Vec::new();
    }
    let mut out =
        Vec::with_capacity(IDENTIFIER.len() + raw.len() / 2 + max_compress_len(raw.len().min(FRAME_BYTES_MAX)));
    out.extend_from_slice(IDENTIFIER);
    ENCODER.with_borrow_mut(|encoder| {
        for frame in raw.chunks(FRAME_BYTES_MAX) {
            put_frame(encoder, frame, &mut out);
        }
    });
    out.shrink_to_fit();
    out
}

/// Appends a frame; one that compression shortens by less than an eighth is stored as it is.
fn put_frame(encoder: &mut Encoder, raw: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let body = start + 8;
    out.resize(body + max_compress_len(raw.len()), 0);
    let packed = encoder.compress(raw, &mut out[body..]).expect("the output has room for any input");
    let stored = packed >= raw.len() - raw.len() / 8;
    let len = if stored {
        out[body..body + raw.len()].copy_from_slice(raw);
        raw.len()
    } else {
        packed
    };
    out.truncate(body + len);
    out[start] = if stored { TYPE_STORED } else { TYPE_COMPRESSED };
    out[start + 1..start + 4].copy_from_slice(&(len as u32 + 4).to_le_bytes()[..3]);
    out[start + 4..body].copy_from_slice(&masked(crc32c(raw)).to_le_bytes());
}

fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

pub(crate) fn decompress(mut payload: &[u8], out: &mut Output) -> Result<()> {
    let mut decoder = Decoder::new();
    let mut identified = false;
    while !payload.is_empty() {
        let (kind, body) = frame(&mut payload).ok_or_else(|| Error::corrupt("snappy: a frame is cut short"))?;
        match kind {
            TYPE_IDENTIFIER if body == &IDENTIFIER[4..] => identified = true,
            TYPE_COMPRESSED | TYPE_STORED if identified => take_frame(&mut decoder, kind, body, out)?,
            TYPE_SKIPPABLE_FIRST.. if identified && kind != TYPE_IDENTIFIER => {}
            _ => return Err(Error::corrupt(format!("snappy: unexpected frame of type {kind:#04x}"))),
        }
    }
    Ok(())
}

fn frame<'a>(payload: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let head = take(payload, 4)?;
    let body = take(payload, u64::from(u32::from_le_bytes([head[1], head[2], head[3], 0])))?;
    Some((head[0], body))
}

fn take_frame(decoder: &mut Decoder, kind: u8, body: &[u8], out: &mut Output) -> Result<()> {
    let corrupt = |what: &str| Error::corrupt(format!("snappy: {what}"));
    let (crc, data) = body.split_at_checked(4).ok_or_else(|| corrupt("a frame has no checksum"))?;
    let start = out.bytes.len();
    if kind == TYPE_STORED {
        if data.len() > FRAME_BYTES_MAX {
            return Err(corrupt("a frame is too large"));
        }
        out.extend(data)?;
    } else {
        let len = decompress_len(data).map_err(|e| corrupt(&e.to_string()))?;
        if len > FRAME_BYTES_MAX {
            return Err(corrupt("a frame is too large"));
        }
        if len > out.room() {
            return Err(out.too_large());
        }
        out.bytes.resize(start + len, 0);
        decoder.decompress(data, &mut out.bytes[start..]).map_err(|e| corrupt(&e.to_string()))?;
    }
    if masked(crc32c(&out.bytes[start..])).to_le_bytes() != crc {
        return Err(corrupt("the checksum of a frame differs"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_readable_by_and_from_another_implementation() {
        use std::io::{Read, Write};
        let raw: Vec<u8> = (0..200_000u32).flat_map(|i| (i / 7).to_le_bytes()).collect();
        let mut theirs = Vec::new();
        snap::read::FrameDecoder::new(compress(&raw).as_slice()).read_to_end(&mut theirs).unwrap();
        assert!(theirs == raw);
        let mut encoder = snap::write::FrameEncoder::new(Vec::new());
        encoder.write_all(&raw).unwrap();
        let mut out = Output::new(0, raw.len());
        decompress(&encoder.into_inner().unwrap(), &mut out).unwrap();
        assert!(out.bytes == raw);
    }

    #[test]
    fn paddings_are_skipped_and_unknown_frames_refused() {
        let mut stream = compress(b"abc");
        stream.extend_from_slice(b"\xfe\x02\x00\x00\0\0");
        stream.extend_from_slice(&compress(b"def"));
        let mut out = Output::new(0, 6);
        decompress(&stream, &mut out).unwrap();
        assert_eq!(out.bytes, b"abcdef");
        for bad in [&stream[10..], b"\xff\x06\x00\x00sNaPpX", b"\xff\x06\x00\x00sNaPpY\x02\x00\x00\x00", b"\x01"] {
            assert!(decompress(bad, &mut Output::new(0, 100)).is_err(), "{bad:?}");
        }
    }
}
