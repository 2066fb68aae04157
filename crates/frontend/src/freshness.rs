//! How new the data is that a call reads. Data that is too new is not settled: entries still come in late, so answers
//! about it are not kept.

use logql::ast::LabelFormat;
use logql::ast::{Expr, LogExpr, MetricExpr, Stage};
use logql::parse::parse;
use rpc::call::Call;
use rpc::queries::QueryTime;
use rpc::read_limits::{each_log, metric_ranges, nanos};
use runtime::limits::Limits;
use std::sync::Arc;
use std::time::Duration;

/// Data up to this moment is settled for queries: of several tenants' `max_cache_freshness_per_query` the longest.
pub fn settled_ns(limits: &[Arc<Limits>], now_ns: i64) -> i64 {
    before(limits, now_ns, |l| l.max_cache_freshness_per_query)
}

/// The same by another setting.
pub fn before(limits: &[Arc<Limits>], now_ns: i64, freshness: fn(&Limits) -> Duration) -> i64 {
    let longest = limits.iter().map(|l| freshness(l)).max().unwrap_or_default();
    now_ns.saturating_sub(nanos(longest))
}

/// The newest moment that a call reads; none where that is not known.
pub fn read_until_ns(call: &Call) -> Option<i64> {
    Some(match call {
        Call::Query(request) => {
            let expr = parse(&request.query).ok()?;
            let (QueryTime::Range { end_ns: until, .. } | QueryTime::Instant { time_ns: until }) = request.time;
            until.saturating_add(looks_ahead_ns(&expr))
        }
        Call::Labels(request, _) | Call::Series(request) | Call::Stats(request) => request.range.end_ns,
        Call::Volume(request) => request.range.end_ns,
        Call::Patterns(query) => query.range.end_ns,
    })
}

/// Whether a call wants an answer of its own.
pub fn is_bypassed(call: &Call) -> bool {
    match call {
        Call::Query(request) => request.no_cache,
        Call::Volume(request) => request.no_cache,
        Call::Labels(..) | Call::Series(_) | Call::Stats(_) | Call::Patterns(_) => false,
    }
}

/// How far behind its time a query reads: `offset -5m` reads five minutes that are still to come.
pub fn looks_ahead_ns(expr: &Expr) -> i64 {
    let mut ahead = 0;
    if let Expr::Metric(metric) = expr {
        // What is looked at is never refused.
        let _ = metric_ranges(metric, &mut |range| {
            ahead = ahead.max(range.offset_ns.saturating_neg());
            Ok(())
        });
    }
    ahead
}

/// Whether the answer depends on the data alone. Templates can tell the time: `now`, and `date` of what is no time. Of
/// `variants` the ranges that count are not looked at.
pub fn is_repeatable(expr: &Expr) -> bool {
    let mut tells_time = false;
    let _ = each_log(expr, &mut |log: &LogExpr| {
        tells_time |= log.stages.iter().any(stage_tells_time);
        Ok(())
    });
    let varies = matches!(expr, Expr::Metric(metric) if has_variants(metric));
    !tells_time && !varies
}

fn stage_tells_time(stage: &Stage) -> bool {
    let tells = |template: &str| template.contains("now") || template.contains("date");
    match stage {
        Stage::LineFormat(template) => tells(template),
        Stage::LabelFormat(formats) => {
            formats.iter().any(|format| matches!(format, LabelFormat::Template { template, .. } if tells(template)))
        }
        _ => false,
    }
}

fn has_variants(expr: &MetricExpr) -> bool {
    match expr {
        MetricExpr::Literal(_) | MetricExpr::Vector(_) | MetricExpr::Range(_) => false,
        MetricExpr::Aggregate(aggregation) => has_variants(&aggregation.inner),
        MetricExpr::LabelReplace(replace) => has_variants(&replace.inner),
        MetricExpr::Binary(binary) => has_variants(&binary.left) || has_variants(&binary.right),
        MetricExpr::Variants { .. } => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tells_the_time_is_not_repeatable() {
        for (query, expected) in [
            (r#"{a="b"}"#, true),
            (r#"{a="b"} | line_format "{{.x}}""#, true),
            (r#"{a="b"} | line_format "{{ now }}""#, false),
            (r#"{a="b"} | label_format t="{{ date \"15:04\" .x }}""#, false),
            (r#"sum(rate({a="b"} | line_format "{{ __timestamp__ }}" [1m])) + 1"#, true),
            (r#"sum(rate({a="b"} | label_format c="{{ now | unixEpoch }}" [1m])) + 1"#, false),
            (r#"variants(count_over_time({a="b"}[1m])) of ({a="b"}[1m])"#, false),
        ] {
            assert_eq!(is_repeatable(&parse(query).unwrap()), expected, "{query}");
        }
    }

    #[test]
    fn negative_offsets_look_ahead() {
        for (query, expected) in [
            (r#"{a="b"}"#, 0),
            (r#"rate({a="b"}[1m] offset 5m)"#, 0),
            (r#"rate({a="b"}[1m] offset -5m)"#, 300),
            (r#"rate({a="b"}[1m] offset -5m) / rate({a="b"}[1m] offset -7m)"#, 420),
        ] {
            assert_eq!(looks_ahead_ns(&parse(query).unwrap()), expected * 1_000_000_000, "{query}");
        }
    }
}
