//! `sum`, `avg`, `min`, `max`, `count`, `stddev`, `stdvar`: one value per group and step.

use super::{StepSeries, grouped};
use crate::ast::{Grouping, VectorOp};

/// A group's summary at one step; what the operator does not need costs little beside the walk over memory.
#[derive(Clone, Copy, Default)]
struct Summary {
    count: u64,
    /// The sum, or for `min` and `max` the value chosen so far.
    value: f64,
    mean: f64,
    /// Squared distances from the mean, summed (Welford).
    spread: f64,
}

pub fn apply(op: VectorOp, series: Vec<StepSeries>, grouping: &Grouping, steps: usize) -> Vec<StepSeries> {
    let mut summaries = vec![Summary::default(); steps];
    let mut result = Vec::new();
    for (labels, mut members) in grouped(series, grouping) {
        if let ([alone], true) = (&mut members[..], keeps_one(op)) {
            result.push(StepSeries { labels, points: std::mem::take(&mut alone.points) });
            continue;
        }
        for (step, value) in members.iter().flat_map(|s| &s.points) {
            if let Some(summary) = summaries.get_mut(*step as usize) {
                add(op, summary, *value);
            }
        }
        let mut points = Vec::new();
        let (first, last) = bounds(&members);
        for (step, summary) in summaries.iter_mut().enumerate().take(last + 1).skip(first).filter(|(_, s)| s.count > 0)
        {
            points.push((step as u32, finish(op, summary)));
            *summary = Summary::default();
        }
        result.push(StepSeries { labels, points });
    }
    result
}

/// Whether one value is its own summary.
fn keeps_one(op: VectorOp) -> bool {
    matches!(op, VectorOp::Sum | VectorOp::Min | VectorOp::Max | VectorOp::Avg)
}

/// The first and last step at which some member has a point: a group with few points must not cost a walk over all steps.
fn bounds(members: &[StepSeries]) -> (usize, usize) {
    let first = members.iter().filter_map(|s| s.points.first()).map(|(step, _)| *step as usize).min();
    let last = members.iter().filter_map(|s| s.points.last()).map(|(step, _)| *step as usize).max();
    (first.unwrap_or(0), last.unwrap_or(0))
}

#[inline]
fn add(op: VectorOp, summary: &mut Summary, value: f64) {
    summary.count += 1;
    match op {
        VectorOp::Min if summary.count == 1 || value < summary.value || summary.value.is_nan() => summary.value = value,
        VectorOp::Max if summary.count == 1 || value > summary.value || summary.value.is_nan() => summary.value = value,
        VectorOp::Min | VectorOp::Max => {}
        VectorOp::Stddev | VectorOp::Stdvar => {
            let delta = value - summary.mean;
            summary.mean += delta / summary.count as f64;
            summary.spread += delta * (value - summary.mean);
        }
        _ => summary.value += value,
    }
}

fn finish(op: VectorOp, summary: &Summary) -> f64 {
    let count = summary.count as f64;
    match op {
        VectorOp::Count => count,
        VectorOp::Avg => summary.value / count,
        VectorOp::Stdvar => summary.spread / count,
        VectorOp::Stddev => (summary.spread / count).sqrt(),
        _ => summary.value,
    }
}
