//! The functions of templates: their names, what they take, and what they are.

use super::lex::parse_int;
use super::value::Value;
use super::{compare, escape, math, strings, times};
use std::borrow::Cow;

/// What a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Any,
    Text,
    Int,
    Float,
    Time,
}

impl Kind {
    pub fn type_name(self) -> &'static str {
        match self {
            Kind::Any => "interface {}",
            Kind::Text => "string",
            Kind::Int => "int",
            Kind::Float => "float64",
            Kind::Time => "time.Time",
        }
    }

    pub fn takes(self, value: &Value<'_>) -> bool {
        match self {
            Kind::Any => true,
            Kind::Text => matches!(value, Value::Text(_)),
            Kind::Int => matches!(value, Value::Int(_)),
            Kind::Float => matches!(value, Value::Float(_)),
            Kind::Time => matches!(value, Value::Time(_)),
        }
    }
}

/// What a function can look at besides its arguments.
pub struct Context<'e> {
    pub line: &'e [u8],
    pub ts_ns: i64,
    pub now_ns: i64,
    /// The largest text a function may make, in bytes.
    pub bytes_max: usize,
    /// Expressions that stand as literals in the template.
    pub regexes: &'e super::Regexes,
}

pub type Arguments<'s, 'e> = &'s mut [Value<'e>];
pub type Answer<'e> = Result<Value<'e>, String>;
type Call = for<'e> fn(&Context<'e>, &mut [Value<'e>]) -> Answer<'e>;

pub struct Function {
    pub name: &'static str,
    pub parameters: &'static [Kind],
    /// The kind of any number of further arguments.
    pub more: Option<Kind>,
    pub call: Call,
}

/// The functions whose arguments are not all evaluated first.
pub fn is_short_circuit(name: &str) -> bool {
    matches!(name, "and" | "or")
}

pub fn find(name: &str) -> Option<&'static Function> {
    TABLES.iter().flat_map(|t| t.iter()).find(|f| f.name == name)
}

const TABLES: [&[Function]; 5] = [BASIC, strings::FUNCTIONS, math::FUNCTIONS, times::FUNCTIONS, escape::FUNCTIONS];

pub const fn function(name: &'static str, parameters: &'static [Kind], call: Call) -> Function {
    Function { name, parameters, more: None, call }
}

pub const fn variadic(name: &'static str, parameters: &'static [Kind], more: Kind, call: Call) -> Function {
    Function { name, parameters, more: Some(more), call }
}

const BASIC: &[Function] = &[
    function("__line__", &[], |c, _| Ok(Value::Text(Cow::Borrowed(c.line)))),
    // `and` and `or` are run by the evaluator: see `is_short_circuit`.
    variadic("and", &[Kind::Any], Kind::Any, |_, a| Ok(take(a, 0))),
    variadic("or", &[Kind::Any], Kind::Any, |_, a| Ok(take(a, 0))),
    function("not", &[Kind::Any], |_, a| Ok(Value::Bool(!a[0].is_true()))),
    variadic("call", &[Kind::Any], Kind::Any, |_, a| match &a[0] {
        Value::Nil => Err("call of nil".into()),
        other => Err(format!("non-function {} of type {}", "fn", other.type_name())),
    }),
    variadic("eq", &[Kind::Any], Kind::Any, |_, a| compare::equal(a).map(Value::Bool)),
    function("ne", &[Kind::Any, Kind::Any], |_, a| compare::same(&a[0], &a[1]).map(|b| Value::Bool(!b))),
    function("lt", &[Kind::Any, Kind::Any], |_, a| compare::less(&a[0], &a[1]).map(Value::Bool)),
    function("le", &[Kind::Any, Kind::Any], |_, a| {
        Ok(Value::Bool(compare::less(&a[0], &a[1])? || compare::same(&a[0], &a[1])?))
    }),
    function("gt", &[Kind::Any, Kind::Any], |_, a| {
        Ok(Value::Bool(!(compare::less(&a[0], &a[1])? || compare::same(&a[0], &a[1])?)))
    }),
    function("ge", &[Kind::Any, Kind::Any], |_, a| compare::less(&a[0], &a[1]).map(|b| Value::Bool(!b))),
    function("len", &[Kind::Any], |_, a| match &a[0] {
        Value::Text(t) => Ok(Value::Int(t.len() as i64)),
        Value::List(l) => Ok(Value::Int(l.len() as i64)),
        Value::Map(m) => Ok(Value::Int(m.len() as i64)),
        Value::Nil => Err("len of nil pointer".into()),
        other => Err(format!("len of type {}", other.type_name())),
    }),
    variadic("index", &[Kind::Any], Kind::Any, |_, a| index(a)),
    variadic("slice", &[Kind::Any], Kind::Any, |_, a| slice(a)),
    variadic("default", &[Kind::Any], Kind::Any, |_, a| {
        let is_empty = a.get(1).is_none_or(Value::is_empty);
        Ok(take(a, if is_empty { 0 } else { 1 }))
    }),
    function("fromJson", &[Kind::Text], |_, a| Ok(super::from_json::parse(bytes(&a[0])))),
];

pub fn take<'e>(args: &mut [Value<'e>], i: usize) -> Value<'e> {
    std::mem::replace(&mut args[i], Value::Nil)
}

pub fn bytes<'v>(value: &'v Value<'_>) -> &'v [u8] {
    match value {
        Value::Text(text) => text,
        _ => &[],
    }
}

/// The text of an argument, bytes that are no UTF-8 replaced.
pub fn text<'v>(value: &'v Value<'_>) -> Cow<'v, str> {
    String::from_utf8_lossy(bytes(value))
}

pub fn int(value: &Value<'_>) -> i64 {
    value.as_int().unwrap_or_default()
}

/// A number of anything, 0 if it is none: what `int` and the integer functions make of their arguments.
pub fn to_int(value: &Value<'_>) -> i64 {
    match value {
        Value::Bool(b) => i64::from(*b),
        Value::Float(f) => *f as i64,
        Value::Text(t) => {
            let text = String::from_utf8_lossy(t);
            let whole = match text.split_once('.') {
                Some((whole, fraction)) if fraction.bytes().all(|b| b.is_ascii_digit()) => whole,
                _ => &text,
            };
            parse_int(whole).unwrap_or_default()
        }
        other => other.as_int().unwrap_or_default(),
    }
}

/// The same as a float.
pub fn to_float(value: &Value<'_>) -> f64 {
    match value {
        Value::Bool(b) => f64::from(u8::from(*b)),
        Value::Float(f) => *f,
        Value::Text(t) => crate::units::number::parse(&String::from_utf8_lossy(t)).unwrap_or_default(),
        other => other.as_int().unwrap_or_default() as f64,
    }
}

fn position(value: &Value<'_>, len: usize) -> Result<usize, String> {
    let Some(i) = value.as_int() else {
        return Err(match value {
            Value::Nil => "cannot index slice/array with nil".into(),
            other => format!("cannot index slice/array with type {}", other.type_name()),
        });
    };
    usize::try_from(i).ok().filter(|i| *i <= len).ok_or_else(|| format!("index out of range: {i}"))
}

fn index<'e>(args: Arguments<'_, 'e>) -> Answer<'e> {
    let mut item = take(args, 0);
    for key in &args[1..] {
        item = match item {
            Value::Nil => return Err("index of untyped nil".into()),
            Value::List(items) => {
                let i = position(key, items.len())?;
                items.get(i).cloned().ok_or_else(|| format!("index out of range: {i}"))?
            }
            Value::Text(text) => {
                let i = position(key, text.len())?;
                text.get(i).map(|b| Value::Int(i64::from(*b))).ok_or_else(|| format!("index out of range: {i}"))?
            }
            Value::Map(map) => match key {
                Value::Text(key) => map.get(&*String::from_utf8_lossy(key)).cloned().unwrap_or(Value::Nil),
                other => return Err(format!("value has type {}; should be string", other.type_name())),
            },
            other => return Err(format!("can't index item of type {}", other.type_name())),
        };
    }
    Ok(item)
}

fn slice<'e>(args: Arguments<'_, 'e>) -> Answer<'e> {
    let item = take(args, 0);
    if args.len() > 4 {
        return Err(format!("too many slice indexes: {}", args.len() - 1));
    }
    let len = match &item {
        Value::Text(_) if args.len() == 4 => return Err("cannot 3-index slice a string".into()),
        Value::Text(text) => text.len(),
        Value::List(items) => items.len(),
        Value::Nil => return Err("slice of untyped nil".into()),
        other => return Err(format!("can't slice item of type {}", other.type_name())),
    };
    let bound = |i: usize, default| args.get(i).map_or(Ok(default), |v| position(v, len));
    let (from, to) = (bound(1, 0)?, bound(2, len)?);
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    Ok(match item {
        Value::Text(text) => Value::owned(text[from..to].to_vec()),
        Value::List(items) => Value::List(std::rc::Rc::new(items[from..to].to_vec())),
        other => other,
    })
}
