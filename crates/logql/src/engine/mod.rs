//! Evaluation of a parsed query over a [`Source`]. It is synchronous: the calling thread and `workers - 1` others scan,
//! and the answer does not depend on how many they are.

mod errors;
mod eval;
mod grid;
mod limits;
mod logs;
mod memory;
mod merge;
mod range;
mod scan;
pub(crate) mod vector;

pub use errors::{ERROR_LABEL, PRESERVE_ERROR_LABEL};
pub use limits::{DEPTH_MAX, EngineLimits, MemoryHook, STEPS_MAX, StopHook};
pub use scan::ScanStats;

use crate::ast::{Expr, MetricExpr};
use crate::source::{Selection, Shard, Source, Streams};
use crate::value::QueryValue;
pub(crate) use eval::limit_series;
pub(crate) use grid::Grid;
use model::{Direction, Error, Result};
use scan::Tally;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// When a query is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    Instant { time_ns: i64 },
    Range { start_ns: i64, end_ns: i64, step_ns: i64 },
}

#[derive(Clone, Debug)]
pub struct Params {
    pub time: Time,
    /// Metric range queries start and end at multiples of the step (Loki does so when it splits queries by time).
    pub align_to_step: bool,
    /// Entries of a log query, over all streams.
    pub limit: u32,
    pub direction: Direction,
    /// Entries of a log query are at least this far apart; 0 is off.
    pub interval_ns: i64,
    /// What the template function `now` answers, in nanoseconds since the epoch.
    pub now_ns: i64,
    /// Only the streams of this part.
    pub shard: Option<Shard>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub value: QueryValue,
    /// What the answer lacks, and why.
    pub warnings: Vec<String>,
    pub scan: ScanStats,
}

/// What every part of an evaluation needs.
pub(crate) struct Context<'a> {
    pub source: &'a dyn Source,
    pub limits: &'a EngineLimits,
    pub grid: Grid,
    pub now_ns: i64,
    pub shard: Option<Shard>,
    /// What is known of parts of the expression already, by their text.
    pub given: Given,
    pub tally: RefCell<Tally>,
}

/// Series of parts of an expression that were evaluated elsewhere, by the text of the part.
pub(crate) type Given = BTreeMap<String, Vec<vector::StepSeries>>;

/// Answers a metric expression of whose parts some were evaluated elsewhere, and everything else is arithmetic. `given`
/// makes their series for the grid.
pub(crate) fn assemble(
    expr: &MetricExpr,
    params: &Params,
    limits: &EngineLimits,
    given: impl FnOnce(&Grid) -> Given,
) -> Result<Outcome> {
    let grid = grid_of(&Expr::Metric(expr.clone()), params, limits)?;
    let (given, now_ns) = (given(&grid), params.now_ns);
    let context = Context { source: &Nothing, limits, grid, now_ns, shard: None, given, tally: RefCell::default() };
    let value = eval::evaluate(expr, params.time, &context)?;
    let tally = context.tally.into_inner();
    Ok(Outcome { value, scan: tally.stats, warnings: tally.into_warnings() })
}

/// The source of an evaluation that must not read.
struct Nothing;

impl Source for Nothing {
    fn select(&self, _: &Selection) -> Result<Box<dyn Streams>> {
        Err(Error::internal("a part of the query was not evaluated"))
    }
}

/// Answers `expr`. Errors of kind `Invalid` are the user's and have Loki's texts.
pub fn run(expr: &Expr, params: &Params, source: &dyn Source, limits: &EngineLimits) -> Result<Outcome> {
    limits.check_expr(expr)?;
    let grid = grid_of(expr, params, limits)?;
    let (now_ns, shard, given) = (params.now_ns, params.shard, Given::new());
    let context = Context { source, limits, grid, now_ns, shard, given, tally: RefCell::default() };
    let value = match expr {
        Expr::Log(log) => QueryValue::Streams(logs::evaluate(log, params, &context)?),
        Expr::Metric(metric) => eval::evaluate(metric, params.time, &context)?,
    };
    let tally = context.tally.into_inner();
    Ok(Outcome { value, scan: tally.stats, warnings: tally.into_warnings() })
}

/// The evaluation times of a metric range query.
pub(crate) fn grid(start_ns: i64, end_ns: i64, step_ns: i64, align: bool, limits: &EngineLimits) -> Result<Grid> {
    Grid::range(start_ns, end_ns, step_ns, align, limits)
}

fn grid_of(expr: &Expr, params: &Params, limits: &EngineLimits) -> Result<Grid> {
    match (expr, params.time) {
        (Expr::Log(_), Time::Instant { .. }) => Err(errors::log_query_as_instant()),
        (Expr::Log(_), Time::Range { .. }) if limits.max_entries > 0 && params.limit > limits.max_entries => {
            Err(Error::invalid(format!(
                "max entries limit per query exceeded, limit > max_entries_limit_per_query ({} > {})",
                params.limit, limits.max_entries
            )))
        }
        (Expr::Log(_), Time::Range { start_ns, end_ns, .. }) if end_ns < start_ns => Err(errors::end_before_start()),
        (Expr::Log(_), Time::Range { start_ns, .. }) => Ok(Grid::instant(start_ns)),
        (Expr::Metric(_), Time::Instant { time_ns }) => Ok(Grid::instant(time_ns)),
        (Expr::Metric(_), Time::Range { start_ns, end_ns, step_ns }) => {
            Grid::range(start_ns, end_ns, step_ns, params.align_to_step, limits)
        }
    }
}
