//! What bounds a query: numbers from the tenant's settings and hooks of the caller. It must not know who sets them.

use crate::ast::{Expr, MetricExpr};
use model::{Error, Result};
use std::sync::Arc;

/// Loki's ceiling of points per series.
pub const STEPS_MAX: usize = 11_000;
/// How deep an expression may nest; the parser refuses far sooner, this guards the stack against built trees.
pub const DEPTH_MAX: usize = 256;

/// Reserves bytes until the query ends, or says that there are none.
pub type MemoryHook = Arc<dyn Fn(u64) -> Result<()> + Send + Sync>;
/// Why the query should stop now (deadline, client gone), `None` to go on. Asked once per block.
pub type StopHook = Arc<dyn Fn() -> Option<Error> + Send + Sync>;

#[derive(Clone)]
pub struct EngineLimits {
    /// Series in the answer (`max_query_series`); 0 is no limit.
    pub max_series: usize,
    /// Answer the first `max_series` series and a warning instead of an error (Grafana's Drilldown asks so).
    pub partial_series: bool,
    /// The largest `limit` of a log query (`max_entries_limit_per_query`); 0 is no limit.
    pub max_entries: u32,
    /// Points per series.
    pub max_steps: usize,
    /// The longest range-vector window (`max_query_range`), in nanoseconds; 0 is no limit.
    pub max_window_ns: i64,
    /// `approx_topk` is allowed (`shard_aggregations` names it).
    pub approx_topk: bool,
    /// `variants(...)` is allowed (`enable_multi_variant_queries`).
    pub variants: bool,
    pub memory: MemoryHook,
    pub stop: StopHook,
    /// Threads that scan; at least one.
    pub workers: usize,
}

impl Default for EngineLimits {
    fn default() -> Self {
        EngineLimits {
            max_series: 500,
            partial_series: false,
            max_entries: 5000,
            max_steps: STEPS_MAX,
            max_window_ns: 0,
            approx_topk: false,
            variants: false,
            memory: Arc::new(|_| Ok(())),
            stop: Arc::new(|| None),
            workers: 1,
        }
    }
}

impl EngineLimits {
    pub(crate) fn reserve(&self, bytes: usize) -> Result<()> {
        (self.memory)(bytes as u64)
    }

    pub(crate) fn check_stop(&self) -> Result<()> {
        match (self.stop)() {
            Some(reason) => Err(reason),
            None => Ok(()),
        }
    }

    /// The limits that the expression alone can break.
    pub fn check_expr(&self, expr: &Expr) -> Result<()> {
        match expr {
            Expr::Log(_) => Ok(()),
            Expr::Metric(metric) => self.check_metric(metric, 0),
        }
    }

    fn check_metric(&self, expr: &MetricExpr, depth: usize) -> Result<()> {
        if depth > DEPTH_MAX {
            return Err(Error::invalid(format!("the query nests deeper than {DEPTH_MAX} levels")));
        }
        let next = depth + 1;
        match expr {
            MetricExpr::Literal(_) | MetricExpr::Vector(_) => Ok(()),
            MetricExpr::Range(range) => self.check_window(range.range.window_ns),
            MetricExpr::Aggregate(aggregation) => self.check_metric(&aggregation.inner, next),
            MetricExpr::LabelReplace(replace) => self.check_metric(&replace.inner, next),
            MetricExpr::Binary(binary) => {
                self.check_metric(&binary.left, next)?;
                self.check_metric(&binary.right, next)
            }
            MetricExpr::Variants { variants, .. } => {
                if !self.variants {
                    return Err(Error::invalid("multi variant queries are disabled for this instance"));
                }
                variants.iter().try_for_each(|v| self.check_metric(v, next))
            }
        }
    }

    fn check_window(&self, window_ns: i64) -> Result<()> {
        if self.max_window_ns > 0 && window_ns > self.max_window_ns {
            return Err(Error::invalid(format!(
                "[interval] value exceeds limit: [{}] > [{}]",
                duration_text(window_ns),
                duration_text(self.max_window_ns)
            )));
        }
        Ok(())
    }
}

/// A duration as Prometheus prints it: `1h30m`, `0s`.
fn duration_text(ns: i64) -> String {
    const UNITS: [(&str, i64, bool); 7] = [
        ("y", 31_536_000_000, true),
        ("w", 604_800_000, true),
        ("d", 86_400_000, false),
        ("h", 3_600_000, false),
        ("m", 60_000, false),
        ("s", 1_000, false),
        ("ms", 1, false),
    ];
    let mut ms = ns / 1_000_000;
    if ms == 0 {
        return "0s".into();
    }
    let mut text = String::new();
    for (unit, unit_ms, exact_only) in UNITS {
        if exact_only && ms % unit_ms != 0 {
            continue;
        }
        if ms / unit_ms > 0 {
            text.push_str(&format!("{}{unit}", ms / unit_ms));
            ms %= unit_ms;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_print_as_prometheus_prints_them() {
        for (seconds, text) in
            [(0, "0s"), (1860, "31m"), (3600, "1h"), (5400, "1h30m"), (604_800, "1w"), (694_800, "8d1h")]
        {
            assert_eq!(duration_text(seconds * 1_000_000_000), text);
        }
    }
}
