//! Scans a leaf's entries into series: which series an entry belongs to, what it is worth, which pane it is in.
//! Labels are looked at per line only where they can differ per line.

use super::outlined::ignores_line;
use super::panes::{Fold, Panes, Sample};
use crate::ast::{Grouping, LabelFormat, LogRange, Stage};
use crate::engine::grid::{Pane, Windows};
use crate::engine::limits::EngineLimits;
use crate::engine::scan::{self, Reading, StreamPart, Tally, Visitor};
use crate::engine::vector::{StepSeries, group};
use crate::engine::{Context, errors};
use crate::pipeline::{Hints, Pipeline, StreamPipeline, Unwrapped, Unwrapper};
use crate::source::Selection;
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};
use model::block::Metadata;
use model::{EntryRef, Labels, Outline, Result};
use smol_str::SmolStr;
use std::hash::BuildHasher;

/// Memory is charged in portions of about this many bytes, so that the hook is not asked per sample.
const CHARGE_BYTES: usize = 64 << 10;
/// What a series costs besides its labels' text: two map entries and the heads of its lists.
const SERIES_BYTES: usize = 160;
/// What a label costs besides its text.
const LABEL_BYTES: usize = 48;

/// Samples that wait to be added: their series are looked at together, so that the machine fetches what is far away in
/// memory for all of them at once.
const WAITING_MAX: usize = 32;

/// What a sample's value is where nothing is unwrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueOf {
    One,
    LineBytes,
}

/// A range aggregation's way from entries to samples, compiled.
pub struct Leaf<'a> {
    range: &'a LogRange,
    pipeline: Pipeline,
    unwrapper: Option<Unwrapper>,
    grouping: Option<Grouping>,
    value: ValueOf,
    pub(super) windows: Windows,
    /// No stage can make labels differ from line to line of a stream, but for structured metadata.
    labels_are_the_streams: bool,
    /// Of a line nothing is read, and nothing counts but its length.
    pub(super) ignores_lines: bool,
    /// The labels that the series depend on; `None`: all.
    pub(super) labels_read: Option<Vec<SmolStr>>,
}

impl<'a> Leaf<'a> {
    pub fn new(
        range: &'a LogRange,
        hints: &Hints,
        grouping: Option<Grouping>,
        value: ValueOf,
        windows: Windows,
    ) -> Result<Self> {
        let keeps_labels = |stage: &Stage| matches!(stage, Stage::LineFilter(_) | Stage::Decolorize);
        let stages = match value {
            ValueOf::LineBytes => range.log.stages.clone(),
            ValueOf::One => without_unread_lines(&range.log.stages),
        };
        Ok(Leaf {
            range,
            pipeline: Pipeline::compile(&stages, hints)?,
            unwrapper: range.unwrap.as_ref().map(Unwrapper::compile).transpose()?,
            // Without a grouping the unwrapped label is left out of the series, which the pipeline sees to.
            labels_read: hints.extract_only.clone(),
            ignores_lines: stages.iter().all(ignores_line) && range.unwrap.is_none(),
            labels_are_the_streams: stages.iter().all(keeps_labels) && (range.unwrap.is_none() || grouping.is_some()),
            grouping,
            value,
            windows,
        })
    }

    /// Scans, merges the threads' results and gives each series its points, in the order of labels.
    pub fn run<F: Fold>(
        &self,
        context: &Context<'_>,
        finish: impl Fn(&Panes<F>) -> Vec<(u32, f64)>,
    ) -> Result<Vec<StepSeries>> {
        let range = self.windows.span();
        let selection = Selection { matchers: self.range.log.matchers.clone(), range, shard: context.shard };
        let streams = context.source.select(&selection)?;
        let reading = Reading { range, prefilter: self.pipeline.prefilter(), limits: context.limits };
        let workers = scan::for_each_part(
            streams.as_ref(),
            range,
            context.limits,
            &mut context.tally.borrow_mut(),
            || Accumulator::<F>::new(context.limits),
            |accumulator, tally, part| self.part(accumulator, tally, part, &reading),
        )?;
        let mut series: Vec<StepSeries> = merged(workers)
            .into_iter()
            .map(|(labels, panes)| StepSeries { labels, points: finish(&panes) })
            .filter(|s| !s.points.is_empty())
            .collect();
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(series)
    }

    fn part<F: Fold>(
        &self,
        accumulator: &mut Accumulator<'_, F>,
        tally: &mut Tally,
        part: &StreamPart,
        reading: &Reading<'_>,
    ) -> Result<()> {
        let mut stream = Stream {
            leaf: self,
            accumulator,
            pipeline: self.pipeline.stream(&part.labels),
            fingerprint: part.fingerprint.0,
            labels: &part.labels,
            slot: None,
            slot_is_fixed: self.slot_is_fixed(&part.labels),
        };
        for run in part.runs() {
            scan::walk_run(run, &part.labels, reading, tally, &mut stream)?;
        }
        let accumulator = stream.accumulator;
        accumulator.add_waiting()?;
        accumulator.charge_rest()
    }

    /// Whether all entries of a stream go to one series, metadata or not.
    fn slot_is_fixed(&self, labels: &Labels) -> bool {
        let Some(by) = self.grouping.as_ref().filter(|g| !g.without) else { return false };
        by.labels.is_empty() || (self.labels_are_the_streams && by.labels.iter().all(|name| labels.get(name).is_some()))
    }

    /// Whether the pipeline has nothing to say about an entry: no filter, no parser, no value to find.
    pub(super) fn passes_everything(&self) -> bool {
        self.pipeline.is_empty() && self.unwrapper.is_none()
    }
}

/// Leaves out the stages that only change the line, where nothing reads the line after them: as in Loki, a template that
/// would fail then does not.
fn without_unread_lines(stages: &[Stage]) -> Vec<Stage> {
    let reads_line = |stage: &Stage| match stage {
        Stage::LineFilter(_)
        | Stage::Json(_)
        | Stage::Logfmt { .. }
        | Stage::Regexp(_)
        | Stage::Pattern(_)
        | Stage::Unpack => true,
        Stage::LabelFormat(formats) => {
            formats.iter().any(|f| matches!(f, LabelFormat::Template { template, .. } if template.contains("__line__")))
        }
        _ => false,
    };
    let is_needed = |(i, stage): &(usize, &Stage)| {
        !matches!(stage, Stage::LineFormat(_) | Stage::Decolorize) || stages[i + 1..].iter().any(reads_line)
    };
    stages.iter().enumerate().filter(is_needed).map(|(_, stage)| stage.clone()).collect()
}

/// A line, or no more of it than its length.
#[derive(Clone, Copy)]
pub enum Line<'a> {
    Text(&'a [u8]),
    Bytes(u64),
}

impl<'a> Line<'a> {
    fn text(self) -> &'a [u8] {
        match self {
            Line::Text(text) => text,
            Line::Bytes(_) => &[],
        }
    }
    fn bytes(self) -> u64 {
        match self {
            Line::Text(text) => text.len() as u64,
            Line::Bytes(bytes) => bytes,
        }
    }
}

/// A stream while its entries are walked.
pub struct Stream<'a, 'l, F> {
    pub(super) leaf: &'a Leaf<'a>,
    pub(super) accumulator: &'a mut Accumulator<'l, F>,
    pipeline: StreamPipeline<'a>,
    fingerprint: u64,
    labels: &'a Labels,
    /// The series of entries whose labels are the stream's.
    slot: Option<usize>,
    pub(super) slot_is_fixed: bool,
}

impl<F: Fold> Visitor for Stream<'_, '_, F> {
    /// Entries that all go to one series and one pane, and of which nothing counts but their number.
    fn whole(&mut self, tally: &mut Tally, (oldest_ns, newest_ns): (i64, i64), entries: u64) -> Result<bool> {
        let pane = self.leaf.windows.pane(oldest_ns);
        let is_number = self.slot_is_fixed && self.leaf.value == ValueOf::One && self.leaf.passes_everything();
        let Some(summary) = F::of_lines(entries, 0).filter(|_| is_number && pane.contains(newest_ns)) else {
            return Ok(false);
        };
        if pane.is_outside() || entries == 0 {
            return Ok(true);
        }
        tally.stats.lines += entries;
        tally.stats.post_filter_lines += entries;
        let slot = self.stream_slot()?;
        self.accumulator.add_summary(slot, &pane, summary)?;
        Ok(true)
    }

    fn outlined(&mut self, tally: &mut Tally, outline: impl FnOnce() -> Option<Outline>) -> Result<bool> {
        self.take_outline(tally, outline)
    }

    #[inline]
    fn entry(&mut self, tally: &mut Tally, entry: EntryRef<'_>) -> Result<()> {
        match self.choose_pane(entry.ts_ns) {
            true => self.take(tally, entry.ts_ns, Line::Text(entry.line), entry.metadata),
            false => Ok(()),
        }
    }
}

impl<F: Fold> Stream<'_, '_, F> {
    /// Whether any window sees an entry of this time.
    #[inline]
    pub(super) fn choose_pane(&mut self, ts_ns: i64) -> bool {
        let pane = &mut self.accumulator.pane;
        if !pane.contains(ts_ns) {
            *pane = self.leaf.windows.pane(ts_ns);
        }
        !pane.is_outside()
    }

    /// Takes an entry of the pane that was chosen last.
    #[inline]
    pub(super) fn take(&mut self, tally: &mut Tally, ts_ns: i64, line: Line<'_>, metadata: Metadata<'_>) -> Result<()> {
        let of_stream = self.slot_is_fixed || (self.leaf.labels_are_the_streams && metadata.is_empty());
        if of_stream && self.leaf.passes_everything() {
            tally.stats.post_filter_lines += 1;
            let value = if self.leaf.value == ValueOf::LineBytes { line.bytes() as f64 } else { 1.0 };
            let slot = self.stream_slot()?;
            return self.accumulator.add(slot, &Sample { ts_ns, value, stream: self.fingerprint });
        }
        if !self.pipeline.process(ts_ns, line.text(), metadata) {
            return Ok(());
        }
        let value = match (&self.leaf.unwrapper, self.leaf.value) {
            (Some(unwrapper), _) => match unwrapper.value(&mut self.pipeline) {
                Unwrapped::Value(value) => value,
                Unwrapped::Skip => return Ok(()),
                Unwrapped::Error => 0.0,
            },
            (None, ValueOf::LineBytes) => match line {
                Line::Text(_) => self.pipeline.line_bytes() as f64,
                Line::Bytes(bytes) => bytes as f64,
            },
            (None, ValueOf::One) => 1.0,
        };
        self.add_processed(tally, ts_ns, value, of_stream)
    }

    /// A sample of the entry that was processed last.
    fn add_processed(&mut self, tally: &mut Tally, ts_ns: i64, value: f64, of_stream: bool) -> Result<()> {
        tally.stats.post_filter_lines += 1;
        let has_error = self.pipeline.error().is_some();
        let sample = Sample { ts_ns, value, stream: self.fingerprint };
        if of_stream && !has_error {
            let slot = self.stream_slot()?;
            return self.accumulator.add(slot, &sample);
        }
        let slot = self.line_slot(has_error)?;
        self.accumulator.add_later(slot, sample)
    }

    pub(super) fn stream_slot(&mut self) -> Result<usize> {
        if let Some(slot) = self.slot {
            return Ok(slot);
        }
        let labels = match &self.leaf.grouping {
            Some(grouping) => group(self.labels, grouping),
            None => self.labels.clone(),
        };
        let slot = self.accumulator.slot(labels)?;
        self.slot = Some(slot);
        Ok(slot)
    }

    /// The series of the line that was processed last.
    fn line_slot(&mut self, has_error: bool) -> Result<usize> {
        if has_error {
            // A line with an error cannot be told by the grouping's labels: it fails the query unless asked for.
            errors::check_series(&self.pipeline.labels())?;
        }
        let identity = match &self.leaf.grouping {
            Some(grouping) => self.pipeline.group_identity(grouping),
            None => self.pipeline.identity(),
        };
        let accumulator = &mut *self.accumulator;
        if let Some(slot) = accumulator.by_identity.get(&identity) {
            return Ok(*slot);
        }
        let labels = match &self.leaf.grouping {
            Some(grouping) => self.pipeline.group(grouping),
            None => self.pipeline.labels(),
        };
        let slot = accumulator.slot(labels)?;
        accumulator.charge(size_of::<(u64, usize)>())?;
        accumulator.by_identity.insert(identity, slot);
        Ok(slot)
    }
}

/// One thread's series.
pub struct Accumulator<'a, F> {
    limits: &'a EngineLimits,
    pane: Pane,
    slots: Vec<(Labels, Panes<F>)>,
    /// Samples of series that differ from line to line, in the order of lines.
    waiting: Vec<(usize, Pane, Sample)>,
    by_labels: HashTable<usize>,
    /// Series by the hash of their labels that the pipeline gives without building them.
    by_identity: HashMap<u64, usize, FixedState>,
    hasher: FixedState,
    uncharged_bytes: usize,
}

impl<'a, F: Fold> Accumulator<'a, F> {
    fn new(limits: &'a EngineLimits) -> Self {
        Accumulator {
            limits,
            pane: Pane::NOWHERE,
            slots: Vec::new(),
            waiting: Vec::with_capacity(WAITING_MAX),
            by_labels: HashTable::new(),
            by_identity: HashMap::default(),
            hasher: FixedState::default(),
            uncharged_bytes: 0,
        }
    }

    /// Adds a sample of the pane that was chosen last.
    #[inline]
    fn add(&mut self, slot: usize, sample: &Sample) -> Result<()> {
        if !self.waiting.is_empty() {
            self.add_waiting()?;
        }
        let pane = self.pane;
        self.add_to(slot, &pane, sample)
    }

    #[inline]
    fn add_later(&mut self, slot: usize, sample: Sample) -> Result<()> {
        self.waiting.push((slot, self.pane, sample));
        if self.waiting.len() < WAITING_MAX { Ok(()) } else { self.add_waiting() }
    }

    fn add_waiting(&mut self) -> Result<()> {
        let mut waiting = std::mem::take(&mut self.waiting);
        // Nothing of this depends on what was read before, so the reads overlap.
        let near = waiting.iter().fold(0u32, |sum, (slot, ..)| sum.wrapping_add(self.slots[*slot].1.touch()));
        std::hint::black_box(near);
        let added = waiting.iter().try_for_each(|(slot, pane, sample)| self.add_to(*slot, pane, sample));
        waiting.clear();
        self.waiting = waiting;
        added
    }

    #[inline]
    fn add_to(&mut self, slot: usize, pane: &Pane, sample: &Sample) -> Result<()> {
        let opened = self.slots[slot].1.add(pane, sample);
        if opened || F::SAMPLE_BYTES > 0 {
            self.charge(F::SAMPLE_BYTES + if opened { Panes::<F>::PANE_BYTES } else { 0 })?;
        }
        Ok(())
    }

    pub(super) fn add_summary(&mut self, slot: usize, pane: &Pane, summary: F) -> Result<()> {
        let opened = self.slots[slot].1.add_summary(pane, summary);
        if opened { self.charge(Panes::<F>::PANE_BYTES) } else { Ok(()) }
    }

    fn charge(&mut self, bytes: usize) -> Result<()> {
        self.uncharged_bytes += bytes;
        if self.uncharged_bytes >= CHARGE_BYTES { self.charge_rest() } else { Ok(()) }
    }

    fn charge_rest(&mut self) -> Result<()> {
        match std::mem::take(&mut self.uncharged_bytes) {
            0 => Ok(()),
            bytes => self.limits.reserve(bytes),
        }
    }

    /// The series of these labels, new ones checked for errors and charged.
    fn slot(&mut self, labels: Labels) -> Result<usize> {
        let hash = self.hasher.hash_one(&labels);
        if let Some(slot) = self.by_labels.find(hash, |slot| self.slots[*slot].0 == labels) {
            return Ok(*slot);
        }
        errors::check_series(&labels)?;
        let text: usize = labels.iter().map(|l| l.name.len() + l.value.len() + LABEL_BYTES).sum();
        self.charge(text + SERIES_BYTES)?;
        let slot = self.slots.len();
        self.slots.push((labels, Panes::new()));
        let Accumulator { by_labels, slots, hasher, .. } = self;
        by_labels.insert_unique(hash, slot, |slot| hasher.hash_one(&slots[*slot].0));
        Ok(slot)
    }
}

fn merged<F: Fold>(workers: Vec<Accumulator<'_, F>>) -> Vec<(Labels, Panes<F>)> {
    let mut workers = workers.into_iter();
    let Some(mut all) = workers.next() else { return Vec::new() };
    for worker in workers {
        for (labels, panes) in worker.slots {
            let hash = all.hasher.hash_one(&labels);
            match all.by_labels.find(hash, |slot| all.slots[*slot].0 == labels) {
                Some(slot) => all.slots[*slot].1.merge(panes),
                None => {
                    let slot = all.slots.len();
                    all.slots.push((labels, panes));
                    let Accumulator { by_labels, slots, hasher, .. } = &mut all;
                    by_labels.insert_unique(hash, slot, |slot| hasher.hash_one(&slots[*slot].0));
                }
            }
        }
    }
    all.slots
}
