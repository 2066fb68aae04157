//! Range aggregations: one leaf of a metric query, from a log selector to series over steps.

mod absent;
mod accumulate;
mod count;
mod first_last;
mod outlined;
mod panes;
mod quantile;
mod rate_counter;
mod samples;
mod sum;

use super::Context;
use super::grid::Windows;
use super::vector::StepSeries;
use crate::ast::{Grouping, RangeAggregation, RangeOp, VectorAggregation, VectorOp};
use crate::pipeline::Hints;
use accumulate::{Leaf, ValueOf};
use count::{Bytes, Count};
use first_last::{First, Last, Max, Min, One};
use model::Result;
use samples::{Samples, Values};
use sum::{Sum, Variance};

/// What an enclosing aggregation allows: to sum up (or take the extreme) while scanning instead of afterwards.
#[derive(Clone, Copy)]
pub(crate) struct Outer<'a> {
    grouping: &'a Grouping,
    /// Loki pushes the grouping of sums down to the parsers, which then extract no other labels.
    narrows_parsing: bool,
}

impl<'a> Outer<'a> {
    /// The grouping of `outer` if its result is the same when `inner` groups so itself.
    pub fn of(outer: &'a VectorAggregation, inner: &RangeAggregation, none: &'a Grouping) -> Option<Self> {
        use RangeOp as R;
        let narrows_parsing = match (outer.op, inner.op) {
            (VectorOp::Sum, R::Count | R::Rate | R::BytesOver | R::BytesRate | R::Sum) => true,
            (VectorOp::Max, R::Max) | (VectorOp::Min, R::Min) => false,
            _ => return None,
        };
        if inner.grouping.is_some() {
            return None;
        }
        Some(Outer { grouping: outer.grouping.as_ref().unwrap_or(none), narrows_parsing })
    }
}

pub(crate) fn evaluate(
    range: &RangeAggregation,
    outer: Option<Outer<'_>>,
    context: &Context<'_>,
) -> Result<Vec<StepSeries>> {
    let windows = Windows { grid: context.grid, range_ns: range.range.window_ns, offset_ns: range.range.offset_ns };
    let seconds = range.range.window_ns as f64 / 1e9;
    let leaf = leaf(range, outer, windows, context.now_ns)?;
    match (range.op, &range.range.unwrap) {
        (RangeOp::Count, _) => leaf.run::<Count>(context, |p| p.slide(|c| c.0 as f64)),
        (RangeOp::Rate, None) => leaf.run::<Count>(context, |p| p.slide(|c| c.0 as f64 / seconds)),
        (RangeOp::Rate, Some(_)) => leaf.run::<Sum>(context, |p| p.slide(|s| s.sum.value() / seconds)),
        (RangeOp::BytesOver, _) => leaf.run::<Bytes>(context, |p| p.slide(|b| b.0 as f64)),
        (RangeOp::BytesRate, _) => leaf.run::<Bytes>(context, |p| p.slide(|b| b.0 as f64 / seconds)),
        (RangeOp::Sum, _) => leaf.run::<Sum>(context, |p| p.slide(|s| s.sum.value())),
        (RangeOp::Avg, _) => leaf.run::<Sum>(context, |p| p.slide(Sum::mean)),
        (RangeOp::Min, _) => leaf.run::<One<Min>>(context, |p| p.slide(|o| o.sample.value)),
        (RangeOp::Max, _) => leaf.run::<One<Max>>(context, |p| p.slide(|o| o.sample.value)),
        (RangeOp::First, _) => leaf.run::<One<First>>(context, |p| p.slide(|o| o.sample.value)),
        (RangeOp::Last, _) => leaf.run::<One<Last>>(context, |p| p.slide(|o| o.sample.value)),
        (RangeOp::Stdvar, _) => leaf.run::<Variance>(context, |p| p.slide(Variance::variance)),
        (RangeOp::Stddev, _) => leaf.run::<Variance>(context, |p| p.slide(|v| v.variance().sqrt())),
        (RangeOp::Quantile, _) => {
            let q = range.parameter.unwrap_or(f64::NAN);
            leaf.run::<Values>(context, |p| p.gather(|values| quantile::quantile(q, values)))
        }
        (RangeOp::RateCounter, _) => {
            leaf.run::<Samples>(context, |p| p.gather(|samples| rate_counter::rate_counter(seconds, samples)))
        }
        (RangeOp::Absent, _) => {
            let present = leaf.run::<Count>(context, |p| p.slide(|c| c.0 as f64))?;
            Ok(absent::absent(&range.range.log.matchers, &present, context.grid))
        }
    }
}

fn leaf<'a>(range: &'a RangeAggregation, outer: Option<Outer<'_>>, windows: Windows, now_ns: i64) -> Result<Leaf<'a>> {
    let grouping = match (&range.grouping, outer, range.op) {
        (Some(own), ..) => Some(own.clone()),
        (None, Some(outer), _) => Some(outer.grouping.clone()),
        (None, None, RangeOp::Absent) => Some(Grouping::default()),
        (None, None, _) => None,
    };
    let narrows_parsing = outer.is_none_or(|o| o.narrows_parsing) && range.op != RangeOp::Absent;
    let log = &range.range;
    let narrowing = grouping.as_ref().filter(|_| narrows_parsing);
    let hints = Hints { now_ns, ..Hints::for_samples(&log.log.stages, log.unwrap.as_ref(), narrowing) };
    let value = match range.op {
        RangeOp::BytesOver | RangeOp::BytesRate => ValueOf::LineBytes,
        _ => ValueOf::One,
    };
    Leaf::new(log, &hints, grouping, value, windows)
}
