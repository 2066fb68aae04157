//! Blocks of one stream that overlap in time, as one sequence in which no entry occurs twice. Their frames are loaded when
//! the sequence reaches them and let go when it has passed them. It must not know what the entries are for.

use super::scan::{Reading, Tally, walk_frame};
use crate::source::{Block, Frames};
use foldhash::fast::FixedState;
use model::{Direction, EntryRef, Labels, RawBlock, Result};
use std::cmp::{Ordering, Reverse};
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
    let outcome = merge.visit(labels, reading, tally, visit);
    merge.close(tally);
    outcome
}

/// The place in time order: smaller comes first in the direction.
fn rank(ts_ns: i64, direction: Direction) -> i64 {
    match direction {
        Direction::Forward => ts_ns,
        Direction::Backward => !ts_ns,
    }
}

/// What the sequence has not reached yet: a block to open, or a frame of an open one to load.
struct Ahead {
    /// Where the sequence meets it.
    rank: i64,
    /// Its block's place in the run.
    block: usize,
    frame: Option<(usize, Arc<dyn Frames>)>,
}

impl Ahead {
    fn key(&self) -> (i64, usize, Option<usize>) {
        (self.rank, self.block, self.frame.as_ref().map(|(frame, _)| *frame))
    }
}

impl PartialEq for Ahead {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}
impl Eq for Ahead {}
impl PartialOrd for Ahead {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Ahead {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// A loaded frame and where the sequence is in it.
struct Cursor {
    block: usize,
    frame: usize,
    raw: RawBlock,
    /// Time and offset of the entries that may match, in the direction's order.
    index: Vec<(i64, usize)>,
    next: usize,
}

/// A cursor's next entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    rank: i64,
    cursor: usize,
}

/// One of the entries of a time: the order among them is that of blocks, and inside a block as they are stored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Tie {
    block: usize,
    frame: usize,
    offset: usize,
    cursor: usize,
}

struct Merge<'a> {
    direction: Direction,
    run: &'a [Arc<dyn Block>],
    ahead: BinaryHeap<Reverse<Ahead>>,
    /// Frames between the first and the last of their entries; a place is used again once its frame is passed.
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
        let ahead = run.iter().enumerate().map(|(i, b)| Reverse(Ahead { rank: edge(b), block: i, frame: None }));
        let (ahead, cursors, heads, passed) = (ahead.collect(), Vec::new(), BinaryHeap::new(), Vec::new());
        Merge { direction, run, ahead, cursors, heads, passed }
    }

    fn visit(
        &mut self,
        labels: &Labels,
        reading: &Reading<'_>,
        tally: &mut Tally,
        visit: &mut impl FnMut(&mut Tally, EntryRef<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let mut ties = Vec::new();
        loop {
            self.reach(labels, reading, tally)?;
            if !self.take_ties(&mut ties, tally) {
                return Ok(());
            }
            for tie in &ties {
                let Some(entry) = self.entry(tie) else { continue };
                if visit(tally, entry)?.is_break() {
                    return Ok(());
                }
            }
            self.close_passed(tally);
        }
    }

    /// Opens every block and loads every frame that may hold an entry not later than the next one.
    fn reach(&mut self, labels: &Labels, reading: &Reading<'_>, tally: &mut Tally) -> Result<()> {
        while let Some(Reverse(ahead)) = self.ahead.peek() {
            if self.heads.peek().is_some_and(|Reverse(head)| head.rank < ahead.rank) {
                break;
            }
            let Some(Reverse(Ahead { block, frame, .. })) = self.ahead.pop() else { break };
            match frame {
                None => self.open(block, reading, tally)?,
                Some((frame, frames)) => {
                    let Some(raw) = tally.load(frames.as_ref(), frame, reading.limits)? else { continue };
                    self.start(block, frame, raw, labels, reading, tally)?;
                }
            }
        }
        Ok(())
    }

    fn open(&mut self, block: usize, reading: &Reading<'_>, tally: &mut Tally) -> Result<()> {
        let Some(frames) = tally.open(self.run[block].as_ref(), reading.limits)? else { return Ok(()) };
        // A frame's stated start may be too late, but not by more than to the end of the frame before.
        let (mut floor_ns, _) = self.run[block].bounds_ns();
        for (frame, (min_ns, max_ns)) in frames.bounds_ns().into_iter().enumerate() {
            let edge_ns = if self.direction == Direction::Forward { min_ns.min(floor_ns) } else { max_ns };
            floor_ns = max_ns;
            if reading.range.overlaps(min_ns, max_ns) {
                let rank = rank(edge_ns, self.direction);
                self.ahead.push(Reverse(Ahead { rank, block, frame: Some((frame, frames.clone())) }));
            }
        }
        Ok(())
    }

    /// Puts a loaded frame among those that the sequence is in.
    fn start(
        &mut self,
        block: usize,
        frame: usize,
        raw: RawBlock,
        labels: &Labels,
        reading: &Reading<'_>,
        tally: &mut Tally,
    ) -> Result<()> {
        let mut index = Vec::new();
        walk_frame(&raw, labels, reading, tally, |_, offset, entry| {
            index.push((entry.ts_ns, offset));
            Ok(())
        })?;
        if self.direction == Direction::Backward {
            index.reverse();
        }
        let Some((ts_ns, _)) = index.first().copied() else {
            tally.release(raw);
            return Ok(());
        };
        let cursor = self.cursors.iter().position(Option::is_none).unwrap_or_else(|| {
            self.cursors.push(None);
            self.cursors.len() - 1
        });
        self.heads.push(Reverse(Head { rank: rank(ts_ns, self.direction), cursor }));
        self.cursors[cursor] = Some(Cursor { block, frame, raw, index, next: 0 });
        Ok(())
    }

    /// All entries of the next time, in order and each once; their cursors move on. `false` at the end.
    fn take_ties(&mut self, ties: &mut Vec<Tie>, tally: &mut Tally) -> bool {
        ties.clear();
        let Some(Reverse(head)) = self.heads.pop() else { return false };
        self.advance(head, ties);
        let mut cursors = 1;
        while let Some(Reverse(other)) = self.heads.peek().copied()
            && other.rank == head.rank
        {
            self.heads.pop();
            self.advance(other, ties);
            cursors += 1;
        }
        if cursors > 1 {
            // Oldest block first, so that the copy which stays does not depend on the direction.
            ties.sort_unstable();
            tally.stats.duplicates += self.drop_copies(ties);
            if self.direction == Direction::Backward {
                ties.reverse();
            }
        }
        true
    }

    /// Takes a cursor's entries of the head's time and puts its next entry among the heads.
    fn advance(&mut self, head: Head, ties: &mut Vec<Tie>) {
        let direction = self.direction;
        let Some(cursor) = &mut self.cursors[head.cursor] else { return };
        let (block, frame) = (cursor.block, cursor.frame);
        let same = cursor.index[cursor.next..].iter().take_while(|(ts_ns, _)| rank(*ts_ns, direction) == head.rank);
        let before = ties.len();
        ties.extend(same.map(|(_, offset)| Tie { block, frame, offset: *offset, cursor: head.cursor }));
        cursor.next += ties.len() - before;
        match cursor.index.get(cursor.next) {
            Some((ts_ns, _)) => self.heads.push(Reverse(Head { rank: rank(*ts_ns, direction), cursor: head.cursor })),
            None => self.passed.push(head.cursor),
        }
    }

    /// Removes entries that another, earlier block has too; answers how many. Lines are compared by hash first, so that
    /// many entries of one time cost no more each than few.
    fn drop_copies(&self, ties: &mut Vec<Tie>) -> u64 {
        let before = ties.len();
        let hasher = FixedState::default();
        let mut by_line: HashMap<u64, Vec<Tie>, FixedState> = HashMap::default();
        ties.retain(|tie| {
            let Some(entry) = self.entry(tie) else { return false };
            let alike = by_line.entry(hasher.hash_one(entry.line)).or_default();
            let is_copy = alike
                .iter()
                .filter(|k| k.block != tie.block)
                .any(|k| self.entry(k).is_some_and(|k| k.line == entry.line && k.metadata == entry.metadata));
            if !is_copy {
                alike.push(*tie);
            }
            !is_copy
        });
        (before - ties.len()) as u64
    }

    fn entry(&self, tie: &Tie) -> Option<EntryRef<'_>> {
        self.cursors[tie.cursor].as_ref()?.raw.entries_from(tie.offset).try_next().ok()?
    }

    fn close_passed(&mut self, tally: &mut Tally) {
        for cursor in self.passed.drain(..) {
            if let Some(cursor) = self.cursors[cursor].take() {
                tally.release(cursor.raw);
            }
        }
    }

    fn close(self, tally: &mut Tally) {
        self.cursors.into_iter().flatten().for_each(|cursor| tally.release(cursor.raw));
    }
}
