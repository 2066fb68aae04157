//! Label matchers of a stream selector.

use crate::pattern::Shape;
use crate::{Labels, Result};
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

    pub fn is_regex(self) -> bool {
        matches!(self, MatchOp::Re | MatchOp::NotRe)
    }

    pub fn is_negated(self) -> bool {
        matches!(self, MatchOp::Ne | MatchOp::NotRe)
    }
}

/// `name op "value"`; a regular expression is fully anchored, and compiled once.
#[derive(Clone)]
pub struct Matcher {
    pub name: SmolStr,
    pub op: MatchOp,
    pub value: SmolStr,
    /// Of `=~` and `!~` only.
    shape: Option<Shape>,
}

impl Matcher {
    pub fn new(name: impl Into<SmolStr>, op: MatchOp, value: impl Into<SmolStr>) -> Result<Self> {
        let value = value.into();
        let shape = if op.is_regex() { Some(Shape::parse(&value)?) } else { None };
        Ok(Matcher { name: name.into(), op, value, shape })
    }

    pub fn equal(name: impl Into<SmolStr>, value: impl Into<SmolStr>) -> Self {
        Matcher { name: name.into(), op: MatchOp::Eq, value: value.into(), shape: None }
    }

    /// A label that a stream lacks has the value "".
    pub fn matches(&self, value: &str) -> bool {
        let is_hit = match &self.shape {
            None => self.value == value,
            Some(shape) => shape.matches(value),
        };
        is_hit != self.op.is_negated()
    }

    pub fn matches_labels(&self, labels: &Labels) -> bool {
        self.matches(labels.get(&self.name).unwrap_or(""))
    }

    /// Whether a stream without the label satisfies the matcher.
    pub fn matches_empty(&self) -> bool {
        self.matches("")
    }

    /// All values that satisfy the matcher, sorted, if they can be listed: of `=`, and of `=~` over plain alternatives.
    /// An index looks these up instead of testing every value it has.
    pub fn values(&self) -> Option<&[SmolStr]> {
        match (&self.shape, self.op) {
            (None, MatchOp::Eq) => Some(std::slice::from_ref(&self.value)),
            (Some(Shape::OneOf(values)), MatchOp::Re) => Some(values),
            _ => None,
        }
    }

    /// Text that every value satisfying `=~` starts with; empty if there is none or the matcher is another.
    pub fn prefix(&self) -> &str {
        match (&self.shape, self.op) {
            (Some(Shape::Regex { prefix, .. } | Shape::Prefix(prefix)), MatchOp::Re) => prefix,
            _ => "",
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn regex(value: &str) -> Matcher {
        Matcher::new("app", MatchOp::Re, value).expect(value)
    }

    #[test]
    fn a_regular_expression_is_anchored_and_its_negation_is_the_opposite() {
        let cases = [
            ("", &[""][..], &["a"][..]),
            ("a", &["a"], &["", "ab", "ba"]),
            ("a|bc?", &["a", "b", "bc"], &["", "ac", "a|b"]),
            ("(?i)a|b", &["a", "A", "B"], &["ab"]),
            (".*", &["", "x", "x\ny"], &[]),
            (".+", &["x", "\n"], &[""]),
            ("prod-.*", &["prod-", "prod-1\n"], &["prod", "xprod-"]),
            ("prod-.+", &["prod-1"], &["prod-"]),
            ("a.c", &["abc", "a\nc"], &["ac", "abcd"]),
            ("^a$", &["a"], &["aa", ""]),
            (r"\ba", &["a"], &["ab"]),
        ];
        for (value, hits, misses) in cases {
            let not = Matcher::new("app", MatchOp::NotRe, value).expect(value);
            for (text, expected) in hits.iter().map(|t| (t, true)).chain(misses.iter().map(|t| (t, false))) {
                assert_eq!(regex(value).matches(text), expected, "{value} {text}");
                assert_eq!(not.matches(text), !expected, "{value} {text}");
            }
        }
    }

    #[test]
    fn plain_alternatives_can_be_listed_and_a_prefix_is_known() {
        assert_eq!(regex("b|a|a[12]").values().expect("listed"), ["a", "a1", "a2", "b"]);
        assert_eq!(Matcher::equal("app", "x").values().expect("listed"), ["x"]);
        for value in [".*", "a.*", "a|b+", r"a\b", "(?i)some-longer-text-in-any-case"] {
            assert_eq!(regex(value).values(), None, "{value}");
        }
        assert!(Matcher::new("app", MatchOp::NotRe, "a|b").expect("valid").values().is_none());
        for (value, prefix) in [("prod-.*", "prod-"), ("prod-[0-9]+x", "prod-"), ("a+b", ""), (".*", ""), ("x|.*", "")]
        {
            assert_eq!(regex(value).prefix(), prefix, "{value}");
        }
    }
}
