//! A query as queries over parts of the streams. A metric query is cut where its numbers add up: at counts, sums and
//! extremes over ranges; what stands above them is evaluated over the merged series.

use super::{keeps_labels, merge_logs};
use crate::ast::{Expr, Grouping, MetricExpr, RangeAggregation, RangeOp, Stage, VectorAggregation, VectorOp};
use crate::engine::vector::{StepSeries, aggregate};
use crate::engine::{EngineLimits, Grid, Outcome, Params, ScanStats, assemble};
use crate::source::Shard;
use crate::value::QueryValue;
use model::Result;

/// Shards of one query.
pub const SHARDS_MAX: u32 = 128;

/// A query of one part.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    pub expr: Expr,
    /// None: all streams.
    pub shard: Option<Shard>,
}

/// How a query is sharded.
#[derive(Clone, Debug, PartialEq)]
pub struct Sharded {
    expr: Expr,
    /// A power of two.
    shards: u32,
    /// Of a metric query.
    leaves: Vec<Leaf>,
}

/// A part of an expression that others evaluate.
#[derive(Clone, Debug, PartialEq)]
struct Leaf {
    /// As it stands in the query.
    text: String,
    sent: MetricExpr,
    /// None: it is evaluated as a whole.
    merge: Option<Merge>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Merge {
    op: VectorOp,
    /// Rates are sent as counts, so that they are divided once.
    seconds: Option<f64>,
}

/// The query in `shards` parts (a power of two, at most [`SHARDS_MAX`]), or `None` where it is better run as a whole.
pub fn shard(expr: &Expr, shards: u32) -> Option<Sharded> {
    if !(2..=SHARDS_MAX).contains(&shards) || !shards.is_power_of_two() {
        return None;
    }
    let leaves = match expr {
        // Without a filter, the limit ends the search early, which every shard would do again.
        Expr::Log(log) => {
            let filters = |stage: &Stage| matches!(stage, Stage::LineFilter(_) | Stage::LabelFilter(_));
            (keeps_labels(log) && log.stages.iter().any(filters)).then(Vec::new)?
        }
        Expr::Metric(metric) => leaves_of(metric)?,
    };
    Some(Sharded { expr: expr.clone(), shards, leaves })
}

impl Sharded {
    /// What is to be asked, in the order in which [`Self::merge`] takes the answers.
    pub fn pieces(&self) -> Vec<Piece> {
        let all = |expr: &Expr| {
            let piece = |index| Piece { expr: expr.clone(), shard: Some(Shard { index, of: self.shards }) };
            (0..self.shards).map(piece).collect::<Vec<_>>()
        };
        match &self.expr {
            log @ Expr::Log(_) => all(log),
            Expr::Metric(_) => self
                .leaves
                .iter()
                .flat_map(|leaf| {
                    let sent = Expr::Metric(leaf.sent.clone());
                    if leaf.merge.is_some() { all(&sent) } else { vec![Piece { expr: sent, shard: None }] }
                })
                .collect(),
        }
    }

    /// The query's answer from those of its pieces.
    pub fn merge(&self, params: &Params, limits: &EngineLimits, answers: Vec<QueryValue>) -> Result<Outcome> {
        let Expr::Metric(metric) = &self.expr else {
            let parts = answers.into_iter().map(|answer| match answer {
                QueryValue::Streams(streams) => streams,
                _ => vec![],
            });
            let streams = merge_logs(parts.collect(), params.limit as usize, params.direction);
            let value = QueryValue::Streams(streams);
            return Ok(Outcome { value, warnings: vec![], scan: ScanStats::default() });
        };
        assemble(metric, params, limits, |grid| {
            let mut answers = answers.into_iter();
            let mut given = |leaf: &Leaf| {
                let count = leaf.merge.map_or(1, |_| self.shards as usize);
                let parts = answers.by_ref().take(count).flat_map(|answer| on_grid(answer, grid)).collect();
                (leaf.text.clone(), leaf.merged(parts, grid))
            };
            self.leaves.iter().map(&mut given).collect()
        })
    }
}

impl Leaf {
    fn whole(expr: &MetricExpr) -> Leaf {
        Leaf { text: expr.to_string(), sent: expr.clone(), merge: None }
    }

    fn merged(&self, parts: Vec<StepSeries>, grid: &Grid) -> Vec<StepSeries> {
        let Some(merge) = self.merge else { return parts };
        let everything = Grouping { without: true, labels: vec![] };
        let mut series = aggregate::apply(merge.op, parts, &everything, grid.steps);
        if let Some(seconds) = merge.seconds {
            series.iter_mut().flat_map(|one| &mut one.points).for_each(|(_, value)| *value /= seconds);
        }
        series
    }
}

/// The leaves under an expression, if one of them can be sharded. A part without such a leaf is a leaf as a whole.
fn leaves_of(expr: &MetricExpr) -> Option<Vec<Leaf>> {
    match expr {
        MetricExpr::Literal(_) | MetricExpr::Vector(_) | MetricExpr::Variants { .. } => None,
        MetricExpr::Range(range) => range_leaf(range).map(|leaf| vec![leaf]),
        MetricExpr::Aggregate(aggregation) => {
            aggregate_leaf(aggregation).map(|leaf| vec![leaf]).or_else(|| leaves_of(&aggregation.inner))
        }
        MetricExpr::LabelReplace(replace) => leaves_of(&replace.inner),
        MetricExpr::Binary(binary) => {
            let sides = [&binary.left, &binary.right].map(|side| (side, leaves_of(side)));
            if sides.iter().all(|(_, leaves)| leaves.is_none()) {
                return None;
            }
            let all = sides.into_iter().flat_map(|(side, leaves)| match leaves {
                Some(leaves) => leaves,
                None if reads(side) => vec![Leaf::whole(side)],
                None => vec![],
            });
            Some(all.collect())
        }
    }
}

/// Whether an expression has data below it, not numbers alone.
fn reads(expr: &MetricExpr) -> bool {
    match expr {
        MetricExpr::Literal(_) | MetricExpr::Vector(_) => false,
        MetricExpr::Range(_) | MetricExpr::Variants { .. } => true,
        MetricExpr::Aggregate(aggregation) => reads(&aggregation.inner),
        MetricExpr::LabelReplace(replace) => reads(&replace.inner),
        MetricExpr::Binary(binary) => reads(&binary.left) || reads(&binary.right),
    }
}

/// A sum or an extreme of what adds up in the same way is merged like it.
fn aggregate_leaf(aggregation: &VectorAggregation) -> Option<Leaf> {
    let MetricExpr::Range(range) = &*aggregation.inner else { return None };
    let (sent, merge) = sharded_range(range)?;
    if aggregation.op != merge.op {
        return None;
    }
    let text = MetricExpr::Aggregate(aggregation.clone()).to_string();
    let inner = Box::new(MetricExpr::Range(sent));
    Some(Leaf {
        text,
        sent: MetricExpr::Aggregate(VectorAggregation { inner, ..aggregation.clone() }),
        merge: Some(merge),
    })
}

fn range_leaf(range: &RangeAggregation) -> Option<Leaf> {
    let (sent, merge) = sharded_range(range)?;
    Some(Leaf { text: MetricExpr::Range(range.clone()).to_string(), sent: MetricExpr::Range(sent), merge: Some(merge) })
}

/// What each shard computes, and how that adds up. Two shards may have a series of the same labels, as pipelines change
/// labels; so what only holds for a whole series is not sharded.
fn sharded_range(range: &RangeAggregation) -> Option<(RangeAggregation, Merge)> {
    let seconds = Some(range.range.window_ns as f64 / 1e9);
    let (op, merge) = match range.op {
        RangeOp::Rate if range.range.unwrap.is_some() => (RangeOp::Sum, Merge { op: VectorOp::Sum, seconds }),
        RangeOp::Rate => (RangeOp::Count, Merge { op: VectorOp::Sum, seconds }),
        RangeOp::BytesRate => (RangeOp::BytesOver, Merge { op: VectorOp::Sum, seconds }),
        op @ (RangeOp::Count | RangeOp::BytesOver | RangeOp::Sum) => (op, Merge { op: VectorOp::Sum, seconds: None }),
        RangeOp::Min => (RangeOp::Min, Merge { op: VectorOp::Min, seconds: None }),
        RangeOp::Max => (RangeOp::Max, Merge { op: VectorOp::Max, seconds: None }),
        _ => return None,
    };
    Some((RangeAggregation { op, ..range.clone() }, merge))
}

/// An answer's series as those of a grid.
fn on_grid(answer: QueryValue, grid: &Grid) -> Vec<StepSeries> {
    let step = |time_ns: i64| {
        let step = (i128::from(time_ns) - i128::from(grid.start_ns)) / i128::from(grid.step_ns);
        usize::try_from(step).ok().filter(|step| *step < grid.steps).map(|step| step as u32)
    };
    match answer {
        QueryValue::Matrix(series) => series
            .into_iter()
            .map(|one| {
                let points = one.points.into_iter().filter_map(|(time_ns, value)| Some((step(time_ns)?, value)));
                StepSeries { labels: one.labels, points: points.collect() }
            })
            .collect(),
        QueryValue::Vector(samples) => {
            samples.into_iter().map(|one| StepSeries { labels: one.labels, points: vec![(0, one.value)] }).collect()
        }
        QueryValue::Streams(_) | QueryValue::Scalar { .. } => vec![],
    }
}
