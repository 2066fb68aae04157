//! Label filters: comparisons joined by `and`, `or`, `,` and nothing, in parentheses.
//!
//! `and` binds tighter than `or`, both to the left. A comma, and nothing, mean `and`, and take all that follows as
//! their right side: `a or b, c` is `a or (b, c)` and `a, b or c` is `a, (b or c)`, as in Loki's grammar.

use super::cursor::Cursor;
use super::error::ParseError;
use super::token::{Function, Token};
use crate::ast::{CompareOp, LabelFilter};
use crate::units::number;
use model::{MatchOp, Matcher};
use smol_str::SmolStr;

type Result<T> = std::result::Result<T, ParseError>;

/// How deep a label filter may be as a tree. Long chains are common, so more than for expressions; nothing but small
/// functions recurse over them.
pub const FILTER_DEPTH_MAX: usize = 1000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Join {
    /// An open parenthesis.
    Open,
    Or,
    And,
    /// A comma or nothing.
    Then,
}

/// Operands and operators that are not applied yet: the grammar without recursion.
#[derive(Default)]
struct Pending {
    filters: Vec<(LabelFilter, usize)>,
    joins: Vec<Join>,
    /// Open parentheses among the joins.
    open: usize,
}

/// One label filter, to the end of its last operand.
pub fn label_filter(cursor: &mut Cursor) -> Result<LabelFilter> {
    let mut pending = Pending::default();
    loop {
        if cursor.accept("(") {
            pending.joins.push(Join::Open);
            pending.open += 1;
            continue;
        }
        pending.filters.push((comparison(cursor)?, 1));
        while pending.open > 0 && cursor.accept(")") {
            pending.close()?;
        }
        let Some(join) = join(cursor) else { break };
        pending.push_join(join)?;
    }
    if pending.open > 0 {
        return Err(cursor.unexpected(&[]));
    }
    while !pending.joins.is_empty() {
        pending.reduce()?;
    }
    let (filter, _) = pending.filters.pop().expect("every operator has both operands");
    Ok(filter)
}

/// Passes over an operator, or finds that another operand follows without one.
fn join(cursor: &mut Cursor) -> Option<Join> {
    let join = match cursor.peek() {
        Token::Fixed("or") => Join::Or,
        Token::Fixed("and") => Join::And,
        Token::Fixed(",") => Join::Then,
        Token::Fixed("(") | Token::Identifier(_) => return Some(Join::Then),
        _ => return None,
    };
    cursor.next();
    Some(join)
}

impl Pending {
    fn push_join(&mut self, join: Join) -> Result<()> {
        let binds_left = |top: Join| match join {
            Join::Or => matches!(top, Join::Or | Join::And),
            Join::And => top == Join::And,
            Join::Then | Join::Open => false,
        };
        while self.joins.last().is_some_and(|top| binds_left(*top)) {
            self.reduce()?;
        }
        self.joins.push(join);
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        while self.joins.last().is_some_and(|top| *top != Join::Open) {
            self.reduce()?;
        }
        self.joins.pop();
        self.open -= 1;
        Ok(())
    }

    /// Applies the last operator.
    fn reduce(&mut self) -> Result<()> {
        let (Some(join), Some((right, right_depth)), Some((left, left_depth))) =
            (self.joins.pop(), self.filters.pop(), self.filters.pop())
        else {
            return Ok(());
        };
        let depth = 1 + right_depth.max(left_depth);
        if depth > FILTER_DEPTH_MAX {
            let what = format!("label filter nests too deeply (more than {FILTER_DEPTH_MAX} levels)");
            return Err(ParseError::new(what));
        }
        let (left, right) = (Box::new(left), Box::new(right));
        let filter = if join == Join::Or { LabelFilter::Or(left, right) } else { LabelFilter::And(left, right) };
        self.filters.push((filter, depth));
        Ok(())
    }
}

/// `name op value`, where the value says what is compared.
fn comparison(cursor: &mut Cursor) -> Result<LabelFilter> {
    let name = cursor.identifier(&["IDENTIFIER", "("])?;
    let op = match cursor.peek() {
        Token::Fixed(op @ ("=" | "==" | "!=" | "=~" | "!~" | ">" | ">=" | "<" | "<=")) => *op,
        _ => return Err(cursor.unexpected(&[])),
    };
    cursor.next();
    let compare = match op {
        "=~" => return matcher(cursor, name, MatchOp::Re),
        "!~" => return matcher(cursor, name, MatchOp::NotRe),
        "=" | "==" => CompareOp::Eq,
        "!=" => CompareOp::Ne,
        ">" => CompareOp::Gt,
        ">=" => CompareOp::Ge,
        "<" => CompareOp::Lt,
        _ => CompareOp::Le,
    };
    match cursor.peek() {
        Token::Text(_) if op == "=" => matcher(cursor, name, MatchOp::Eq),
        Token::Text(_) if op == "!=" => matcher(cursor, name, MatchOp::Ne),
        Token::Function(Function::Ip) if matches!(op, "=" | "!=") => {
            Ok(LabelFilter::Ip { name, negated: op == "!=", pattern: ip_operand(cursor)? })
        }
        _ => quantity(cursor, name, compare),
    }
}

fn matcher(cursor: &mut Cursor, name: SmolStr, op: MatchOp) -> Result<LabelFilter> {
    let value = cursor.text(&["STRING"])?;
    Ok(LabelFilter::String(Matcher::new(name, op, value)?))
}

/// `ip("10.0.0.0/8")`
pub fn ip_operand(cursor: &mut Cursor) -> Result<SmolStr> {
    cursor.next();
    cursor.expect("(", &["("])?;
    let pattern = cursor.text(&["STRING"])?;
    cursor.expect(")", &[")"])?;
    Ok(pattern)
}

fn quantity(cursor: &mut Cursor, name: SmolStr, op: CompareOp) -> Result<LabelFilter> {
    let filter = match cursor.peek() {
        Token::Duration(value_ns) => LabelFilter::Duration { name, op, value_ns: *value_ns },
        Token::Bytes(value) => LabelFilter::Bytes { name, op, value: *value },
        _ => return Ok(LabelFilter::Number { name, op, value: signed_number(cursor, &[])? }),
    };
    cursor.next();
    Ok(filter)
}

/// A number with at most one sign in front.
pub fn signed_number(cursor: &mut Cursor, expected: &[&str]) -> Result<f64> {
    let sign = if cursor.is("-") { -1.0 } else { 1.0 };
    if cursor.is("-") || cursor.is("+") {
        cursor.next();
        return Ok(sign * number_literal(cursor, &["NUMBER"])?);
    }
    number_literal(cursor, expected)
}

pub fn number_literal(cursor: &mut Cursor, expected: &[&str]) -> Result<f64> {
    let Token::Number(text) = cursor.peek() else { return Err(cursor.unexpected(expected)) };
    let parsed = number::parse(text);
    cursor.next();
    parsed.map_err(|why| ParseError::new(format_args!("unable to parse literal as a float: {why}")))
}
