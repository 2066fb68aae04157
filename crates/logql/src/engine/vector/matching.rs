//! Which series of two vectors belong together, and what the results are called.

use super::{StepSeries, project, with_label};
use crate::ast::{BinaryOp, GroupSide, VectorMatching};
use crate::engine::errors;
use hashbrown::HashMap;
use model::{Labels, Result};
use smol_str::SmolStr;
use std::collections::BTreeMap;

/// `on(...)` or `ignoring(...)` with its grouping; without either, all labels must be equal.
pub struct Matching<'a> {
    on: bool,
    labels: &'a [SmolStr],
    group: Option<GroupSide>,
    include: &'a [SmolStr],
}

impl<'a> Matching<'a> {
    pub fn new(matching: Option<&'a VectorMatching>) -> Self {
        match matching {
            Some(m) => Matching { on: m.on, labels: &m.labels, group: m.group, include: &m.include },
            None => Matching { on: false, labels: &[], group: None, include: &[] },
        }
    }

    /// Series with equal signatures belong together.
    fn signature(&self, labels: &Labels) -> Labels {
        project(labels, self.labels, self.on)
    }

    /// The result's labels: the many side's, or what was matched on; and what `group_left(...)` copies from the one side.
    fn result(&self, many: &Labels, one: &Labels) -> Labels {
        let base = match self.group {
            None => self.signature(many),
            Some(_) => many.clone(),
        };
        self.include.iter().fold(base, |labels, name| with_label(&labels, name, one.get(name).unwrap_or("")))
    }
}

/// The series of the one side with a signature: at each step at most one has a point.
struct OneSide {
    labels: Vec<Labels>,
    /// Step, value, index into `labels`; in step order.
    points: Vec<(u32, f64, usize)>,
}

/// Combines each series with its partner at every step where both have a value. `both` is given the operator's left and
/// right value.
pub fn many_to_one(
    matching: &Matching<'_>,
    left: Vec<StepSeries>,
    right: Vec<StepSeries>,
    both: impl Fn(f64, f64) -> Option<f64>,
) -> Result<Vec<StepSeries>> {
    let swapped = matching.group == Some(GroupSide::Right);
    let (many, one) = if swapped { (right, left) } else { (left, right) };
    let partners = one_side(matching, one, if swapped { "left" } else { "right" })?;
    // Matched steps by signature and by result: a step may be met only once.
    let mut met: HashMap<Labels, Vec<u32>> = HashMap::new();
    let mut results: BTreeMap<Labels, Vec<(u32, f64)>> = BTreeMap::new();
    for series in many {
        let signature = matching.signature(&series.labels);
        let Some(partner) = partners.get(&signature) else { continue };
        let mut named: HashMap<usize, Labels> = HashMap::new();
        for (step, value, (other, one)) in common(&series.points, &partner.points) {
            let labels = named.entry(one).or_insert_with(|| matching.result(&series.labels, &partner.labels[one]));
            let key = if matching.group.is_none() { &signature } else { &*labels };
            met.entry_ref(key).or_default().push(step);
            let result = if swapped { both(other, value) } else { both(value, other) };
            if let Some(result) = result {
                results.entry(labels.clone()).or_default().push((step, result));
            }
        }
    }
    check_met_once(matching, met)?;
    Ok(results
        .into_iter()
        .map(|(labels, mut points)| {
            points.sort_by_key(|(step, _)| *step);
            StepSeries { labels, points }
        })
        .collect())
}

fn one_side(matching: &Matching<'_>, series: Vec<StepSeries>, side: &str) -> Result<HashMap<Labels, OneSide>> {
    let mut sides: HashMap<Labels, OneSide> = HashMap::new();
    for one in series {
        let side =
            sides.entry(matching.signature(&one.labels)).or_insert_with(|| OneSide { labels: vec![], points: vec![] });
        let index = side.labels.len();
        side.labels.push(one.labels);
        side.points.extend(one.points.iter().map(|(step, value)| (*step, *value, index)));
    }
    for one in sides.values_mut().filter(|s| s.labels.len() > 1) {
        one.points.sort_by_key(|(step, _, _)| *step);
        if one.points.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(errors::matching(&format!(
                "found duplicate series on the {side} hand-side;many-to-many matching not allowed: \
                 matching labels must be unique on one side"
            )));
        }
    }
    Ok(sides)
}

fn check_met_once(matching: &Matching<'_>, met: HashMap<Labels, Vec<u32>>) -> Result<()> {
    for mut steps in met.into_values() {
        steps.sort_unstable();
        if steps.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(errors::matching(match matching.group {
                None => "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
                Some(_) => "multiple matches for labels: grouping labels must ensure unique matches",
            }));
        }
    }
    Ok(())
}

/// The steps that both lists have.
fn common<'a>(
    many: &'a [(u32, f64)],
    one: &'a [(u32, f64, usize)],
) -> impl Iterator<Item = (u32, f64, (f64, usize))> + 'a {
    let mut at = 0;
    many.iter().filter_map(move |(step, value)| {
        while one.get(at).is_some_and(|(other, _, _)| other < step) {
            at += 1;
        }
        let (other, partner, index) = one.get(at)?;
        (other == step).then_some((*step, *value, (*partner, *index)))
    })
}

/// `and`, `or`, `unless`: which series stay at which step.
pub fn set(op: BinaryOp, matching: &Matching<'_>, left: Vec<StepSeries>, right: Vec<StepSeries>) -> Vec<StepSeries> {
    match op {
        BinaryOp::And => filtered(matching, left, &steps_of(matching, &right), true),
        BinaryOp::Unless => filtered(matching, left, &steps_of(matching, &right), false),
        _ => {
            let added = filtered(matching, right, &steps_of(matching, &left), false);
            left.into_iter().chain(added).collect()
        }
    }
}

/// The steps at which some series with a signature has a point, in order.
fn steps_of(matching: &Matching<'_>, series: &[StepSeries]) -> HashMap<Labels, Vec<u32>> {
    let mut steps: HashMap<Labels, Vec<u32>> = HashMap::new();
    for one in series {
        steps.entry(matching.signature(&one.labels)).or_default().extend(one.points.iter().map(|(step, _)| *step));
    }
    for list in steps.values_mut() {
        list.sort_unstable();
        list.dedup();
    }
    steps
}

/// The points whose step is (`keep`) or is not among those of the other side.
fn filtered(
    matching: &Matching<'_>,
    mut series: Vec<StepSeries>,
    other: &HashMap<Labels, Vec<u32>>,
    keep: bool,
) -> Vec<StepSeries> {
    for one in &mut series {
        let steps = other.get(&matching.signature(&one.labels)).map_or(&[][..], Vec::as_slice);
        one.points.retain(|(step, _)| steps.binary_search(step).is_ok() == keep);
    }
    series.retain(|s| !s.points.is_empty());
    series
}
