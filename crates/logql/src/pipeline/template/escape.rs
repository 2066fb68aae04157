//! Encodings of text in templates: HTML, JavaScript, URLs, Base64, and Loki's units.

use super::functions::{Answer, Context, Function, Kind, bytes, function, text, variadic};
use super::strings::print;
use super::value::Value;
use crate::units;
use std::fmt::Write;

const TEXT: Kind = Kind::Text;

pub const FUNCTIONS: &[Function] = &[
    variadic("html", &[], Kind::Any, |c, a| Ok(Value::text(html(&joined(c, a)?)))),
    variadic("js", &[], Kind::Any, |c, a| Ok(Value::text(js(&joined(c, a)?)))),
    variadic("urlquery", &[], Kind::Any, |c, a| Ok(Value::text(url_encode(joined(c, a)?.as_bytes())))),
    function("urlencode", &[TEXT], |_, a| Ok(Value::text(url_encode(bytes(&a[0]))))),
    function("urldecode", &[TEXT], |_, a| url_decode(bytes(&a[0])).map(Value::owned)),
    function("b64enc", &[TEXT], |_, a| Ok(Value::text(base64_encode(bytes(&a[0]))))),
    function("b64dec", &[TEXT], |_, a| {
        Ok(match base64_decode(bytes(&a[0])) {
            Ok(decoded) => Value::owned(decoded),
            Err(at) => Value::text(format!("illegal base64 data at input byte {at}")),
        })
    }),
    function("bytes", &[TEXT], |_, a| units::bytes::parse(&text(&a[0])).map(|b| Value::Float(b as f64))),
    function("duration", &[TEXT], |_, a| seconds(&a[0])),
    function("duration_seconds", &[TEXT], |_, a| seconds(&a[0])),
];

fn seconds<'e>(value: &Value<'e>) -> Answer<'e> {
    let ns = model::duration::parse_go(&text(value))?;
    Ok(Value::Float((ns / 1_000_000_000) as f64 + (ns % 1_000_000_000) as f64 / 1e9))
}

/// The arguments as `fmt.Sprint` prints them.
fn joined(context: &Context<'_>, args: &[Value<'_>]) -> Result<String, String> {
    Ok(String::from_utf8_lossy(&print(context, args)?).into_owned())
}

fn html(s: &str) -> String {
    let mut out = String::with_capacity(s.len());
    for c in s.chars() {
        match c {
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\0' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

fn js(s: &str) -> String {
    let mut out = String::with_capacity(s.len());
    for c in s.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '"' => out.push_str("\\\""),
            '<' | '>' | '&' | '=' | '\0'..='\x1f' => {
                write!(out, "\\u{:04X}", c as u32).expect("a String takes any text");
            }
            c => out.push(c),
        }
    }
    out
}

fn url_encode(s: &[u8]) -> String {
    let mut out = String::with_capacity(s.len());
    for b in s {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(*b as char),
            b' ' => out.push('+'),
            b => write!(out, "%{b:02X}").expect("a String takes any text"),
        }
    }
    out
}

fn url_decode(s: &[u8]) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(s.len());
    let mut i = 0;
    while i < s.len() {
        match s[i] {
            b'+' => out.push(b' '),
            b'%' => {
                let digit = |i: usize| s.get(i).and_then(|b| (*b as char).to_digit(16));
                let (Some(high), Some(low)) = (digit(i + 1), digit(i + 2)) else {
                    let escape = String::from_utf8_lossy(&s[i..s.len().min(i + 3)]).into_owned();
                    return Err(format!("invalid URL escape {}", model::quote::quote(&escape)));
                };
                out.push((high * 16 + low) as u8);
                i += 2;
            }
            b => out.push(b),
        }
        i += 1;
    }
    Ok(out)
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64_encode(s: &[u8]) -> String {
    let mut out = String::with_capacity(s.len().div_ceil(3) * 4);
    for chunk in s.chunks(3) {
        let bits = chunk.iter().fold(0u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let digit = BASE64[(bits >> (18 - 6 * i) & 63) as usize] as char;
            out.push(if i <= chunk.len() { digit } else { '=' });
        }
    }
    out
}

/// The error is the position that Go names.
fn base64_decode(s: &[u8]) -> Result<Vec<u8>, usize> {
    let mut out = Vec::with_capacity(s.len() / 4 * 3);
    let mut group: Vec<u32> = Vec::with_capacity(4);
    let mut i = 0;
    let is_break = |b: &u8| matches!(b, b'\r' | b'\n');
    while i < s.len() {
        let b = s[i];
        i += 1;
        if is_break(&b) {
            continue;
        }
        if let Some(value) = BASE64.iter().position(|d| *d == b) {
            group.push(value as u32);
            if group.len() == 4 {
                let bits = group.drain(..).fold(0, |n, v| n << 6 | v);
                out.extend_from_slice(&bits.to_be_bytes()[1..]);
            }
            continue;
        }
        if b != b'=' || group.len() < 2 {
            return Err(i - 1);
        }
        if group.len() == 2 {
            i += s[i..].iter().take_while(|b| is_break(b)).count();
            match s.get(i) {
                Some(b'=') => i += 1,
                Some(_) => return Err(i - 1),
                None => return Err(s.len()),
            }
        }
        i += s[i..].iter().take_while(|b| is_break(b)).count();
        if i < s.len() {
            return Err(i);
        }
        let kept = group.len() - 1;
        let bits = group.drain(..).fold(0, |n, v| n << 6 | v) << (6 * (3 - kept));
        out.extend_from_slice(&bits.to_be_bytes()[1..=kept]);
    }
    if group.is_empty() { Ok(out) } else { Err(s.len() - group.len()) }
}
