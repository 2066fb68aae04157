//! The regular expressions of line filters, and their syntax trees.

use model::Result;
use model::pattern::{compile_bytes, translate};
use regex::bytes::Regex;
use regex_syntax::hir::{Hir, HirKind};

/// The expression of a line filter.
pub fn line_filter(go: &str) -> Result<Regex> {
    compile_bytes(simplify(go).as_deref().unwrap_or(go))
}

/// The syntax tree of an expression for lines.
pub fn syntax(rust: &str) -> Option<Hir> {
    regex_syntax::ParserBuilder::new().utf8(false).build().parse(rust).ok()
}

/// What Loki makes of some expressions before it matches them: an alternation of plain branches is reduced to those that
/// are not empty, so that `a|` finds an `a`; `.+` finds whatever is not empty, a line break included.
pub fn simplify(go: &str) -> Option<String> {
    if go == ".+" {
        return Some("(?s:.+)".into());
    }
    if !go.contains('|') {
        return None;
    }
    let hir = syntax(&translate(go).ok()?)?;
    let HirKind::Alternation(branches) = hir.kind() else { return None };
    let is_plain = |b: &Hir| matches!(b.kind(), HirKind::Literal(_) | HirKind::Empty);
    if !branches.iter().all(is_plain) || !branches.iter().any(|b| matches!(b.kind(), HirKind::Empty)) {
        return None;
    }
    let kept = branches.iter().filter(|b| !matches!(b.kind(), HirKind::Empty)).cloned().collect();
    Some(Hir::alternation(kept).to_string())
}
