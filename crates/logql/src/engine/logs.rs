//! Log queries: the newest or oldest entries over all streams. Blocks are read in the order of time over all streams,
//! and reading stops where no block can beat the entries found.

use super::limits::EngineLimits;
use super::scan::{self, Reading, Tally, on_threads};
use super::{Context, Params, Time, errors, merge};
use crate::ast::LogExpr;
use crate::pipeline::{Hints, Pipeline};
use crate::source::{Block, Selection, Streams};
use crate::value::{LogEntry, LogStream};
use bytes::Bytes;
use model::{Direction, Error, Labels, Result, TimeRange};
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a kept entry costs besides its line's bytes and its labels, which it shares or which are small beside it.
const ENTRY_BYTES: usize = 256;

pub(crate) fn evaluate(log: &LogExpr, params: &Params, context: &Context<'_>) -> Result<Vec<LogStream>> {
    let Time::Range { start_ns, end_ns, .. } = params.time else { return Err(errors::log_query_as_instant()) };
    let range = TimeRange::new(start_ns, end_ns);
    let pipeline = Pipeline::compile(&log.stages, &Hints { now_ns: params.now_ns, ..Hints::default() })?;
    if range.is_empty() || params.limit == 0 {
        return Ok(Vec::new());
    }
    let selection = Selection { matchers: log.matchers.clone(), range, shard: context.shard };
    let streams = collect(context.source.select(&selection)?.as_ref(), range, context.limits)?;
    context.tally.borrow_mut().stats.streams += streams.len() as u64;
    let search = Search {
        work: in_order(&streams, params.direction),
        streams,
        next: AtomicUsize::new(0),
        failed: AtomicBool::new(false),
        best: Mutex::new(Best::new(params)),
        reading: Reading { range, prefilter: pipeline.prefilter(), limits: context.limits },
        pipeline: &pipeline,
        direction: params.direction,
    };
    for (tally, error) in on_threads(context.limits.workers, &|| search.worker())? {
        context.tally.borrow_mut().add(tally);
        if let Some(error) = error {
            return Err(error);
        }
    }
    let best = search.best.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(into_streams(thinned(best.into_sorted(), params)))
}

/// A stream with its runs of blocks that overlap one another.
struct Stream {
    labels: Labels,
    blocks: Vec<Arc<dyn Block>>,
    runs: Vec<Range<usize>>,
}

/// All streams, in the order of labels: the order in which a source gives them must not show.
fn collect(source: &dyn Streams, range: TimeRange, limits: &EngineLimits) -> Result<Vec<Stream>> {
    let mut streams = Vec::new();
    while let Some(stream) = source.next() {
        limits.check_stop()?;
        let stream = stream?;
        limits
            .reserve(size_of::<Stream>() + stream.blocks.len() * (size_of::<Arc<dyn Block>>() + size_of::<Work>()))?;
        let (blocks, runs) = scan::runs(stream.blocks, range);
        if !runs.is_empty() {
            streams.push(Stream { labels: stream.labels, blocks, runs });
        }
    }
    streams.sort_by(|a, b| a.labels.cmp(&b.labels));
    Ok(streams)
}

/// A run to read: the place of its best possible entry, and where it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Work {
    edge: i64,
    stream: usize,
    run: usize,
}

fn in_order(streams: &[Stream], direction: Direction) -> Vec<Work> {
    let mut work = Vec::new();
    for (s, stream) in streams.iter().enumerate() {
        for (r, run) in stream.runs.iter().enumerate() {
            let bounds = stream.blocks[run.clone()].iter().map(|b| b.bounds_ns());
            let edge = match direction {
                Direction::Forward => bounds.map(|(min_ns, _)| min_ns).min(),
                Direction::Backward => bounds.map(|(_, max_ns)| !max_ns).min(),
            };
            work.push(Work { edge: edge.unwrap_or(i64::MAX), stream: s, run: r });
        }
    }
    work.sort_unstable();
    work
}

/// An entry's place in the answer: smaller is earlier. Equal times are ordered by stream, then as they came; backward is
/// exactly the reverse of forward.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Place {
    time: i64,
    stream: usize,
    sequence: usize,
}

struct Found {
    place: Place,
    labels: Labels,
    entry: LogEntry,
}

impl PartialEq for Found {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
    }
}
impl Eq for Found {}
impl PartialOrd for Found {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Found {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.place.cmp(&other.place)
    }
}

/// The first `capacity` entries so far; the worst on top.
struct Best {
    heap: BinaryHeap<Found>,
    capacity: usize,
}

impl Best {
    fn new(params: &Params) -> Self {
        // Thinning by interval needs the entries between those it keeps.
        let capacity = if params.interval_ns > 0 { usize::MAX } else { params.limit as usize };
        Best { heap: BinaryHeap::new(), capacity }
    }

    /// The time that an entry must not exceed to get in.
    fn threshold(&self) -> i64 {
        match self.heap.peek() {
            Some(worst) if self.heap.len() >= self.capacity => worst.place.time,
            _ => i64::MAX,
        }
    }

    fn take_in(&mut self, found: Vec<Found>) {
        for entry in found {
            if self.heap.len() < self.capacity {
                self.heap.push(entry);
            } else if let Some(mut worst) = self.heap.peek_mut()
                && entry < *worst
            {
                *worst = entry;
            }
        }
    }

    fn into_sorted(self) -> Vec<Found> {
        self.heap.into_sorted_vec()
    }
}

struct Search<'a> {
    streams: Vec<Stream>,
    work: Vec<Work>,
    next: AtomicUsize,
    failed: AtomicBool,
    best: Mutex<Best>,
    reading: Reading<'a>,
    pipeline: &'a Pipeline,
    direction: Direction,
}

impl Search<'_> {
    fn best(&self) -> MutexGuard<'_, Best> {
        self.best.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads runs until none is left that could change the answer.
    fn worker(&self) -> (Tally, Option<Error>) {
        let mut tally = Tally::default();
        while !self.failed.load(Ordering::Relaxed) {
            let Some(work) = self.work.get(self.next.fetch_add(1, Ordering::Relaxed)) else { break };
            // The runs are in the order of their best entries: what cannot beat the worst kept one ends the search.
            if work.edge > self.best().threshold() {
                break;
            }
            match self.read(work, &mut tally) {
                Ok(found) => self.best().take_in(found),
                Err(error) => {
                    self.failed.store(true, Ordering::Relaxed);
                    return (tally, Some(error));
                }
            }
        }
        (tally, None)
    }

    /// The entries of a run that may belong to the answer.
    fn read(&self, work: &Work, tally: &mut Tally) -> Result<Vec<Found>> {
        let stream = &self.streams[work.stream];
        let run = &stream.blocks[stream.runs[work.run].clone()];
        let (threshold, capacity) = {
            let best = self.best();
            (best.threshold(), best.capacity)
        };
        let mut pipeline = self.pipeline.stream(&stream.labels);
        let mut found: Vec<Found> = Vec::new();
        let rank = match self.direction {
            Direction::Forward => work.stream,
            Direction::Backward => usize::MAX - work.stream,
        };
        merge::ordered(run, &stream.labels, self.direction, &self.reading, tally, &mut |tally, entry| {
            let time = match self.direction {
                Direction::Forward => entry.ts_ns,
                Direction::Backward => !entry.ts_ns,
            };
            if time > threshold || found.len() >= capacity {
                return Ok(ControlFlow::Break(()));
            }
            if !pipeline.process(entry.ts_ns, entry.line, entry.metadata) {
                return Ok(ControlFlow::Continue(()));
            }
            tally.stats.post_filter_lines += 1;
            let line = Bytes::copy_from_slice(pipeline.line());
            self.reading.limits.reserve(line.len() + ENTRY_BYTES)?;
            let (labels, structured_metadata, parsed) = pipeline.categorized();
            let entry = LogEntry { ts_ns: entry.ts_ns, line, structured_metadata, parsed };
            found.push(Found { place: Place { time, stream: rank, sequence: found.len() }, labels, entry });
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }
}

/// Of entries in order, each that is at least the interval after the one returned before it, up to the limit.
fn thinned(found: Vec<Found>, params: &Params) -> Vec<Found> {
    if params.interval_ns <= 0 {
        return found;
    }
    let mut last: Option<i64> = None;
    let far_enough = |entry: &Found| {
        let far = last.is_none_or(|last| entry.place.time.saturating_sub(last) >= params.interval_ns);
        if far {
            last = Some(entry.place.time);
        }
        far
    };
    found.into_iter().filter(far_enough).take(params.limit as usize).collect()
}

/// Entries by their stream's labels as the pipeline left them; streams in the order of labels.
fn into_streams(found: Vec<Found>) -> Vec<LogStream> {
    let mut streams: BTreeMap<Labels, Vec<LogEntry>> = BTreeMap::new();
    for Found { labels, entry, .. } in found {
        streams.entry(labels).or_default().push(entry);
    }
    streams.into_iter().map(|(labels, entries)| LogStream { labels, entries }).collect()
}
