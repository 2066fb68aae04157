//! Label matchers of a stream selector.

use crate::pattern::anchored;
use crate::{Labels, Result};
use regex::Regex;
use smol_str::SmolStr;
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MatchOp {
    Eq,
    Ne,
    Re,
    NotRe,
}

impl MatchOp {
    pub fn as_str(self) -> &'static str {
        match self {
            MatchOp::Eq => "=",
            MatchOp::Ne => "!=",
            MatchOp::Re => "=~",
            MatchOp::NotRe => "!~",
        }
    }
}

/// `name op "value"`; a regular expression is fully anchored, and compiled once.
#[derive(Clone)]
pub struct Matcher {
    pub name: SmolStr,
    pub op: MatchOp,
    pub value: SmolStr,
    regex: Option<Regex>,
}

impl Matcher {
    pub fn new(name: impl Into<SmolStr>, op: MatchOp, value: impl Into<SmolStr>) -> Result<Self> {
        let value = value.into();
        let regex = match op {
            MatchOp::Re | MatchOp::NotRe => Some(anchored(&value)?),
            MatchOp::Eq | MatchOp::Ne => None,
        };
        Ok(Matcher { name: name.into(), op, value, regex })
    }

    pub fn equal(name: impl Into<SmolStr>, value: impl Into<SmolStr>) -> Self {
        Matcher { name: name.into(), op: MatchOp::Eq, value: value.into(), regex: None }
    }

    /// A label that a stream lacks has the value "".
    pub fn matches(&self, value: &str) -> bool {
        match (self.op, &self.regex) {
            (MatchOp::Eq, _) => self.value == value,
            (MatchOp::Ne, _) => self.value != value,
            (MatchOp::Re, Some(re)) => re.is_match(value),
            (MatchOp::NotRe, Some(re)) => !re.is_match(value),
            (MatchOp::Re | MatchOp::NotRe, None) => false,
        }
    }

    pub fn matches_labels(&self, labels: &Labels) -> bool {
        self.matches(labels.get(&self.name).unwrap_or(""))
    }
}

/// Whether `labels` satisfy all of `matchers`; matchers of the metric name are ignored, as in Loki.
pub fn all_match(matchers: &[Matcher], labels: &Labels) -> bool {
    matchers.iter().all(|m| m.name == crate::labels::METRIC_NAME || m.matches_labels(labels))
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.op, &self.value) == (&other.name, other.op, &other.value)
    }
}
impl Eq for Matcher {}

/// `name="value"`, Go-quoted.
impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.name, self.op.as_str(), crate::quote::quote(&self.value))
    }
}
impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
