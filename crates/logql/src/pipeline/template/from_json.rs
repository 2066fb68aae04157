//! `fromJson`: strict JSON into values; whatever is malformed is no value at all.

use super::super::json_scan::{next_token, string_end, unescape};
use super::value::Value;
use std::collections::BTreeMap;
use std::rc::Rc;

/// How deep a document may nest: reading it recurses.
const DEPTH_MAX: usize = 128;

pub fn parse<'a>(text: &[u8]) -> Value<'a> {
    let Some((value, end)) = next_token(text, 0).and_then(|at| parse_value(text, at, 0)) else { return Value::Nil };
    if next_token(text, end).is_none() { value } else { Value::Nil }
}

fn parse_value<'a>(text: &[u8], at: usize, depth: usize) -> Option<(Value<'a>, usize)> {
    if depth > DEPTH_MAX {
        return None;
    }
    match text[at] {
        b'{' => object(text, at, depth),
        b'[' => array(text, at, depth),
        b'"' => string(text, at).map(|(s, end)| (Value::text(s), end)),
        b't' => word(text, at, "true", Value::Bool(true)),
        b'f' => word(text, at, "false", Value::Bool(false)),
        b'n' => word(text, at, "null", Value::Nil),
        _ => number(text, at),
    }
}

fn word<'a>(text: &[u8], at: usize, word: &str, value: Value<'a>) -> Option<(Value<'a>, usize)> {
    text[at..].starts_with(word.as_bytes()).then_some((value, at + word.len()))
}

fn number<'a>(text: &[u8], at: usize) -> Option<(Value<'a>, usize)> {
    let is_part = |b: &u8| b.is_ascii_digit() || matches!(b, b'-' | b'+' | b'.' | b'e' | b'E');
    let len = text[at..].iter().take_while(|b| is_part(b)).count();
    let number = std::str::from_utf8(&text[at..at + len]).ok()?;
    let value = number.parse::<f64>().ok().filter(|f| is_json_number(number) && f.is_finite())?;
    Some((Value::Float(value), at + len))
}

/// No sign but a minus, no leading zero, digits on both sides of the point.
fn is_json_number(number: &str) -> bool {
    let digits = number.strip_prefix('-').unwrap_or(number);
    let whole = digits.bytes().take_while(u8::is_ascii_digit).count();
    let fraction = digits[whole..].strip_prefix('.');
    let is_fraction_fine = fraction.is_none_or(|f| f.starts_with(|c: char| c.is_ascii_digit()));
    whole > 0 && (whole == 1 || !digits.starts_with('0')) && is_fraction_fine
}

fn string(text: &[u8], at: usize) -> Option<(String, usize)> {
    let (end, escaped) = string_end(text, at + 1)?;
    let inner = &text[at + 1..end - 1];
    if inner.iter().any(|b| *b < b' ') {
        return None;
    }
    let mut out = String::new();
    if !escaped {
        out.push_str(&String::from_utf8_lossy(inner));
    } else if !unescape(inner, &mut out) {
        return None;
    }
    Some((out, end))
}

fn array<'a>(text: &[u8], at: usize, depth: usize) -> Option<(Value<'a>, usize)> {
    let mut items = Vec::new();
    let mut at = next_token(text, at + 1)?;
    if text[at] == b']' {
        return Some((Value::List(Rc::new(items)), at + 1));
    }
    loop {
        let (item, end) = parse_value(text, at, depth + 1)?;
        items.push(item);
        at = next_token(text, end)?;
        match text[at] {
            b']' => return Some((Value::List(Rc::new(items)), at + 1)),
            b',' => at = next_token(text, at + 1)?,
            _ => return None,
        }
    }
}

fn object<'a>(text: &[u8], at: usize, depth: usize) -> Option<(Value<'a>, usize)> {
    let mut map = BTreeMap::new();
    let mut at = next_token(text, at + 1)?;
    if text[at] == b'}' {
        return Some((Value::Map(Rc::new(map)), at + 1));
    }
    loop {
        if text[at] != b'"' {
            return None;
        }
        let (key, end) = string(text, at)?;
        let colon = next_token(text, end).filter(|i| text[*i] == b':')?;
        let (value, end) = parse_value(text, next_token(text, colon + 1)?, depth + 1)?;
        map.insert(key, value);
        at = next_token(text, end)?;
        match text[at] {
            b'}' => return Some((Value::Map(Rc::new(map)), at + 1)),
            b',' => at = next_token(text, at + 1)?,
            _ => return None,
        }
    }
}
