//! Every selector must narrow the streams: at least one matcher that a stream without the label does not satisfy.

use crate::ast::{Expr, LogExpr, MetricExpr};
use crate::parse::ParseError;

const NOT_SELECTIVE: &str = "queries require at least one regexp or equality matcher that does not have an \
     empty-compatible value. For instance, app=~\".*\" does not meet this requirement, but app=~\".+\" will";

pub fn check(expr: &Expr) -> Result<(), ParseError> {
    match expr {
        Expr::Log(log) => check_log(log),
        Expr::Metric(metric) => check_metric(metric),
    }
}

fn check_metric(expr: &MetricExpr) -> Result<(), ParseError> {
    match expr {
        MetricExpr::Literal(_) | MetricExpr::Vector(_) => Ok(()),
        MetricExpr::Range(range) => check_log(&range.range.log),
        MetricExpr::Aggregate(aggregate) => check_metric(&aggregate.inner),
        MetricExpr::Binary(binary) => {
            check_metric(&binary.left)?;
            check_metric(&binary.right)
        }
        MetricExpr::LabelReplace(replace) => check_metric(&replace.inner),
        MetricExpr::Variants { variants, of } => {
            check_log(&of.log)?;
            variants.iter().try_for_each(check_metric)
        }
    }
}

fn check_log(log: &LogExpr) -> Result<(), ParseError> {
    if log.matchers.iter().any(|m| !m.matches_empty()) { Ok(()) } else { Err(ParseError::new(NOT_SELECTIVE)) }
}
