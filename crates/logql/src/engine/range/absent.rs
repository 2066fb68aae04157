//! `absent_over_time`: 1 where no entry is.

use crate::engine::grid::Grid;
use crate::engine::vector::StepSeries;
use model::{Labels, MatchOp, Matcher};

/// The inverse of `present`, under the labels that the matchers fix.
pub fn absent(matchers: &[Matcher], present: &[StepSeries], grid: Grid) -> Vec<StepSeries> {
    let mut missing = vec![true; grid.steps];
    for (step, _) in present.iter().flat_map(|s| &s.points) {
        if let Some(slot) = missing.get_mut(*step as usize) {
            *slot = false;
        }
    }
    let points: Vec<(u32, f64)> =
        missing.iter().enumerate().filter(|(_, m)| **m).map(|(step, _)| (step as u32, 1.0)).collect();
    if points.is_empty() {
        return Vec::new();
    }
    vec![StepSeries { labels: fixed_labels(matchers), points }]
}

/// A label is fixed by one equality matcher; further matchers of its name unfix it.
fn fixed_labels(matchers: &[Matcher]) -> Labels {
    let alone = |m: &&Matcher| matchers.iter().filter(|other| other.name == m.name).count() == 1;
    Labels::new(
        matchers
            .iter()
            .filter(|m| m.op == MatchOp::Eq && !m.value.is_empty())
            .filter(alone)
            .map(|m| (m.name.clone(), m.value.clone())),
    )
}
