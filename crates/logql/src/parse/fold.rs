//! Arithmetic on two numbers, with Loki's answers: division and modulo by zero are NaN, a comparison is 0 or 1.

use crate::ast::BinaryOp;

/// `None` for the logical operators, which have no meaning for numbers.
pub fn fold(op: BinaryOp, left: f64, right: f64) -> Option<f64> {
    let truth = |holds: bool| if holds { 1.0 } else { 0.0 };
    Some(match op {
        BinaryOp::Or | BinaryOp::And | BinaryOp::Unless => return None,
        BinaryOp::Add => left + right,
        BinaryOp::Sub => left - right,
        BinaryOp::Mul => left * right,
        BinaryOp::Div | BinaryOp::Mod if right == 0.0 => f64::NAN,
        BinaryOp::Div => left / right,
        BinaryOp::Mod => left % right,
        BinaryOp::Pow => left.powf(right),
        BinaryOp::Eq => truth(left == right),
        BinaryOp::Ne => truth(left != right),
        BinaryOp::Gt => truth(left > right),
        BinaryOp::Ge => truth(left >= right),
        BinaryOp::Lt => truth(left < right),
        BinaryOp::Le => truth(left <= right),
    })
}
