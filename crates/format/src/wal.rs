//! Records of the write-ahead log: one pushed batch each. A log is records back to back, and at its end zeros that fill a
//! page; a reader that meets damage finds the next record by itself. It must not know files, and not what a batch means.
//!
//! Record: `magic 4, u32 LE body_bytes, u32 LE head_crc, u32 LE body_crc, body`; body: `str tenant, batch`.
//! Both checksums are CRC-32C and begin with the log's salt, a secret number that is not in the log: so a line that
//! holds a record's bytes is never taken for one. `head_crc` covers the length, which is why a damaged body costs
//! exactly its record and why the search for the next record reads every byte once.

use crate::crc::crc32c;
use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};
use model::varint::{bytes as prefixed, put_str};
use model::{Batch, Error, Result, TenantId};

/// The largest body: far above what a push request may hold, and far below what would not fit in memory.
pub const BODY_BYTES_MAX: usize = 256 << 20;
/// A log is written in whole pages: it may end in less than one of zeros.
pub const PAGE_BYTES: usize = 4096;
/// Bytes before the body.
pub const HEAD_BYTES: usize = 16;
/// Its last byte is the version of what a batch looks like.
const MAGIC: [u8; 4] = [0xd7, b'L', b'W', 0x9b];

/// The bytes that stand before `batch` in its record; record = these, then the batch as it is.
pub fn head(salt: u64, tenant: &TenantId, batch: &[u8]) -> Result<Vec<u8>> {
    let mut name = Vec::with_capacity(tenant.as_str().len() + 2);
    put_str(&mut name, tenant.as_str().as_bytes());
    let body_bytes = name.len() + batch.len();
    if body_bytes > BODY_BYTES_MAX {
        return Err(Error::too_large(format!("a batch of {body_bytes} bytes, the log takes {BODY_BYTES_MAX}")));
    }
    let length = (body_bytes as u32).to_le_bytes();
    let mut out = Vec::with_capacity(HEAD_BYTES + name.len());
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&length);
    out.extend_from_slice(&head_crc(salt, length).to_le_bytes());
    out.extend_from_slice(&body_crc(salt, &name, batch).to_le_bytes());
    out.extend_from_slice(&name);
    Ok(out)
}

fn head_crc(salt: u64, length: [u8; 4]) -> u32 {
    let mut covered = [0; 12];
    covered[..8].copy_from_slice(&salt.to_le_bytes());
    covered[8..].copy_from_slice(&length);
    crc32c(&covered)
}

fn body_crc(salt: u64, name: &[u8], batch: &[u8]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(&salt.to_le_bytes());
    digest.update(name);
    digest.update(batch);
    digest.finalize() as u32
}

/// What a walk over a log meets.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    Record {
        tenant: TenantId,
        batch: Batch,
    },
    /// Bytes that are no record: a damaged one, or one that was not written to its end.
    Damaged {
        offset: usize,
        bytes: usize,
    },
}

/// Walks the records of a log; the batches share its memory.
pub struct Records {
    salt: u64,
    log: Bytes,
    at: usize,
}

impl Records {
    pub fn new(salt: u64, log: Bytes) -> Self {
        Records { salt, log, at: 0 }
    }

    /// The body's length, if a whole and undamaged head stands at `at`.
    fn head_at(&self, at: usize) -> Option<usize> {
        let head = self.log.get(at..at + HEAD_BYTES)?;
        let length: [u8; 4] = head[4..8].try_into().ok()?;
        let body_bytes = u32::from_le_bytes(length) as usize;
        let sound = head[..4] == MAGIC && head[8..12] == head_crc(self.salt, length).to_le_bytes();
        (sound && body_bytes <= BODY_BYTES_MAX).then_some(body_bytes)
    }

    /// The record at `at` and the offset of its end.
    fn record_at(&self, at: usize) -> Option<(TenantId, Batch, usize)> {
        let end = at + HEAD_BYTES + self.head_at(at)?;
        let body = self.log.get(at + HEAD_BYTES..end)?;
        if self.log[at + 12..at + HEAD_BYTES] != body_crc(self.salt, &[], body).to_le_bytes() {
            return None;
        }
        let mut rest = body;
        let tenant = std::str::from_utf8(prefixed(&mut rest)?).ok()?;
        let batch = Batch { data: self.log.slice(end - rest.len()..end) };
        Some((TenantId::parse(tenant).ok()?, batch, end))
    }

    fn next_head(&self, from: usize) -> usize {
        let mut at = from;
        while let Some(step) = self.log.get(at..).and_then(|rest| rest.iter().position(|b| *b == MAGIC[0])) {
            at += step;
            if self.head_at(at).is_some() {
                return at;
            }
            at += 1;
        }
        self.log.len()
    }
}

impl Iterator for Records {
    type Item = Found;
    fn next(&mut self) -> Option<Found> {
        let at = self.at;
        let rest = self.log.get(at..).unwrap_or_default();
        if rest.len() < PAGE_BYTES && rest.iter().all(|byte| *byte == 0) {
            return None;
        }
        if let Some((tenant, batch, end)) = self.record_at(at) {
            self.at = end;
            return Some(Found::Record { tenant, batch });
        }
        let after = self.head_at(at).map(|body_bytes| at + HEAD_BYTES + body_bytes);
        self.at = match after {
            Some(end) if end == self.log.len() || self.head_at(end).is_some() => end,
            _ => self.next_head(at + 1),
        };
        Some(Found::Damaged { offset: at, bytes: self.at - at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: u64 = 0x1234_5678_9abc_def0;

    fn tenant(i: usize) -> TenantId {
        TenantId::parse(["acme", "globex"][i % 2]).unwrap()
    }

    /// A log of `count` records and the offset of each record's end.
    fn log(count: usize) -> (Vec<u8>, Vec<usize>) {
        let (mut log, mut ends) = (vec![], vec![]);
        for i in 0..count {
            let batch: Vec<u8> = (0..i * 7 % 90).map(|b| (b * i) as u8).collect();
            log.extend(head(SALT, &tenant(i), &batch).unwrap());
            log.extend(batch);
            ends.push(log.len());
        }
        (log, ends)
    }

    fn records(log: &[u8]) -> (Vec<(TenantId, Vec<u8>)>, usize) {
        let (mut records, mut damaged) = (vec![], 0);
        for found in Records::new(SALT, Bytes::copy_from_slice(log)) {
            match found {
                Found::Record { tenant, batch } => records.push((tenant, batch.data.to_vec())),
                Found::Damaged { bytes, .. } => damaged += usize::from(bytes > 0),
            }
        }
        (records, damaged)
    }

    #[test]
    fn every_truncation_costs_only_the_record_that_was_cut() {
        let (log, ends) = log(50);
        let all = records(&log).0;
        assert_eq!(all.len(), 50);
        for cut in 0..log.len() {
            let whole = ends.iter().filter(|end| **end <= cut).count();
            let torn = usize::from(cut != 0 && !ends.contains(&cut));
            assert_eq!(records(&log[..cut]), (all[..whole].to_vec(), torn), "cut at {cut}");
        }
    }

    #[test]
    fn a_flipped_bit_costs_only_the_record_that_it_is_in() {
        let (log, ends) = log(50);
        let all = records(&log).0;
        let mut seed = 42u64;
        for _ in 0..2000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (at, bit) = ((seed >> 33) as usize % log.len(), (seed >> 29) & 7);
            let mut broken = log.clone();
            broken[at] ^= 1 << bit;
            let hit = ends.partition_point(|end| *end <= at);
            let mut expected = all.clone();
            expected.remove(hit);
            assert_eq!(records(&broken), (expected, 1), "bit {bit} of byte {at}");
        }
    }

    #[test]
    fn a_page_that_is_not_full_ends_the_log_and_a_longer_gap_is_damage() {
        let (log, _) = log(50);
        let all = records(&log).0;
        for (zeros, damaged) in [(0, 0), (1, 0), (PAGE_BYTES - 1, 0), (PAGE_BYTES, 1)] {
            let padded = [log.as_slice(), &vec![0; zeros]].concat();
            assert_eq!(records(&padded), (all.clone(), damaged), "{zeros} zeros");
        }
    }

    #[test]
    fn a_record_inside_a_line_is_not_a_record() {
        let forged = head(SALT ^ 1, &tenant(1), b"forged").unwrap();
        let line = [forged, b"forged".to_vec()].concat();
        let mut log = head(SALT, &tenant(0), &line).unwrap();
        log.extend(&line);
        log[5] ^= 1;
        assert_eq!(records(&log), (vec![], 1), "not even when the record around it is damaged");
    }

    #[test]
    fn a_hole_in_the_log_costs_what_was_in_it() {
        let (mut log, ends) = log(50);
        let all = records(&log).0;
        log.drain(ends[9] + 3..ends[19] + 5);
        let (found, damaged) = records(&log);
        assert!(damaged >= 1);
        assert_eq!(found, [&all[..10], &all[21..]].concat());
    }

    #[test]
    fn the_bytes_are_these() {
        let bytes = head(1, &TenantId::parse("t").unwrap(), b"b").unwrap();
        assert_eq!(bytes, [0xd7, b'L', b'W', 0x9b, 3, 0, 0, 0, 84, 232, 51, 120, 137, 133, 207, 233, 1, b't']);
    }
}
