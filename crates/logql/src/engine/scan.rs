//! The way of entries from blocks to an evaluation: streams are pulled and cut into parts by several threads, blocks
//! opened, their frames searched as a whole and walked. It must not know what is computed from the entries.

use super::limits::EngineLimits;
use super::memory::FrameMemory;
use super::merge;
use crate::pipeline::Prefilter;
use crate::source::{Block, Frames, StreamBlocks, Streams};
use model::{EntryRef, Error, Fingerprint, Kind, Labels, Outline, RawBlock, Result, TimeRange};
use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Runs of one stream that a thread takes at once: enough to make the start of a stream cheap, few enough that one
/// stream keeps all threads busy.
const RUNS_PER_PART: usize = 16;
/// Warnings kept; each unreadable block makes one, and an answer need not list them all.
const WARNINGS_MAX: usize = 20;

/// What was read to answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScanStats {
    pub streams: u64,
    /// Frames of blocks loaded.
    pub blocks: u64,
    /// Frames that were loaded and could be left unsplit, since the search found nothing in them.
    pub blocks_without_match: u64,
    pub decompressed_bytes: u64,
    /// Entries in the time range that were walked.
    pub lines: u64,
    pub post_filter_lines: u64,
    /// Entries left out since another block has them.
    pub duplicates: u64,
    /// Bytes of structured metadata, as encoded in blocks, of the entries that were looked at.
    pub metadata_bytes: u64,
}

impl ScanStats {
    pub fn add(&mut self, other: &ScanStats) {
        self.streams += other.streams;
        self.blocks += other.blocks;
        self.blocks_without_match += other.blocks_without_match;
        self.decompressed_bytes += other.decompressed_bytes;
        self.lines += other.lines;
        self.post_filter_lines += other.post_filter_lines;
        self.duplicates += other.duplicates;
        self.metadata_bytes += other.metadata_bytes;
    }
}

/// One thread's account of its reading, and what it reads into.
#[derive(Default)]
pub(crate) struct Tally {
    pub stats: ScanStats,
    memory: FrameMemory,
    warnings: BTreeSet<String>,
    warnings_left_out: u64,
}

impl Tally {
    pub fn warn(&mut self, text: String) {
        if self.warnings.len() < WARNINGS_MAX {
            self.warnings.insert(text);
        } else if !self.warnings.contains(&text) {
            self.warnings_left_out += 1;
        }
    }

    pub fn add(&mut self, other: Tally) {
        self.stats.add(&other.stats);
        self.warnings_left_out += other.warnings_left_out;
        other.warnings.into_iter().for_each(|w| self.warn(w));
    }

    pub fn into_warnings(self) -> Vec<String> {
        let more = (self.warnings_left_out > 0)
            .then(|| format!("and {} more parts could not be read", self.warnings_left_out));
        self.warnings.into_iter().chain(more).collect()
    }

    /// Opens a block; one that is gone or does not verify is `None` and a warning.
    pub fn open(&mut self, block: &dyn Block, limits: &EngineLimits) -> Result<Option<Arc<dyn Frames>>> {
        limits.check_stop()?;
        self.skip_unreadable(block.open())
    }

    /// Loads a frame of an opened block, likewise. It is to be given to [`Tally::release`] when it has been read.
    pub fn load(&mut self, frames: &dyn Frames, frame: usize, limits: &EngineLimits) -> Result<Option<RawBlock>> {
        limits.check_stop()?;
        let loaded = frames.load(frame, self.memory.take());
        let Some(raw) = self.skip_unreadable(loaded)? else { return Ok(None) };
        self.stats.blocks += 1;
        self.stats.decompressed_bytes += raw.data.len() as u64;
        self.memory.hold(&raw, limits)?;
        Ok(Some(raw))
    }

    pub fn release(&mut self, raw: RawBlock) {
        self.memory.release(raw);
    }

    fn skip_unreadable<T>(&mut self, read: Result<T>) -> Result<Option<T>> {
        match read {
            Ok(read) => Ok(Some(read)),
            Err(error) if matches!(error.kind, Kind::Corrupt | Kind::NotFound) => {
                self.warn(error.message);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    pub fn warn_malformed(&mut self, labels: &Labels, offset: usize) {
        self.warn(format!(
            "a block of stream {labels} is malformed from byte {offset} on: its later entries are missing"
        ));
    }
}

/// A part of a stream that one thread scans.
pub(crate) struct StreamPart {
    pub labels: Labels,
    pub fingerprint: Fingerprint,
    blocks: Arc<[Arc<dyn Block>]>,
    runs: Vec<Range<usize>>,
}

impl StreamPart {
    /// The runs of the part: each a list of blocks that overlap in time, later runs strictly newer.
    pub fn runs(&self) -> impl Iterator<Item = &[Arc<dyn Block>]> {
        self.runs.iter().map(|run| &self.blocks[run.clone()])
    }

    fn split(stream: StreamBlocks, range: TimeRange) -> Vec<StreamPart> {
        let StreamBlocks { labels, fingerprint, blocks } = stream;
        let (blocks, runs) = runs(blocks, range);
        let blocks: Arc<[Arc<dyn Block>]> = blocks.into();
        let part = |runs: &[Range<usize>]| StreamPart {
            labels: labels.clone(),
            fingerprint,
            blocks: blocks.clone(),
            runs: runs.to_vec(),
        };
        runs.chunks(RUNS_PER_PART).map(part).collect()
    }
}

/// Sorts the blocks that overlap the range by time and finds the maximal groups of blocks that overlap one another;
/// blocks that share only one timestamp overlap too.
pub(crate) fn runs(mut blocks: Vec<Arc<dyn Block>>, range: TimeRange) -> (Vec<Arc<dyn Block>>, Vec<Range<usize>>) {
    blocks.retain(|b| {
        let (min_ns, max_ns) = b.bounds_ns();
        range.overlaps(min_ns, max_ns)
    });
    // Stable: blocks of equal bounds stay in the source's order.
    blocks.sort_by_key(|b| b.bounds_ns());
    let mut runs: Vec<Range<usize>> = Vec::with_capacity(blocks.len());
    let mut newest_ns = i64::MIN;
    for (i, block) in blocks.iter().enumerate() {
        let (min_ns, max_ns) = block.bounds_ns();
        match runs.last_mut() {
            Some(run) if min_ns <= newest_ns => run.end = i + 1,
            _ => runs.push(i..i + 1),
        }
        newest_ns = newest_ns.max(max_ns);
    }
    (blocks, runs)
}

/// The parts of all streams, handed to threads.
struct Parts<'a> {
    streams: &'a dyn Streams,
    range: TimeRange,
    state: Mutex<PartsState>,
    changed: Condvar,
    failed: AtomicBool,
}

#[derive(Default)]
struct PartsState {
    ready: VecDeque<StreamPart>,
    /// Threads that wait for the source at this moment.
    pulling: usize,
    exhausted: bool,
    streams: u64,
}

impl Parts<'_> {
    fn lock(&self) -> MutexGuard<'_, PartsState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next part; the source is asked without the lock held, since it may block.
    fn next(&self) -> Option<Result<StreamPart>> {
        let mut state = self.lock();
        loop {
            if self.failed.load(Ordering::Relaxed) {
                return None;
            }
            if let Some(part) = state.ready.pop_front() {
                return Some(Ok(part));
            }
            if state.exhausted {
                if state.pulling == 0 {
                    return None;
                }
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.pulling += 1;
            drop(state);
            let pulled = self.streams.next().map(|s| s.map(|stream| StreamPart::split(stream, self.range)));
            state = self.lock();
            state.pulling -= 1;
            match pulled {
                Some(Ok(parts)) => {
                    state.streams += 1;
                    state.ready.extend(parts);
                }
                None => state.exhausted = true,
                Some(Err(error)) => {
                    self.fail();
                    return Some(Err(error));
                }
            }
            self.changed.notify_all();
        }
    }

    fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
        self.changed.notify_all();
    }
}

/// Scans all parts with `limits.workers` threads, each with a state of its own, and gives back the states.
pub(crate) fn for_each_part<W: Send>(
    streams: &dyn Streams,
    range: TimeRange,
    limits: &EngineLimits,
    tally: &mut Tally,
    make: impl Fn() -> W + Sync,
    visit: impl Fn(&mut W, &mut Tally, &StreamPart) -> Result<()> + Sync,
) -> Result<Vec<W>> {
    let parts = Parts {
        streams,
        range,
        state: Mutex::new(PartsState::default()),
        changed: Condvar::new(),
        failed: AtomicBool::new(false),
    };
    let work = || -> (W, Tally, Option<Error>) {
        let (mut worker, mut tally) = (make(), Tally::default());
        while let Some(part) = parts.next() {
            if let Err(error) = part.and_then(|part| visit(&mut worker, &mut tally, &part)) {
                parts.fail();
                return (worker, tally, Some(error));
            }
        }
        (worker, tally, None)
    };
    let results = on_threads(limits.workers, &work)?;
    tally.stats.streams += parts.lock().streams;
    let mut workers = Vec::with_capacity(results.len());
    let mut errors = Vec::new();
    for (worker, account, error) in results {
        tally.add(account);
        workers.push(worker);
        errors.extend(error);
    }
    // Of several threads' errors always the same one.
    match errors.into_iter().min_by(|a, b| a.message.cmp(&b.message)) {
        Some(error) => Err(error),
        None => Ok(workers),
    }
}

/// Runs `work` on `workers` threads, this one among them.
pub(crate) fn on_threads<T: Send>(workers: usize, work: &(impl Fn() -> T + Sync)) -> Result<Vec<T>> {
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..workers.max(1)).map(|_| scope.spawn(work)).collect();
        let mut results = vec![work()];
        for thread in others {
            results.push(thread.join().map_err(|_| Error::new(Kind::Internal, "a scan thread panicked"))?);
        }
        Ok(results)
    })
}

/// Whether a query still has a reader is asked again after so many lines: stages may take long for each.
const STOP_CHECK_LINES: u64 = 64;

/// How entries are read: which, and how they are searched.
#[derive(Clone, Copy)]
pub(crate) struct Reading<'a> {
    pub range: TimeRange,
    pub prefilter: &'a Prefilter,
    pub limits: &'a EngineLimits,
}

/// Who takes the entries of a run.
pub(crate) trait Visitor {
    /// Takes so many entries, all of them within `bounds_ns`, without seeing them; false: they have to be visited.
    fn whole(&mut self, tally: &mut Tally, bounds_ns: (i64, i64), entries: u64) -> Result<bool>;
    /// Takes the entries of a frame by its outline, those in the range; false: they have to be visited.
    fn outlined(&mut self, tally: &mut Tally, outline: impl FnOnce() -> Option<Outline>) -> Result<bool>;
    fn entry(&mut self, tally: &mut Tally, entry: EntryRef<'_>) -> Result<()>;
}

/// Gives `visitor` the entries of a run that lie in the range and may match, oldest first.
pub(crate) fn walk_run(
    run: &[Arc<dyn Block>],
    labels: &Labels,
    reading: &Reading<'_>,
    tally: &mut Tally,
    visitor: &mut impl Visitor,
) -> Result<()> {
    let [block] = run else {
        return merge::forward(run, labels, reading, tally, &mut |tally, entry| visitor.entry(tally, entry));
    };
    let all_in_range = |(min_ns, max_ns)| reading.range.contains(min_ns) && reading.range.contains(max_ns);
    let (mut floor_ns, _) = block.bounds_ns();
    let Some(frames) = tally.open(block.as_ref(), reading.limits)? else { return Ok(()) };
    for (frame, (min_ns, max_ns)) in frames.bounds_ns().into_iter().enumerate() {
        // A frame's stated start may be too late, but not by more than to the end of the frame before.
        let bounds = (min_ns.min(floor_ns), max_ns);
        floor_ns = max_ns;
        if !reading.range.overlaps(min_ns, max_ns) {
            continue;
        }
        if let Some(entries) = frames.entries(frame).filter(|_| all_in_range(bounds))
            && visitor.whole(tally, bounds, entries)?
        {
            continue;
        }
        if visitor.outlined(tally, || frames.outline(frame))? {
            continue;
        }
        let Some(raw) = tally.load(frames.as_ref(), frame, reading.limits)? else { continue };
        walk_frame(&raw, labels, reading, tally, |tally, _, entry| visitor.entry(tally, entry))?;
        tally.release(raw);
    }
    Ok(())
}

/// Visits the entries of a frame that lie in the range and may match, with their offsets. The whole frame is searched
/// first: where the search finds nothing, entries are stepped over by their length prefixes only.
pub(crate) fn walk_frame(
    raw: &RawBlock,
    labels: &Labels,
    reading: &Reading<'_>,
    tally: &mut Tally,
    mut visit: impl FnMut(&mut Tally, usize, EntryRef<'_>) -> Result<()>,
) -> Result<()> {
    let Some(mut hit) = reading.prefilter.find_at(&raw.data, 0) else {
        tally.stats.blocks_without_match += 1;
        return Ok(());
    };
    let mut entries = raw.entries();
    let (mut lines, mut metadata_bytes) = (0, 0);
    let outcome = loop {
        let offset = entries.offset();
        let entry = match entries.try_next() {
            Ok(Some(entry)) => entry,
            Ok(None) => break Ok(()),
            Err(malformed) => {
                tally.warn_malformed(labels, malformed.offset);
                break Ok(());
            }
        };
        if entry.ts_ns >= reading.range.end_ns {
            break Ok(());
        }
        if entry.ts_ns < reading.range.start_ns {
            continue;
        }
        lines += 1;
        if lines % STOP_CHECK_LINES == 0
            && let Err(stopped) = reading.limits.check_stop()
        {
            break Err(stopped);
        }
        let end = entries.offset();
        if hit >= end {
            continue;
        }
        if hit < offset {
            match reading.prefilter.find_at(&raw.data, offset) {
                Some(next) => hit = next,
                None => break Ok(()),
            }
            if hit >= end {
                continue;
            }
        }
        metadata_bytes += entry.metadata.encoded_bytes() as u64;
        if let Err(error) = visit(tally, offset, entry) {
            break Err(error);
        }
    };
    tally.stats.lines += lines;
    tally.stats.metadata_bytes += metadata_bytes;
    outcome
}
