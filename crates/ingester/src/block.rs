//! A cut block on its way from raw to compressed. It is readable at every moment of it.

use crate::order::ordered;
use bytes::Bytes;
use format::Codec;
use format::chunk::{SealedBlock, seal};
use model::{BlockBuilder, Result, Symbols};
use parking_lot::Mutex;
use rpc::ingester::RecentBlock;
use runtime::memory::Reservation;
use std::sync::Arc;

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

enum State {
    Raw(RawEntries),
    Sealed(SealedBlock),
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

    /// Compresses the block if nobody has done so, and gives back the memory that it saves.
    pub fn seal(&self, codec: Codec) -> Result<SealedBlock> {
        let raw = match &self.state.lock().0 {
            State::Sealed(sealed) => return Ok(sealed.clone()),
            State::Raw(raw) => raw.clone(),
        };
        let sealed = seal(codec, &*raw.into_ordered()?);
        let mut state = self.state.lock();
        let kept = state.1.as_mut().map(|memory| memory.split(sealed.payload.len() as u64));
        *state = (State::Sealed(sealed.clone()), kept);
        Ok(sealed)
    }

    /// Bytes in memory, which for a sealed block is the compressed size.
    pub fn payload_bytes(&self) -> u64 {
        match &self.state.lock().0 {
            State::Raw(_) => self.raw_bytes,
            State::Sealed(sealed) => sealed.payload.len() as u64,
        }
    }

    /// The compressed size, once there is one.
    pub fn sealed_bytes(&self) -> Option<u64> {
        match &self.state.lock().0 {
            State::Raw(_) => None,
            State::Sealed(sealed) => Some(sealed.payload.len() as u64),
        }
    }

    /// For a reader: ordered, as compressed as it happens to be.
    pub fn recent(&self, symbols: &Arc<Symbols>) -> Result<RecentBlock> {
        let raw = match &self.state.lock().0 {
            State::Sealed(sealed) => return Ok(recent_sealed(sealed, symbols)),
            State::Raw(raw) => raw.clone(),
        };
        Ok(recent_raw(raw.into_ordered()?, symbols, None))
    }
}

fn recent_sealed(sealed: &SealedBlock, symbols: &Arc<Symbols>) -> RecentBlock {
    RecentBlock {
        codec: sealed.codec,
        layout: sealed.layout,
        payload: sealed.payload.clone(),
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

/// Blocks that neither overlap nor go back in time, as a stored chunk must have them: sorted, and if they overlap
/// taken apart and cut anew. Blocks that share one time count as overlapping: a push that was repeated after a crash may
/// have an entry in both, and within a chunk nobody else would notice.
pub fn disjoint(mut blocks: Vec<SealedBlock>, codec: Codec, block_size: u64) -> Result<Vec<SealedBlock>> {
    blocks.retain(|b| b.entries > 0);
    blocks.sort_by_key(|b| (b.min_ts_ns, b.max_ts_ns));
    if blocks.windows(2).all(|pair| pair[0].max_ts_ns < pair[1].min_ts_ns) {
        return Ok(blocks);
    }
    let Some(layout) = blocks.first().map(|b| b.layout) else { return Ok(blocks) };
    let raw = blocks.iter().map(|b| {
        let bytes = b.raw_bytes as usize;
        b.codec.decompress(&b.payload, bytes, bytes).map(Bytes::from)
    });
    let raw = raw.collect::<Result<Vec<_>>>()?;
    Ok(ordered(&raw, layout, block_size)?.iter().map(|b| seal(codec, b)).collect())
}
