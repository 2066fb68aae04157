//! A chunk read to its last entry: whether blocks hold what their table says, whether times ascend, and whether what the
//! header states follows from what is inside. What a reader survives is a fault, not an error.

use super::Chunk;
use crate::ChunkRef;
use model::time::{ceil_ms, floor_ms};
use model::{Error, Fingerprint, Layout, RawBlock, Result};

/// Streams whose hashes collided are numbered upwards from 1 in place of their hashes, up to this.
pub const FINGERPRINT_MAPPED_MAX: u64 = 1 << 20;

/// Whether `stated` may be the fingerprint of labels that hash to `hashed`.
pub fn is_fingerprint_of(stated: Fingerprint, hashed: Fingerprint) -> bool {
    stated == hashed || stated.0 <= FINGERPRINT_MAPPED_MAX
}

/// What the entries of a block come to.
#[derive(Debug, Default, PartialEq)]
struct Tally {
    entries: u64,
    /// Line bytes plus 8 for each metadata pair.
    size_bytes: u64,
    /// Of entries that a writer counts: a leading empty line has no size, and Loki does not count it.
    min_ts_ns: Option<i64>,
    max_ts_ns: Option<i64>,
    /// Of all entries, as lokirs counts.
    first_ts_ns: Option<i64>,
    unordered: bool,
}

impl Chunk {
    /// Everything that is wrong inside the chunk, in words; nothing when it is sound.
    pub fn audit(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if !is_fingerprint_of(self.fingerprint, self.labels.fingerprint()) {
            faults.push(format!(
                "its labels {} have the fingerprint {}, its header says {}",
                self.labels,
                self.labels.fingerprint(),
                self.fingerprint
            ));
        }
        if let Some((from_ms, through_ms)) = self.bounds_of_blocks()
            && (from_ms, through_ms) != (self.from_ms, self.through_ms)
        {
            faults.push(format!(
                "its blocks span {from_ms} to {through_ms} ms, its header says {} to {}",
                self.from_ms, self.through_ms
            ));
        }
        let mut memory = Vec::new();
        for i in 0..self.blocks().len() {
            match self.block_into(i, std::mem::take(&mut memory)) {
                Ok(block) => {
                    faults.extend(self.faults_of(i, &block));
                    if self.outline(i).is_some_and(|outline| !outline.is_of(&block)) {
                        faults.push(format!("block {i}: its outline is another block's"));
                    }
                    memory = block.data.try_into_mut().map(Vec::from).unwrap_or_default();
                }
                Err(e) => faults.push(e.message),
            }
        }
        if self.symbols.is_dangling() {
            faults.push("structured metadata refer to symbols that are not there".into());
        }
        faults
    }

    /// The reference under which the index lists the chunk. `checksum` is that of the object.
    pub fn reference(&self, checksum: u32) -> Result<ChunkRef> {
        let mut bytes = if self.layout() == Layout::Metadata { self.symbols.text_bytes() as u64 } else { 0 };
        for (i, meta) in self.blocks().iter().enumerate() {
            // Versions 1 and 2 do not state sizes.
            let size = if self.version >= 3 { meta.size_bytes } else { tally(&self.block(i)?)?.size_bytes };
            bytes = bytes.saturating_add(size);
        }
        Ok(ChunkRef {
            fingerprint: self.fingerprint,
            from_ms: self.from_ms,
            through_ms: self.through_ms,
            checksum,
            kb: (bytes.saturating_add(512) / 1024).try_into().unwrap_or(u32::MAX),
            entries: self.entries().try_into().unwrap_or(u32::MAX),
        })
    }

    fn bounds_of_blocks(&self) -> Option<(i64, i64)> {
        let filled = || self.blocks().iter().filter(|b| b.entries > 0);
        let (min, max) = (filled().map(|b| b.min_ts_ns).min()?, filled().map(|b| b.max_ts_ns).max()?);
        Some((floor_ms(min), ceil_ms(max)))
    }

    fn faults_of(&self, i: usize, block: &RawBlock) -> Vec<String> {
        let (meta, mut faults) = (&self.blocks()[i], Vec::new());
        let tally = match tally(block) {
            Ok(tally) => tally,
            Err(e) => return vec![format!("block {i}: {}", e.message)],
        };
        let mut differs = |what: &str, found: String, stated: String| {
            if found != stated {
                faults.push(format!("block {i}: {what} {found}, its table says {stated}"));
            }
        };
        differs("entries:", tally.entries.to_string(), meta.entries.to_string());
        if self.version >= 3 {
            differs("bytes:", tally.size_bytes.to_string(), meta.size_bytes.to_string());
        }
        if let (Some(min), Some(max)) = (tally.min_ts_ns, tally.max_ts_ns) {
            let min = tally.first_ts_ns.filter(|first| *first == meta.min_ts_ns).unwrap_or(min);
            differs("times:", format!("{min} to {max} ns"), format!("{} to {} ns", meta.min_ts_ns, meta.max_ts_ns));
        }
        if tally.unordered {
            faults.push(format!("block {i}: its entries do not ascend in time"));
        }
        if i > 0 && self.blocks()[i - 1].max_ts_ns > meta.min_ts_ns {
            faults.push(format!("block {i}: it begins before the one ahead of it ends"));
        }
        faults
    }
}

fn tally(block: &RawBlock) -> Result<Tally> {
    let (mut tally, mut entries, mut last_ns) = (Tally::default(), block.entries(), i64::MIN);
    let malformed = |at: model::block::Malformed| Error::corrupt(format!("malformed at byte {}", at.offset));
    while let Some(entry) = entries.try_next().map_err(malformed)? {
        // Walked, not only counted, so that numbers without a symbol are noticed.
        entry.metadata.iter().for_each(drop);
        tally.entries += 1;
        tally.size_bytes += entry.line.len() as u64 + 8 * entry.metadata.pairs();
        tally.unordered |= entry.ts_ns < last_ns;
        tally.first_ts_ns = Some(tally.first_ts_ns.unwrap_or(entry.ts_ns));
        last_ns = entry.ts_ns;
        if tally.size_bytes > 0 {
            tally.min_ts_ns = Some(tally.min_ts_ns.unwrap_or(entry.ts_ns));
            tally.max_ts_ns = Some(entry.ts_ns);
        }
    }
    Ok(tally)
}
