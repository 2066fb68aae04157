//! From matchers to series: postings lists intersected smallest first, then differences. No series is read.

use super::postings::{List, PostingsTable};
use model::labels::METRIC_NAME;
use model::{MatchOp, Matcher, Result};

/// What one matcher says about series: either they are in one of the lists, or they are in none of them.
struct Term<'a> {
    lists: Vec<List<'a>>,
    present: bool,
    refs: usize,
}

/// Ascending references of the series that satisfy all matchers. A missing label is an empty one; matchers of the
/// metric name are ignored.
pub(super) fn select(file: &[u8], table: &PostingsTable, matchers: &[Matcher]) -> Result<Vec<u32>> {
    let mut terms = Vec::with_capacity(matchers.len());
    for matcher in matchers.iter().filter(|m| m.name != METRIC_NAME) {
        let term = term(file, table, matcher)?;
        if term.present && term.refs == 0 {
            return Ok(Vec::new());
        }
        terms.push(term);
    }
    // Presence before absence, small before large.
    terms.sort_by_key(|t| (!t.present, t.refs));
    let mut terms = terms.into_iter().peekable();
    let mut refs = match terms.next_if(|t| t.present) {
        Some(first) => first.union(),
        None => table.all(file)?.iter().collect(),
    };
    for term in terms {
        if refs.is_empty() {
            break;
        }
        term.apply(&mut refs);
    }
    Ok(refs)
}

fn term<'a>(file: &'a [u8], table: &PostingsTable, matcher: &Matcher) -> Result<Term<'a>> {
    // What matches "" also holds for series without the label: those it names are the ones that it excludes.
    let present = !matcher.matches("");
    let mut lists = Vec::new();
    match matcher.op {
        MatchOp::Eq if present => lists.extend(table.list(file, &matcher.name, &matcher.value)?),
        MatchOp::Ne if !present => lists.extend(table.list(file, &matcher.name, &matcher.value)?),
        _ => {
            for entry in table.values(file, &matcher.name) {
                let (value, at) = entry?;
                if matcher.matches(value) == present {
                    lists.push(List::read(file, at)?);
                }
            }
        }
    }
    let refs = lists.iter().map(List::len).sum();
    Ok(Term { lists, present, refs })
}

impl Term<'_> {
    /// The union of the lists, ascending.
    fn union(&self) -> Vec<u32> {
        if let [list] = self.lists.as_slice() {
            return list.iter().collect();
        }
        let mut refs = Vec::with_capacity(self.refs);
        self.lists.iter().for_each(|list| refs.extend(list.iter()));
        refs.sort_unstable();
        refs.dedup();
        refs
    }

    fn apply(&self, refs: &mut Vec<u32>) {
        match (self.lists.as_slice(), self.present) {
            ([list], present) => list.retain(refs, present),
            (_, present) => {
                let union = self.union();
                let mut rest = union.as_slice();
                refs.retain(|wanted| {
                    rest = &rest[rest.partition_point(|r| r < wanted)..];
                    (rest.first() == Some(wanted)) == present
                });
            }
        }
    }
}
