//! Expressions over numbers: operators by precedence, aggregations, functions, literals.

use super::cursor::{Cursor, DEPTH_MAX, too_deep};
use super::error::ParseError;
use super::fold::fold;
use super::label_filter::{number_literal, signed_number};
use super::range::log_range;
use super::selector::selector;
use super::stages::stages;
use super::token::{Function, Token};
use crate::ast::*;
use crate::check::aggregations;
use crate::units::number;
use smol_str::SmolStr;

type Result<T> = std::result::Result<T, ParseError>;

/// What an operand is; a log query may stand where the grammar has any expression, and is refused with its meaning.
pub enum Operand {
    Log(LogExpr),
    /// With the depth of its tree.
    Metric(Box<MetricExpr>, usize),
}

/// An operator that waits for its right side.
struct Join {
    op: BinaryOp,
    return_bool: bool,
    matching: Option<VectorMatching>,
}

/// Operands joined by operators. Only parentheses and functions recurse.
pub fn expression(cursor: &mut Cursor) -> Result<Operand> {
    cursor.enter()?;
    let mut last = operand(cursor)?;
    let mut waiting: Vec<(Operand, Join)> = Vec::new();
    while let Some(op) = binary_op(cursor) {
        last = apply(&mut waiting, last, |join| takes_left(join.op, op))?;
        cursor.next();
        let (return_bool, matching) = modifiers(cursor)?;
        waiting.push((last, Join { op, return_bool, matching }));
        last = operand(cursor)?;
    }
    cursor.leave();
    apply(&mut waiting, last, |_| true)
}

/// Whether `first` gets the operand between it and `second`: all operators bind to the left but `^`.
fn takes_left(first: BinaryOp, second: BinaryOp) -> bool {
    binding(first) > binding(second) || (binding(first) == binding(second) && second != BinaryOp::Pow)
}

/// Applies the waiting operators from the last on, as long as `is_due`, to what is left of them and `right`.
fn apply(waiting: &mut Vec<(Operand, Join)>, mut right: Operand, is_due: impl Fn(&Join) -> bool) -> Result<Operand> {
    while let Some((left, join)) = waiting.pop_if(|(_, join)| is_due(join)) {
        right = binary(join, left, right)?;
    }
    Ok(right)
}

/// An expression over numbers; a log query is refused at what follows it.
fn metric(cursor: &mut Cursor) -> Result<(Box<MetricExpr>, usize)> {
    match expression(cursor)? {
        Operand::Metric(expr, depth) => Ok((expr, depth)),
        Operand::Log(_) => Err(cursor.unexpected(&[])),
    }
}

/// The operator that is next.
fn binary_op(cursor: &Cursor) -> Option<BinaryOp> {
    let Token::Fixed(text) = cursor.peek() else { return None };
    BinaryOp::ALL.into_iter().find(|op| op.as_str() == *text)
}

/// How tightly an operator binds, from 1; all bind to the left but `^`.
pub fn binding(op: BinaryOp) -> u8 {
    use BinaryOp::*;
    match op {
        Or => 1,
        And | Unless => 2,
        Eq | Ne | Gt | Ge | Lt | Le => 3,
        Add | Sub => 4,
        Mul | Div | Mod => 5,
        Pow => 6,
    }
}

/// `bool`, `on (...)`, `ignoring (...)`, `group_left (...)`, `group_right (...)`.
fn modifiers(cursor: &mut Cursor) -> Result<(bool, Option<VectorMatching>)> {
    let return_bool = cursor.accept("bool");
    let on = cursor.is("on");
    if !on && !cursor.is("ignoring") {
        return Ok((return_bool, None));
    }
    cursor.next();
    let labels = labels(cursor)?;
    let group = if cursor.accept("group_left") {
        Some(GroupSide::Left)
    } else if cursor.accept("group_right") {
        Some(GroupSide::Right)
    } else {
        None
    };
    // A parenthesis behind group_left is always its list.
    let include = if group.is_some() && cursor.is("(") { self::labels(cursor)? } else { Vec::new() };
    Ok((return_bool, Some(VectorMatching { on, labels, group, include })))
}

/// `(a, b)` or `()`.
fn labels(cursor: &mut Cursor) -> Result<Vec<SmolStr>> {
    cursor.expect("(", &["("])?;
    let mut labels = Vec::new();
    if cursor.accept(")") {
        return Ok(labels);
    }
    labels.push(cursor.identifier(&["IDENTIFIER", ")"])?);
    while !cursor.accept(")") {
        cursor.expect(",", &[",", ")"])?;
        labels.push(cursor.identifier(&["IDENTIFIER"])?);
    }
    Ok(labels)
}

fn binary(join: Join, left: Operand, right: Operand) -> Result<Operand> {
    let Join { op, return_bool, matching } = join;
    let (left, left_depth) = side(op, "left", left)?;
    let (right, right_depth) = side(op, "right", right)?;
    if op.is_logical() {
        literal_side(op, "left", &left)?;
        literal_side(op, "right", &right)?;
    }
    if let (MetricExpr::Literal(l), MetricExpr::Literal(r)) = (&*left, &*right)
        && let Some(value) = fold(op, *l, *r)
    {
        return Ok(Operand::Metric(Box::new(MetricExpr::Literal(value)), 1));
    }
    let depth = deeper(left_depth.max(right_depth))?;
    let binary = Binary { op, left: *left, right: *right, return_bool, matching };
    Ok(Operand::Metric(Box::new(MetricExpr::Binary(Box::new(binary))), depth))
}

fn deeper(depth: usize) -> Result<usize> {
    if depth < DEPTH_MAX { Ok(depth + 1) } else { Err(ParseError::new(too_deep())) }
}

fn side(op: BinaryOp, side: &str, operand: Operand) -> Result<(Box<MetricExpr>, usize)> {
    let log = match operand {
        Operand::Metric(expr, depth) => return Ok((expr, depth)),
        Operand::Log(log) => log,
    };
    // The names of Loki's own types are part of its message.
    let kind = if log.stages.is_empty() { "MatchersExpr" } else { "PipelineExpr" };
    let op = op.as_str();
    Err(ParseError::new(format_args!("unexpected type for {side} leg of binary operation ({op}): *syntax.{kind}")))
}

fn literal_side(op: BinaryOp, side: &str, expr: &MetricExpr) -> Result<()> {
    let MetricExpr::Literal(value) = expr else { return Ok(()) };
    let op = op.as_str();
    let what = format!("unexpected literal for {side} leg of logical/set binary operation ({op}): {value:.6}");
    Err(ParseError::new(what))
}

fn operand(cursor: &mut Cursor) -> Result<Operand> {
    let leaf = |expr| Ok(Operand::Metric(Box::new(expr), 1));
    match *cursor.peek() {
        Token::Fixed("{") => {
            let log = LogExpr { matchers: selector(cursor)?, stages: stages(cursor)? };
            if cursor.accept("|") {
                // The stages end in front of `unwrap`, which only ranges have.
                return Err(cursor.unexpected(&[]));
            }
            Ok(Operand::Log(log))
        }
        Token::Fixed("(") => {
            cursor.next();
            let inner = expression(cursor)?;
            cursor.expect(")", &[])?;
            Ok(inner)
        }
        Token::Fixed("+" | "-") | Token::Number(_) => leaf(MetricExpr::Literal(signed_number(cursor, &[])?)),
        Token::Function(Function::Range(op)) => leaf(range_aggregation(cursor, op)?),
        Token::Function(Function::Vector(op)) => vector_aggregation(cursor, op),
        Token::Function(Function::LabelReplace) => label_replace(cursor),
        Token::Function(Function::VectorLiteral) => {
            cursor.next();
            cursor.expect("(", &["("])?;
            let value = number_literal(cursor, &["NUMBER"])?;
            cursor.expect(")", &[")"])?;
            leaf(MetricExpr::Vector(value))
        }
        _ => Err(cursor.unexpected(&[])),
    }
}

fn range_aggregation(cursor: &mut Cursor, op: RangeOp) -> Result<MetricExpr> {
    cursor.next();
    cursor.expect("(", &["("])?;
    let mut parameter_text = None;
    if let Token::Number(text) = cursor.peek() {
        parameter_text = Some(text.clone());
        cursor.next();
        cursor.expect(",", &[","])?;
    }
    let range = log_range(cursor, if parameter_text.is_some() { &["{", "("] } else { &["NUMBER", "{", "("] })?;
    cursor.expect(")", &[")"])?;
    let grouping = grouping(cursor)?;
    let parameter =
        match parameter_text {
            None => None,
            Some(text) if op != RangeOp::Quantile => {
                let op = op.as_str();
                return Err(ParseError::new(format_args!("parameter {text} not supported for operation {op}")));
            }
            Some(text) => Some(number::parse(&text).map_err(|why| {
                ParseError::new(format_args!("invalid parameter for operation {}: {why}", op.as_str()))
            })?),
        };
    let aggregation = RangeAggregation { op, parameter, range, grouping };
    aggregations::check_range(&aggregation)?;
    Ok(MetricExpr::Range(aggregation))
}

fn grouping(cursor: &mut Cursor) -> Result<Option<Grouping>> {
    let without = cursor.is("without");
    if !without && !cursor.is("by") {
        return Ok(None);
    }
    cursor.next();
    Ok(Some(Grouping { without, labels: labels(cursor)? }))
}

fn vector_aggregation(cursor: &mut Cursor, op: VectorOp) -> Result<Operand> {
    cursor.next();
    let leading = grouping(cursor)?;
    cursor.expect("(", &["("])?;
    let mut parameter_text = None;
    if let (Token::Number(text), Token::Fixed(",")) = (cursor.peek(), cursor.peek_second()) {
        parameter_text = Some(text.clone());
        cursor.next();
        cursor.next();
    }
    let (inner, depth) = metric(cursor)?;
    cursor.expect(")", &[])?;
    let grouping = if leading.is_some() { leading } else { grouping(cursor)? };
    let parameter = aggregations::vector_parameter(op, parameter_text.as_deref(), grouping.as_ref())?;
    let aggregation = VectorAggregation { op, parameter, inner, grouping };
    Ok(Operand::Metric(Box::new(MetricExpr::Aggregate(aggregation)), deeper(depth)?))
}

fn label_replace(cursor: &mut Cursor) -> Result<Operand> {
    cursor.next();
    cursor.expect("(", &["("])?;
    let (inner, depth) = metric(cursor)?;
    let mut texts: [SmolStr; 4] = Default::default();
    for (i, text) in texts.iter_mut().enumerate() {
        // Behind the expression an operator could follow as well.
        cursor.expect(",", if i == 0 { &[] } else { &[","] })?;
        *text = cursor.text(&["STRING"])?;
    }
    cursor.expect(")", &[")"])?;
    let [dst, replacement, src, regex] = texts;
    model::pattern::translate(&format!("^(?:{regex})$"))
        .map_err(|e| ParseError::new(format_args!("invalid regex in label_replace: {}", e.message)))?;
    let replace = LabelReplace { inner: *inner, dst, replacement, src, regex };
    Ok(Operand::Metric(Box::new(MetricExpr::LabelReplace(Box::new(replace))), deeper(depth)?))
}

/// `variants(a, b) of ({...} [5m])`: only a whole query.
pub fn variants(cursor: &mut Cursor) -> Result<MetricExpr> {
    cursor.next();
    cursor.expect("(", &["("])?;
    let mut variants = vec![*metric(cursor)?.0];
    while cursor.accept(",") {
        variants.push(*metric(cursor)?.0);
    }
    cursor.expect(")", &[])?;
    cursor.expect("of", &["of"])?;
    cursor.expect("(", &["("])?;
    let of = Box::new(log_range(cursor, &["{", "("])?);
    cursor.expect(")", &[")"])?;
    Ok(MetricExpr::Variants { variants, of })
}
