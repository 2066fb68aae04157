//! An index file read to its last byte: every series and list verified, and the whole built anew from its series, which
//! must give the same bytes. So padding, label indices and whatever no query reads count as well.

use super::section::u32_be;
use super::toc::{TOC_BYTES, Toc};
use super::{HEADER_BYTES, Index, IndexBuilder, section};
use model::varint::{bytes, uvarint};
use model::{Error, Labels, Result};

/// The largest file that is built anew: what its series take in memory is several times the file. Of a larger one every
/// checksum is compared.
const REBUILT_BYTES_MAX: usize = 256 << 20;

impl<B: AsRef<[u8]>> Index<B> {
    /// `Corrupt` names the part that does not verify, or that is not as the series make it.
    pub fn audit(&self) -> Result<()> {
        let file = self.bytes.as_ref();
        for entry in self.postings.lists(file) {
            super::postings::List::read(file, entry?)?;
        }
        self.audit_label_indices()?;
        if file.len() > REBUILT_BYTES_MAX {
            return self.for_each_row(|_| Ok(()));
        }
        let mut builder = IndexBuilder::new(self.version());
        self.for_each_row(|row| {
            builder.add(Labels::new(row.labels.iter().copied()), row.fingerprint, row.chunks.iter().copied());
            Ok(())
        })?;
        let rebuilt = builder.build().map_err(|e| Error::corrupt(e.message))?;
        match rebuilt.iter().zip(file).position(|(a, b)| a != b) {
            None if rebuilt.len() == file.len() => Ok(()),
            at => {
                let at = at.unwrap_or(rebuilt.len().min(file.len()));
                Err(Error::corrupt(format!("{}: byte {at} is not as the series make it", self.toc.part_at(at, file))))
            }
        }
    }

    /// The lists that no reader asks for.
    fn audit_label_indices(&self) -> Result<()> {
        let file = self.bytes.as_ref();
        let body = section::read(file, self.toc.label_indices_table, "label index table")?;
        let junk = || Error::corrupt("label index table: malformed");
        let mut rest = body;
        for _ in 0..u32_be(&mut rest).ok_or_else(junk)? {
            let (one, _name) = (uvarint(&mut rest), bytes(&mut rest));
            let at = uvarint(&mut rest).filter(|_| one == Some(1)).ok_or_else(junk)?;
            section::read(file, at, "label index")?;
        }
        if rest.is_empty() { Ok(()) } else { Err(junk()) }
    }
}

impl Toc {
    /// The part of `file` that holds byte `at`.
    fn part_at(&self, at: usize, file: &[u8]) -> &'static str {
        let parts = [
            (0, "header"),
            (HEADER_BYTES as u64, "symbols"),
            (self.series, "series"),
            (self.label_indices, "label indices"),
            (self.postings, "postings"),
            (self.label_indices_table, "label index table"),
            (self.postings_table, "postings table"),
            (self.fingerprint_offsets, "fingerprint offsets"),
            (file.len().saturating_sub(TOC_BYTES) as u64, "table of contents"),
        ];
        let inside = parts.partition_point(|(start, _)| *start <= at as u64);
        parts[inside.saturating_sub(1)].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ChunkRef;
    use crate::schema::TsdbVersion;
    use crate::tsdb::section::LENGTH_BYTES;

    /// A file of several series, long ones among them, so that every part has some bytes.
    fn file(version: TsdbVersion) -> Vec<u8> {
        let mut builder = IndexBuilder::new(version);
        for (app, chunks) in [("api", 3), ("web", 70), ("größe", 1)] {
            let labels = Labels::new([("app", app), ("env", "prod")]);
            let fingerprint = labels.fingerprint();
            let chunk = |i: i64| ChunkRef {
                fingerprint,
                from_ms: i * 1000,
                through_ms: i * 1000 + 1500,
                checksum: 0x0102_0304 + i as u32,
                kb: 7,
                entries: 9,
            };
            builder.add(labels, fingerprint, (0..chunks).map(chunk));
        }
        builder.build().expect("a file")
    }

    #[test]
    fn every_flipped_bit_of_a_file_is_found() {
        for version in [TsdbVersion::V2, TsdbVersion::V3] {
            let mut bytes = file(version);
            Index::open(bytes.as_slice()).and_then(|index| index.audit()).expect("a sound file");
            for bit in 0..bytes.len() * 8 {
                bytes[bit / 8] ^= 1 << (bit % 8);
                let found = Index::open(bytes.as_slice()).and_then(|index| index.audit());
                assert!(found.is_err(), "{version:?}: bit {bit} of {}", bytes.len() * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }

    #[test]
    fn a_file_with_a_consistent_lie_is_found_and_the_part_named() {
        let bytes = file(TsdbVersion::V3);
        let (_, toc) = Toc::read(&bytes).expect("a sound file");
        let postings = (toc.postings as usize).next_multiple_of(4);
        let mut lying = bytes;
        // The list of all series loses its last one, checksum and all.
        let end = postings + LENGTH_BYTES + 4 + 3 * 4;
        lying[postings + LENGTH_BYTES + 4..end].copy_within(0..4, 4);
        let crc = crate::crc::crc32c(&lying[postings + LENGTH_BYTES..end]);
        lying[end..end + 4].copy_from_slice(&crc.to_be_bytes());
        let error = Index::open(lying.as_slice()).and_then(|index| index.audit()).expect_err("a list that lies");
        assert!(error.message.starts_with("symbols:") || error.message.starts_with("series:"), "{error}");
    }
}
