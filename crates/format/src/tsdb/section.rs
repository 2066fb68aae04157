//! The frame of every part of an index file but the series: length, body, CRC-32C of the body.

use crate::crc::crc32c;
use model::{Error, Result};

pub(super) const LENGTH_BYTES: usize = 4;
pub(super) const CRC_BYTES: usize = 4;

/// The body of the section at `at`, verified.
pub(super) fn read<'a>(file: &'a [u8], at: u64, what: &str) -> Result<&'a [u8]> {
    let cut = || Error::corrupt(format!("{what} at {at}: the file ends inside"));
    let rest = usize::try_from(at).ok().and_then(|at| file.get(at..)).ok_or_else(cut)?;
    let (length, rest) = rest.split_first_chunk::<LENGTH_BYTES>().ok_or_else(cut)?;
    let (body, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize).ok_or_else(cut)?;
    let crc = rest.first_chunk::<CRC_BYTES>().ok_or_else(cut)?;
    verify(body, u32::from_be_bytes(*crc), || format!("{what} at {at}"))?;
    Ok(body)
}

/// Compares the checksum of `body`; `what` is asked for only when it differs.
pub(super) fn verify(body: &[u8], crc: u32, what: impl FnOnce() -> String) -> Result<()> {
    if crc32c(body) == crc {
        return Ok(());
    }
    Err(Error::corrupt(format!("{}: checksum mismatch", what())))
}

/// Appends the section whose body `fill` appends.
pub(super) fn write(out: &mut Vec<u8>, what: &str, fill: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
    let at = out.len();
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    let body = out.len();
    fill(out);
    let length = u32::try_from(out.len() - body)
        .map_err(|_| Error::too_large(format!("index file: the {what} section is larger than 4 GiB")))?;
    out[at..body].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c(&out[body..]);
    out.extend_from_slice(&crc.to_be_bytes());
    Ok(())
}

/// Appends zero bytes up to a multiple of `alignment`.
pub(super) fn pad(out: &mut Vec<u8>, alignment: usize) {
    out.resize(out.len().next_multiple_of(alignment), 0);
}

/// A fixed big-endian number from the front of `buf`.
pub(super) fn u32_be(buf: &mut &[u8]) -> Option<u32> {
    let (head, rest) = buf.split_first_chunk::<4>()?;
    *buf = rest;
    Some(u32::from_be_bytes(*head))
}

/// A fixed big-endian number from the front of `buf`.
pub(super) fn u64_be(buf: &mut &[u8]) -> Option<u64> {
    let (head, rest) = buf.split_first_chunk::<8>()?;
    *buf = rest;
    Some(u64::from_be_bytes(*head))
}
