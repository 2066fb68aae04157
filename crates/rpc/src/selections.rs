//! What a query reads before it is run: its selectors with the time of each, and what the index says of their size.
//! It must not know who answers.

use crate::queries::{IndexStats, MetadataRequest, Queries, QueryRequest, QueryTime, Tenants};
use crate::read_limits;
use logql::ast::{Expr, LogExpr};
use model::{Result, TimeRange};
use std::collections::BTreeSet;

/// One selector of a query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Selection<'e> {
    pub log: &'e LogExpr,
    pub range: TimeRange,
}

/// The selectors of a query, in the order of its text.
pub fn selections<'e>(expr: &'e Expr, request: &QueryRequest) -> Vec<Selection<'e>> {
    let (start_ns, end_ns) = match request.time {
        QueryTime::Instant { time_ns } => (time_ns, time_ns.saturating_add(1)),
        QueryTime::Range { start_ns, end_ns, .. } => (start_ns, end_ns),
    };
    let mut all = vec![];
    match expr {
        Expr::Log(log) => all.push(Selection { log, range: TimeRange::new(start_ns, end_ns) }),
        Expr::Metric(metric) => {
            let add = &mut |of: &'e logql::ast::LogRange| {
                let before = of.window_ns.saturating_add(of.offset_ns);
                let range = TimeRange::new(start_ns.saturating_sub(before), end_ns.saturating_sub(of.offset_ns));
                all.push(Selection { log: &of.log, range });
                Ok(())
            };
            // What is added is never refused.
            let _ = read_limits::metric_ranges(metric, add);
        }
    }
    all
}

/// What the index and the ingesters hold for a selector, and what of that could not be asked.
pub async fn size(
    next: &dyn Queries,
    tenants: &Tenants,
    selection: &Selection<'_>,
    warnings: &mut BTreeSet<String>,
) -> Result<IndexStats> {
    let request = MetadataRequest { selectors: vec![selection.log.matchers.clone()], range: selection.range };
    let answer = next.stats(tenants, request).await?;
    warnings.extend(answer.warnings);
    Ok(answer.value)
}

/// Bytes that a query would read of all its selectors.
pub async fn bytes(next: &dyn Queries, tenants: &Tenants, expr: &Expr, request: &QueryRequest) -> Result<u64> {
    let (mut bytes, mut warnings) = (0u64, BTreeSet::new());
    for selection in selections(expr, request) {
        bytes = bytes.saturating_add(size(next, tenants, &selection, &mut warnings).await?.bytes);
    }
    Ok(bytes)
}
