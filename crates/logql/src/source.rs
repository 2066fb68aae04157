//! Where the engine gets its data: traits that a querier implements over recent and stored blocks.

use model::{Fingerprint, Labels, Matcher, Outline, RawBlock, Result, TimeRange};
use std::sync::Arc;

/// A part of the streams by fingerprint: part `index` of `of`, `of` a power of two (the top bits of the fingerprint).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    pub index: u32,
    pub of: u32,
}

impl Shard {
    pub fn contains(&self, fingerprint: Fingerprint) -> bool {
        let bits = self.of.trailing_zeros();
        bits == 0 || fingerprint.0 >> (64 - bits) == u64::from(self.index)
    }

    /// The lowest and the highest fingerprint of the part, both inclusive.
    pub fn fingerprints(&self) -> (u64, u64) {
        match self.of.trailing_zeros() {
            0 => (0, u64::MAX),
            bits => {
                let low = u64::from(self.index) << (64 - bits);
                (low, low | (u64::MAX >> bits))
            }
        }
    }
}

/// Which entries a query part reads.
#[derive(Clone, Debug)]
pub struct Selection {
    pub matchers: Vec<Matcher>,
    pub range: TimeRange,
    pub shard: Option<Shard>,
}

/// A run of one stream's entries that is fetched as a whole: a stored chunk, or a block that an ingester holds.
pub trait Block: Send + Sync {
    /// Oldest and newest entry, both inclusive, in nanoseconds.
    fn bounds_ns(&self) -> (i64, i64);
    /// Entries in the block, 0 if not known before opening.
    fn entries(&self) -> u64;
    /// Fetches the block, which may block the calling thread. `Corrupt` or `NotFound`: the engine goes on without the
    /// block and says so in a warning.
    fn open(&self) -> Result<Arc<dyn Frames>>;
}

/// An opened block: its entries in frames, each compressed by itself, in the order of time. Equal entries in two frames
/// of one block are two entries.
pub trait Frames: Send + Sync {
    /// Oldest and newest entry of each frame, as stated by the writer. Loki states a leading empty line's time too late:
    /// then some entries are older than stated, but no older than the frame before.
    fn bounds_ns(&self) -> Vec<(i64, i64)>;
    /// How many entries a frame has, if that is known without looking at them: where nothing else counts, they are not.
    fn entries(&self, _frame: usize) -> Option<u64> {
        None
    }
    /// A frame's entries without their lines, where that is kept beside it.
    fn outline(&self, _frame: usize) -> Option<Outline> {
        None
    }
    /// Decompresses a frame into `memory`, which may have any capacity and is given back inside the answer. `Corrupt`: the
    /// engine goes on without the frame and says so in a warning.
    fn load(&self, frame: usize, memory: Vec<u8>) -> Result<RawBlock>;
}

/// A block of one frame that is decompressed already.
pub struct Decompressed {
    pub raw: RawBlock,
    pub bounds_ns: (i64, i64),
}

impl Frames for Decompressed {
    fn bounds_ns(&self) -> Vec<(i64, i64)> {
        vec![self.bounds_ns]
    }
    fn load(&self, _: usize, _: Vec<u8>) -> Result<RawBlock> {
        Ok(self.raw.clone())
    }
}

/// One stream's blocks, oldest first. Blocks may overlap in time (replicas, flushed data still in memory), and then an
/// entry may occur in several: equal timestamp, line and metadata in one stream are one entry.
pub struct StreamBlocks {
    pub labels: Labels,
    pub fingerprint: Fingerprint,
    pub blocks: Vec<Arc<dyn Block>>,
}

/// The selected streams, pulled by several threads at once, each stream given once.
pub trait Streams: Send + Sync {
    fn next(&self) -> Option<Result<StreamBlocks>>;
}

pub trait Source: Send + Sync {
    /// Streams that satisfy the matchers, with the blocks that overlap the range.
    fn select(&self, selection: &Selection) -> Result<Box<dyn Streams>>;
}
