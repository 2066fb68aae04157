//! Numbers in templates: integer functions wrap as Go's do, the `f` functions calculate in decimals.

use super::decimal::{Op, calculate};
use super::functions::{Function, Kind, function, int, to_float, to_int, variadic};
use super::value::Value;

const DIVIDE_BY_ZERO: &str = "runtime error: integer divide by zero";

pub const FUNCTIONS: &[Function] = &[
    function("int", &[Kind::Any], |_, a| Ok(Value::Int(to_int(&a[0])))),
    function("float64", &[Kind::Any], |_, a| Ok(Value::Float(to_float(&a[0])))),
    variadic("add", &[], Kind::Any, |_, a| Ok(Value::Int(a.iter().map(to_int).fold(0, i64::wrapping_add)))),
    function("sub", &[Kind::Any, Kind::Any], |_, a| Ok(Value::Int(to_int(&a[0]).wrapping_sub(to_int(&a[1]))))),
    variadic("mul", &[Kind::Any], Kind::Any, |_, a| Ok(Value::Int(a.iter().map(to_int).fold(1, i64::wrapping_mul)))),
    function("div", &[Kind::Any, Kind::Any], |_, a| match to_int(&a[1]) {
        0 => Err(DIVIDE_BY_ZERO.into()),
        divisor => Ok(Value::Int(to_int(&a[0]).wrapping_div(divisor))),
    }),
    function("mod", &[Kind::Any, Kind::Any], |_, a| match to_int(&a[1]) {
        0 => Err(DIVIDE_BY_ZERO.into()),
        divisor => Ok(Value::Int(to_int(&a[0]).wrapping_rem(divisor))),
    }),
    variadic("addf", &[], Kind::Any, |_, a| fold_decimal(Op::Add, 0.0, a)),
    variadic("subf", &[Kind::Any], Kind::Any, |_, a| fold_decimal(Op::Sub, to_float(&a[0]), &a[1..])),
    variadic("mulf", &[Kind::Any], Kind::Any, |_, a| fold_decimal(Op::Mul, to_float(&a[0]), &a[1..])),
    variadic("divf", &[Kind::Any], Kind::Any, |_, a| fold_decimal(Op::Div, to_float(&a[0]), &a[1..])),
    variadic("max", &[Kind::Any], Kind::Any, |_, a| Ok(Value::Int(a.iter().map(to_int).max().unwrap_or_default()))),
    variadic("min", &[Kind::Any], Kind::Any, |_, a| Ok(Value::Int(a.iter().map(to_int).min().unwrap_or_default()))),
    variadic("maxf", &[Kind::Any], Kind::Any, |_, a| Ok(Value::Float(extreme(a, f64::max)))),
    variadic("minf", &[Kind::Any], Kind::Any, |_, a| Ok(Value::Float(extreme(a, f64::min)))),
    function("ceil", &[Kind::Any], |_, a| Ok(Value::Float(to_float(&a[0]).ceil()))),
    function("floor", &[Kind::Any], |_, a| Ok(Value::Float(to_float(&a[0]).floor()))),
    variadic("round", &[Kind::Any, Kind::Int], Kind::Float, |_, a| {
        let up_from = a.get(2).map_or(0.5, to_float);
        Ok(Value::Float(round(to_float(&a[0]), int(&a[1]), up_from)))
    }),
];

fn fold_decimal<'e>(op: Op, first: f64, rest: &[Value<'e>]) -> Result<Value<'e>, String> {
    rest.iter().try_fold(first, |sum, v| calculate(op, sum, to_float(v))).map(Value::Float)
}

/// NaN wins, as in Go's `math.Max` and `math.Min`.
fn extreme(values: &[Value<'_>], pick: fn(f64, f64) -> f64) -> f64 {
    let floats = values.iter().map(to_float);
    floats.reduce(|a, b| if a.is_nan() || b.is_nan() { f64::NAN } else { pick(a, b) }).unwrap_or_default()
}

/// Rounds up from a fraction of `up_from` on.
fn round(value: f64, places: i64, up_from: f64) -> f64 {
    let scale = 10f64.powi(places.clamp(-400, 400) as i32);
    let shifted = scale * value;
    let rounded = if shifted.fract() >= up_from { shifted.ceil() } else { shifted.floor() };
    rounded / scale
}
