//! Operations on instant vectors, done for all steps of a series at once.

pub mod aggregate;
pub mod binary;
pub mod label_replace;
mod matching;
pub mod sort;
pub mod topk;

use crate::ast::Grouping;
use model::{Label, Labels};
use std::collections::BTreeMap;

/// A series while it is computed: the steps that have a value, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct StepSeries {
    pub labels: Labels,
    pub points: Vec<(u32, f64)>,
}

/// The labels that a grouping leaves.
pub fn group(labels: &Labels, grouping: &Grouping) -> Labels {
    project(labels, &grouping.labels, !grouping.without)
}

/// Only (`keep`) or all but the named labels.
fn project(labels: &Labels, names: &[smol_str::SmolStr], keep: bool) -> Labels {
    if labels.iter().all(|l| names.contains(&l.name) == keep) {
        return labels.clone();
    }
    let kept = labels.iter().filter(|l| names.contains(&l.name) == keep);
    Labels::new(kept.map(|l| (l.name.clone(), l.value.clone())))
}

/// Sets a label, or removes it if `value` is empty.
pub fn with_label(labels: &Labels, name: &str, value: &str) -> Labels {
    let others = labels.iter().filter(|l| l.name != name).cloned();
    let new = (!value.is_empty()).then(|| Label { name: name.into(), value: value.into() });
    Labels::new(others.chain(new).map(|l| (l.name, l.value)))
}

/// Series of equal labels made one, in the order of labels; of two values at one step the later series' stays.
pub fn joined(series: Vec<StepSeries>) -> Vec<StepSeries> {
    let mut by_labels: BTreeMap<Labels, Vec<(u32, f64)>> = BTreeMap::new();
    for StepSeries { labels, points } in series {
        let all = by_labels.entry(labels).or_default();
        let in_order = all.last().is_none_or(|(last, _)| points.first().is_none_or(|(first, _)| last < first));
        all.extend(points);
        if !in_order {
            all.sort_by_key(|(step, _)| *step);
            all.reverse();
            all.dedup_by_key(|(step, _)| *step);
            all.reverse();
        }
    }
    by_labels.into_iter().map(|(labels, points)| StepSeries { labels, points }).collect()
}

/// The series by what a grouping leaves of their labels, in the order of labels.
fn grouped(series: Vec<StepSeries>, grouping: &Grouping) -> Vec<(Labels, Vec<StepSeries>)> {
    if grouping.labels.is_empty() && !grouping.without && !series.is_empty() {
        return vec![(Labels::default(), series)];
    }
    let mut pairs: Vec<(Labels, StepSeries)> =
        series.into_iter().map(|one| (group(&one.labels, grouping), one)).collect();
    // Mostly they are in order already, which costs one comparison each.
    pairs.sort_by(|a, b| a.0.cmp(&b.0));
    let mut groups: Vec<(Labels, Vec<StepSeries>)> = Vec::new();
    for (labels, one) in pairs {
        match groups.last_mut().filter(|(last, _)| *last == labels) {
            Some((_, members)) => members.push(one),
            None => groups.push((labels, vec![one])),
        }
    }
    groups
}
