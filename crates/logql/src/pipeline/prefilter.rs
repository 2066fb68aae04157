//! A condition that every kept line of a block meets, cheap enough to search the whole decompressed block with before any
//! line is split. It is necessary, not sufficient: a match may lie across entries, and each line is filtered again.

use super::pattern::LinePattern;
use super::regex_bytes;
use crate::ast::{LineOp, LineOperand, Stage};
use memchr::memmem::Finder;
use regex::bytes::Regex;
use regex_syntax::hir::{Hir, HirKind};

/// The longest piece of an expression that is searched for, in bytes: a bound on what one search looks at.
const PIECE_BYTES_MAX: usize = 256;
/// The shortest piece worth a search: shorter ones are in almost every block.
const PIECE_BYTES_MIN: usize = 2;
/// A class with more characters than this is too common to look for.
const CLASS_CHARS_MAX: usize = 4;

#[derive(Clone, Debug, Default)]
pub enum Prefilter {
    #[default]
    None,
    Contains(Box<Finder<'static>>),
    /// An expression of bounded length, without anchors: some of several literals, or a literal in any case.
    Regex(Regex),
}

impl Prefilter {
    /// From the line filters that stand before any stage that changes the line; the most selective one wins.
    pub fn new(stages: &[Stage]) -> Self {
        let unchanged = stages.iter().take_while(|s| !matches!(s, Stage::LineFormat(_) | Stage::Unpack));
        let mut pieces: Vec<Hir> = Vec::new();
        for stage in unchanged {
            if let Stage::LineFilter(filter) = stage {
                pieces.extend(piece_of_filter(filter.op, &filter.operands));
            }
        }
        let best =
            pieces.into_iter().max_by_key(|p| (p.properties().minimum_len(), matches!(p.kind(), HirKind::Literal(_))));
        best.and_then(|piece| match piece.kind() {
            HirKind::Literal(literal) => Some(Prefilter::Contains(Box::new(Finder::new(&literal.0).into_owned()))),
            _ => Regex::new(&piece.to_string()).ok().map(Prefilter::Regex),
        })
        .unwrap_or_default()
    }

    /// The literal that every kept line contains, if the condition is one.
    pub fn literal(&self) -> Option<&[u8]> {
        match self {
            Prefilter::Contains(finder) => Some(finder.needle()),
            _ => None,
        }
    }

    /// The expression that blocks are searched for, as text, if the condition is one.
    pub fn expression(&self) -> Option<&str> {
        match self {
            Prefilter::Regex(regex) => Some(regex.as_str()),
            _ => None,
        }
    }

    pub fn may_match(&self, block: &[u8]) -> bool {
        self.find_at(block, 0).is_some()
    }

    /// Where the next match starts, from `from` on; every line that is kept has one inside it.
    #[inline]
    pub fn find_at(&self, block: &[u8], from: usize) -> Option<usize> {
        match self {
            Prefilter::None => (from <= block.len()).then_some(from),
            Prefilter::Contains(finder) => finder.find(block.get(from..)?).map(|i| from + i),
            Prefilter::Regex(regex) => {
                regex.find_at(block, Some(from).filter(|f| *f <= block.len())?).map(|m| m.start())
            }
        }
    }
}

fn piece_of_filter(op: LineOp, operands: &[LineOperand]) -> Option<Hir> {
    let pieces: Option<Vec<Hir>> = operands
        .iter()
        .map(|operand| match (op, operand) {
            (LineOp::Contains, LineOperand::Text(text)) => literal(text.as_bytes()),
            (LineOp::Matches, LineOperand::Text(text)) => {
                let rust = regex_bytes::line_filter(text).ok()?;
                piece(&regex_bytes::syntax(rust.as_str())?)
            }
            (LineOp::Pattern, LineOperand::Text(text)) => {
                LinePattern::literals(text).iter().max_by_key(|l| l.len()).and_then(|l| literal(l))
            }
            _ => None,
        })
        .collect();
    Some(Hir::alternation(pieces?))
}

fn literal(text: &[u8]) -> Option<Hir> {
    (text.len() >= PIECE_BYTES_MIN).then(|| Hir::literal(text))
}

/// The longest run of `hir` that every match contains and that is selective.
fn piece(hir: &Hir) -> Option<Hir> {
    match hir.kind() {
        HirKind::Capture(group) => piece(&group.sub),
        HirKind::Repetition(rep) if rep.min > 0 => piece(&rep.sub),
        HirKind::Concat(parts) => {
            let runs = parts.split(|p| !is_selective(p)).filter(|run| !run.is_empty());
            let whole = runs.map(|run| Hir::concat(run.to_vec())).filter_map(|run| long_enough(&run));
            let inner = parts.iter().filter(|p| !is_selective(p)).filter_map(piece);
            whole.chain(inner).max_by_key(|p| p.properties().minimum_len())
        }
        _ if is_selective(hir) => long_enough(hir),
        _ => None,
    }
}

fn long_enough(hir: &Hir) -> Option<Hir> {
    let properties = hir.properties();
    let fits = properties.minimum_len()? >= PIECE_BYTES_MIN && properties.maximum_len()? <= PIECE_BYTES_MAX;
    fits.then(|| hir.clone())
}

/// Whether `hir` has no anchors and only characters that are rare enough.
fn is_selective(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Literal(_) => true,
        HirKind::Class(class) => match class {
            regex_syntax::hir::Class::Unicode(c) => {
                c.iter().map(|r| r.end() as usize - r.start() as usize + 1).sum::<usize>() <= CLASS_CHARS_MAX
            }
            regex_syntax::hir::Class::Bytes(c) => {
                c.iter().map(|r| usize::from(r.end() - r.start()) + 1).sum::<usize>() <= CLASS_CHARS_MAX
            }
        },
        HirKind::Capture(group) => is_selective(&group.sub),
        HirKind::Concat(parts) => parts.iter().all(is_selective),
        HirKind::Alternation(parts) => parts.iter().all(|p| is_selective(p) && p.properties().minimum_len() >= Some(1)),
        HirKind::Empty | HirKind::Look(_) | HirKind::Repetition(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ast::LineFilter;
    use smol_str::SmolStr;

    fn prefilter(filters: &[(LineOp, &[&str])]) -> Prefilter {
        let stage = |(op, texts): &(LineOp, &[&str])| {
            let operands = texts.iter().map(|t| LineOperand::Text(SmolStr::from(*t))).collect();
            Stage::LineFilter(LineFilter { op: *op, operands })
        };
        Prefilter::new(&filters.iter().map(stage).collect::<Vec<_>>())
    }

    #[test]
    fn the_most_selective_literal_is_searched_for() {
        use LineOp::{Contains, Matches, NotContains, Pattern};
        for (filters, expected) in [
            (vec![(Contains, &["error"][..])], "error"),
            (vec![(Contains, &["ab"][..]), (Contains, &["longer"][..])], "longer"),
            (vec![(Matches, &[r"\d+ errors? in \w+"][..])], " error"),
            (vec![(Matches, &["^start.*ending$"][..])], "ending"),
            (vec![(Pattern, &["a <_> needle <_>"][..])], " needle "),
        ] {
            let found = prefilter(&filters);
            assert_eq!(found.literal().map(String::from_utf8_lossy).as_deref(), Some(expected), "{filters:?}");
        }
        for filters in
            [vec![(NotContains, &["x"][..])], vec![(Matches, &[".*"][..])], vec![(Contains, &["ab", ""][..])]]
        {
            assert!(matches!(prefilter(&filters), Prefilter::None), "{filters:?}");
        }
    }

    #[test]
    fn alternatives_and_any_case_are_searched_for() {
        use LineOp::{Contains, Matches};
        for (filters, hit) in [
            (vec![(Contains, &["timeout", "refused"][..])], "x refused y"),
            (vec![(Matches, &["(?i)ErRor"][..])], "an ERROR"),
            (vec![(Matches, &["(timeout|refused): .*"][..])], "timeout: 5"),
        ] {
            let found = prefilter(&filters);
            assert!(matches!(found, Prefilter::Regex(_)), "{filters:?}");
            assert!(found.may_match(hit.as_bytes()) && !found.may_match(b"nothing of the kind"), "{filters:?}");
            assert_eq!(found.find_at(hit.as_bytes(), hit.len()), None);
        }
    }
}
