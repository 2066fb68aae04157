//! What a well-formed query may still not say: checks of meaning, made before any data are read.
//! Templates belong to the pipeline, which hands its compiler in as a [`TemplateCheck`].

pub mod aggregations;
pub mod captures;
pub mod expressions;
pub mod ip;
pub mod selectivity;

use crate::ast::{
    Expr, LabelFilter, LabelFormat, LineFilter, LineOp, LineOperand, LogExpr, LogRange, MetricExpr, Stage,
};
use crate::parse::ParseError;
use crate::pipeline::template::Templates;
use model::pattern;
use std::collections::HashSet;

/// Compiles templates to see whether they can be; the error is Go's text
/// (`template: line:1: unclosed action`), without what stage it is in.
pub trait TemplateCheck {
    fn check_line(&self, template: &str) -> Result<(), String>;
    fn check_label(&self, label: &str, template: &str) -> Result<(), String>;
}

/// Every stage of `expr` can work, templates included.
pub fn check(expr: &Expr) -> Result<(), ParseError> {
    check_with(expr, &Templates)
}

/// Every stage of `expr` can work; the first that cannot is named.
pub fn check_with(expr: &Expr, templates: &dyn TemplateCheck) -> Result<(), ParseError> {
    match expr {
        Expr::Log(log) => check_log(log, templates),
        Expr::Metric(metric) => check_metric(metric, templates),
    }
}

/// Recursion is bounded by [`crate::parse::DEPTH_MAX`].
fn check_metric(expr: &MetricExpr, templates: &dyn TemplateCheck) -> Result<(), ParseError> {
    match expr {
        MetricExpr::Literal(_) | MetricExpr::Vector(_) => Ok(()),
        MetricExpr::Range(range) => check_range(&range.range, templates),
        MetricExpr::Aggregate(aggregate) => check_metric(&aggregate.inner, templates),
        MetricExpr::Binary(binary) => {
            check_metric(&binary.left, templates)?;
            check_metric(&binary.right, templates)
        }
        MetricExpr::LabelReplace(replace) => check_metric(&replace.inner, templates),
        MetricExpr::Variants { variants, of } => {
            variants.iter().try_for_each(|v| check_metric(v, templates))?;
            check_range(of, templates)
        }
    }
}

fn check_range(range: &LogRange, templates: &dyn TemplateCheck) -> Result<(), ParseError> {
    check_log(&range.log, templates)?;
    let filters = range.unwrap.iter().flat_map(|u| &u.filters);
    filters.into_iter().try_for_each(|f| check_stage(&Stage::LabelFilter(f.clone()), templates))
}

fn check_log(log: &LogExpr, templates: &dyn TemplateCheck) -> Result<(), ParseError> {
    log.stages.iter().try_for_each(|stage| check_stage(stage, templates))
}

fn check_stage(stage: &Stage, templates: &dyn TemplateCheck) -> Result<(), ParseError> {
    let checked = match stage {
        Stage::LineFilter(filter) => check_line_filter(filter),
        Stage::Json(fields) => fields.iter().try_for_each(|f| expressions::check_json(&f.expression)),
        Stage::Logfmt { fields, .. } => fields.iter().try_for_each(|f| expressions::check_logfmt(&f.expression)),
        Stage::LabelFilter(filter) => check_label_filter(filter),
        Stage::LineFormat(template) => {
            templates.check_line(template).map_err(|why| format!("invalid line template: {why}"))
        }
        Stage::LabelFormat(formats) => check_label_format(formats, templates),
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

fn check_label_format(formats: &[LabelFormat], templates: &dyn TemplateCheck) -> Result<(), String> {
    let mut targets = HashSet::new();
    for format in formats {
        let (LabelFormat::Rename { to, .. } | LabelFormat::Template { to, .. }) = format;
        if to == "__error__" {
            return Err(format!("{to} cannot be formatted"));
        }
        if !targets.insert(to) {
            return Err(format!("multiple label name '{to}' not allowed in a single format operation"));
        }
        if let LabelFormat::Template { to, template } = format {
            templates.check_label(to, template).map_err(|why| format!("invalid template for label '{to}': {why}"))?;
        }
    }
    Ok(())
}
