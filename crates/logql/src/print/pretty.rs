//! The form of a query for people, as Loki's `format_query` answers it: what fits a line stays on one, the rest is
//! broken and indented.

use super::{Operator, Window, label_replace_texts};
use crate::ast::*;
use crate::parse::binding;
use crate::units::number;
use std::fmt::Display;

/// The longest text that is not broken, in bytes and without its indentation, as in Loki.
const LINE_BYTES_MAX: usize = 100;

const INDENT: &str = "  ";

/// Recursion is bounded by [`crate::parse::DEPTH_MAX`].
pub fn pretty(expr: &Expr) -> String {
    match expr {
        Expr::Log(log) => pretty_log(log, 0),
        Expr::Metric(metric) => pretty_metric(metric, 0),
    }
}

fn indent(level: usize) -> String {
    INDENT.repeat(level)
}

fn line(level: usize, text: impl Display) -> String {
    format!("{}{text}", indent(level))
}

/// The one-line form, where it fits.
fn short(level: usize, node: &impl Display) -> Option<String> {
    let text = node.to_string();
    (text.len() <= LINE_BYTES_MAX).then(|| line(level, text))
}

fn pretty_log(log: &LogExpr, level: usize) -> String {
    if let Some(short) = short(level, log) {
        return short;
    }
    let mut out = line(level, LogExpr { matchers: log.matchers.clone(), stages: Vec::new() });
    let mut was_line_filter = false;
    for stage in &log.stages {
        // Line filters in a row share a line.
        let is_line_filter = matches!(stage, Stage::LineFilter(_));
        if is_line_filter && was_line_filter {
            out.push(' ');
        } else {
            out.push('\n');
            out.push_str(&indent(level + 1));
        }
        out.push_str(&stage.to_string());
        was_line_filter = is_line_filter;
    }
    out
}

fn pretty_range(range: &LogRange, level: usize) -> String {
    let mut out = pretty_log(&range.log, level);
    if let Some(unwrap) = &range.unwrap {
        let bare = Unwrap { label: unwrap.label.clone(), conversion: unwrap.conversion, filters: Vec::new() };
        out.push_str(&format!("\n{}", line(level + 1, bare)));
        for filter in &unwrap.filters {
            out.push_str(&format!("\n{}| {filter}", indent(level + 1)));
        }
    }
    format!("{out} {}", Window(range))
}

fn pretty_metric(expr: &MetricExpr, level: usize) -> String {
    if let MetricExpr::Variants { variants, of } = expr {
        let variants: Vec<String> = variants.iter().map(|v| pretty_metric(v, level + 1)).collect();
        let of = pretty_range(of, level + 1);
        return format!("{}variants(\n{}\n) of (\n{of}\n)", indent(level), variants.join(",\n"));
    }
    if let Some(short) = short(level, expr) {
        return short;
    }
    match expr {
        MetricExpr::Range(range) => {
            let parameter = range.parameter.map(|p| line(level + 1, number::format(p)));
            let arguments = parameter.into_iter().chain([pretty_range(&range.range, level + 1)]);
            let grouping = range.grouping.as_ref().map(|g| format!(" {g}")).unwrap_or_default();
            call(level, range.op.as_str(), arguments) + &grouping
        }
        MetricExpr::Aggregate(aggregate) => {
            let grouping = aggregate.grouping.as_ref().map(|g| format!(" {g}")).unwrap_or_default();
            let parameter = aggregate.parameter.map(|p| line(level + 1, p));
            let arguments = parameter.into_iter().chain([pretty_metric(&aggregate.inner, level + 1)]);
            call(level, &format!("{}{grouping}", aggregate.op.as_str()), arguments)
        }
        MetricExpr::LabelReplace(replace) => {
            let texts = label_replace_texts(replace).map(|text| line(level + 1, text));
            call(level, "label_replace", [pretty_metric(&replace.inner, level + 1)].into_iter().chain(texts))
        }
        MetricExpr::Binary(binary) => pretty_binary(binary, level),
        MetricExpr::Literal(_) | MetricExpr::Vector(_) | MetricExpr::Variants { .. } => line(level, expr),
    }
}

/// `name(`, one argument a line, `)`.
fn call(level: usize, name: &str, arguments: impl Iterator<Item = String>) -> String {
    let arguments: Vec<String> = arguments.collect();
    format!("{}{name}(\n{}\n{})", indent(level), arguments.join(",\n"), indent(level))
}

/// The operator on a line of its own between its sides. A side in two or more lines has parentheses only where it
/// would be read otherwise without.
fn pretty_binary(binary: &Binary, level: usize) -> String {
    let binding = binding(binary.op);
    let is_right_first = binary.op == BinaryOp::Pow;
    let side = |side: &MetricExpr, is_first: bool| {
        let needs_parentheses = match side {
            MetricExpr::Binary(inner) if short(0, side).is_none() => {
                let inner = self::binding(inner.op);
                inner < binding || (inner == binding && !is_first)
            }
            _ => false,
        };
        if needs_parentheses {
            format!("{}\n{}\n{}", line(level + 1, "("), pretty_metric(side, level + 2), line(level + 1, ")"))
        } else {
            pretty_metric(side, level + 1)
        }
    };
    let left = side(&binary.left, !is_right_first);
    let right = side(&binary.right, is_right_first);
    format!("{left}\n{}\n{right}", line(level, Operator(binary)))
}

#[cfg(test)]
mod tests {
    use crate::parse::parse_syntax;

    #[test]
    fn what_does_not_fit_a_line_is_broken() {
        let long = r#"{app="very_long_application_name", environment="production", region="eu-central-1"}"#;
        for (query, lines) in [
            (
                format!(r#"sum by (a) (rate({long} |= "some filter" | json | x=1 [5m] offset 1h))"#),
                vec![
                    "sum by (a)(".to_string(),
                    "  rate(".into(),
                    format!("    {long}"),
                    r#"      |= "some filter""#.into(),
                    "      | json".into(),
                    "      | x==1 [5m] offset 1h0m0s".into(),
                    "  )".into(),
                    ")".into(),
                ],
            ),
            (
                format!(r#"topk(5, quantile_over_time(0.9, {long} | unwrap duration(a) | b="c" [5m]) by (d))"#),
                vec![
                    "topk(".to_string(),
                    "  5,".into(),
                    "  quantile_over_time(".into(),
                    "    0.9,".into(),
                    format!("    {long}"),
                    "      | unwrap duration(a)".into(),
                    r#"      | b="c" [5m]"#.into(),
                    "  ) by (d)".into(),
                    ")".into(),
                ],
            ),
            (
                format!("rate({long}[5m]) / (rate({long}[1h]) + vector(0.1)) > bool 2"),
                vec![
                    format!("    rate({long}[5m])"),
                    "  /".into(),
                    "    (".into(),
                    format!("        rate({long}[1h])"),
                    "      +".into(),
                    "        vector(0.100000)".into(),
                    "    )".into(),
                    "> bool".into(),
                    "  2".into(),
                ],
            ),
            (
                format!(r#"label_replace(rate({long}[5m]), "a", "$1", "b", "(.*)")"#),
                vec![
                    "label_replace(".to_string(),
                    format!("  rate({long}[5m]),"),
                    r#"  "a","#.into(),
                    r#"  "$1","#.into(),
                    r#"  "b","#.into(),
                    r#"  "(.*)""#.into(),
                    ")".into(),
                ],
            ),
        ] {
            let expr = parse_syntax(&query).expect(&query);
            assert_eq!(super::pretty(&expr), lines.join("\n"));
            assert_eq!(parse_syntax(&super::pretty(&expr)), Ok(expr));
        }
    }
}
