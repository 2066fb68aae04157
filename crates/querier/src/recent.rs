//! Blocks that an ingester holds, as the engine reads them.

use crate::notes::{Notes, add};
use bytes::Bytes;
use format::Codec;
use logql::source::Block;
use model::{RawBlock, Result};
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

    fn load(&self) -> Result<RawBlock> {
        let b = &self.block;
        add(&self.notes.ingester_bytes, b.raw_bytes);
        add(&self.notes.ingester_lines, b.entries);
        raw(b)
    }
}

/// The entries of a block.
pub fn raw(b: &RecentBlock) -> Result<RawBlock> {
    let data = match b.codec {
        Codec::None => b.payload.clone(),
        codec => Bytes::from(codec.decompress(&b.payload, b.raw_bytes as usize, RAW_BYTES_MAX)?),
    };
    Ok(RawBlock { data, layout: b.layout, symbols: b.symbols.clone() })
}
