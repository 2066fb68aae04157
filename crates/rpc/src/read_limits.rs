//! What a tenant may ask, with Loki's texts: the checks that need more than the engine knows. Who is asked first makes them:
//! a frontend for the whole query, a querier for what it is given.

use crate::queries::{QueryRequest, QueryTime};
use logql::ast::{Expr, LogExpr, LogRange, MetricExpr};
use logql::engine::EngineLimits;
use model::duration::{go_string, prometheus_string};
use model::{Error, Kind, Matcher, Result};
use runtime::limits::Limits;
use std::sync::Arc;
use std::time::Duration;

/// What one query may read; 0 is no limit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReadLimits {
    pub max_chunks_per_query: u64,
    pub cardinality_limit: u64,
    pub max_query_bytes_read: u64,
    pub max_querier_bytes_read: u64,
}

impl ReadLimits {
    /// Of several tenants' limits the strictest.
    pub fn strictest(limits: &[Arc<Limits>]) -> Self {
        ReadLimits {
            max_chunks_per_query: strictest(limits, |l| l.max_chunks_per_query),
            cardinality_limit: strictest(limits, |l| l.cardinality_limit),
            max_query_bytes_read: strictest(limits, |l| l.max_query_bytes_read),
            max_querier_bytes_read: strictest(limits, |l| l.max_querier_bytes_read),
        }
    }

    /// Refuses to read so much, before anything is read.
    pub fn check(&self, streams: u64, chunks: u64, bytes: u64, matchers: &[Matcher]) -> Result<()> {
        let over = |n: u64, max: u64| max > 0 && n > max;
        let iec = format_iec;
        let text = if over(streams, self.cardinality_limit) {
            let selector: Vec<String> = matchers.iter().map(|m| m.to_string()).collect();
            format!(
                "cardinality limit exceeded for {{{}}}; {streams} entries, more than limit of {}",
                selector.join(", "),
                self.cardinality_limit
            )
        } else if over(chunks, self.max_chunks_per_query) {
            format!(
                "the query hit the max number of chunks limit (limit: {} chunks, setting: max_chunks_per_query)",
                self.max_chunks_per_query
            )
        } else if over(bytes, self.max_query_bytes_read) {
            format!(
                "the query would read too many bytes (query: {}, limit: {}); consider adding more specific stream selectors or reduce the time range of the query",
                iec(bytes),
                iec(self.max_query_bytes_read)
            )
        } else if over(bytes, self.max_querier_bytes_read) {
            format!(
                "query too large to execute on a single querier: (query: {}, limit: {}); consider adding more specific stream selectors, reduce the time range of the query, or adjust parallelization settings",
                iec(bytes),
                iec(self.max_querier_bytes_read)
            )
        } else {
            return Ok(());
        };
        Err(Error::invalid(text))
    }
}

/// A size as Go's `humanize.IBytes` writes it: `5 B`, `1.5 KiB`, `150 GiB`.
fn format_iec(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let unit = UNITS.len().min(bytes.checked_ilog2().unwrap_or(0) as usize / 10 + 1) - 1;
    let value = bytes as f64 / (1u64 << (10 * unit)) as f64;
    // One digit behind the point for small numbers, rounded at the first place.
    let rounded = (value * 10.0 + 0.5).floor() / 10.0;
    match unit {
        0 => format!("{bytes} B"),
        unit if rounded < 10.0 => format!("{rounded:.1} {}", UNITS[unit]),
        unit => format!("{rounded:.0} {}", UNITS[unit]),
    }
}

/// Refuses what one of the tenants may not ask.
pub fn check(expr: &Expr, request: &QueryRequest, limits: &[Arc<Limits>]) -> Result<()> {
    limits.iter().try_for_each(|l| {
        check_length(request, l)?;
        each_log(expr, &mut |log| check_selector(log, l))
    })
}

/// The least of the tenants' values that is a limit; 0: none is.
fn strictest(limits: &[Arc<Limits>], of: fn(&Limits) -> u64) -> u64 {
    limits.iter().map(|l| of(l)).filter(|n| *n > 0).min().unwrap_or(0)
}

/// The engine's part of the tenants' limits. A part of a query may have more series than its answer.
pub fn engine_limits(request: &QueryRequest, limits: &[Arc<Limits>]) -> EngineLimits {
    let max_series = strictest(limits, |l| l.max_query_series as u64) as usize;
    EngineLimits {
        max_series: if request.part.is_some() { 0 } else { max_series },
        partial_series: request.partial_series,
        max_entries: u32::try_from(strictest(limits, |l| l.max_entries_limit_per_query)).unwrap_or(u32::MAX),
        max_window_ns: strictest(limits, |l| nanos(l.max_query_range) as u64) as i64,
        approx_topk: limits.iter().all(|l| l.shard_aggregations.iter().any(|a| a == "approx_topk")),
        variants: limits.iter().all(|l| l.enable_multi_variant_queries),
        ..EngineLimits::default()
    }
}

/// Splitting by time makes Loki align metric queries to their step; a tenant without it gets the grid as asked.
pub fn aligns_to_step(limits: &[Arc<Limits>]) -> bool {
    limits.iter().any(|l| !l.split_queries_by_interval.is_zero())
}

/// Moves a start that lies before `max_query_lookback` forward.
pub fn clamp_lookback(request: &mut QueryRequest, limits: &[Arc<Limits>]) {
    let lookback = limits.iter().map(|l| nanos(l.max_query_lookback)).filter(|n| *n > 0).min();
    if let (Some(lookback), QueryTime::Range { start_ns, end_ns, .. }) = (lookback, &mut request.time) {
        *start_ns = (*start_ns).max(end_ns.saturating_sub(lookback));
    }
}

/// How long a query of these tenants may take.
pub fn timeout(limits: &[Arc<Limits>]) -> Option<Duration> {
    limits.iter().map(|l| l.query_timeout).filter(|t| !t.is_zero()).min()
}

pub fn timed_out() -> Error {
    Error::new(
        Kind::Timeout,
        "request timed out, decrease the duration of the request or add more label matchers (prefer exact match over regex match) to reduce the amount of data processed",
    )
}

/// Refuses a tail whose history is longer than the tenant's log queries may be.
pub fn check_entries(request: &QueryRequest, limits: &Limits) -> Result<()> {
    let max = limits.max_entries_limit_per_query;
    if max > 0 && u64::from(request.limit) > max {
        let limit = request.limit;
        return Err(Error::invalid(format!(
            "max entries limit per query exceeded, limit > max_entries_limit_per_query ({limit} > {max})"
        )));
    }
    Ok(())
}

fn check_length(request: &QueryRequest, limits: &Limits) -> Result<()> {
    let QueryTime::Range { start_ns, end_ns, .. } = request.time else { return Ok(()) };
    let (length, max) = (end_ns.saturating_sub(start_ns), nanos(limits.max_query_length));
    if max > 0 && length > max {
        return Err(Error::invalid(format!(
            "the query time range exceeds the limit (query length: {}, limit: {})",
            go_string(length),
            prometheus_string(max)
        )));
    }
    Ok(())
}

fn check_selector(log: &LogExpr, limits: &Limits) -> Result<()> {
    let present: Vec<&str> = log.matchers.iter().map(|m| m.name.as_str()).collect();
    let missing: Vec<&str> =
        limits.required_labels.iter().map(String::as_str).filter(|required| !present.contains(required)).collect();
    if !missing.is_empty() {
        return Err(Error::invalid(format!(
            "stream selector is missing required matchers [{}], labels present in the query were [{}]",
            missing.join(", "),
            present.join(", ")
        )));
    }
    if present.len() < limits.minimum_labels_number {
        return Err(Error::invalid(format!(
            "stream selector has less label matchers than required: (present: [{}], number_present: {}, required_number_label_matchers: {})",
            present.join(", "),
            present.len(),
            limits.minimum_labels_number
        )));
    }
    let max = limits.max_streams_matchers_per_query;
    if max > 0 && present.len() > max {
        return Err(Error::invalid(format!(
            "max streams matchers per query exceeded, matchers-count > limit ({} > {max})",
            present.len()
        )));
    }
    Ok(())
}

/// Every log pipeline of an expression.
pub fn each_log(expr: &Expr, f: &mut dyn FnMut(&LogExpr) -> Result<()>) -> Result<()> {
    match expr {
        Expr::Log(log) => f(log),
        Expr::Metric(metric) => metric_ranges(metric, &mut |range| f(&range.log)),
    }
}

pub fn metric_ranges<'e>(metric: &'e MetricExpr, f: &mut dyn FnMut(&'e LogRange) -> Result<()>) -> Result<()> {
    match metric {
        MetricExpr::Literal(_) | MetricExpr::Vector(_) => Ok(()),
        MetricExpr::Range(r) => f(&r.range),
        MetricExpr::Aggregate(a) => metric_ranges(&a.inner, f),
        MetricExpr::Binary(b) => {
            metric_ranges(&b.left, f)?;
            metric_ranges(&b.right, f)
        }
        MetricExpr::LabelReplace(l) => metric_ranges(&l.inner, f),
        MetricExpr::Variants { of, .. } => f(of),
    }
}

pub fn nanos(d: Duration) -> i64 {
    i64::try_from(d.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Direction;

    #[test]
    fn reading_too_much_is_refused_in_lokis_words() {
        let limits = ReadLimits {
            max_chunks_per_query: 5,
            cardinality_limit: 3,
            max_query_bytes_read: 10 << 10,
            max_querier_bytes_read: 5 << 20,
        };
        let check = |limits: &ReadLimits, (streams, chunks, bytes): (u64, u64, u64), expected: Option<&str>| {
            let got = limits.check(streams, chunks, bytes, &[Matcher::equal("app", "a"), Matcher::equal("b", "c")]);
            assert_eq!(got.err().map(|e| e.message).as_deref(), expected);
        };
        check(&limits, (3, 5, 10 << 10), None);
        check(&ReadLimits::default(), (u64::MAX, u64::MAX, u64::MAX), None);
        check(
            &limits,
            (4, 0, 0),
            Some(r#"cardinality limit exceeded for {app="a", b="c"}; 4 entries, more than limit of 3"#),
        );
        check(
            &limits,
            (1, 6, 0),
            Some("the query hit the max number of chunks limit (limit: 5 chunks, setting: max_chunks_per_query)"),
        );
        check(
            &limits,
            (1, 1, 12 << 10),
            Some(
                "the query would read too many bytes (query: 12 KiB, limit: 10 KiB); consider adding more specific stream selectors or reduce the time range of the query",
            ),
        );
        check(
            &ReadLimits { max_query_bytes_read: 0, ..limits },
            (1, 1, 6 << 20),
            Some(
                "query too large to execute on a single querier: (query: 6.0 MiB, limit: 5.0 MiB); consider adding more specific stream selectors, reduce the time range of the query, or adjust parallelization settings",
            ),
        );
    }

    #[test]
    fn sizes_are_written_as_go_writes_them() {
        for (bytes, text) in [
            (0, "0 B"),
            (9, "9 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (150 << 30, "150 GiB"),
            (10 << 10, "10 KiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(format_iec(bytes), text);
        }
    }

    #[test]
    fn selectors_and_ranges_are_checked_in_lokis_words() {
        let strings = |list: &[&str]| list.iter().map(|s| s.to_string()).collect::<Vec<_>>();
        let hours = |n: u64| Duration::from_secs(3600 * n);
        for (limits, query, expected) in [
            (Limits { required_labels: strings(&["env"]), ..Limits::default() }, r#"{env="a"}"#, None),
            (
                Limits { required_labels: strings(&["env", "ns"]), ..Limits::default() },
                r#"sum(rate({app="a"}[1m]))"#,
                Some("stream selector is missing required matchers [env, ns], labels present in the query were [app]"),
            ),
            (
                Limits { minimum_labels_number: 2, ..Limits::default() },
                r#"{app="a"} |= "x""#,
                Some(
                    "stream selector has less label matchers than required: (present: [app], number_present: 1, required_number_label_matchers: 2)",
                ),
            ),
            (
                Limits { max_streams_matchers_per_query: 1, ..Limits::default() },
                r#"{app="a", b="c"}"#,
                Some("max streams matchers per query exceeded, matchers-count > limit (2 > 1)"),
            ),
            (
                Limits { max_query_length: hours(1), ..Limits::default() },
                r#"{app="a"}"#,
                Some("the query time range exceeds the limit (query length: 2h0m0s, limit: 1h)"),
            ),
            (Limits { max_query_length: hours(2), ..Limits::default() }, r#"{app="a"}"#, None),
        ] {
            let time = QueryTime::Range { start_ns: 0, end_ns: nanos(hours(2)), step_ns: 1, interval_ns: 0 };
            let request = QueryRequest {
                query: query.into(),
                time,
                limit: 1,
                direction: Direction::Backward,
                partial_series: false,
                no_cache: false,
                tags: vec![],
                part: None,
            };
            let expr = logql::parse::parse(query).unwrap();
            let got = check(&expr, &request, &[Arc::new(limits)]);
            assert_eq!(got.err().map(|e| e.message).as_deref(), expected, "{query}");
        }
    }
}
