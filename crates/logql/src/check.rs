//! What a well-formed query may still not say: checks of meaning, made before any data are read.

pub mod aggregations;
pub mod captures;
pub mod expressions;
pub mod ip;
pub mod selectivity;

use crate::ast::{
    Expr, LabelFilter, LabelFormat, LineFilter, LineOp, LineOperand, LogExpr, LogRange, MetricExpr, Stage,
};
use crate::parse::ParseError;
use crate::pipeline::template;
use model::pattern;
use std::collections::HashSet;

/// Every stage of `expr` can work; the first that cannot is named.
pub fn check(expr: &Expr) -> Result<(), ParseError> {
    match expr {
        Expr::Log(log) => check_log(log),
        Expr::Metric(metric) => check_metric(metric),
    }
}

/// Recursion is bounded by [`crate::parse::DEPTH_MAX`].
fn check_metric(expr: &MetricExpr) -> Result<(), ParseError> {
    match expr {
        MetricExpr::Literal(_) | MetricExpr::Vector(_) => Ok(()),
        MetricExpr::Range(range) => check_range(&range.range),
        MetricExpr::Aggregate(aggregate) => check_metric(&aggregate.inner),
        MetricExpr::Binary(binary) => {
            check_metric(&binary.left)?;
            check_metric(&binary.right)
        }
        MetricExpr::LabelReplace(replace) => check_metric(&replace.inner),
        MetricExpr::Variants { variants, of } => {
            variants.iter().try_for_each(check_metric)?;
            check_range(of)
        }
    }
}

fn check_range(range: &LogRange) -> Result<(), ParseError> {
    check_log(&range.log)?;
    let filters = range.unwrap.iter().flat_map(|u| &u.filters);
    filters.into_iter().try_for_each(|f| check_stage(&Stage::LabelFilter(f.clone())))
}

fn check_log(log: &LogExpr) -> Result<(), ParseError> {
    log.stages.iter().try_for_each(check_stage)
}

fn check_stage(stage: &Stage) -> Result<(), ParseError> {
    let checked = match stage {
        Stage::LineFilter(filter) => check_line_filter(filter),
        Stage::Json(fields) => fields.iter().try_for_each(|f| expressions::check_json(&f.expression)),
        Stage::Logfmt { fields, .. } => fields.iter().try_for_each(|f| expressions::check_logfmt(&f.expression)),
        Stage::LabelFilter(filter) => check_label_filter(filter),
        Stage::LineFormat(text) => template::check("line", text).map_err(|why| format!("invalid line template: {why}")),
        Stage::LabelFormat(formats) => check_label_format(formats),
        // Regexp and pattern were checked as they were read: Loki refuses them without naming the stage.
        Stage::Regexp(_) | Stage::Pattern(_) | Stage::Unpack | Stage::Decolorize | Stage::Drop(_) | Stage::Keep(_) => {
            Ok(())
        }
    };
    checked.map_err(|why| ParseError::at_stage(stage, why))
}

fn check_line_filter(filter: &LineFilter) -> Result<(), String> {
    filter.operands.iter().try_for_each(|operand| match (operand, filter.op) {
        (LineOperand::Ip(pattern), LineOp::Contains | LineOp::NotContains) => ip::check(pattern),
        (LineOperand::Ip(_), _) => Err("ip: invalid operation".into()),
        (LineOperand::Text(text), LineOp::Matches | LineOp::NotMatches) => {
            pattern::compile_bytes(text).map(|_| ()).map_err(|e| e.message)
        }
        (LineOperand::Text(text), LineOp::Pattern | LineOp::NotPattern) => captures::check_line_pattern(text),
        (LineOperand::Text(_), LineOp::Contains | LineOp::NotContains) => Ok(()),
    })
}

fn check_label_filter(filter: &LabelFilter) -> Result<(), String> {
    match filter {
        LabelFilter::Ip { pattern, .. } => ip::check(pattern),
        LabelFilter::And(left, right) | LabelFilter::Or(left, right) => {
            check_label_filter(left)?;
            check_label_filter(right)
        }
        LabelFilter::String(_)
        | LabelFilter::Number { .. }
        | LabelFilter::Duration { .. }
        | LabelFilter::Bytes { .. } => Ok(()),
    }
}

fn check_label_format(formats: &[LabelFormat]) -> Result<(), String> {
    let mut targets = HashSet::new();
    for format in formats {
        let (LabelFormat::Rename { to, .. } | LabelFormat::Template { to, .. }) = format;
        if to == "__error__" {
            return Err(format!("{to} cannot be formatted"));
        }
        if !targets.insert(to) {
            return Err(format!("multiple label name '{to}' not allowed in a single format operation"));
        }
        if let LabelFormat::Template { to, template: text } = format {
            template::check("label", text).map_err(|why| format!("invalid template for label '{to}': {why}"))?;
        }
    }
    Ok(())
}
