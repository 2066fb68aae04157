//! The library's functions that make text, with bounds: what one gives may be given to the next in a loop, and Rust's
//! formatting panics at the longest width or precision that the library takes, 65,535 digits of a float.

use super::{Bounded, Made, NAME, text_of};
use gotmpl::{Template, TemplateError, Value};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

/// The longest width or precision of `printf`.
const LENGTH_MAX: u64 = 4096;
/// Beside `printf`.
pub const NAMES: [&str; 5] = ["print", "println", "html", "js", "urlquery"];

/// The library's function of this name, whose text must not be longer than a whole text may be.
pub fn call(name: &str, args: &[Value]) -> Made {
    let (mut call, mut data) = (format!("{{{{{name}"), BTreeMap::<Arc<str>, Value>::new());
    for (i, value) in args.iter().enumerate() {
        let _ = write!(call, " .arg{i}");
        data.insert(format!("arg{i}").into(), value.clone());
    }
    call.push_str("}}");
    let mut out = Bounded(String::new());
    Template::new(NAME).parse(&call)?.execute_fmt(&mut out, &Value::from(Arc::new(data)))?;
    Ok(out.0.into())
}

pub fn printf(args: &[Value]) -> Made {
    let format = text_of(args, 0)?;
    let numbers = format.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
    // One that is too large for an integer is too long.
    let mut stated = numbers.map(|digits| digits.parse().unwrap_or(u64::MAX));
    let by_star = |value: &Value| format.contains('*') && value.as_int().is_some_and(|n| n.unsigned_abs() > LENGTH_MAX);
    if stated.any(|length| length > LENGTH_MAX) || args.iter().any(by_star) {
        return Err(TemplateError::Exec(format!("printf: a width or precision above {LENGTH_MAX}")));
    }
    call("printf", args)
}

/// `args`: its arguments by name. Of labels it may be given, but not of what it has made itself: that has no end.
pub fn args(args: &[Value]) -> Made {
    let is_nested = |value: &Value| matches!(value, Value::Map(_) | Value::List(_));
    let is_deep = |value: &Value| match value {
        Value::Map(inner) => inner.values().any(is_nested),
        Value::List(inner) => inner.iter().any(is_nested),
        _ => false,
    };
    if args.iter().any(is_deep) {
        return Err(TemplateError::Exec("args: an argument holds the arguments of another call".into()));
    }
    let named = args.iter().enumerate().map(|(i, value)| (Arc::from(format!("arg{i}")), value.clone()));
    Ok(Value::from(Arc::new(named.collect::<BTreeMap<Arc<str>, Value>>())))
}

/// `reReplaceAll pattern with text`.
pub fn replace_all(pattern: &regex::Regex, with: &str, within: &str) -> Made {
    let (mut out, mut end, mut one) = (Bounded(String::new()), 0, String::new());
    let too_long = |_| TemplateError::Exec("reReplaceAll: the text is too long".into());
    for captures in pattern.captures_iter(within) {
        let Some(whole) = captures.get(0) else { continue };
        one.clear();
        captures.expand(with, &mut one);
        out.write_str(&within[end..whole.start()]).and_then(|()| out.write_str(&one)).map_err(too_long)?;
        end = whole.end();
    }
    out.write_str(&within[end..]).map_err(too_long)?;
    Ok(out.0.into())
}
