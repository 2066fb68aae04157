//! Blocks of chunks that queries read again and again, decompressed: who narrows a question down asks for the same ones
//! each time, and decompression is nine tenths of what an answer costs. A block is kept from the second reading on, so
//! that one pass over a year of logs neither fills the memory nor pays for it. It must not know where chunks come from.

use bytes::Bytes;
use foldhash::quality::RandomState;
use format::chunk::Chunk;
use format::{ChunkRef, Codec};
use model::{RawBlock, Result, TenantId};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use runtime::metrics::Registry;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

/// What most blocks have: `chunk_block_size`, or a quarter of it.
const BLOCK_BYTES_USUAL: u64 = 64 << 10;
/// Of blocks that were read once so many are remembered, for each that may be kept.
const SEEN_FOR_EACH_KEPT: u64 = 4;
/// Two blocks that were given one set seldom drive each other out.
const SET_HASHES: usize = 4;
/// For tables, in blocks.
const BLOCKS_KEPT_MIN: u64 = 64;
/// The first table has room for a part of what may be kept: most processes never fill it.
const TABLE_PARTS: u64 = 8;

/// What decompressed blocks count.
#[derive(Clone, Debug, Default)]
pub struct DecompressedMetrics {
    hits: Counter,
    kept: Counter,
    bytes: Gauge,
}

impl DecompressedMetrics {
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = DecompressedMetrics::default();
        let name = |what: &str| format!("lokirs_chunk_store_decompressed_{what}");
        registry.register(name("block_hits"), "Blocks that queries found decompressed", metrics.hits.clone());
        registry.register(name("blocks_kept"), "Blocks kept decompressed when read again", metrics.kept.clone());
        registry.register(name("bytes"), "Memory of blocks that are kept decompressed", metrics.bytes.clone());
        metrics
    }
}

/// Which block: its chunk is the tenant's, and never changes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    tenant: TenantId,
    chunk: ChunkRef,
    block: usize,
}

#[derive(Clone)]
struct Weight;

impl Weighter<Key, Bytes> for Weight {
    fn weight(&self, _: &Key, data: &Bytes) -> u64 {
        (size_of::<Key>() + data.len()) as u64
    }
}

/// The memory; `None` inside where it has no room for anything.
pub struct Decompressed(Option<Kept>);

struct Kept {
    cache: Cache<Key, Bytes, Weight>,
    seen: Seen,
    metrics: DecompressedMetrics,
}

impl Decompressed {
    /// At most `bytes` are kept; 0: nothing is.
    pub fn new(bytes: u64, metrics: DecompressedMetrics) -> Self {
        let blocks = (bytes / BLOCK_BYTES_USUAL).max(BLOCKS_KEPT_MIN);
        let options = OptionsBuilder::new()
            .weight_capacity(bytes)
            .estimated_items_capacity((blocks / TABLE_PARTS) as usize)
            .build();
        let kept = options.ok().filter(|_| bytes > 0).map(|options| Kept {
            cache: Cache::with_options(options, Weight, DefaultHashBuilder::default(), Default::default()),
            seen: Seen::new(blocks * SEEN_FOR_EACH_KEPT),
            metrics,
        });
        Decompressed(kept)
    }

    /// Block `block` of `chunk`, which `reference` of `tenant` refers to. Decompression happens in `memory` where that is
    /// enough.
    pub fn load(
        &self,
        tenant: &TenantId,
        reference: &ChunkRef,
        chunk: &Chunk,
        block: usize,
        memory: Vec<u8>,
    ) -> Result<RawBlock> {
        let Some(kept) = self.0.as_ref().filter(|_| chunk.codec != Codec::None) else {
            return chunk.block_into(block, memory);
        };
        let key = Key { tenant: tenant.clone(), chunk: *reference, block };
        if let Some(data) = kept.cache.get(&key) {
            kept.metrics.hits.inc();
            return Ok(RawBlock { data, layout: chunk.layout(), symbols: chunk.symbols.clone() });
        }
        if !kept.seen.again(&key) {
            return chunk.block_into(block, memory);
        }
        let raw = chunk.block_into(block, memory)?;
        kept.cache.insert(key, Bytes::copy_from_slice(&raw.data));
        kept.metrics.kept.inc();
        kept.metrics.bytes.set(kept.cache.weight() as i64);
        Ok(raw)
    }
}

/// Hashes of blocks that were read lately, in sets of a few: the newest pushes the oldest out of its set.
struct Seen {
    sets: Box<[[AtomicU64; SET_HASHES]]>,
    hasher: RandomState,
}

impl Seen {
    fn new(hashes: u64) -> Self {
        let sets = hashes.div_ceil(SET_HASHES as u64).next_power_of_two();
        Seen { sets: (0..sets).map(|_| Default::default()).collect(), hasher: RandomState::default() }
    }

    /// Whether the block was read before; it is remembered now.
    fn again(&self, key: &Key) -> bool {
        let hash = self.hasher.hash_one(key);
        let mut moved = hash;
        for place in &self.sets[hash as usize & (self.sets.len() - 1)] {
            moved = place.swap(moved, Ordering::Relaxed);
            if moved == hash || moved == 0 {
                break;
            }
        }
        moved == hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use format::chunk::{ChunkParts, encode, seal};
    use model::{BlockBuilder, Labels, Layout, SymbolsBuilder};

    const BLOCKS: usize = 8;
    const LINE: &[u8] = &[b'x'; 10_000];

    fn tenant(name: &str) -> TenantId {
        TenantId::parse(name).unwrap()
    }

    /// A chunk of `BLOCKS` blocks of one line each.
    fn chunk(codec: Codec) -> (ChunkRef, Chunk) {
        let mut symbols = SymbolsBuilder::default();
        let labels = Labels::new([("a", "b")]);
        let blocks: Vec<_> = (0..BLOCKS as i64)
            .map(|i| {
                let mut block = BlockBuilder::new(Layout::Metadata);
                block.push(1_740_000_000_000_000_000 + i, LINE, [("level", "info")].into_iter(), &mut symbols);
                seal(codec, &block)
            })
            .collect();
        let parts = ChunkParts {
            tenant: &tenant("t1"),
            labels: &labels,
            fingerprint: labels.fingerprint(),
            codec,
            layout: Layout::Metadata,
            symbols: symbols.symbols(),
            blocks: &blocks,
        };
        let (reference, object) = encode(&parts).unwrap();
        (reference, Chunk::open(object, &tenant("t1"), &reference).unwrap())
    }

    fn counts(metrics: &DecompressedMetrics) -> (u64, u64) {
        (metrics.hits.get(), metrics.kept.get())
    }

    #[test]
    fn a_block_is_kept_when_it_is_read_again_and_is_the_same_every_time() {
        let metrics = DecompressedMetrics::default();
        let kept = Decompressed::new(1 << 20, metrics.clone());
        let (reference, chunk) = chunk(Codec::Zstd);
        for (reading, expected) in [(1, (0, 0)), (2, (0, 1)), (3, (1, 1)), (4, (2, 1))] {
            let raw = kept.load(&tenant("t1"), &reference, &chunk, 3, Vec::new()).unwrap();
            let entry = raw.entries().try_next().unwrap().unwrap();
            assert_eq!((entry.ts_ns, entry.line), (1_740_000_000_000_000_003, LINE));
            assert_eq!(entry.metadata.get("level"), Some("info"));
            assert_eq!(counts(&metrics), expected, "reading {reading}");
        }
        let other = tenant("t2");
        kept.load(&other, &reference, &chunk, 3, Vec::new()).unwrap();
        assert_eq!(counts(&metrics), (2, 1), "another tenant's block is another block");
    }

    #[test]
    fn of_as_many_blocks_as_fit_nearly_all_are_remembered() {
        let (blocks, (reference, _)) = (1000, chunk(Codec::Zstd));
        let seen = Seen::new(blocks * SEEN_FOR_EACH_KEPT);
        let key = |block| Key { tenant: tenant("t1"), chunk: reference, block };
        assert_eq!((0..blocks as usize).filter(|block| seen.again(&key(*block))).count(), 0);
        let again = (0..blocks as usize).filter(|block| seen.again(&key(*block))).count();
        assert!(again > 950, "{again}");
        // A pass over much more leaves nothing of itself.
        let many = || (10_000..110_000).filter(|block| seen.again(&key(*block))).count();
        assert!(many() + many() < 100);
    }

    #[test]
    fn what_is_kept_has_a_bound_and_may_be_nothing() {
        for (codec, bytes, some) in
            [(Codec::Zstd, 25_000, true), (Codec::Zstd, 0, false), (Codec::None, 1 << 20, false)]
        {
            let metrics = DecompressedMetrics::default();
            let kept = Decompressed::new(bytes, metrics.clone());
            let (reference, chunk) = chunk(codec);
            for block in (0..BLOCKS).cycle().take(5 * BLOCKS) {
                let raw = kept.load(&tenant("t1"), &reference, &chunk, block, Vec::new()).unwrap();
                assert_eq!(raw.entries().try_next().unwrap().unwrap().line, LINE);
            }
            assert_eq!(metrics.kept.get() > 0, some, "{codec:?} {bytes}");
            assert!(metrics.bytes.get() as u64 <= bytes, "{codec:?} {bytes}");
        }
    }

    #[test]
    fn a_block_that_is_not_there_is_an_error_every_time() {
        let kept = Decompressed::new(1 << 20, DecompressedMetrics::default());
        let (reference, chunk) = chunk(Codec::Zstd);
        for _ in 0..3 {
            assert!(kept.load(&tenant("t1"), &reference, &chunk, BLOCKS, Vec::new()).is_err());
        }
    }
}
