//! Go's regular expressions over bytes of a line.

use model::pattern::{REGEX_PROGRAM_BYTES_MAX, translate};
use model::{Error, Result};
use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::hir::{Hir, HirKind};

/// Compiles `go` unanchored; the dot does not match a newline, as in Go.
pub fn compile(go: &str) -> Result<Regex> {
    build(&translate(go)?, go)
}

/// The expression of a line filter. Loki simplifies an alternation of plain branches to those that are not empty, so
/// `a|` finds lines with an `a`.
pub fn line_filter(go: &str) -> Result<Regex> {
    let rust = translate(go)?;
    build(&without_empty_branches(&rust).unwrap_or(rust), go)
}

fn build(rust: &str, go: &str) -> Result<Regex> {
    RegexBuilder::new(rust)
        .size_limit(REGEX_PROGRAM_BYTES_MAX)
        .build()
        .map_err(|e| Error::invalid(format!("error parsing regexp: {e}: `{go}`")))
}

/// The syntax tree of an expression for lines.
pub fn syntax(rust: &str) -> Option<Hir> {
    regex_syntax::ParserBuilder::new().utf8(false).build().parse(rust).ok()
}

fn without_empty_branches(rust: &str) -> Option<String> {
    if !rust.contains('|') {
        return None;
    }
    let hir = syntax(rust)?;
    let HirKind::Alternation(branches) = hir.kind() else { return None };
    let is_plain = |b: &Hir| matches!(b.kind(), HirKind::Literal(_) | HirKind::Empty);
    if !branches.iter().all(is_plain) || !branches.iter().any(|b| matches!(b.kind(), HirKind::Empty)) {
        return None;
    }
    let kept = branches.iter().filter(|b| !matches!(b.kind(), HirKind::Empty)).cloned().collect();
    Some(Hir::alternation(kept).to_string())
}
