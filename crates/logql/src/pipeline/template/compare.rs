//! `eq`, `ne`, `lt` and their kin.

use super::value::Value;

const INCOMPATIBLE: &str = "incompatible types for comparison";

/// Whether the first argument equals one of the others.
pub fn equal(args: &[Value<'_>]) -> Result<bool, String> {
    let [first, others @ ..] = args else { return Err("missing argument for comparison".into()) };
    if others.is_empty() {
        return Err("missing argument for comparison".into());
    }
    for other in others {
        if same(first, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

pub fn same(a: &Value<'_>, b: &Value<'_>) -> Result<bool, String> {
    Ok(match (a, b) {
        (Value::Nil, Value::Nil) => true,
        (Value::Nil, _) | (_, Value::Nil) => false,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Float(a), Value::Float(b)) => a == b,
        (Value::Text(a), Value::Text(b)) => a == b,
        (Value::Time(a), Value::Time(b)) => (a.seconds, a.nanos) == (b.seconds, b.nanos),
        (Value::List(_) | Value::Map(_), _) | (_, Value::List(_) | Value::Map(_)) => {
            return Err(format!("non-comparable type {}: {}", shown(a), a.type_name()));
        }
        _ => match (a.as_int(), b.as_int()) {
            (Some(a), Some(b)) => a == b,
            _ => return Err(INCOMPATIBLE.into()),
        },
    })
}

fn shown(value: &Value<'_>) -> String {
    let mut text = Vec::new();
    value.print(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

pub fn less(a: &Value<'_>, b: &Value<'_>) -> Result<bool, String> {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => Ok(a < b),
        (Value::Text(a), Value::Text(b)) => Ok(a < b),
        (Value::Bool(_) | Value::Nil | Value::Time(_) | Value::List(_) | Value::Map(_), _) => {
            Err("invalid type for comparison".into())
        }
        _ => match (a.as_int(), b.as_int()) {
            (Some(a), Some(b)) => Ok(a < b),
            _ => Err(INCOMPATIBLE.into()),
        },
    }
}
