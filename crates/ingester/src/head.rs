//! The growing block of a chunk. It must not know when it is cut.

use crate::block::{HeldBlock, RawEntries};
use model::batch::BatchEntry;
use model::block::Mark;
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
    /// The block before them.
    before_newest: Option<Mark>,
    /// Whether some entry was not compared with all of its timestamp.
    unchecked: bool,
    memory: Option<Reservation>,
}

impl Head {
    pub fn new(layout: Layout) -> Self {
        Head {
            block: BlockBuilder::new(layout),
            newest: Vec::new(),
            before_newest: None,
            unchecked: false,
            memory: None,
        }
    }

    pub fn block(&self) -> &BlockBuilder {
        &self.block
    }

    /// Appends an entry, unless it is there already.
    pub fn push(&mut self, e: &BatchEntry<'_>, symbols: &mut SymbolsBuilder) {
        let newest_before = self.block.max_ts_ns;
        let mark = self.block.mark();
        self.block.push_from(e, symbols);
        if e.ts_ns < newest_before {
            return;
        }
        if e.ts_ns > newest_before {
            self.newest.clear();
            self.before_newest = Some(mark);
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
        let next = Head::new(self.block.layout());
        std::mem::replace(self, next).into_held()
    }

    /// Ends a block that is full. The entries of the newest time begin the next one, if they are the smaller part: blocks
    /// that share a time have to be compared when their chunk is stored, and more of that time is likely to come.
    pub fn cut_full(&mut self) -> Option<HeldBlock> {
        let mark = self.before_newest.filter(|mark| self.is_ordered() && mark.bytes >= self.block.data().len() / 2);
        let Some(mark) = mark.filter(|mark| mark.bytes > 0) else { return self.cut() };
        let block = self.block.split_newest(mark);
        let start = mark.bytes as u32;
        let mut next = Head::new(block.layout());
        next.newest = self.newest.iter().map(|r| r.start - start..r.end - start).collect();
        next.before_newest = Some(next.block.mark());
        next.memory = self.memory.as_mut().map(|memory| memory.split(block.data().len() as u64));
        next.block = block;
        std::mem::replace(self, next).into_held()
    }

    fn into_held(self) -> Option<HeldBlock> {
        let ordered = self.is_ordered();
        let raw = RawEntries { block: Arc::new(self.block), ordered };
        (!raw.block.is_empty()).then(|| HeldBlock::new(raw, self.memory))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Batch, BatchBuilder, Fingerprint};

    fn batch(times: &[i64]) -> Batch {
        let mut b = BatchBuilder::default();
        for (i, ts) in times.iter().enumerate() {
            b.entry(*ts, format!("line {i:04}").as_bytes(), [].into_iter());
        }
        b.end_stream("{a=\"1\"}", Fingerprint(1));
        b.finish()
    }

    fn push(head: &mut Head, batch: &Batch) {
        for part in batch.streams() {
            part.unwrap().for_each(|e| head.push(&e, &mut SymbolsBuilder::default())).unwrap();
        }
    }

    #[test]
    fn a_full_block_leaves_the_entries_of_its_newest_time_to_the_next_if_they_are_few() {
        for (times, cut, left) in [
            (vec![1, 2, 3], 2, 1),
            (vec![1, 2, 3, 3, 3], 5, 0),
            (vec![1, 2, 2, 3, 3], 3, 2),
            (vec![1, 3, 2], 3, 0),
            (vec![5, 5], 2, 0),
        ] {
            let (mut head, pushed) = (Head::new(Layout::Metadata), batch(&times));
            push(&mut head, &pushed);
            let bytes = head.block().data().len() as u64;
            let size = head.block().size_bytes;
            let held = head.cut_full().unwrap();
            assert_eq!((held.entries, head.block().entries), (cut, left), "{times:?}");
            assert_eq!(held.raw_bytes + head.block().data().len() as u64, bytes);
            assert_eq!(held.size_bytes + head.block().size_bytes, size);
            assert!(left == 0 || held.max_ts_ns < head.block().min_ts_ns);
            // What is pushed again is known only where it was left.
            push(&mut head, &batch(&times));
            let expected = times.len() as u64;
            assert_eq!(head.block().entries, expected, "{times:?}: a repeated push");
        }
    }
}
