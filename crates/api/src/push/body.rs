//! The body of a push: read and decompressed under caps, from memory that is reserved first. A body that is larger than
//! a cap is refused before it takes that much. It must not know what the bytes mean.

use axum::body::Body;
use bytes::Bytes;
use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use futures::StreamExt;
use model::{Error, Result};
use runtime::buffers::Buffers;
use runtime::memory::{Budget, Reservation};
use std::io::{BufRead, Read};
use std::sync::Arc;

/// Caps of one request, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimits {
    /// As sent (`distributor.max_recv_msg_size`).
    pub received_bytes_max: usize,
    /// After decompression (`distributor.max_decompressed_size`).
    pub decompressed_bytes_max: usize,
}

impl Default for BodyLimits {
    fn default() -> Self {
        BodyLimits { received_bytes_max: 100 << 20, decompressed_bytes_max: 64 << 20 }
    }
}

/// How much of a body is decompressed, and reserved, at a time.
const STEP_BYTES: usize = 256 << 10;
/// A larger body is measured before it is kept: ten times what agents send.
const UNMEASURED_BYTES_MAX: usize = 12 << 20;
/// Up to here a buffer grows by doubling.
const GROWN_BYTES_MAX: usize = 4 << 20;
/// What snappy can at most make of a byte: a copy of 64 bytes takes three.
const SNAPPY_RATIO_MAX: usize = 22;
/// A body without a length is taken to be this long at first.
const UNKNOWN_LENGTH_BYTES: usize = 64 << 10;

/// How a body is compressed, as `Content-Encoding` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Identity,
    Snappy,
    Gzip,
    Deflate,
    Zstd,
    Lz4,
}

/// Bytes and the memory reserved for them.
pub struct Buffer {
    pub data: Bytes,
    reserved: Reservation,
    buffers: Arc<Buffers>,
}

/// Reads a body whose `Content-Length` is `announced_bytes`.
pub async fn read(
    body: Body,
    announced_bytes: Option<usize>,
    limits: BodyLimits,
    budget: &Arc<Budget>,
    buffers: &Arc<Buffers>,
) -> Result<Buffer> {
    let max = limits.received_bytes_max;
    if announced_bytes.is_some_and(|n| n > max) {
        return Err(too_large(announced_bytes.unwrap_or(max), max));
    }
    let expected = announced_bytes.unwrap_or(UNKNOWN_LENGTH_BYTES);
    let mut reserved = budget.reserve(expected as u64, "a push")?;
    // The announced length is not believed: memory follows what arrives.
    let mut data = buffers.take(expected.min(max));
    data.clear();
    data.reserve(expected.min(STEP_BYTES));
    let mut frames = body.into_data_stream();
    while let Some(frame) = frames.next().await {
        let frame = frame.map_err(|e| Error::invalid(format!("the body could not be read: {e}")))?;
        let total = data.len() + frame.len();
        if total > max {
            return Err(too_large(total, max));
        }
        let missing = (total as u64).saturating_sub(reserved.bytes());
        reserved.grow(missing, "a push")?;
        data.extend_from_slice(&frame);
    }
    Ok(Buffer { data: data.freeze(), reserved, buffers: buffers.clone() })
}

impl Buffer {
    /// The bytes decompressed.
    pub fn decompress(mut self, encoding: Encoding, limits: BodyLimits) -> Result<Buffer> {
        let max = limits.decompressed_bytes_max;
        let data = match encoding {
            Encoding::Identity => {
                check_size(self.data.len(), max)?;
                return Ok(self);
            }
            Encoding::Snappy => return self.unsnappy(max),
            Encoding::Gzip => {
                if !self.data.starts_with(&[0x1f, 0x8b]) {
                    return Err(Error::invalid(if self.data.is_empty() { "EOF" } else { "gzip: invalid header" }));
                }
                decode(&self.data, &mut self.reserved, |data| Ok(MultiGzDecoder::new(data)), max)?
            }
            // Clients disagree whether "deflate" has zlib's header, as HTTP says, or not, as Loki reads it.
            Encoding::Deflate if is_zlib(&self.data) => {
                decode(&self.data, &mut self.reserved, |data| Ok(ZlibDecoder::new(data)), max)?
            }
            Encoding::Deflate => decode(&self.data, &mut self.reserved, |data| Ok(DeflateDecoder::new(data)), max)?,
            Encoding::Zstd => decode(&self.data, &mut self.reserved, zstd::stream::read::Decoder::with_buffer, max)?,
            Encoding::Lz4 => {
                decode(&self.data, &mut self.reserved, |data| Ok(lz4_flex::frame::FrameDecoder::new(data)), max)?
            }
        };
        Ok(Buffer { data: data.into(), ..self })
    }

    /// A snappy block says how long it becomes; what it says is checked before it is believed.
    fn unsnappy(mut self, max: usize) -> Result<Buffer> {
        let corrupt = || Error::invalid("snappy: corrupt input");
        let len = snap::raw::decompress_len(&self.data).map_err(|_| corrupt())?;
        if self.data.is_empty() || len > self.data.len().saturating_mul(SNAPPY_RATIO_MAX) {
            return Err(corrupt());
        }
        check_size(len, max)?;
        self.reserved.grow(len as u64, "a push")?;
        let mut out = self.buffers.take(len);
        // What is longer stays as it was: only the decoder writes there.
        out.resize(len, 0);
        let written = snap::raw::Decoder::new().decompress(&self.data, &mut out).map_err(|_| corrupt())?;
        if written == len { Ok(Buffer { data: out.freeze(), ..self }) } else { Err(corrupt()) }
    }
}

/// Decompresses step by step, until the end or the cap. Before more than a usual push is kept, the rest is measured
/// without keeping it: a bomb is refused with little memory.
fn decode<'a, R: Read + 'a>(
    data: &'a [u8],
    reserved: &mut Reservation,
    open: impl Fn(&'a [u8]) -> std::io::Result<R>,
    max: usize,
) -> Result<Vec<u8>> {
    let mut decoder = open(data).map_err(|e| corrupt_stream(&e))?;
    let mut out = Vec::new();
    let mut measured = false;
    loop {
        if out.len() > UNMEASURED_BYTES_MAX && !measured {
            measure(open(data).map_err(|e| corrupt_stream(&e))?, max)?;
            measured = true;
        }
        reserved.grow(STEP_BYTES as u64, "a push")?;
        let start = out.len();
        if start > GROWN_BYTES_MAX && out.capacity() < max {
            // Room for the rest at once: pages that are not touched cost nothing, copies of large buffers do.
            out.reserve_exact(max + STEP_BYTES - start);
        }
        out.reserve(STEP_BYTES);
        let read = decoder.by_ref().take(STEP_BYTES as u64).read_to_end(&mut out);
        read.map_err(|e| corrupt_stream(&e))?;
        check_size(out.len(), max)?;
        if out.len() - start < STEP_BYTES {
            return Ok(out);
        }
    }
}

/// Refuses a stream of more than `max` bytes.
fn measure(mut decoder: impl Read, max: usize) -> Result<()> {
    let mut scratch = vec![0; STEP_BYTES];
    let mut bytes = 0;
    loop {
        match decoder.read(&mut scratch).map_err(|e| corrupt_stream(&e))? {
            0 => return Ok(()),
            read => bytes += read,
        }
        check_size(bytes, max)?;
    }
}

fn corrupt_stream(error: &std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => Error::invalid("unexpected EOF"),
        _ => Error::invalid(format!("the body could not be decompressed: {error}")),
    }
}

/// Whether a deflated body begins with zlib's two-byte header.
fn is_zlib(mut data: &[u8]) -> bool {
    let Ok([method, flags, ..]) = data.fill_buf() else { return false };
    method & 0x0f == 8 && (u16::from(*method) << 8 | u16::from(*flags)).is_multiple_of(31)
}

fn check_size(bytes: usize, max: usize) -> Result<()> {
    if bytes > max { Err(too_large(bytes, max)) } else { Ok(()) }
}

fn too_large(bytes: usize, max: usize) -> Error {
    Error::too_large(format!("request body too large: {bytes} bytes, limit: {max} bytes"))
}
