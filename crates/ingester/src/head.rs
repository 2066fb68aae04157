//! The growing block of a chunk. It must not know when it is cut.

use crate::block::{HeldBlock, RawEntries};
use model::batch::BatchEntry;
use model::{BlockBuilder, Layout, SymbolsBuilder};
use runtime::memory::Reservation;
use std::ops::Range;
use std::sync::Arc;

/// Entries of one timestamp that a new one is compared with. More are sorted out when the block is sealed; without a
/// bound a stream with one timestamp would cost the square of its entries.
const SAME_TIME_COMPARED_MAX: usize = 64;

pub struct Head {
    block: BlockBuilder,
    /// Where the entries of the newest timestamp lie.
    newest: Vec<Range<u32>>,
    /// Whether some entry was not compared with all of its timestamp.
    unchecked: bool,
    memory: Option<Reservation>,
}

impl Head {
    pub fn new(layout: Layout) -> Self {
        Head { block: BlockBuilder::new(layout), newest: Vec::new(), unchecked: false, memory: None }
    }

    pub fn block(&self) -> &BlockBuilder {
        &self.block
    }

    /// Appends an entry, unless it is there already.
    pub fn push(&mut self, e: &BatchEntry<'_>, symbols: &mut SymbolsBuilder) {
        let newest_before = self.block.max_ts_ns;
        let mark = self.block.mark();
        self.block.push(e.ts_ns, e.line, e.metadata(), symbols);
        if e.ts_ns < newest_before {
            return;
        }
        if e.ts_ns > newest_before {
            self.newest.clear();
        }
        let data = self.block.data();
        let pushed = &data[mark.bytes..];
        if self.newest.iter().any(|r| &data[r.start as usize..r.end as usize] == pushed) {
            self.block.undo(mark);
        } else if self.newest.len() < SAME_TIME_COMPARED_MAX {
            self.newest.push(mark.bytes as u32..data.len() as u32);
        } else {
            self.unchecked = true;
        }
    }

    /// Adds what was reserved for the entries of the last pushes.
    pub fn keep(&mut self, memory: Reservation) {
        match &mut self.memory {
            Some(kept) => kept.merge(memory),
            None => self.memory = Some(memory),
        }
    }

    /// Bytes that the block has beyond what is reserved for it.
    pub fn unreserved_bytes(&self) -> u64 {
        (self.block.data().len() as u64).saturating_sub(self.memory.as_ref().map_or(0, Reservation::bytes))
    }

    /// The entries so far, copied.
    pub fn snapshot(&self) -> RawEntries {
        RawEntries { block: Arc::new(self.block.clone()), ordered: self.is_ordered() }
    }

    fn is_ordered(&self) -> bool {
        !self.block.unordered && !self.unchecked
    }

    /// Ends the block and begins an empty one; `None` if there is nothing in it.
    pub fn cut(&mut self) -> Option<HeldBlock> {
        let memory = self.memory.take();
        let next = Head::new(self.block.layout());
        let ended = std::mem::replace(self, next);
        let ordered = ended.is_ordered();
        if ended.block.is_empty() {
            return None;
        }
        Some(HeldBlock::new(RawEntries { block: Arc::new(ended.block), ordered }, memory))
    }
}
