//! `AnyValue`: an attribute's value or a record's body, and its text as the OpenTelemetry collector writes it. It must
//! not know where it was read.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::borrow::Cow;
use std::fmt::Write;

/// How deep values may nest.
pub const DEPTH_MAX: usize = 64;
/// How many values one value may hold: a bound on memory, as an empty value takes two bytes in a body.
pub const NESTED_MAX: usize = 10_000;

#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value<'a> {
    #[default]
    Empty,
    Text(Cow<'a, str>),
    Bool(bool),
    Int(i64),
    Double(f64),
    Bytes(Cow<'a, [u8]>),
    List(Vec<Value<'a>>),
    Map(Attributes<'a>),
}

pub type Attributes<'a> = Vec<(Cow<'a, str>, Value<'a>)>;

impl<'a> Value<'a> {
    /// The value as text: text as it is, lists and maps as JSON.
    pub fn into_text(self) -> Cow<'a, str> {
        match self {
            Value::Empty => Cow::Borrowed(""),
            Value::Text(text) => text,
            Value::Bool(true) => Cow::Borrowed("true"),
            Value::Bool(false) => Cow::Borrowed("false"),
            Value::Int(n) => Cow::Owned(n.to_string()),
            Value::Double(n) => Cow::Owned(double(n)),
            Value::Bytes(bytes) => Cow::Owned(STANDARD.encode(bytes)),
            Value::List(_) | Value::Map(_) => {
                let mut json = String::new();
                self.write_json(&mut json);
                Cow::Owned(json)
            }
        }
    }

    fn write_json(&self, out: &mut String) {
        match self {
            Value::Empty => out.push_str("null"),
            Value::Text(text) => write_json_text(text, out),
            Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
            Value::Int(n) => write!(out, "{n}").expect("a String takes any text"),
            Value::Double(n) if n.is_finite() => out.push_str(&double(*n)),
            Value::Double(_) => out.push_str("null"),
            Value::Bytes(bytes) => write_json_text(&STANDARD.encode(bytes), out),
            Value::List(values) => {
                out.push('[');
                for (i, value) in values.iter().enumerate() {
                    out.push_str(if i > 0 { "," } else { "" });
                    value.write_json(out);
                }
                out.push(']');
            }
            Value::Map(pairs) => write_json_map(pairs, out),
        }
    }
}

/// Keys are sorted, and of a repeated key the last counts.
fn write_json_map(pairs: &Attributes<'_>, out: &mut String) {
    let mut order: Vec<&(Cow<'_, str>, Value<'_>)> = pairs.iter().collect();
    order.sort_by(|a, b| a.0.cmp(&b.0));
    out.push('{');
    let mut first = true;
    for (i, (key, value)) in order.iter().enumerate() {
        if order.get(i + 1).is_some_and(|next| next.0 == *key) {
            continue;
        }
        out.push_str(if first { "" } else { "," });
        first = false;
        write_json_text(key, out);
        out.push(':');
        value.write_json(out);
    }
    out.push('}');
}

/// As Go's `encoding/json` writes strings, which escapes what HTML would take for markup.
fn write_json_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..=' ' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' if c != ' ' => {
                write!(out, "\\u{:04x}", c as u32).expect("a String takes any text");
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// As Go writes a number in JSON: the shortest digits, with an exponent below 1e-6 and from 1e21 on.
fn double(n: f64) -> String {
    let size = n.abs();
    if n.is_nan() || n.is_infinite() {
        return if n.is_nan() {
            "NaN"
        } else if n > 0.0 {
            "+Inf"
        } else {
            "-Inf"
        }
        .into();
    }
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{n:e}");
        return if text.contains("e-") { text } else { text.replace('e', "e+") };
    }
    n.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_as_the_collector_writes_them() {
        let text = |s: &'static str| Value::Text(s.into());
        let map = Value::Map(vec![
            ("n".into(), Value::Int(1)),
            ("k".into(), text("v")),
            ("o".into(), Value::Map(vec![("p".into(), text("q"))])),
            ("n".into(), Value::Int(2)),
        ]);
        for (value, expected) in [
            (Value::Int(-7), "-7"),
            (Value::Double(0.5), "0.5"),
            (Value::Double(1e21), "1e+21"),
            (Value::Double(1.5e-7), "1.5e-7"),
            (Value::Bytes(Cow::Borrowed(b"\x00\x01hi")), "AAFoaQ=="),
            (Value::List(vec![text("a"), Value::Int(1), Value::Bool(true), Value::Double(2.5)]), r#"["a",1,true,2.5]"#),
            (Value::List(vec![]), "[]"),
            (map, r#"{"k":"v","n":2,"o":{"p":"q"}}"#),
            (Value::List(vec![text("<\"\n\u{1} é")]), "[\"\\u003c\\\"\\n\\u0001 é\"]"),
            (Value::Empty, ""),
        ] {
            assert_eq!(value.into_text(), expected);
        }
    }
}
