//! A range query as queries over shorter ranges, cut at multiples of an interval, so that the same part of two queries is
//! the same query.

use super::merge_logs;
use crate::ast::Expr;
use crate::engine::{EngineLimits, Outcome, Params, ScanStats, Time, limit_series};
use crate::value::{QueryValue, Series};
use model::{Direction, Error, Labels, Result};
use std::collections::BTreeMap;

/// Parts of one query: of more, the interval is doubled until there are fewer.
pub const PARTS_MAX: usize = 1024;

/// The parts in the order in which a log query needs them; one that is `params` itself where nothing is to be split.
pub fn split(expr: &Expr, params: &Params, interval_ns: i64) -> Vec<Params> {
    let Time::Range { start_ns, end_ns, .. } = params.time else { return vec![params.clone()] };
    let is_whole = interval_ns <= 0 || end_ns <= start_ns || params.interval_ns > 0;
    if is_whole {
        return vec![params.clone()];
    }
    let mut interval = i128::from(interval_ns);
    let parts = || (i128::from(end_ns) - i128::from(start_ns)) / interval + 2;
    if parts() > PARTS_MAX as i128 {
        interval *= (parts() as u128).div_ceil(PARTS_MAX as u128).next_power_of_two() as i128;
    }
    match expr {
        Expr::Log(_) => by_range(params, interval),
        Expr::Metric(_) => by_steps(params, interval),
    }
}

/// Ranges without their end, newest first if the query is.
fn by_range(params: &Params, interval: i128) -> Vec<Params> {
    let Time::Range { start_ns, end_ns, step_ns } = params.time else { return vec![] };
    let mut parts = vec![];
    let mut from = i128::from(start_ns);
    while from < i128::from(end_ns) {
        let through = ((from.div_euclid(interval) + 1) * interval).min(i128::from(end_ns));
        let time = Time::Range { start_ns: from as i64, end_ns: through as i64, step_ns };
        parts.push(Params { time, ..params.clone() });
        from = through;
    }
    if params.direction == Direction::Backward {
        parts.reverse();
    }
    parts
}

/// Runs of steps that lie between the same two multiples of the interval. No step is in two parts.
fn by_steps(params: &Params, interval: i128) -> Vec<Params> {
    let Time::Range { step_ns, .. } = params.time else { return vec![] };
    // What is refused is refused as a whole.
    let Some((first, last)) = steps(params) else { return vec![params.clone()] };
    let (first, last, step) = (i128::from(first), i128::from(last), i128::from(step_ns));
    let mut parts = vec![];
    let mut from = first;
    while from <= last {
        let boundary = (from.div_euclid(interval) + 1) * interval;
        let through = (from + (boundary - 1 - from) / step * step).min(last);
        let time = Time::Range { start_ns: from as i64, end_ns: through as i64, step_ns };
        parts.push(Params { time, ..params.clone() });
        from = through + step;
    }
    parts
}

/// The first and the last time at which a metric query over a range answers; none where it is refused.
pub fn steps(params: &Params) -> Option<(i64, i64)> {
    let Time::Range { start_ns, end_ns, step_ns } = params.time else { return None };
    let limits = EngineLimits::default();
    let grid = crate::engine::grid(start_ns, end_ns, step_ns, params.align_to_step, &limits).ok()?;
    Some((grid.time_ns(0), grid.time_ns(grid.steps.checked_sub(1)?)))
}

/// What a metric query over the shorter range from `first_ns` to `last_ns` would have answered.
pub fn clip(series: Vec<Series>, first_ns: i64, last_ns: i64) -> Vec<Series> {
    let inside = |Series { labels, mut points }: Series| {
        points.retain(|(time_ns, _)| (first_ns..=last_ns).contains(time_ns));
        (!points.is_empty()).then_some(Series { labels, points })
    };
    series.into_iter().filter_map(inside).collect()
}

/// The answers of the parts as one: all of a metric query's, and of a log query's as many as its limit needs, in the order
/// of [`split`]. A log query of which the last part found too much must keep its streams' labels
/// ([`super::keeps_labels`]). The limit of series is checked here, as it is the whole answer's.
pub fn join(params: &Params, limits: &EngineLimits, answers: Vec<QueryValue>) -> Result<Outcome> {
    let mut streams = vec![];
    let mut series: BTreeMap<Labels, Vec<(i64, f64)>> = BTreeMap::new();
    let mut is_log = false;
    for answer in answers {
        match answer {
            QueryValue::Streams(part) => {
                is_log = true;
                streams.push(part);
            }
            QueryValue::Matrix(part) => {
                part.into_iter().for_each(|one| series.entry(one.labels).or_default().extend(one.points));
            }
            QueryValue::Vector(_) | QueryValue::Scalar { .. } => {
                return Err(Error::internal("an instant answer to a part of a range"));
            }
        }
    }
    if is_log {
        let streams = merge_logs(streams, params.limit as usize, params.direction);
        return Ok(Outcome { value: QueryValue::Streams(streams), warnings: vec![], scan: ScanStats::default() });
    }
    let mut series: Vec<Series> = series.into_iter().map(|(labels, points)| Series { labels, points }).collect();
    let warnings = limit_series(&mut series, limits)?;
    Ok(Outcome { value: QueryValue::Matrix(series), warnings, scan: ScanStats::default() })
}
