//! A cut block on its way from raw to compressed. It is readable at every moment of it.

use crate::order::{for_each_entry, ordered};
use crate::spill::{Extent, Spill};
use bytes::Bytes;
use foldhash::quality::FixedState;
use format::Codec;
use format::chunk::{SealedBlock, seal, sealed, without_outline};
use model::{BlockBuilder, Result, Symbols};
use parking_lot::Mutex;
use rpc::ingester::{OfferedBlock, RecentBlock};
use runtime::memory::Reservation;
use std::collections::HashSet;
use std::hash::BuildHasher;
use std::sync::Arc;
use xxhash_rust::xxh64::xxh64;

/// Lends a builder's bytes without copying them, and keeps the memory of a copy reserved while somebody reads it.
struct Lent {
    block: Arc<BlockBuilder>,
    _memory: Option<Reservation>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.block.data()
    }
}

/// Entries as they arrived.
#[derive(Clone)]
pub struct RawEntries {
    pub block: Arc<BlockBuilder>,
    /// Whether they ascend and none comes twice.
    pub ordered: bool,
}

impl RawEntries {
    pub fn bytes(&self) -> Bytes {
        Bytes::from_owner(Lent { block: self.block.clone(), _memory: None })
    }

    /// The same entries in order, once each, as one block.
    pub fn into_ordered(self) -> Result<Arc<BlockBuilder>> {
        if self.ordered {
            return Ok(self.block);
        }
        let layout = self.block.layout();
        let mut blocks = ordered(&[self.bytes()], layout, u64::MAX)?;
        Ok(Arc::new(blocks.pop().unwrap_or_else(|| BlockBuilder::new(layout))))
    }
}

/// Cheap to clone: who works with the bytes does not keep the lock.
#[derive(Clone)]
enum State {
    Raw(RawEntries),
    Sealed(SealedBlock),
    /// Sealed, and the payload is elsewhere.
    Spilled(SealedBlock, Extent),
}

/// A block that takes no more entries.
pub struct HeldBlock {
    pub min_ts_ns: i64,
    pub max_ts_ns: i64,
    pub entries: u64,
    pub size_bytes: u64,
    /// Bytes before compression.
    pub raw_bytes: u64,
    state: Mutex<(State, Option<Reservation>)>,
}

impl HeldBlock {
    pub fn new(raw: RawEntries, memory: Option<Reservation>) -> Self {
        let b = &raw.block;
        HeldBlock {
            min_ts_ns: b.min_ts_ns,
            max_ts_ns: b.max_ts_ns,
            entries: b.entries,
            size_bytes: b.size_bytes,
            raw_bytes: b.data().len() as u64,
            state: Mutex::new((State::Raw(raw), memory)),
        }
    }

    fn state(&self) -> State {
        self.state.lock().0.clone()
    }

    /// Compresses the block if nobody has done so, and gives back the memory that it saves.
    pub fn seal(&self, codec: Codec) -> Result<SealedBlock> {
        let raw = match self.state() {
            State::Raw(raw) => raw,
            State::Sealed(sealed) => return Ok(sealed),
            State::Spilled(sealed, extent) => return Ok(SealedBlock { payload: extent.read()?, ..sealed }),
        };
        let sealed = seal(codec, &*raw.into_ordered()?);
        self.keep(sealed.clone());
        Ok(sealed)
    }

    /// XXH64 of the block before compression, which replicas that cut it alike have in common; `None` when it is
    /// compressed already.
    pub fn digest(&self) -> Result<Option<u64>> {
        match self.state() {
            State::Raw(raw) => Ok(Some(xxh64(raw.into_ordered()?.data(), 0))),
            State::Sealed(_) | State::Spilled(..) => Ok(None),
        }
    }

    /// Takes another replica's compression of the block. It is not believed: only what decompresses to the block's own
    /// bytes is taken. True when the block is compressed now.
    pub fn adopt(&self, offer: &OfferedBlock) -> bool {
        let State::Raw(raw) = self.state() else { return true };
        let Ok(block) = raw.into_ordered() else { return false };
        let bytes = block.data().len();
        let same = offer.codec.decompress(&offer.payload, bytes, bytes).is_ok_and(|data| data == block.data());
        if same {
            // A copy: the offer is a slice of a message with many. Its outline is not looked at: the own one is added.
            self.keep(sealed(offer.codec, &block, without_outline(&offer.payload).to_vec()));
        }
        same
    }

    /// The block is compressed: what that saves of its memory is given back.
    fn keep(&self, sealed: SealedBlock) {
        let mut state = self.state.lock();
        // Two may have compressed it at one moment.
        if !matches!(state.0, State::Raw(_)) {
            return;
        }
        let kept = state.1.as_mut().map(|memory| memory.split(sealed.payload.len() as u64));
        *state = (State::Sealed(sealed), kept);
    }

    /// Gives the memory of a sealed block back, if `spill` takes its bytes.
    pub fn spill(&self, spill: &Spill) {
        let State::Sealed(sealed) = self.state() else { return };
        if let Some(extent) = spill.write(&sealed.payload) {
            *self.state.lock() = (State::Spilled(SealedBlock { payload: Bytes::new(), ..sealed }, extent), None);
        }
    }

    /// Bytes in memory, which for a sealed block is the compressed size.
    pub fn payload_bytes(&self) -> u64 {
        match &self.state.lock().0 {
            State::Raw(_) => self.raw_bytes,
            State::Sealed(sealed) => sealed.payload.len() as u64,
            State::Spilled(..) => 0,
        }
    }

    /// The compressed size, once there is one.
    pub fn sealed_bytes(&self) -> Option<u64> {
        match &self.state.lock().0 {
            State::Raw(_) => None,
            State::Sealed(sealed) => Some(sealed.payload.len() as u64),
            State::Spilled(_, extent) => Some(extent.bytes as u64),
        }
    }

    /// For a reader: ordered, as compressed as it happens to be.
    pub fn recent(&self, symbols: &Arc<Symbols>) -> Result<RecentBlock> {
        match self.state() {
            State::Raw(raw) => Ok(recent_raw(raw.into_ordered()?, symbols, None)),
            State::Sealed(sealed) => Ok(recent_sealed(sealed, symbols)),
            State::Spilled(sealed, extent) => {
                Ok(recent_sealed(SealedBlock { payload: extent.lend()?, ..sealed }, symbols))
            }
        }
    }
}

fn recent_sealed(sealed: SealedBlock, symbols: &Arc<Symbols>) -> RecentBlock {
    RecentBlock {
        codec: sealed.codec,
        layout: sealed.layout,
        payload: sealed.payload,
        symbols: symbols.clone(),
        entries: sealed.entries,
        min_ts_ns: sealed.min_ts_ns,
        max_ts_ns: sealed.max_ts_ns,
        raw_bytes: sealed.raw_bytes,
    }
}

/// A raw, ordered block for a reader.
pub fn recent_raw(block: Arc<BlockBuilder>, symbols: &Arc<Symbols>, memory: Option<Reservation>) -> RecentBlock {
    RecentBlock {
        codec: Codec::None,
        layout: block.layout(),
        entries: block.entries,
        min_ts_ns: block.min_ts_ns,
        max_ts_ns: block.max_ts_ns,
        raw_bytes: block.data().len() as u64,
        payload: Bytes::from_owner(Lent { block, _memory: memory }),
        symbols: symbols.clone(),
    }
}

/// Blocks that neither overlap nor go back in time, as a stored chunk must have them: sorted, and where they overlap
/// taken apart and cut anew. Blocks that only share the time where they meet are let be, unless an entry may be in both:
/// a push that was repeated after a crash, which within a chunk nobody else would notice.
pub fn disjoint(mut blocks: Vec<SealedBlock>, codec: Codec, block_size: u64) -> Result<Vec<SealedBlock>> {
    blocks.retain(|b| b.entries > 0);
    blocks.sort_by_key(|b| (b.min_ts_ns, b.max_ts_ns));
    let mut out = Vec::with_capacity(blocks.len());
    let mut rest = blocks.as_slice();
    while !rest.is_empty() {
        let (run, after) = rest.split_at(run_blocks(rest));
        match run.len() > 1 && (overlap(run) || may_repeat(run)?) {
            true => out.extend(cut_anew(run, codec, block_size)?),
            false => out.extend_from_slice(run),
        }
        rest = after;
    }
    Ok(out)
}

/// How many blocks from the first on have a time in common with one before them.
fn run_blocks(sorted: &[SealedBlock]) -> usize {
    let mut end_ns = i64::MIN;
    let after = sorted.iter().enumerate().find_map(|(i, b)| {
        let apart = i > 0 && b.min_ts_ns > end_ns;
        end_ns = end_ns.max(b.max_ts_ns);
        apart.then_some(i)
    });
    after.unwrap_or(sorted.len())
}

/// Whether blocks share more than the time where they meet.
fn overlap(run: &[SealedBlock]) -> bool {
    run.windows(2).any(|pair| pair[0].max_ts_ns > pair[1].min_ts_ns)
}

/// Whether an entry may be in two of these blocks, which have only the times where they meet in common: reading costs a
/// fraction of compressing anew. Two entries with one hash count as equal; then the blocks are looked at closely.
fn may_repeat(run: &[SealedBlock]) -> Result<bool> {
    let mut seen: HashSet<u64, FixedState> = HashSet::default();
    let mut seen_ts_ns = i64::MIN;
    for block in run {
        let mut repeats = false;
        for_each_entry(&raw(block)?, block.layout, |ts_ns, bytes| {
            if ts_ns == block.min_ts_ns || ts_ns == block.max_ts_ns {
                if ts_ns != seen_ts_ns {
                    seen.clear();
                    seen_ts_ns = ts_ns;
                }
                repeats |= !seen.insert(FixedState::default().hash_one(bytes));
            }
        })?;
        if repeats {
            return Ok(true);
        }
    }
    Ok(false)
}

fn cut_anew(run: &[SealedBlock], codec: Codec, block_size: u64) -> Result<Vec<SealedBlock>> {
    let layout = run[0].layout;
    let raw = run.iter().map(raw).collect::<Result<Vec<_>>>()?;
    Ok(ordered(&raw, layout, block_size)?.iter().map(|b| seal(codec, b)).collect())
}

fn raw(block: &SealedBlock) -> Result<Bytes> {
    let bytes = block.raw_bytes as usize;
    block.codec.decompress(&block.payload, bytes, bytes).map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::SymbolsBuilder;

    const CODEC: Codec = Codec::Snappy;

    /// Blocks of entries like `3c`, each sealed by itself.
    fn sealed(blocks: &[String]) -> Vec<SealedBlock> {
        let mut symbols = SymbolsBuilder::default();
        let seal_one = |block: &String| {
            let mut builder = BlockBuilder::new(model::Layout::Metadata);
            for entry in block.split_whitespace() {
                let (ts, line) = entry.split_at(entry.find(char::is_alphabetic).expect("a line"));
                builder.push(ts.parse().unwrap(), line.as_bytes(), [].into_iter(), &mut symbols);
            }
            seal(CODEC, &builder)
        };
        blocks.iter().map(seal_one).collect()
    }

    fn text(block: &SealedBlock) -> String {
        let raw = model::RawBlock { data: raw(block).unwrap(), layout: block.layout, symbols: Arc::default() };
        let (mut entries, mut texts) = (raw.entries(), vec![]);
        while let Some(e) = entries.try_next().unwrap() {
            texts.push(format!("{}{}", e.ts_ns, String::from_utf8_lossy(e.line)));
        }
        texts.join(" ")
    }

    /// What becomes of the blocks, and how many of the result had to be compressed for it.
    fn made_disjoint(blocks: &[String]) -> (Vec<String>, usize) {
        let given = sealed(blocks);
        let made = disjoint(given.clone(), CODEC, 99).unwrap();
        assert!(made.windows(2).all(|pair| pair[0].max_ts_ns <= pair[1].min_ts_ns));
        let is_given = |b: &&SealedBlock| given.iter().any(|g| g.payload.as_ptr() == b.payload.as_ptr());
        let anew = made.len() - made.iter().filter(is_given).count();
        (made.iter().map(text).collect(), anew)
    }

    #[test]
    fn blocks_ascend_hold_each_entry_once_and_are_compressed_anew_only_where_they_must() {
        for (blocks, expected, anew) in [
            (vec![""], vec![], 0),
            (vec!["1a 2b", "3c"], vec!["1a 2b", "3c"], 0),
            (vec!["3c", "", "1a"], vec!["1a", "3c"], 0),
            (vec!["1a 3c", "2b"], vec!["1a 2b 3c"], 1),
            (vec!["1a 2b", "2c 3d"], vec!["1a 2b", "2c 3d"], 0),
            (vec!["1a 2b", "2b 3d"], vec!["1a 2b 3d"], 1),
            (vec!["1a", "5e 7g", "6f", "9i"], vec!["1a", "5e 6f 7g", "9i"], 1),
            (vec!["5a 5b", "5c 5d"], vec!["5a 5b", "5c 5d"], 0),
            (vec!["5a 5b", "5c", "5d 5a 6e"], vec!["5a 5b 5c 5d 6e"], 1),
            (vec!["1a 9b", "9c", "9a 9b"], vec!["1a 9b 9c 9a"], 1),
        ] {
            let blocks: Vec<String> = blocks.into_iter().map(str::to_string).collect();
            let (texts, compressed) = made_disjoint(&blocks);
            assert_eq!((texts, compressed), (expected.iter().map(|t| t.to_string()).collect(), anew), "{blocks:?}");
        }
    }

    #[test]
    fn many_blocks_of_one_time_are_not_compressed_again() {
        let blocks: Vec<String> = (0..300).map(|i| format!("7n{i} 7m{i}")).collect();
        let (texts, compressed) = made_disjoint(&blocks);
        assert_eq!((texts.len(), compressed), (300, 0));
    }
}
