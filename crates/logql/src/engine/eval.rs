//! Metric expressions, walked from the leaves up: each node turns series over steps into series over steps.

use super::range::{self, Outer};
use super::vector::{self, StepSeries};
use super::{Context, EngineLimits, Time, errors};
use crate::ast::{Grouping, MetricExpr, VectorAggregation, VectorOp};
use crate::value::{QueryValue, Sample, Series};
use model::{Error, Labels, Result};

/// The label that tells the parts of `variants(...)` apart.
const VARIANT_LABEL: &str = "__variant__";

/// What a node answers.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Scalar(f64),
    /// Points in step order; labels may repeat only where one series has no point at the other's steps.
    Series(Vec<StepSeries>),
}

pub(crate) fn evaluate(expr: &MetricExpr, time: Time, context: &Context<'_>) -> Result<QueryValue> {
    match (node(expr, context)?, time) {
        (Value::Scalar(value), Time::Instant { time_ns }) => Ok(QueryValue::Scalar { time_ns, value }),
        (Value::Scalar(value), Time::Range { .. }) => matrix(vec![constant(value, context)], context),
        (Value::Series(series), Time::Range { .. }) => matrix(series, context),
        (Value::Series(series), Time::Instant { time_ns }) => instant(series, keeps_order(expr), time_ns, context),
    }
}

fn node(expr: &MetricExpr, context: &Context<'_>) -> Result<Value> {
    if let Some(given) = given(expr, context) {
        return Ok(Value::Series(given));
    }
    let series = match expr {
        MetricExpr::Literal(value) => return Ok(Value::Scalar(*value)),
        MetricExpr::Vector(value) => vec![constant(*value, context)],
        MetricExpr::Range(range) => range::evaluate(range, None, context)?,
        MetricExpr::Aggregate(aggregation) => aggregate(aggregation, context)?,
        MetricExpr::Binary(binary) => {
            let left = node(&binary.left, context)?;
            let right = node(&binary.right, context)?;
            return vector::binary::apply(binary, left, right);
        }
        MetricExpr::LabelReplace(replace) => {
            vector::label_replace::apply(replace, series_of(&replace.inner, context)?)?
        }
        MetricExpr::Variants { variants, .. } => variants_of(variants, context)?,
    };
    Ok(Value::Series(series))
}

fn given(expr: &MetricExpr, context: &Context<'_>) -> Option<Vec<StepSeries>> {
    if context.given.is_empty() { None } else { context.given.get(&expr.to_string()).cloned() }
}

fn series_of(expr: &MetricExpr, context: &Context<'_>) -> Result<Vec<StepSeries>> {
    match node(expr, context)? {
        Value::Series(series) => Ok(series),
        Value::Scalar(_) => Err(Error::invalid("a literal stands where a vector is needed")),
    }
}

fn aggregate(aggregation: &VectorAggregation, context: &Context<'_>) -> Result<Vec<StepSeries>> {
    let everything = Grouping::default();
    let grouping = aggregation.grouping.as_ref().unwrap_or(&everything);
    let inner = match &*aggregation.inner {
        MetricExpr::Range(range) if given(&aggregation.inner, context).is_none() => {
            range::evaluate(range, Outer::of(aggregation, range, &everything), context)?
        }
        other => series_of(other, context)?,
    };
    let k = aggregation.parameter.unwrap_or(0) as usize;
    Ok(match aggregation.op {
        VectorOp::TopK => vector::topk::largest(inner, k, grouping, context.grid.steps),
        VectorOp::BottomK => vector::topk::smallest(inner, k, grouping, context.grid.steps),
        VectorOp::ApproxTopK => {
            check_approx_topk(context)?;
            vector::topk::largest(inner, k, grouping, context.grid.steps)
        }
        VectorOp::Sort => vector::sort::ascending(inner),
        VectorOp::SortDesc => vector::sort::descending(inner),
        op => vector::aggregate::apply(op, inner, grouping, context.grid.steps),
    })
}

fn check_approx_topk(context: &Context<'_>) -> Result<()> {
    if !context.limits.approx_topk {
        return Err(Error::invalid("approx_topk is not enabled. See -limits.shard_aggregations"));
    }
    if context.grid.steps > 1 {
        return Err(Error::invalid("count min sketches are only supported on instant queries"));
    }
    Ok(())
}

fn variants_of(variants: &[MetricExpr], context: &Context<'_>) -> Result<Vec<StepSeries>> {
    let mut all = Vec::new();
    for (i, variant) in variants.iter().enumerate() {
        for mut series in series_of(variant, context)? {
            series.labels = vector::with_label(&series.labels, VARIANT_LABEL, &i.to_string());
            all.push(series);
        }
    }
    Ok(all)
}

fn constant(value: f64, context: &Context<'_>) -> StepSeries {
    let points = (0..context.grid.steps as u32).map(|step| (step, value)).collect();
    StepSeries { labels: Labels::default(), points }
}

/// Whether an instant answer stays as the expression ordered it; all others are in the order of labels.
fn keeps_order(expr: &MetricExpr) -> bool {
    match expr {
        MetricExpr::Literal(_) | MetricExpr::Vector(_) | MetricExpr::Range(_) => false,
        MetricExpr::Aggregate(a) => matches!(a.op, VectorOp::Sort | VectorOp::SortDesc) || keeps_order(&a.inner),
        MetricExpr::Binary(b) => keeps_order(&b.left) || keeps_order(&b.right),
        MetricExpr::LabelReplace(r) => keeps_order(&r.inner),
        MetricExpr::Variants { variants, .. } => variants.iter().any(keeps_order),
    }
}

fn instant(mut series: Vec<StepSeries>, ordered: bool, time_ns: i64, context: &Context<'_>) -> Result<QueryValue> {
    if !ordered {
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
    }
    for warning in limit_series(&mut series, context.limits)? {
        context.tally.borrow_mut().warn(warning);
    }
    let samples = series.into_iter().flat_map(|s| {
        s.points.into_iter().map(move |(_, value)| Sample { labels: s.labels.clone(), time_ns, value: value + 0.0 })
    });
    Ok(QueryValue::Vector(samples.collect()))
}

fn matrix(series: Vec<StepSeries>, context: &Context<'_>) -> Result<QueryValue> {
    let mut series = vector::joined(series);
    for warning in limit_series(&mut series, context.limits)? {
        context.tally.borrow_mut().warn(warning);
    }
    let points = |points: Vec<(u32, f64)>| {
        // Adding zero makes a negative zero positive, which is how Loki prints it.
        points.into_iter().map(|(step, value)| (context.grid.time_ns(step as usize), value + 0.0)).collect()
    };
    Ok(QueryValue::Matrix(series.into_iter().map(|s| Series { labels: s.labels, points: points(s.points) }).collect()))
}

/// Refuses more series than the limit, or leaves the first ones and says so.
pub(crate) fn limit_series<T>(series: &mut Vec<T>, limits: &EngineLimits) -> Result<Vec<String>> {
    let max = limits.max_series;
    if max == 0 || series.len() <= max {
        return Ok(vec![]);
    }
    if !limits.partial_series {
        return Err(errors::too_many_series(max));
    }
    series.truncate(max);
    Ok(vec![errors::partial_series(max)])
}
