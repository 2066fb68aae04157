//! Text in templates. Positions and lengths are bytes, as in Go, except for the two `align` functions.

use super::functions::{Answer, Context, Function, Kind, bytes, function, int, take, text, variadic};
use super::printf::sprintf;
use super::value::Value;
use memchr::memmem;

const TEXT: Kind = Kind::Text;

pub const FUNCTIONS: &[Function] = &[
    function("ToLower", &[TEXT], |_, a| Ok(Value::text(lower(&text(&a[0]))))),
    function("lower", &[TEXT], |_, a| Ok(Value::text(lower(&text(&a[0]))))),
    function("ToUpper", &[TEXT], |_, a| Ok(Value::text(upper(&text(&a[0]))))),
    function("upper", &[TEXT], |_, a| Ok(Value::text(upper(&text(&a[0]))))),
    function("title", &[TEXT], |_, a| Ok(Value::text(title(&text(&a[0]))))),
    function("Replace", &[TEXT, TEXT, TEXT, Kind::Int], |c, a| {
        replace(c, bytes(&a[0]), bytes(&a[1]), bytes(&a[2]), int(&a[3]))
    }),
    function("replace", &[TEXT, TEXT, TEXT], |c, a| replace(c, bytes(&a[2]), bytes(&a[0]), bytes(&a[1]), -1)),
    function("Trim", &[TEXT, TEXT], |_, a| Ok(trimmed(&a[0], &a[1], true, true))),
    function("TrimLeft", &[TEXT, TEXT], |_, a| Ok(trimmed(&a[0], &a[1], true, false))),
    function("TrimRight", &[TEXT, TEXT], |_, a| Ok(trimmed(&a[0], &a[1], false, true))),
    function("trimAll", &[TEXT, TEXT], |_, a| Ok(trimmed(&a[1], &a[0], true, true))),
    function("TrimSpace", &[TEXT], |_, a| Ok(Value::text(text(&a[0]).trim()))),
    function("trim", &[TEXT], |_, a| Ok(Value::text(text(&a[0]).trim()))),
    function("TrimPrefix", &[TEXT, TEXT], |_, a| Ok(without_prefix(&a[0], &a[1]))),
    function("trimPrefix", &[TEXT, TEXT], |_, a| Ok(without_prefix(&a[1], &a[0]))),
    function("TrimSuffix", &[TEXT, TEXT], |_, a| Ok(without_suffix(&a[0], &a[1]))),
    function("trimSuffix", &[TEXT, TEXT], |_, a| Ok(without_suffix(&a[1], &a[0]))),
    function("trunc", &[Kind::Int, TEXT], |_, a| Ok(truncated(int(&a[0]), bytes(&a[1])))),
    function("substr", &[Kind::Int, Kind::Int, TEXT], |_, a| substring(int(&a[0]), int(&a[1]), bytes(&a[2]))),
    function("contains", &[TEXT, TEXT], |_, a| Ok(Value::Bool(memmem::find(bytes(&a[1]), bytes(&a[0])).is_some()))),
    function("hasPrefix", &[TEXT, TEXT], |_, a| Ok(Value::Bool(bytes(&a[1]).starts_with(bytes(&a[0]))))),
    function("hasSuffix", &[TEXT, TEXT], |_, a| Ok(Value::Bool(bytes(&a[1]).ends_with(bytes(&a[0]))))),
    function("indent", &[Kind::Int, TEXT], |c, a| indent(c, "", int(&a[0]), bytes(&a[1]))),
    function("nindent", &[Kind::Int, TEXT], |c, a| indent(c, "\n", int(&a[0]), bytes(&a[1]))),
    function("repeat", &[Kind::Int, TEXT], |c, a| repeat(c, int(&a[0]), bytes(&a[1])).map(Value::owned)),
    function("alignLeft", &[Kind::Int, TEXT], |c, a| align(c, int(&a[0]), &mut a[1], true)),
    function("alignRight", &[Kind::Int, TEXT], |c, a| align(c, int(&a[0]), &mut a[1], false)),
    function("regexReplaceAll", &[TEXT, TEXT, TEXT], |c, a| {
        let regex = c.regexes.get(&text(&a[0]))?;
        Ok(Value::owned(regex.replace_all(bytes(&a[1]), bytes(&a[2])).into_owned()))
    }),
    function("regexReplaceAllLiteral", &[TEXT, TEXT, TEXT], |c, a| {
        let regex = c.regexes.get(&text(&a[0]))?;
        Ok(Value::owned(regex.replace_all(bytes(&a[1]), regex::bytes::NoExpand(bytes(&a[2]))).into_owned()))
    }),
    function("count", &[TEXT, TEXT], |c, a| {
        let regex = c.regexes.get(&text(&a[0]))?;
        Ok(Value::Int(regex.find_iter(bytes(&a[1])).count() as i64))
    }),
    variadic("print", &[], Kind::Any, |c, a| print(c, a).map(Value::owned)),
    variadic("println", &[], Kind::Any, |c, a| {
        let mut out = Vec::new();
        for (i, value) in a.iter().enumerate() {
            if i > 0 {
                out.push(b' ');
            }
            value.print(&mut out);
            bounded(c, out.len())?;
        }
        out.push(b'\n');
        Ok(Value::owned(out))
    }),
    variadic("printf", &[TEXT], Kind::Any, |c, a| {
        let mut out = Vec::new();
        sprintf(bytes(&a[0]), &a[1..], &mut out, c.bytes_max);
        bounded(c, out.len()).map(|()| Value::owned(out))
    }),
];

/// Fails when a text of `len` bytes would be too long.
pub fn bounded(context: &Context<'_>, len: usize) -> Result<(), String> {
    match len > context.bytes_max {
        true => Err(format!("text longer than {} bytes", context.bytes_max)),
        false => Ok(()),
    }
}

/// As `fmt.Sprint`: a space between two operands when neither is text.
pub fn print(context: &Context<'_>, args: &[Value<'_>]) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    for (i, value) in args.iter().enumerate() {
        if i > 0 && ![&args[i - 1], value].iter().any(|v| matches!(v, Value::Text(_))) {
            out.push(b' ');
        }
        value.print(&mut out);
        bounded(context, out.len())?;
    }
    Ok(out)
}

/// One character at a time, as Go does: a letter whose other case is several letters stays.
fn upper(s: &str) -> String {
    s.chars().map(upper_char).collect()
}

fn upper_char(c: char) -> char {
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(u), None) => u,
        _ => c,
    }
}

fn lower(s: &str) -> String {
    let one = |c: char| {
        let mut lower = c.to_lowercase();
        match (lower.next(), lower.next()) {
            (Some(l), None) => l,
            (Some(l), Some(_)) => l,
            _ => c,
        }
    };
    s.chars().map(one).collect()
}

/// Upper case for each letter that starts a word.
fn title(s: &str) -> String {
    let mut last = ' ';
    let one = |c: char| {
        let starts = !(last.is_alphanumeric() || last == '_' || last == '\'' || is_letter_of_word(last));
        last = c;
        if starts { upper_char(c) } else { c }
    };
    s.chars().map(one).collect()
}

/// Beyond ASCII everything but spaces counts as part of a word.
fn is_letter_of_word(c: char) -> bool {
    !c.is_ascii() && !c.is_whitespace()
}

fn replace<'e>(context: &Context<'e>, src: &[u8], old: &[u8], new: &[u8], times: i64) -> Answer<'e> {
    let limit = usize::try_from(times).unwrap_or(usize::MAX);
    let mut out = Vec::with_capacity(src.len());
    let mut at = 0;
    if old.is_empty() {
        let shown = String::from_utf8_lossy(src);
        for (i, c) in shown.chars().map(Some).chain([None]).enumerate() {
            if i < limit {
                out.extend_from_slice(new);
            }
            out.extend(c.map(|c| c.to_string()).unwrap_or_default().bytes());
            bounded(context, out.len())?;
        }
        return Ok(Value::owned(out));
    }
    for found in memmem::find_iter(src, old).take(limit) {
        out.extend_from_slice(&src[at..found]);
        out.extend_from_slice(new);
        at = found + old.len();
        bounded(context, out.len())?;
    }
    out.extend_from_slice(&src[at..]);
    Ok(Value::owned(out))
}

fn trimmed<'e>(value: &Value<'e>, cutset: &Value<'e>, left: bool, right: bool) -> Value<'e> {
    let (value, cutset) = (text(value), text(cutset));
    let mut out = &*value;
    if left {
        out = out.trim_start_matches(|c| cutset.contains(c));
    }
    if right {
        out = out.trim_end_matches(|c| cutset.contains(c));
    }
    Value::text(out)
}

fn without_prefix<'e>(value: &Value<'e>, prefix: &Value<'e>) -> Value<'e> {
    let value = bytes(value);
    Value::owned(value.strip_prefix(bytes(prefix)).unwrap_or(value).to_vec())
}

fn without_suffix<'e>(value: &Value<'e>, suffix: &Value<'e>) -> Value<'e> {
    let value = bytes(value);
    Value::owned(value.strip_suffix(bytes(suffix)).unwrap_or(value).to_vec())
}

/// The first bytes, or the last ones for a negative count.
fn truncated<'e>(count: i64, s: &[u8]) -> Value<'e> {
    let len = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    Value::owned(match (count < 0, len < s.len()) {
        (true, true) => s[s.len() - len..].to_vec(),
        (false, true) => s[..len].to_vec(),
        _ => s.to_vec(),
    })
}

fn substring<'e>(start: i64, end: i64, s: &[u8]) -> Answer<'e> {
    let len = s.len() as i64;
    let fail = |what: String| Err(format!("runtime error: slice bounds out of range {what}"));
    if start < 0 {
        return match end {
            _ if end < 0 => fail(format!("[:{end}]")),
            _ if end > len => fail(format!("[:{end}] with length {len}")),
            _ => Ok(Value::owned(s[..end as usize].to_vec())),
        };
    }
    if end < 0 || end > len {
        return match start > len {
            true => fail(format!("[{start}:{len}]")),
            false => Ok(Value::owned(s[start as usize..].to_vec())),
        };
    }
    match start > end {
        true => fail(format!("[{start}:{end}]")),
        false => Ok(Value::owned(s[start as usize..end as usize].to_vec())),
    }
}

fn indent<'e>(context: &Context<'e>, front: &str, spaces: i64, s: &[u8]) -> Answer<'e> {
    let pad = repeat(context, spaces, b" ")?;
    let new_line = [b"\n", &pad[..]].concat();
    let Value::Text(body) = replace(context, s, b"\n", &new_line, -1)? else { return Ok(Value::Nil) };
    Ok(Value::owned([front.as_bytes(), &pad, &body].concat()))
}

fn repeat(context: &Context<'_>, count: i64, s: &[u8]) -> Result<Vec<u8>, String> {
    let count = usize::try_from(count).map_err(|_| "strings: negative Repeat count")?;
    bounded(context, s.len().saturating_mul(count))?;
    Ok(s.repeat(count))
}

/// Pads with spaces behind (`left`) or in front, or cuts off the other end.
fn align<'e>(context: &Context<'e>, count: i64, value: &mut Value<'e>, left: bool) -> Answer<'e> {
    let shown = text(value);
    let chars = shown.chars().count();
    let Ok(count) = usize::try_from(count) else { return Ok(take(std::slice::from_mut(value), 0)) };
    if count >= chars {
        let pad = repeat(context, (count - chars) as i64, b" ")?;
        let (front, back) = if left { (shown.as_bytes(), &pad[..]) } else { (&pad[..], shown.as_bytes()) };
        return Ok(Value::owned([front, back].concat()));
    }
    Ok(Value::text(match left {
        true => shown.chars().take(count).collect::<String>(),
        false => shown.chars().skip(chars - count).collect(),
    }))
}
