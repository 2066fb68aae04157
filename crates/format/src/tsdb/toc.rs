//! The table of contents at the end of an index file: where each part begins, and the time bounds of all its chunks.

use super::section::{u64_be, verify};
use super::{HEADER_BYTES, MAGIC};
use crate::crc::crc32c;
use crate::schema::TsdbVersion;
use model::{Error, Result};

pub(super) const TOC_BYTES: usize = 76;
const CRC_AT: usize = TOC_BYTES - 4;

/// Absolute offsets; those of aligned parts are the positions before the padding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Toc {
    pub(super) symbols: u64,
    pub(super) series: u64,
    pub(super) label_indices: u64,
    pub(super) label_indices_table: u64,
    pub(super) postings: u64,
    pub(super) postings_table: u64,
    pub(super) fingerprint_offsets: u64,
    pub(super) from_ms: i64,
    pub(super) through_ms: i64,
}

impl Toc {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let at = out.len();
        for offset in [
            self.symbols,
            self.series,
            self.label_indices,
            self.label_indices_table,
            self.postings,
            self.postings_table,
            self.fingerprint_offsets,
        ] {
            out.extend_from_slice(&offset.to_be_bytes());
        }
        out.extend_from_slice(&self.from_ms.to_be_bytes());
        out.extend_from_slice(&self.through_ms.to_be_bytes());
        let crc = crc32c(&out[at..]);
        out.extend_from_slice(&crc.to_be_bytes());
    }

    /// The version and the contents of `file`: magic, checksum and the order of the parts are verified.
    pub(super) fn read(file: &[u8]) -> Result<(TsdbVersion, Toc)> {
        let short = || Error::corrupt(format!("an index file of {} bytes is too short", file.len()));
        let (magic, rest) = file.split_first_chunk::<4>().ok_or_else(short)?;
        if *magic != MAGIC.to_be_bytes() {
            return Err(Error::corrupt("not an index file: its magic number is wrong"));
        }
        let version = match rest.first() {
            Some(2) => TsdbVersion::V2,
            Some(3) => TsdbVersion::V3,
            Some(other) => return Err(Error::corrupt(format!("an index file of version {other} is not supported"))),
            None => return Err(short()),
        };
        let start = file.len().checked_sub(TOC_BYTES).filter(|start| *start >= HEADER_BYTES).ok_or_else(short)?;
        let (mut body, crc) = file[start..].split_at(CRC_AT);
        let crc = crc.first_chunk::<4>().ok_or_else(short)?;
        verify(body, u32::from_be_bytes(*crc), || "table of contents".into())?;
        let toc = Self::decode(&mut body).ok_or_else(short)?;
        let order = [
            HEADER_BYTES as u64,
            toc.symbols,
            toc.series,
            toc.label_indices,
            toc.postings,
            toc.label_indices_table,
            toc.postings_table,
            toc.fingerprint_offsets,
            start as u64,
        ];
        if !order.is_sorted() {
            return Err(Error::corrupt(format!("table of contents: parts out of order: {toc:?}")));
        }
        Ok((version, toc))
    }

    fn decode(body: &mut &[u8]) -> Option<Toc> {
        Some(Toc {
            symbols: u64_be(body)?,
            series: u64_be(body)?,
            label_indices: u64_be(body)?,
            label_indices_table: u64_be(body)?,
            postings: u64_be(body)?,
            postings_table: u64_be(body)?,
            fingerprint_offsets: u64_be(body)?,
            from_ms: u64_be(body)? as i64,
            through_ms: u64_be(body)? as i64,
        })
    }
}
