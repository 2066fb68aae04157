//! What an anchored regular expression amounts to: most of those in selectors need no regex engine.

use super::{anchored, translate};
use crate::Result;
use regex::Regex;
use regex_syntax::ParserBuilder;
use regex_syntax::hir::literal::Extractor;
use regex_syntax::hir::{Dot, Hir, HirKind};
use smol_str::SmolStr;
use std::sync::Arc;

/// The most alternatives that are kept as a list; a longer list is left to the regex engine.
const ALTERNATIVES_MAX: usize = 1024;

/// The longest alternative, in bytes.
const ALTERNATIVE_BYTES_MAX: usize = 2048;

/// An expression that must match a whole value, the dot matching newlines.
#[derive(Clone, Debug)]
pub enum Shape {
    /// `.*`
    Any,
    /// `.+`
    NotEmpty,
    /// `a|b|c`: the values, sorted, each once.
    OneOf(Arc<[SmolStr]>),
    /// `a.*`
    Prefix(SmolStr),
    /// Any other, with text that every match starts with.
    Regex { regex: Regex, prefix: SmolStr },
}

impl Shape {
    /// `Invalid` with Go's text if `go` is not an expression for Go.
    pub fn parse(go: &str) -> Result<Shape> {
        let rust = translate(go)?;
        let hir = ParserBuilder::new().dot_matches_new_line(true).build().parse(&rust);
        if let Some(simple) = hir.as_ref().ok().and_then(simple) {
            return Ok(simple);
        }
        let prefix = hir.map_or(SmolStr::default(), |h| literal_prefix(&h));
        Ok(Shape::Regex { regex: anchored(go)?, prefix })
    }

    pub fn matches(&self, value: &str) -> bool {
        match self {
            Shape::Any => true,
            Shape::NotEmpty => !value.is_empty(),
            Shape::OneOf(values) => values.binary_search_by(|v| v.as_str().cmp(value)).is_ok(),
            Shape::Prefix(prefix) => value.starts_with(prefix.as_str()),
            Shape::Regex { regex, .. } => regex.is_match(value),
        }
    }
}

fn simple(hir: &Hir) -> Option<Shape> {
    match any_repeated(hir) {
        Some(0) => return Some(Shape::Any),
        Some(1) => return Some(Shape::NotEmpty),
        _ => {}
    }
    if let HirKind::Concat(parts) = hir.kind()
        && let [first, last] = parts.as_slice()
        && let (HirKind::Literal(text), Some(0)) = (first.kind(), any_repeated(last))
    {
        return Some(Shape::Prefix(std::str::from_utf8(&text.0).ok()?.into()));
    }
    alternatives(hir)
}

/// The least count, if the expression is any character repeated without an upper bound.
fn any_repeated(hir: &Hir) -> Option<u32> {
    match hir.kind() {
        HirKind::Repetition(r) if r.max.is_none() && *r.sub == Hir::dot(Dot::AnyChar) => Some(r.min),
        _ => None,
    }
}

fn alternatives(hir: &Hir) -> Option<Shape> {
    if !hir.properties().look_set().is_empty() {
        return None;
    }
    let mut extractor = Extractor::new();
    extractor.limit_total(ALTERNATIVES_MAX).limit_literal_len(ALTERNATIVE_BYTES_MAX);
    let found = extractor.extract(hir);
    if !found.is_exact() {
        return None;
    }
    let text = |l: &regex_syntax::hir::literal::Literal| std::str::from_utf8(l.as_bytes()).ok().map(SmolStr::new);
    let mut values = found.literals()?.iter().map(text).collect::<Option<Vec<_>>>()?;
    values.sort();
    values.dedup();
    Some(Shape::OneOf(values.into()))
}

fn literal_prefix(hir: &Hir) -> SmolStr {
    let literal = match hir.kind() {
        HirKind::Concat(parts) => parts.first().map(Hir::kind),
        kind => Some(kind),
    };
    match literal {
        Some(HirKind::Literal(text)) => std::str::from_utf8(&text.0).map(SmolStr::new).unwrap_or_default(),
        _ => SmolStr::default(),
    }
}
