//! `| unwrap`: the number in a label, which then leaves the line's labels.

use super::label_filter::LabelFilter;
use super::stream::StreamPipeline;
use crate::ast::{Conversion, Unwrap};
use crate::units::{bytes, number};
use model::Result;
use smol_str::SmolStr;

pub const SAMPLE_ERROR: &str = "SampleExtractionErr";

/// What an entry gives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unwrapped {
    Value(f64),
    /// The entry gives no sample: the label is missing or empty, or a filter drops it.
    Skip,
    /// The label is no number: the line has an error now.
    Error,
}

pub struct Unwrapper {
    label: SmolStr,
    conversion: Option<Conversion>,
    filters: Vec<LabelFilter>,
}

impl Unwrapper {
    pub fn compile(unwrap: &Unwrap) -> Result<Self> {
        Ok(Unwrapper {
            label: unwrap.label.clone(),
            conversion: unwrap.conversion,
            filters: unwrap.filters.iter().map(LabelFilter::compile).collect::<Result<_>>()?,
        })
    }

    /// The number of the line that `pipeline` kept last, after the filters behind `unwrap`. The label is left out of the
    /// line's labels from here on, but a `by` that names it still sees it.
    pub fn value(&self, pipeline: &mut StreamPipeline<'_>) -> Unwrapped {
        let labels = pipeline.working_labels();
        let Some(id) = labels.find(&self.label) else { return Unwrapped::Skip };
        let text = labels.get_id(id).unwrap_or("");
        if text.is_empty() {
            return Unwrapped::Skip;
        }
        let value = match self.conversion {
            None => number::parse(text),
            Some(Conversion::Bytes) => bytes::parse(text).map(|v| v as f64),
            Some(Conversion::Duration | Conversion::DurationSeconds) => model::duration::parse_go(text).map(seconds),
        };
        if let Err(details) = &value {
            labels.set_error(SAMPLE_ERROR, details);
        }
        if !self.filters.iter().all(|f| f.process(labels)) {
            return Unwrapped::Skip;
        }
        labels.set_unwrapped(id);
        value.map_or(Unwrapped::Error, Unwrapped::Value)
    }
}

/// Go's `Duration.Seconds`: whole seconds and the rest apart, then added.
fn seconds(ns: i64) -> f64 {
    (ns / 1_000_000_000) as f64 + (ns % 1_000_000_000) as f64 / 1e9
}
