//! One stream's lines through a pipeline, one at a time: mutable state, reused buffers, label sets seen before.

use super::hints::{ERROR, ERROR_DETAILS};
use super::json::{self, JsonScratch};
use super::json_path::PathScratch;
use super::label_sets::LabelSets;
use super::labels::{Category, WorkingLabels};
use super::names::NameId;
use super::unpack::{self, UnpackScratch, Unpacked};
use super::{CompiledStage, Pipeline, decolorize, drop_keep};
use crate::ast::Grouping;
use model::Labels;
use model::block::Metadata;
use regex::bytes::CaptureLocations;

/// The largest line buffer kept from one line to the next.
const LINE_BUFFER_BYTES_MAX: usize = 1 << 20;

pub struct StreamPipeline<'p> {
    pipeline: &'p Pipeline,
    labels: WorkingLabels<'p>,
    /// The line as it is after the stages so far, if one has changed it; after a kept line, the final line.
    line: Vec<u8>,
    spare: Vec<u8>,
    line_bytes: usize,
    scratch: Scratch,
    sets: Sets,
}

#[derive(Default)]
struct Scratch {
    json: JsonScratch,
    paths: PathScratch,
    unpack: UnpackScratch,
    text: String,
    locations: Vec<Option<CaptureLocations>>,
}

#[derive(Default)]
struct Sets {
    merged: LabelSets,
    stream: LabelSets,
    metadata: LabelSets,
    parsed: LabelSets,
    grouped: LabelSets,
    /// The grouping that `grouped` is of.
    grouping: Option<(Grouping, Vec<NameId>)>,
    /// The numbering of names that `grouping` is of.
    generation: u64,
}

/// How a stage leaves the line.
enum Step {
    Same,
    /// The new line is in the spare buffer.
    NewLine,
    Dropped,
}

impl From<bool> for Step {
    fn from(stays: bool) -> Self {
        if stays { Step::Same } else { Step::Dropped }
    }
}

impl<'p> StreamPipeline<'p> {
    pub(super) fn new(pipeline: &'p Pipeline, labels: &Labels) -> Self {
        StreamPipeline {
            pipeline,
            labels: WorkingLabels::new(&pipeline.interest, labels),
            line: Vec::new(),
            spare: Vec::new(),
            line_bytes: 0,
            scratch: Scratch::default(),
            sets: Sets::default(),
        }
    }

    /// Goes on with another stream of the same query part, keeping the buffers.
    pub fn switch(&mut self, labels: &Labels) {
        self.labels.switch(labels);
        self.sets = Sets::default();
    }

    /// Runs the stages over one line; whether it is kept. The other methods speak of the line kept last.
    #[inline]
    pub fn process(&mut self, ts_ns: i64, line: &[u8], metadata: Metadata<'_>) -> bool {
        let pipeline = self.pipeline;
        let mut filters = 0;
        for stage in &pipeline.stages {
            match stage {
                CompiledStage::LineFilter(filter) if !filter.keeps(line) => return false,
                CompiledStage::LineFilter(_) => filters += 1,
                _ => break,
            }
        }
        self.labels.start(metadata);
        let mut is_new = false;
        for stage in &pipeline.stages[filters..] {
            let current = if is_new { &self.line[..] } else { line };
            self.spare.clear();
            match run(stage, ts_ns, current, &mut self.labels, &mut self.scratch, &mut self.spare) {
                Step::Same => {}
                Step::NewLine => {
                    std::mem::swap(&mut self.line, &mut self.spare);
                    is_new = true;
                }
                Step::Dropped => return false,
            }
        }
        if !is_new {
            self.line.clear();
            if !pipeline.without_line {
                self.line.extend_from_slice(line);
            }
        }
        self.line_bytes = if is_new { self.line.len() } else { line.len() };
        self.spare.shrink_to(LINE_BUFFER_BYTES_MAX);
        true
    }

    /// The line after all stages; empty if the hints say that nobody asks for it.
    pub fn line(&self) -> &[u8] {
        &self.line
    }

    /// The size of the line after all stages.
    pub fn line_bytes(&self) -> usize {
        self.line_bytes
    }

    /// A label's value over all categories; the two error labels included.
    pub fn label(&self, name: &str) -> Option<&str> {
        match name {
            ERROR if self.labels.error().is_some() => self.labels.error(),
            ERROR_DETAILS if self.labels.error_details().is_some() => self.labels.error_details(),
            _ => self.labels.get(name),
        }
    }

    /// `__error__` and `__error_details__` of a line that a stage failed on.
    pub fn error(&self) -> Option<(&str, &str)> {
        let error = self.labels.error().filter(|e| !e.is_empty())?;
        Some((error, self.labels.error_details().unwrap_or("")))
    }

    /// A hash of the final labels' content: equal for equal labels, over all streams and threads of this process.
    pub fn identity(&self) -> u64 {
        self.labels.identity()
    }

    /// The final labels of all categories.
    pub fn labels(&mut self) -> Labels {
        let labels = &self.labels;
        if labels.is_base() {
            return labels.base().clone();
        }
        self.sets.merged.get(labels.identity(), || pairs(labels, |_| true))
    }

    /// The final labels by where they come from: stream, structured metadata, parsed.
    pub fn categorized(&mut self) -> (Labels, Labels, Labels) {
        let labels = &self.labels;
        if labels.is_base() {
            return (labels.base().clone(), Labels::default(), Labels::default());
        }
        let hash = labels.identity_by_category();
        let sets = &mut self.sets;
        (
            sets.stream.get(hash[0], || pairs(labels, |c| c == Category::Stream)),
            sets.metadata.get(hash[1], || pairs(labels, |c| c == Category::Metadata)),
            sets.parsed.get(hash[2], || pairs(labels, |c| c == Category::Parsed)),
        )
    }

    /// The labels of the series that the line belongs to: all final labels if there is an error, so that it is not lost.
    pub fn group(&mut self, grouping: &Grouping) -> Labels {
        if self.labels.has_error() {
            return self.labels();
        }
        self.resolve(grouping);
        let Some((_, ids)) = &self.sets.grouping else { return Labels::default() };
        let labels = &self.labels;
        let hash = group_hash(labels, grouping, ids);
        self.sets.grouped.get(hash, || group_pairs(labels, grouping, ids))
    }

    /// The content hash of [`Self::group`]'s answer: equal for equal labels, over all streams and threads of this process.
    pub fn group_identity(&mut self, grouping: &Grouping) -> u64 {
        if self.labels.has_error() {
            return self.labels.identity();
        }
        self.resolve(grouping);
        self.sets.grouping.as_ref().map_or(0, |(_, ids)| group_hash(&self.labels, grouping, ids))
    }

    /// Gives the names of `grouping` numbers, once per grouping.
    fn resolve(&mut self, grouping: &Grouping) {
        let generation = self.labels.generation();
        if self.sets.generation == generation && self.sets.grouping.as_ref().is_some_and(|(known, _)| known == grouping)
        {
            return;
        }
        self.sets.generation = generation;
        let ids = grouping.labels.iter().map(|name| self.labels.intern(name)).collect();
        self.sets.grouping = Some((grouping.clone(), ids));
        self.sets.grouped.clear();
    }

    pub(super) fn working_labels(&mut self) -> &mut WorkingLabels<'p> {
        &mut self.labels
    }
}

fn run(
    stage: &CompiledStage,
    ts_ns: i64,
    line: &[u8],
    labels: &mut WorkingLabels<'_>,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) -> Step {
    match stage {
        CompiledStage::LineFilter(filter) => filter.keeps(line).into(),
        CompiledStage::Json => json::extract(line, labels, &mut scratch.json).into(),
        CompiledStage::JsonPaths(paths) => {
            paths.extract(line, labels, &mut scratch.paths);
            Step::Same
        }
        CompiledStage::Logfmt(logfmt) => logfmt.extract(line, labels, &mut scratch.text).into(),
        CompiledStage::Regexp(regexp, number) => {
            if scratch.locations.len() <= *number {
                scratch.locations.resize(number + 1, None);
            }
            let locations = scratch.locations[*number].get_or_insert_with(|| regexp.locations());
            regexp.extract(line, labels, locations).into()
        }
        CompiledStage::Pattern(pattern) => pattern.extract(line, labels).into(),
        CompiledStage::Unpack => match unpack::extract(line, labels, &mut scratch.unpack, out) {
            Unpacked::Line => Step::NewLine,
            Unpacked::Unchanged => Step::Same,
            Unpacked::Dropped => Step::Dropped,
        },
        CompiledStage::LabelFilter(filter) => filter.process(labels).into(),
        CompiledStage::LineFormat(format) => match format.run(ts_ns, line, labels, out) {
            true => Step::NewLine,
            false => Step::Same,
        },
        CompiledStage::LabelFormat(format) => {
            format.run(ts_ns, line, labels, out);
            Step::Same
        }
        CompiledStage::Decolorize => match decolorize::strip(line, out) {
            true => Step::NewLine,
            false => Step::Same,
        },
        CompiledStage::Drop(selectors) => {
            drop_keep::drop(selectors, labels);
            Step::Same
        }
        CompiledStage::Keep(selectors) => {
            drop_keep::keep(selectors, labels);
            Step::Same
        }
    }
}

fn pairs<'a>(labels: &'a WorkingLabels<'_>, wanted: impl Fn(Category) -> bool) -> Vec<(&'a str, &'a str)> {
    let mut pairs = Vec::new();
    labels.each_final(|category, name, value| {
        if wanted(category) {
            pairs.push((name, value));
        }
    });
    pairs
}

fn group_pairs<'a>(labels: &'a WorkingLabels<'_>, grouping: &Grouping, ids: &[NameId]) -> Vec<(&'a str, &'a str)> {
    if !grouping.without {
        return ids.iter().filter_map(|id| Some((labels.name(*id), labels.get_id(*id)?))).collect();
    }
    let mut pairs = pairs(labels, |_| true);
    pairs.retain(|(name, _)| !grouping.labels.iter().any(|g| g == name));
    pairs
}

fn group_hash(labels: &WorkingLabels<'_>, grouping: &Grouping, ids: &[NameId]) -> u64 {
    let named = ids.iter().enumerate().filter(|(i, id)| !ids[..*i].contains(id));
    let named = named.filter_map(|(_, id)| Some((*id, labels.get_id(*id)?)));
    if !grouping.without {
        return named.fold(0, |sum, (id, value)| sum.wrapping_add(labels.hash_of(id, value)));
    }
    let named = named.filter(|(id, _)| !labels.is_left_out(*id));
    named.fold(labels.identity(), |sum, (id, value)| sum.wrapping_sub(labels.hash_of(id, value)))
}
