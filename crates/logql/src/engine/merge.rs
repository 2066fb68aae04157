//! Blocks of one stream that overlap in time, as one sequence in which no entry occurs twice. Blocks are loaded when the
//! sequence reaches them and let go when it has passed them. It must not know what the entries are for.

use super::scan::{Reading, Tally, walk_block};
use crate::source::Block;
use foldhash::fast::FixedState;
use model::{Direction, EntryRef, Labels, RawBlock, Result};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::BuildHasher;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Visits the entries of overlapping blocks, oldest first.
pub(crate) fn forward(
    run: &[Arc<dyn Block>],
    labels: &Labels,
    reading: &Reading<'_>,
    tally: &mut Tally,
    visit: &mut impl FnMut(&mut Tally, EntryRef<'_>) -> Result<()>,
) -> Result<()> {
    ordered(run, labels, Direction::Forward, reading, tally, &mut |tally, entry| {
        visit(tally, entry).map(|()| ControlFlow::Continue(()))
    })
}

/// Visits the entries of the blocks of a run in the direction's order until `visit` breaks. Entries of equal time keep
/// their order in and among the blocks when forward, and have exactly the reverse when backward.
pub(crate) fn ordered(
    run: &[Arc<dyn Block>],
    labels: &Labels,
    direction: Direction,
    reading: &Reading<'_>,
    tally: &mut Tally,
    visit: &mut impl FnMut(&mut Tally, EntryRef<'_>) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let mut merge = Merge::new(run, direction);
    loop {
        merge.open_reached(labels, reading, tally)?;
        let Some(head) = merge.heads.pop() else { return Ok(()) };
        let ties = merge.ties(head, tally);
        for (cursor, offset) in ties {
            let Some(entry) = merge.entry(cursor, offset) else { continue };
            if visit(tally, entry)?.is_break() {
                return Ok(());
            }
        }
        merge.close_passed();
    }
}

/// The place in time order: smaller comes first in the direction.
fn rank(ts_ns: i64, direction: Direction) -> i64 {
    match direction {
        Direction::Forward => ts_ns,
        Direction::Backward => !ts_ns,
    }
}

/// A loaded block and where the sequence is in it.
struct Cursor {
    raw: RawBlock,
    /// Time and offset of the entries that may match, in the direction's order.
    index: Vec<(i64, usize)>,
    next: usize,
}

/// A cursor's next entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    rank: i64,
    block: usize,
}

struct Merge<'a> {
    direction: Direction,
    /// The blocks by the edge at which the sequence meets them, and their places in the run.
    waiting: Vec<(i64, usize)>,
    opened: usize,
    run: &'a [Arc<dyn Block>],
    cursors: Vec<Option<Cursor>>,
    heads: BinaryHeap<Reverse<Head>>,
    passed: Vec<usize>,
}

impl<'a> Merge<'a> {
    fn new(run: &'a [Arc<dyn Block>], direction: Direction) -> Self {
        let edge = |block: &Arc<dyn Block>| match (block.bounds_ns(), direction) {
            ((min_ns, _), Direction::Forward) => rank(min_ns, direction),
            ((_, max_ns), Direction::Backward) => rank(max_ns, direction),
        };
        let mut waiting: Vec<(i64, usize)> = run.iter().enumerate().map(|(i, b)| (edge(b), i)).collect();
        waiting.sort_unstable();
        let cursors = run.iter().map(|_| None).collect();
        Merge { direction, waiting, opened: 0, run, cursors, heads: BinaryHeap::new(), passed: Vec::new() }
    }

    /// Loads every block that may hold an entry not later than the next one.
    fn open_reached(&mut self, labels: &Labels, reading: &Reading<'_>, tally: &mut Tally) -> Result<()> {
        while let Some((edge, block)) = self.waiting.get(self.opened).copied() {
            if self.heads.peek().is_some_and(|Reverse(head)| head.rank < edge) {
                break;
            }
            self.opened += 1;
            let Some(raw) = tally.load(self.run[block].as_ref(), reading.limits)? else { continue };
            let mut index = Vec::new();
            walk_block(&raw, labels, reading, tally, |_, offset, entry| {
                index.push((entry.ts_ns, offset));
                Ok(())
            })?;
            if self.direction == Direction::Backward {
                index.reverse();
            }
            if let Some((ts_ns, _)) = index.first() {
                self.heads.push(Reverse(Head { rank: rank(*ts_ns, self.direction), block }));
                self.cursors[block] = Some(Cursor { raw, index, next: 0 });
            }
        }
        Ok(())
    }

    /// All entries of the head's time, in order and each once; their cursors move on.
    fn ties(&mut self, Reverse(head): Reverse<Head>, tally: &mut Tally) -> Vec<(usize, usize)> {
        let mut ties = self.advance(head);
        let mut blocks = 1;
        while let Some(Reverse(other)) = self.heads.peek().copied()
            && other.rank == head.rank
        {
            self.heads.pop();
            ties.extend(self.advance(other));
            blocks += 1;
        }
        if blocks > 1 {
            // Oldest block first, so that the copy which stays does not depend on the direction.
            ties.sort_unstable();
            tally.stats.duplicates += self.drop_copies(&mut ties);
            if self.direction == Direction::Backward {
                ties.reverse();
            }
        }
        ties
    }

    /// Takes a cursor's entries of the head's time and puts its next entry among the heads.
    fn advance(&mut self, head: Head) -> Vec<(usize, usize)> {
        let direction = self.direction;
        let Some(cursor) = &mut self.cursors[head.block] else { return Vec::new() };
        let rest = &cursor.index[cursor.next..];
        let same = rest.iter().take_while(|(ts_ns, _)| rank(*ts_ns, direction) == head.rank);
        let taken: Vec<(usize, usize)> = same.map(|(_, offset)| (head.block, *offset)).collect();
        cursor.next += taken.len();
        match cursor.index.get(cursor.next) {
            Some((ts_ns, _)) => self.heads.push(Reverse(Head { rank: rank(*ts_ns, direction), block: head.block })),
            None => self.passed.push(head.block),
        }
        taken
    }

    /// Removes entries that another, earlier block has too; answers how many. Lines are compared by hash first, so that
    /// many entries of one time cost no more each than few.
    fn drop_copies(&self, ties: &mut Vec<(usize, usize)>) -> u64 {
        let before = ties.len();
        let hasher = FixedState::default();
        let mut kept: Vec<(usize, usize)> = Vec::with_capacity(before);
        let mut by_line: HashMap<u64, Vec<(usize, usize)>, FixedState> = HashMap::default();
        for tie in ties.iter() {
            let Some(entry) = self.entry(tie.0, tie.1) else { continue };
            let alike = by_line.entry(hasher.hash_one(entry.line)).or_default();
            let copy = alike
                .iter()
                .filter(|k| k.0 != tie.0)
                .any(|k| self.entry(k.0, k.1).is_some_and(|k| k.line == entry.line && k.metadata == entry.metadata));
            if !copy {
                alike.push(*tie);
                kept.push(*tie);
            }
        }
        *ties = kept;
        (before - ties.len()) as u64
    }

    fn entry(&self, block: usize, offset: usize) -> Option<EntryRef<'_>> {
        self.cursors[block].as_ref()?.raw.entries_from(offset).try_next().ok()?
    }

    fn close_passed(&mut self) {
        for block in self.passed.drain(..) {
            self.cursors[block] = None;
        }
    }
}
