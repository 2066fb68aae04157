//! What a tenant may ask, with Loki's texts: the checks that need more than the engine knows.

use logql::ast::{Expr, LogExpr, LogRange, MetricExpr};
use model::duration::{go_string, prometheus_string};
use model::{Error, Result};
use rpc::queries::{QueryRequest, QueryTime};
use runtime::limits::Limits;
use std::sync::Arc;
use std::time::Duration;

/// Refuses what one of the tenants may not ask.
pub fn check(expr: &Expr, request: &QueryRequest, limits: &[Arc<Limits>]) -> Result<()> {
    limits.iter().try_for_each(|l| {
        check_length(request, l)?;
        each_log(expr, &mut |log| check_selector(log, l))
    })
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
fn each_log(expr: &Expr, f: &mut dyn FnMut(&LogExpr) -> Result<()>) -> Result<()> {
    match expr {
        Expr::Log(log) => f(log),
        Expr::Metric(metric) => metric_ranges(metric, &mut |range| f(&range.log)),
    }
}

fn metric_ranges(metric: &MetricExpr, f: &mut dyn FnMut(&LogRange) -> Result<()>) -> Result<()> {
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
