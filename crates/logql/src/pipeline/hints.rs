//! What the rest of a query can look at: it decides which fields the parsers extract and when they may stop.
//! It must not know lines.

use super::label_filter::LabelFilter;
use super::names::{DUPLICATE_SUFFIX, NameId};
use crate::ast::{self, Grouping, LabelSelector, Stage, Unwrap};
use smol_str::SmolStr;

pub const ERROR: &str = "__error__";
pub const ERROR_DETAILS: &str = "__error_details__";
/// Added to a series that carries an error which the query asks for, so that the error does not fail the query.
pub const PRESERVE_ERROR: &str = "__preserve_error__";

/// The default extracts all fields, as a log query needs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hints {
    /// The only label names that the rest of the query can look at; `None` means all, and an empty list that parsers need
    /// not run at all.
    pub extract_only: Option<Vec<SmolStr>>,
    /// Mark series that carry an error with [`PRESERVE_ERROR`].
    pub preserve_error: bool,
    /// Do not keep a copy of the line: [`super::StreamPipeline::line`] stays empty, the line's size is still known.
    pub without_line: bool,
    /// What the template function `now` answers, in nanoseconds since the epoch.
    pub now_ns: i64,
}

impl Hints {
    /// The hints of a query part that makes samples: `grouping` is what the series are reduced to (a vector sum around the
    /// range aggregation, or its own `by`), `None` if they keep all labels.
    pub fn for_samples(stages: &[Stage], unwrap: Option<&Unwrap>, grouping: Option<&Grouping>) -> Self {
        let mut names: Vec<SmolStr> = Vec::new();
        for stage in stages {
            names_read(stage, &mut names);
        }
        if let Some(unwrap) = unwrap {
            names.push(unwrap.label.clone());
            unwrap.filters.iter().for_each(|f| filter_names(f, &mut names));
        }
        let Some(by) = grouping.filter(|g| !g.without) else {
            return Hints { without_line: true, ..Hints::default() };
        };
        names.extend(by.labels.iter().cloned());
        let preserve_error = !by.labels.is_empty() && names.iter().any(|n| n == ERROR);
        let originals: Vec<SmolStr> =
            names.iter().filter_map(|n| n.strip_suffix(DUPLICATE_SUFFIX)).map(SmolStr::from).collect();
        names.extend(originals);
        names.sort();
        names.dedup();
        Hints { extract_only: Some(names), preserve_error, without_line: true, now_ns: 0 }
    }
}

/// The labels that a stage needs to see, as Loki counts them: templates, `keep` and `drop` with matchers and all filters.
fn names_read(stage: &Stage, names: &mut Vec<SmolStr>) {
    match stage {
        Stage::LabelFilter(filter) => filter_names(filter, names),
        Stage::LineFormat(template) => names.extend(super::template::fields(template)),
        Stage::LabelFormat(formats) => {
            for format in formats {
                match format {
                    ast::LabelFormat::Rename { from, .. } => names.push(from.clone()),
                    ast::LabelFormat::Template { template, .. } => names.extend(super::template::fields(template)),
                }
            }
        }
        Stage::Drop(selectors) | Stage::Keep(selectors) => names.extend(selectors.iter().filter_map(|s| match s {
            LabelSelector::Name(_) => None,
            LabelSelector::Matcher(m) => Some(m.name.clone()),
        })),
        _ => {}
    }
}

fn filter_names(filter: &ast::LabelFilter, names: &mut Vec<SmolStr>) {
    match filter {
        ast::LabelFilter::String(m) => names.push(m.name.clone()),
        ast::LabelFilter::Number { name, .. }
        | ast::LabelFilter::Duration { name, .. }
        | ast::LabelFilter::Bytes { name, .. }
        | ast::LabelFilter::Ip { name, .. } => names.push(name.clone()),
        ast::LabelFilter::And(a, b) | ast::LabelFilter::Or(a, b) => {
            filter_names(a, names);
            filter_names(b, names);
        }
    }
}

/// The hints of one compiled pipeline, with the names that its stages mention.
pub struct Interest {
    pub names: Vec<SmolStr>,
    required: Option<Vec<SmolStr>>,
    /// Label filters of one label: Loki tries the first one of a name as soon as a parser has extracted that name, wherever
    /// the filter stands, and drops the line if it fails.
    pub filters: Vec<(SmolStr, LabelFilter)>,
    pub preserve_error: bool,
    pub now_ns: i64,
}

impl Interest {
    pub fn new(hints: &Hints) -> Self {
        Interest {
            names: Vec::new(),
            required: hints.extract_only.clone(),
            filters: Vec::new(),
            preserve_error: hints.preserve_error,
            now_ns: hints.now_ns,
        }
    }

    /// The number of `name` in every stream's names.
    pub fn name(&mut self, name: &str) -> NameId {
        let known = self.names.iter().position(|n| n == name);
        known.unwrap_or_else(|| {
            self.names.push(name.into());
            self.names.len() - 1
        }) as NameId
    }

    pub fn is_required(&self, name: &str) -> bool {
        self.required.as_ref().is_none_or(|names| names.iter().any(|n| n == name))
    }

    /// Whether some required name starts with `prefix`.
    pub fn is_prefix_required(&self, prefix: &[u8]) -> bool {
        self.required.as_ref().is_none_or(|names| names.iter().any(|n| n.as_bytes().starts_with(prefix)))
    }

    /// Whether no label at all is of interest.
    pub fn no_labels(&self) -> bool {
        self.required.as_ref().is_some_and(Vec::is_empty)
    }

    /// How many names must have been extracted before a parser may stop.
    pub fn enough(&self) -> usize {
        self.required.as_ref().map_or(usize::MAX, Vec::len)
    }

    pub fn early_filter(&self, name: &str) -> Option<u32> {
        self.filters.iter().position(|(n, _)| n == name).map(|i| i as u32)
    }
}
