//! The canonical text of a query, on one line: what parses back to the same tree, in the form in which Loki writes
//! queries into messages and keys. [`pretty`] is the form for people.

mod pretty;

pub use pretty::pretty;

use crate::ast::*;
use crate::units::{bytes, number};
use model::duration::{go_string, prometheus_string};
use model::quote::quote;
use std::fmt::{Display, Formatter, Result, Write};

/// The items with `separator` between them.
fn joined<T: Display>(f: &mut Formatter, items: &[T], separator: &str) -> Result {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            f.write_str(separator)?;
        }
        write!(f, "{item}")?;
    }
    Ok(())
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter) -> Result {
        match self {
            Expr::Log(log) => log.fmt(f),
            Expr::Metric(metric) => metric.fmt(f),
        }
    }
}

impl Display for LogExpr {
    fn fmt(&self, f: &mut Formatter) -> Result {
        f.write_char('{')?;
        joined(f, &self.matchers, ", ")?;
        f.write_char('}')?;
        self.stages.iter().try_for_each(|stage| write!(f, " {stage}"))
    }
}

impl Display for Stage {
    fn fmt(&self, f: &mut Formatter) -> Result {
        let list = |f: &mut Formatter, name: &str, fields: &[Extraction]| {
            write!(f, "| {name}")?;
            if fields.is_empty() {
                return Ok(());
            }
            f.write_char(' ')?;
            joined(f, fields, ",")
        };
        match self {
            Stage::LineFilter(filter) => filter.fmt(f),
            Stage::Json(fields) => list(f, "json", fields),
            Stage::Logfmt { strict, keep_empty, fields } => {
                let strict = if *strict { " --strict" } else { "" };
                let keep_empty = if *keep_empty { " --keep-empty" } else { "" };
                list(f, &format!("logfmt{strict}{keep_empty}"), fields)
            }
            Stage::Regexp(regex) => write!(f, "| regexp {}", quote(regex)),
            Stage::Pattern(pattern) => write!(f, "| pattern {}", quote(pattern)),
            Stage::Unpack => f.write_str("| unpack"),
            Stage::LabelFilter(filter) => write!(f, "| {filter}"),
            Stage::LineFormat(template) => write!(f, "| line_format {}", quote(template)),
            Stage::LabelFormat(formats) => {
                f.write_str("| label_format ")?;
                joined(f, formats, ",")
            }
            Stage::Decolorize => f.write_str("| decolorize"),
            Stage::Drop(labels) => {
                f.write_str("| drop ")?;
                joined(f, labels, ",")
            }
            Stage::Keep(labels) => {
                f.write_str("| keep ")?;
                joined(f, labels, ",")
            }
        }
    }
}

impl Display for LineFilter {
    fn fmt(&self, f: &mut Formatter) -> Result {
        write!(f, "{} ", self.op.as_str())?;
        joined(f, &self.operands, " or ")
    }
}

impl Display for LineOperand {
    fn fmt(&self, f: &mut Formatter) -> Result {
        match self {
            LineOperand::Text(text) => f.write_str(&quote(text)),
            LineOperand::Ip(pattern) => write!(f, "ip({})", quote(pattern)),
        }
    }
}

impl Display for Extraction {
    fn fmt(&self, f: &mut Formatter) -> Result {
        write!(f, "{}={}", self.name, quote(&self.expression))
    }
}

impl Display for LabelFilter {
    fn fmt(&self, f: &mut Formatter) -> Result {
        match self {
            LabelFilter::String(matcher) => matcher.fmt(f),
            LabelFilter::Number { name, op, value } => write!(f, "{name}{}{value}", op.as_str()),
            LabelFilter::Duration { name, op, value_ns } => {
                write!(f, "{name}{}{}", op.as_str(), go_string(*value_ns))
            }
            LabelFilter::Bytes { name, op, value } => write!(f, "{name}{}{}", op.as_str(), bytes::format_exact(*value)),
            LabelFilter::Ip { name, negated, pattern } => {
                write!(f, "{name}{}ip({})", if *negated { "!=" } else { "=" }, quote(pattern))
            }
            LabelFilter::And(left, right) => write!(f, "( {left} , {right} )"),
            LabelFilter::Or(left, right) => write!(f, "( {left} or {right} )"),
        }
    }
}

impl Display for LabelFormat {
    fn fmt(&self, f: &mut Formatter) -> Result {
        match self {
            LabelFormat::Rename { to, from } => write!(f, "{to}={from}"),
            LabelFormat::Template { to, template } => write!(f, "{to}={}", quote(template)),
        }
    }
}

impl Display for LabelSelector {
    fn fmt(&self, f: &mut Formatter) -> Result {
        match self {
            LabelSelector::Name(name) => f.write_str(name),
            LabelSelector::Matcher(matcher) => matcher.fmt(f),
        }
    }
}

impl Display for MetricExpr {
    fn fmt(&self, f: &mut Formatter) -> Result {
        match self {
            MetricExpr::Literal(value) => literal(f, *value),
            MetricExpr::Vector(value) => {
                let fixed = format!("{value:.6}");
                let is_exact = fixed.parse() == Ok(*value);
                write!(f, "vector({})", if is_exact { fixed } else { number::format(*value) })
            }
            MetricExpr::Range(range) => range.fmt(f),
            MetricExpr::Aggregate(aggregate) => aggregate.fmt(f),
            MetricExpr::Binary(binary) => {
                write!(f, "({} {} {})", binary.left, Operator(binary), binary.right)
            }
            MetricExpr::LabelReplace(replace) => {
                let [dst, replacement, src, regex] = label_replace_texts(replace);
                write!(f, "label_replace({},{dst},{replacement},{src},{regex})", replace.inner)
            }
            MetricExpr::Variants { variants, of } => {
                f.write_str("variants(")?;
                joined(f, variants, ", ")?;
                write!(f, ") of ({of})")
            }
        }
    }
}

/// LogQL has no word for NaN and the infinities; these expressions fold to them.
fn literal(f: &mut Formatter, value: f64) -> Result {
    match value {
        v if v.is_nan() => f.write_str("(0 / 0)"),
        f64::INFINITY => f.write_str("(1e+308 * 10)"),
        f64::NEG_INFINITY => f.write_str("(-1e+308 * 10)"),
        v => f.write_str(&number::format(v)),
    }
}

/// The quoted arguments behind the expression.
fn label_replace_texts(replace: &LabelReplace) -> [String; 4] {
    [&replace.dst, &replace.replacement, &replace.src, &replace.regex].map(|text| quote(text))
}

impl Display for RangeAggregation {
    fn fmt(&self, f: &mut Formatter) -> Result {
        write!(f, "{}(", self.op.as_str())?;
        if let Some(parameter) = self.parameter {
            write!(f, "{},", number::format(parameter))?;
        }
        write!(f, "{})", self.range)?;
        match &self.grouping {
            Some(grouping) => write!(f, " {grouping}"),
            None => Ok(()),
        }
    }
}

impl Display for LogRange {
    fn fmt(&self, f: &mut Formatter) -> Result {
        self.log.fmt(f)?;
        if let Some(unwrap) = &self.unwrap {
            write!(f, " {unwrap}")?;
        }
        write!(f, "{}", Window(self))
    }
}

/// `[5m] offset 1m0s`
struct Window<'a>(&'a LogRange);

impl Display for Window<'_> {
    fn fmt(&self, f: &mut Formatter) -> Result {
        write!(f, "[{}]", prometheus_string(self.0.window_ns))?;
        match self.0.offset_ns {
            0 => Ok(()),
            offset_ns => write!(f, " offset {}", go_string(offset_ns)),
        }
    }
}

impl Display for Unwrap {
    fn fmt(&self, f: &mut Formatter) -> Result {
        match self.conversion {
            Some(conversion) => write!(f, "| unwrap {}({})", conversion.as_str(), self.label)?,
            None => write!(f, "| unwrap {}", self.label)?,
        }
        self.filters.iter().try_for_each(|filter| write!(f, " | {filter}"))
    }
}

impl Display for Grouping {
    fn fmt(&self, f: &mut Formatter) -> Result {
        write!(f, "{} (", if self.without { "without" } else { "by" })?;
        joined(f, &self.labels, ",")?;
        f.write_char(')')
    }
}

impl Display for VectorAggregation {
    fn fmt(&self, f: &mut Formatter) -> Result {
        f.write_str(self.op.as_str())?;
        if let Some(grouping) = &self.grouping {
            write!(f, " {grouping}")?;
        }
        match self.parameter {
            Some(parameter) => write!(f, "({parameter},{})", self.inner),
            None => write!(f, "({})", self.inner),
        }
    }
}

/// The operator of a binary expression with its modifiers: `> bool on (a) group_left (b)`.
struct Operator<'a>(&'a Binary);

impl Display for Operator<'_> {
    fn fmt(&self, f: &mut Formatter) -> Result {
        f.write_str(self.0.op.as_str())?;
        if self.0.return_bool {
            f.write_str(" bool")?;
        }
        let Some(matching) = &self.0.matching else { return Ok(()) };
        write!(f, " {} (", if matching.on { "on" } else { "ignoring" })?;
        joined(f, &matching.labels, ",")?;
        f.write_char(')')?;
        let Some(side) = matching.group else { return Ok(()) };
        write!(f, " group_{}", if side == GroupSide::Left { "left" } else { "right" })?;
        if matching.include.is_empty() && !starts_with_parenthesis(&self.0.right) {
            return Ok(());
        }
        f.write_str(" (")?;
        joined(f, &matching.include, ",")?;
        f.write_char(')')
    }
}

/// Behind `group_left` a parenthesis is always its list, so an empty list must stand in front of another.
fn starts_with_parenthesis(expr: &MetricExpr) -> bool {
    match expr {
        MetricExpr::Binary(_) => true,
        MetricExpr::Literal(value) => !value.is_finite(),
        _ => false,
    }
}
