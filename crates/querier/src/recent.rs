//! Blocks that an ingester holds, as the engine reads them.

use crate::notes::{Notes, add};
use bytes::Bytes;
use format::Codec;
use format::chunk::outline;
use logql::source::{Block, Frames};
use model::{Outline, RawBlock, Result};
use rpc::ingester::RecentBlock;
use std::sync::Arc;

/// The largest block that an ingester may send, decompressed: far above `chunk_block_size`.
const RAW_BYTES_MAX: usize = 64 << 20;

pub struct RecentPart {
    pub block: RecentBlock,
    pub notes: Arc<Notes>,
}

impl Block for RecentPart {
    fn bounds_ns(&self) -> (i64, i64) {
        (self.block.min_ts_ns, self.block.max_ts_ns)
    }

    fn entries(&self) -> u64 {
        self.block.entries
    }

    fn open(&self) -> Result<Arc<dyn Frames>> {
        add(&self.notes.ingester_bytes, self.block.raw_bytes);
        add(&self.notes.ingester_lines, self.block.entries);
        Ok(Arc::new(OpenPart(self.block.clone())))
    }
}

/// The block, compressed as the ingester holds it.
struct OpenPart(RecentBlock);

impl Frames for OpenPart {
    fn bounds_ns(&self) -> Vec<(i64, i64)> {
        vec![(self.0.min_ts_ns, self.0.max_ts_ns)]
    }

    fn entries(&self, _: usize) -> Option<u64> {
        Some(self.0.entries)
    }

    fn outline(&self, _: usize) -> Option<Outline> {
        let block = &self.0;
        (block.codec == Codec::Zstd).then(|| outline(&block.payload, block.layout, &block.symbols)).flatten()
    }

    fn load(&self, _: usize, memory: Vec<u8>) -> Result<RawBlock> {
        raw(&self.0, memory)
    }
}

/// The entries of a block, decompressed into `memory` if they are compressed.
pub fn raw(b: &RecentBlock, memory: Vec<u8>) -> Result<RawBlock> {
    let data = match b.codec {
        Codec::None => b.payload.clone(),
        codec => Bytes::from(codec.decompress_into(&b.payload, b.raw_bytes as usize, RAW_BYTES_MAX, memory)?),
    };
    Ok(RawBlock { data, layout: b.layout, symbols: b.symbols.clone() })
}
