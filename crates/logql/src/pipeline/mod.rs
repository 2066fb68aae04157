//! Pipelines: what the stages after a stream selector do to each line and its labels.
//! A [`Pipeline`] is compiled once per query part and shared; a [`StreamPipeline`] runs it over one stream's lines with
//! buffers that are reused, so that a line costs no allocation on the common paths.
//! It must not know blocks, time windows or aggregations.

pub mod decolorize;
pub mod drop_keep;
pub mod hints;
pub mod ip;
pub mod json;
pub mod json_path;
pub mod json_scan;
pub mod label_filter;
pub mod label_format;
pub mod label_sets;
pub mod labels;
pub mod line_filter;
pub mod line_format;
pub mod logfmt;
pub mod names;
pub mod pattern;
pub mod prefilter;
pub mod regex_bytes;
pub mod regexp;
pub mod stream;
pub mod template;
pub mod unpack;
pub mod unwrap;
mod words;

pub use hints::Hints;
pub use prefilter::Prefilter;
pub use stream::StreamPipeline;
pub use unwrap::{Unwrapped, Unwrapper};

use crate::ast::Stage;
use hints::Interest;
use label_filter::{LabelFilter, single_label};
use line_filter::LineFilter;
use model::{Labels, Result};

/// The stages of a query part, compiled.
pub struct Pipeline {
    stages: Vec<CompiledStage>,
    interest: Interest,
    prefilter: Prefilter,
    without_line: bool,
}

enum CompiledStage {
    LineFilter(LineFilter),
    Json,
    JsonPaths(json_path::JsonPaths),
    Logfmt(logfmt::Logfmt),
    /// The expression and its number among the pipeline's expressions.
    Regexp(regexp::Regexp, usize),
    Pattern(pattern::Pattern),
    Unpack,
    LabelFilter(LabelFilter),
    LineFormat(line_format::LineFormat),
    LabelFormat(label_format::LabelFormat),
    Decolorize,
    Drop(Vec<drop_keep::Selector>),
    Keep(Vec<drop_keep::Selector>),
}

impl Pipeline {
    /// `Invalid` with Loki's text, the stage in front, if a stage cannot be compiled.
    pub fn compile(stages: &[Stage], hints: &Hints) -> Result<Self> {
        let mut interest = Interest::new(hints);
        for stage in stages {
            if let Stage::LabelFilter(filter) = stage
                && let Some(name) = single_label(filter)
            {
                let compiled = LabelFilter::compile(filter)?;
                interest.filters.push((name.clone(), compiled));
            }
        }
        let mut compiled = Vec::with_capacity(stages.len());
        let mut expressions = 0;
        for stage in in_execution_order(stages) {
            let is_named = !matches!(stage, Stage::Regexp(_) | Stage::Pattern(_));
            let result = compile_stage(stage, &mut interest, &mut expressions);
            compiled.push(result.map_err(|e| if is_named { e.context(format!("stage '{stage}' ")) } else { e })?);
        }
        Ok(Pipeline { stages: compiled, interest, prefilter: Prefilter::new(stages), without_line: hints.without_line })
    }

    /// The condition that every kept line of a block meets.
    pub fn prefilter(&self) -> &Prefilter {
        &self.prefilter
    }

    /// The bytes that every kept line contains, if there are such.
    pub fn required_literal(&self) -> Option<&[u8]> {
        self.prefilter.literal()
    }

    /// Whether no stage does anything: every line is kept as it is.
    pub fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }

    /// The pipeline over lines of one stream, for one thread.
    pub fn stream(&self, labels: &Labels) -> StreamPipeline<'_> {
        StreamPipeline::new(self, labels)
    }
}

/// Loki runs line filters as early as it can: before all stages since the last one that makes a new line, `decolorize`
/// not counted as such.
fn in_execution_order(stages: &[Stage]) -> Vec<&Stage> {
    let mut ordered: Vec<&Stage> = Vec::with_capacity(stages.len());
    let mut segment = 0;
    for stage in stages {
        match stage {
            Stage::LineFilter(_) => {
                ordered.insert(segment, stage);
                segment += 1;
            }
            Stage::LineFormat(_) | Stage::Unpack => {
                ordered.push(stage);
                segment = ordered.len();
            }
            _ => ordered.push(stage),
        }
    }
    ordered
}

fn compile_stage(stage: &Stage, interest: &mut Interest, expressions: &mut usize) -> Result<CompiledStage> {
    Ok(match stage {
        Stage::LineFilter(filter) => CompiledStage::LineFilter(LineFilter::compile(filter)?),
        Stage::Json(fields) if fields.is_empty() => CompiledStage::Json,
        Stage::Json(fields) => CompiledStage::JsonPaths(json_path::JsonPaths::compile(fields, interest)?),
        Stage::Logfmt { strict, keep_empty, fields } => {
            CompiledStage::Logfmt(logfmt::Logfmt::compile(*strict, *keep_empty, fields, interest)?)
        }
        Stage::Regexp(text) => {
            *expressions += 1;
            CompiledStage::Regexp(regexp::Regexp::compile(text, interest)?, *expressions - 1)
        }
        Stage::Pattern(text) => CompiledStage::Pattern(pattern::Pattern::compile(text, interest)?),
        Stage::Unpack => CompiledStage::Unpack,
        Stage::LabelFilter(filter) => CompiledStage::LabelFilter(LabelFilter::compile(filter)?),
        Stage::LineFormat(text) => CompiledStage::LineFormat(line_format::LineFormat::compile(text, interest)?),
        Stage::LabelFormat(formats) => {
            CompiledStage::LabelFormat(label_format::LabelFormat::compile(formats, interest)?)
        }
        Stage::Decolorize => CompiledStage::Decolorize,
        Stage::Drop(selectors) => CompiledStage::Drop(drop_keep::compile(selectors, interest)),
        Stage::Keep(selectors) => CompiledStage::Keep(drop_keep::compile(selectors, interest)),
    })
}
