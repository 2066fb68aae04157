//! `topk` and `bottomk`: the series of a group that have its k largest or smallest values, step by step.

use super::{StepSeries, grouped};
use crate::ast::Grouping;
use std::cmp::Ordering;

pub fn largest(series: Vec<StepSeries>, k: usize, grouping: &Grouping, steps: usize) -> Vec<StepSeries> {
    choose(series, k, grouping, steps, |a, b| b.total_cmp(&a))
}

pub fn smallest(series: Vec<StepSeries>, k: usize, grouping: &Grouping, steps: usize) -> Vec<StepSeries> {
    choose(series, k, grouping, steps, |a, b| a.total_cmp(&b))
}

/// Keeps at each step the first `k` by `order`, NaN last, ties in the order of labels.
fn choose(
    series: Vec<StepSeries>,
    k: usize,
    grouping: &Grouping,
    steps: usize,
    order: impl Fn(f64, f64) -> Ordering,
) -> Vec<StepSeries> {
    let by_value = |a: f64, b: f64| a.is_nan().cmp(&b.is_nan()).then_with(|| order(a, b));
    let mut result = Vec::new();
    for (_, mut members) in grouped(series, grouping) {
        members.sort_by(|a, b| a.labels.cmp(&b.labels));
        let mut chosen: Vec<Vec<(f64, usize)>> = vec![Vec::new(); steps];
        for (i, member) in members.iter().enumerate() {
            for (step, value) in &member.points {
                let Some(best) = chosen.get_mut(*step as usize) else { continue };
                let place = best.partition_point(|(other, _)| by_value(*other, *value) != Ordering::Greater);
                if place < k {
                    best.insert(place, (*value, i));
                    best.truncate(k);
                }
            }
        }
        for member in &mut members {
            member.points.clear();
        }
        let mut first_seen = Vec::new();
        for (step, best) in chosen.iter().enumerate() {
            for (value, i) in best {
                if members[*i].points.is_empty() {
                    first_seen.push(*i);
                }
                members[*i].points.push((step as u32, *value));
            }
        }
        // In the order of their values, which shows where the query sorts afterwards or is read as it comes.
        result.extend(first_seen.into_iter().map(|i| std::mem::replace(&mut members[i], empty())));
    }
    result
}

fn empty() -> StepSeries {
    StepSeries { labels: Default::default(), points: Vec::new() }
}
