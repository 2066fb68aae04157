//! The regular expressions of line filters, and their syntax trees.

use model::Result;
use model::pattern::{REGEX_PROGRAM_BYTES_MAX, compile_bytes, translate};
use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::hir::{Hir, HirKind};

/// The expression of a line filter. Loki simplifies an alternation of plain branches to those that are not empty, so
/// `a|` finds lines with an `a`.
pub fn line_filter(go: &str) -> Result<Regex> {
    let simplified = without_empty_branches(&translate(go)?);
    let simplified = simplified.and_then(|rust| RegexBuilder::new(&rust).size_limit(REGEX_PROGRAM_BYTES_MAX).build().ok());
    simplified.map_or_else(|| compile_bytes(go), Ok)
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
