//! Arithmetic, comparison and set operators between vectors and numbers.

use super::StepSeries;
use super::matching::{Matching, many_to_one, set};
use crate::ast::{Binary, BinaryOp};
use crate::engine::eval::Value;
use model::{Error, Result};

pub(crate) fn apply(binary: &Binary, left: Value, right: Value) -> Result<Value> {
    let op = binary.op;
    Ok(match (left, right) {
        (Value::Scalar(_), _) | (_, Value::Scalar(_)) if is_set(op) => {
            return Err(Error::invalid("unexpected literal in a logical/set binary operation"));
        }
        (Value::Scalar(left), Value::Scalar(right)) => Value::Scalar(match compare(op, left, right) {
            Some(holds) => f64::from(u8::from(holds)),
            None => arithmetic(op, left, right),
        }),
        (Value::Series(series), Value::Scalar(number)) => {
            Value::Series(with_number(series, |v| combine(op, binary.return_bool, v, number, v)))
        }
        (Value::Scalar(number), Value::Series(series)) => {
            Value::Series(with_number(series, |v| combine(op, binary.return_bool, number, v, v)))
        }
        (Value::Series(left), Value::Series(right)) => {
            let matching = Matching::new(binary.matching.as_ref());
            Value::Series(match is_set(op) {
                true => set(op, &matching, left, right),
                false => {
                    let both = |l: f64, r: f64| combine(op, binary.return_bool, l, r, l);
                    many_to_one(&matching, left, right, both)?
                }
            })
        }
    })
}

fn is_set(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::And | BinaryOp::Or | BinaryOp::Unless)
}

fn with_number(mut series: Vec<StepSeries>, function: impl Fn(f64) -> Option<f64>) -> Vec<StepSeries> {
    for one in &mut series {
        one.points = one.points.iter().filter_map(|(step, value)| Some((*step, function(*value)?))).collect();
    }
    series.retain(|s| !s.points.is_empty());
    series
}

/// The result at one step; a comparison that does not hold leaves nothing, one that holds leaves `kept`.
fn combine(op: BinaryOp, return_bool: bool, left: f64, right: f64, kept: f64) -> Option<f64> {
    match compare(op, left, right) {
        Some(holds) if return_bool => Some(f64::from(u8::from(holds))),
        Some(holds) => holds.then_some(kept),
        None => Some(arithmetic(op, left, right)),
    }
}

/// `None` if the operator is no comparison.
fn compare(op: BinaryOp, left: f64, right: f64) -> Option<bool> {
    Some(match op {
        BinaryOp::Eq => left == right,
        BinaryOp::Ne => left != right,
        BinaryOp::Gt => left > right,
        BinaryOp::Ge => left >= right,
        BinaryOp::Lt => left < right,
        BinaryOp::Le => left <= right,
        _ => return None,
    })
}

/// Division and remainder by zero are NaN, never infinite, as in Loki.
fn arithmetic(op: BinaryOp, left: f64, right: f64) -> f64 {
    match op {
        BinaryOp::Add => left + right,
        BinaryOp::Sub => left - right,
        BinaryOp::Mul => left * right,
        BinaryOp::Div if right == 0.0 => f64::NAN,
        BinaryOp::Div => left / right,
        BinaryOp::Mod if right == 0.0 => f64::NAN,
        BinaryOp::Mod => left % right,
        BinaryOp::Pow => left.powf(right),
        _ => f64::NAN,
    }
}
