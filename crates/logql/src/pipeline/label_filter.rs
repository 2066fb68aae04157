//! `| name op value`: comparisons of labels as strings, numbers, durations, sizes and addresses, and their combinations.

use super::hints::ERROR;
use super::ip::IpPattern;
use super::labels::WorkingLabels;
use super::regex_bytes::simplify;
use crate::ast::{self, CompareOp};
use crate::units::{bytes, number};
use model::{Error, MatchOp, Matcher, Result};
use smol_str::SmolStr;

pub const LABEL_FILTER_ERROR: &str = "LabelFilterErr";

pub enum LabelFilter {
    String(Matcher),
    /// Loki looks at the error, never at a label of that name.
    Error(Matcher),
    Number {
        name: SmolStr,
        op: CompareOp,
        value: f64,
    },
    Duration {
        name: SmolStr,
        op: CompareOp,
        value_ns: i64,
    },
    Bytes {
        name: SmolStr,
        op: CompareOp,
        value: u64,
    },
    Ip {
        name: SmolStr,
        negated: bool,
        pattern: IpPattern,
    },
    And(Box<LabelFilter>, Box<LabelFilter>),
    Or(Box<LabelFilter>, Box<LabelFilter>),
}

impl LabelFilter {
    pub fn compile(filter: &ast::LabelFilter) -> Result<Self> {
        Ok(match filter {
            ast::LabelFilter::String(m) if m.name == ERROR => LabelFilter::Error(m.clone()),
            ast::LabelFilter::String(m) => LabelFilter::String(simplified(m)?),
            ast::LabelFilter::Number { name, op, value } => {
                LabelFilter::Number { name: name.clone(), op: *op, value: *value }
            }
            ast::LabelFilter::Duration { name, op, value_ns } => {
                LabelFilter::Duration { name: name.clone(), op: *op, value_ns: *value_ns }
            }
            ast::LabelFilter::Bytes { name, op, value } => {
                LabelFilter::Bytes { name: name.clone(), op: *op, value: *value }
            }
            ast::LabelFilter::Ip { name, negated, pattern } => LabelFilter::Ip {
                name: name.clone(),
                negated: *negated,
                pattern: IpPattern::parse(pattern).map_err(Error::invalid)?,
            },
            ast::LabelFilter::And(a, b) => LabelFilter::And(Box::new(Self::compile(a)?), Box::new(Self::compile(b)?)),
            ast::LabelFilter::Or(a, b) => LabelFilter::Or(Box::new(Self::compile(a)?), Box::new(Self::compile(b)?)),
        })
    }

    /// Whether the line stays. A line whose value cannot be converted stays, with an error unless it has one already; a
    /// missing label fails every comparison except that of strings.
    pub fn process(&self, labels: &mut WorkingLabels<'_>) -> bool {
        match self {
            LabelFilter::String(matcher) => matcher.matches(labels.get(&matcher.name).unwrap_or("")),
            LabelFilter::Error(matcher) => matcher.matches(labels.error().unwrap_or("")),
            LabelFilter::Number { name, op, value } => {
                converted(labels, name, |text| number::parse(text).map(|v| compare(*op, &v, value)))
            }
            LabelFilter::Duration { name, op, value_ns } => {
                converted(labels, name, |text| model::duration::parse_go(text).map(|v| compare(*op, &v, value_ns)))
            }
            LabelFilter::Bytes { name, op, value } => {
                converted(labels, name, |text| bytes::parse(text).map(|v| compare(*op, &v, value)))
            }
            LabelFilter::Ip { name, negated, pattern } => {
                labels.has_error() || labels.get(name).is_some_and(|v| pattern.is_in(v.as_bytes()) != *negated)
            }
            LabelFilter::And(a, b) => {
                let left = a.process(labels);
                b.process(labels) && left
            }
            LabelFilter::Or(a, b) => a.process(labels) || b.process(labels),
        }
    }
}

/// Loki simplifies the expression as it does those of line filters.
fn simplified(matcher: &Matcher) -> Result<Matcher> {
    let is_regex = matches!(matcher.op, MatchOp::Re | MatchOp::NotRe);
    match is_regex.then(|| simplify(&matcher.value)).flatten() {
        Some(simple) => Matcher::new(matcher.name.clone(), matcher.op, simple),
        None => Ok(matcher.clone()),
    }
}

fn converted(labels: &mut WorkingLabels<'_>, name: &str, test: impl Fn(&str) -> Result<bool, String>) -> bool {
    let Some(text) = labels.get(name) else { return false };
    match test(text) {
        Ok(stays) => stays,
        Err(details) => {
            if !labels.has_error() {
                labels.set_error(LABEL_FILTER_ERROR, &details);
            }
            true
        }
    }
}

fn compare<T: PartialOrd>(op: CompareOp, left: &T, right: &T) -> bool {
    match op {
        CompareOp::Eq => left == right,
        CompareOp::Ne => left != right,
        CompareOp::Gt => left > right,
        CompareOp::Ge => left >= right,
        CompareOp::Lt => left < right,
        CompareOp::Le => left <= right,
    }
}

/// The label of a filter that looks at one label only, by which a parser can try it early.
pub fn single_label(filter: &ast::LabelFilter) -> Option<&SmolStr> {
    match filter {
        ast::LabelFilter::String(m) => Some(&m.name),
        ast::LabelFilter::Number { name, .. }
        | ast::LabelFilter::Duration { name, .. }
        | ast::LabelFilter::Bytes { name, .. }
        | ast::LabelFilter::Ip { name, .. } => Some(name),
        ast::LabelFilter::And(..) | ast::LabelFilter::Or(..) => None,
    }
}
