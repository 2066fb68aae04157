//! Values of templates: what they are, their truth, and how Go prints them.

use super::go_time::{MONTHS, Time, WEEKDAYS, duration_text};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;

#[derive(Clone, Debug)]
pub enum Value<'a> {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// Go's strings are bytes.
    Text(Cow<'a, [u8]>),
    Time(Time),
    /// Nanoseconds.
    Duration(i64),
    /// 1 to 12.
    Month(u8),
    /// 0 is Sunday.
    Weekday(u8),
    List(Rc<Vec<Value<'a>>>),
    Map(Rc<BTreeMap<String, Value<'a>>>),
    /// The line's labels.
    Labels,
}

impl<'a> Value<'a> {
    pub fn text(s: impl Into<String>) -> Self {
        Value::Text(Cow::Owned(s.into().into_bytes()))
    }

    pub fn owned(bytes: Vec<u8>) -> Self {
        Value::Text(Cow::Owned(bytes))
    }

    /// Go's name of the type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Nil => "<nil>",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float64",
            Value::Text(_) => "string",
            Value::Time(_) => "time.Time",
            Value::Duration(_) => "time.Duration",
            Value::Month(_) => "time.Month",
            Value::Weekday(_) => "time.Weekday",
            Value::List(_) => "[]interface {}",
            Value::Map(_) => "map[string]interface {}",
            Value::Labels => "map[string]string",
        }
    }

    pub fn is_true(&self) -> bool {
        match self {
            Value::Nil => false,
            Value::Bool(b) => *b,
            Value::Int(_) | Value::Duration(_) | Value::Month(_) | Value::Weekday(_) => self.as_int() != Some(0),
            Value::Float(f) => *f != 0.0,
            Value::Text(t) => !t.is_empty(),
            Value::List(l) => !l.is_empty(),
            Value::Map(m) => !m.is_empty(),
            Value::Time(_) | Value::Labels => true,
        }
    }

    /// What `default` replaces.
    pub fn is_empty(&self) -> bool {
        !matches!(self, Value::Time(_)) && !self.is_true()
    }

    /// The number of a kind that is an integer in Go.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Value::Int(i) | Value::Duration(i) => Some(*i),
            Value::Month(m) | Value::Weekday(m) => Some(i64::from(*m)),
            _ => None,
        }
    }

    /// Appends the value as `fmt.Print` does.
    pub fn print(&self, out: &mut Vec<u8>) {
        match self {
            Value::Nil => out.extend_from_slice(b"<nil>"),
            Value::Text(t) => out.extend_from_slice(t),
            Value::List(items) => {
                out.push(b'[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(b' ');
                    }
                    item.print(out);
                }
                out.push(b']');
            }
            Value::Map(map) => {
                out.extend_from_slice(b"map[");
                for (i, (key, value)) in map.iter().enumerate() {
                    if i > 0 {
                        out.push(b' ');
                    }
                    out.extend_from_slice(key.as_bytes());
                    out.push(b':');
                    value.print(out);
                }
                out.push(b']');
            }
            other => out.extend_from_slice(other.scalar_text().as_bytes()),
        }
    }

    fn scalar_text(&self) -> String {
        match self {
            Value::Bool(b) => b.to_string(),
            Value::Int(i) => i.to_string(),
            Value::Float(f) => float_text(*f),
            Value::Time(t) => t.to_string(),
            Value::Duration(ns) => duration_text(*ns),
            Value::Month(m) => MONTHS.get(usize::from(*m).wrapping_sub(1)).map_or(m.to_string(), |m| (*m).to_string()),
            Value::Weekday(d) => WEEKDAYS.get(usize::from(*d)).map_or(d.to_string(), |d| (*d).to_string()),
            Value::Nil | Value::Text(_) | Value::List(_) | Value::Map(_) | Value::Labels => String::new(),
        }
    }
}

/// A float as `%v` prints it.
pub fn float_text(f: f64) -> String {
    general(f, None, 'e')
}

/// Go's `%g`: `precision` significant digits, or as many as the number needs.
pub fn general(f: f64, precision: Option<usize>, exponent: char) -> String {
    if let Some(special) = special(f) {
        return special.into();
    }
    let scientific = match precision {
        Some(p) => format!("{f:.*e}", p.max(1) - 1),
        None => format!("{f:e}"),
    };
    let (mantissa, power) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let power: i32 = power.parse().unwrap_or_default();
    let digits = trim_zeros(mantissa).bytes().filter(u8::is_ascii_digit).count() as i32;
    // Go decides for the shortest digits as if there were six.
    let significant = match precision.map(|p| p.max(1) as i32) {
        Some(p) if p > digits && digits > power => digits,
        Some(p) => p,
        None => 6,
    };
    if power < -4 || power >= significant {
        let mantissa = if precision.is_some() { trim_zeros(mantissa) } else { mantissa };
        return format!("{mantissa}{exponent}{}{:02}", if power < 0 { '-' } else { '+' }, power.abs());
    }
    match precision {
        Some(p) => {
            let decimals = (p.max(1) as i32 - 1 - power).max(0) as usize;
            trim_zeros(&format!("{f:.decimals$}")).to_string()
        }
        None => format!("{f}"),
    }
}

fn trim_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

pub fn special(f: f64) -> Option<&'static str> {
    match f {
        f if f.is_nan() => Some("NaN"),
        f if f == f64::INFINITY => Some("+Inf"),
        f if f == f64::NEG_INFINITY => Some("-Inf"),
        _ => None,
    }
}
