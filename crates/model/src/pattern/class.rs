//! Character classes of Go regular expressions, rewritten for the `regex` crate: Perl classes are ASCII, `[` inside
//! a class is a literal, and there are no set operations.

use super::escape::{push_literal, unescape};
use super::syntax;
use crate::Result;

/// A class that no character is in: what remains of a class of surrogates only.
const EMPTY_CLASS: &str = r"[^\x{0}-\x{10FFFF}]";

/// POSIX class names, the same in both syntaxes.
const POSIX_NAMES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];

/// What a bracketed class is, rewritten.
pub struct Class {
    pub rust: String,
    /// A negated class that names ASCII characters only: every byte from 0x80 on belongs to it.
    pub has_all_non_ascii: bool,
}

/// `\d \D \s \S \w \W` at the front of `src`, as a class of the `regex` crate, and the rest.
pub fn perl_class(src: &str) -> Option<(&'static str, &str)> {
    let class = match src.as_bytes().get(..2)? {
        b"\\d" => "[0-9]",
        b"\\D" => "[^0-9]",
        b"\\s" => r"[\t\n\f\r ]",
        b"\\S" => r"[^\t\n\f\r ]",
        b"\\w" => "[0-9A-Za-z_]",
        b"\\W" => "[^0-9A-Za-z_]",
        _ => return None,
    };
    Some((class, &src[2..]))
}

/// `\pN`, `\p{Greek}`, `\P{^Greek}` at the front of `src`, as `regex` writes it, and the rest.
pub fn unicode_class(src: &str) -> Result<Option<(String, &str)>> {
    if !(src.starts_with("\\p") || src.starts_with("\\P")) {
        return Ok(None);
    }
    let mut negated = src.starts_with("\\P");
    let invalid = |part: &str| Err(syntax("invalid character class range", part));
    let Some(first) = src[2..].chars().next() else { return invalid(src) };
    let (mut name, rest) = if first == '{' {
        let Some(end) = src.find('}') else { return invalid(src) };
        (&src[3..end], &src[end + 1..])
    } else {
        src[2..].split_at(first.len_utf8())
    };
    let part = &src[..src.len() - rest.len()];
    if let Some(positive) = name.strip_prefix('^') {
        negated = !negated;
        name = positive;
    }
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ' ' | '-')) {
        return invalid(part);
    }
    let rust = format!("\\{}{{{name}}}", if negated { 'P' } else { 'p' });
    match regex_syntax::parse(&rust) {
        Ok(_) => Ok(Some((rust, rest))),
        Err(_) => invalid(part),
    }
}

/// The bracketed class at the front of `src`, and the rest.
pub fn bracketed(src: &str) -> Result<(Class, &str)> {
    let mut rest = &src[1..];
    let mut rust = String::from("[");
    let negated = rest.starts_with('^');
    if negated {
        rust.push('^');
        rest = &rest[1..];
    }
    let items_start = rust.len();
    let mut ascii_only = true;
    let mut first = true;
    while first || !rest.starts_with(']') {
        first = false;
        rest = item(&mut rust, &mut ascii_only, rest, src)?;
    }
    let is_empty = rust.len() == items_start;
    rust.push(']');
    if is_empty {
        rust = if negated { r"[\x{0}-\x{10FFFF}]".into() } else { EMPTY_CLASS.into() };
    }
    Ok((Class { rust, has_all_non_ascii: negated && ascii_only && !is_empty }, &rest[1..]))
}

/// Appends the item at the front of `rest` to `rust`; answers what follows it.
fn item<'a>(rust: &mut String, ascii_only: &mut bool, rest: &'a str, whole: &str) -> Result<&'a str> {
    if let Some((posix, after)) = posix_class(rest)? {
        *ascii_only &= !posix.starts_with("[:^");
        rust.push_str(posix);
        return Ok(after);
    }
    if let Some((unicode, after)) = unicode_class(rest)? {
        *ascii_only = false;
        rust.push_str(&unicode);
        return Ok(after);
    }
    if let Some((perl, after)) = perl_class(rest) {
        *ascii_only &= !perl.starts_with("[^");
        rust.push_str(perl);
        return Ok(after);
    }
    let (low, mut after) = class_char(rest, whole)?;
    let mut high = low;
    if after.len() >= 2 && after.starts_with('-') && !after.starts_with("-]") {
        (high, after) = class_char(&after[1..], whole)?;
        if high < low {
            return Err(syntax("invalid character class range", &rest[..rest.len() - after.len()]));
        }
    }
    *ascii_only &= high < 0x80;
    push_range(rust, low, high);
    Ok(after)
}

/// `[:alpha:]` or `[:^alpha:]`; a `[:` without `:]` is two literals.
fn posix_class(rest: &str) -> Result<Option<(&str, &str)>> {
    let Some(inner) = rest.strip_prefix("[:") else { return Ok(None) };
    let Some(end) = inner.find(":]") else { return Ok(None) };
    let (class, after) = rest.split_at(end + 4);
    let name = inner[..end].strip_prefix('^').unwrap_or(&inner[..end]);
    if !POSIX_NAMES.contains(&name) {
        return Err(syntax("invalid character class range", class));
    }
    Ok(Some((class, after)))
}

fn class_char<'a>(rest: &'a str, whole: &str) -> Result<(u32, &'a str)> {
    match rest.chars().next() {
        None => Err(syntax("missing closing ]", whole)),
        Some('\\') => unescape(rest),
        Some(c) => Ok((c as u32, &rest[c.len_utf8()..])),
    }
}

/// Appends `low-high` without the surrogates, which are no characters.
fn push_range(rust: &mut String, low: u32, high: u32) {
    let low = char::from_u32(low).unwrap_or('\u{e000}');
    let high = char::from_u32(high).unwrap_or('\u{d7ff}');
    if low > high {
        return;
    }
    push_literal(rust, low);
    if low < high {
        rust.push('-');
        push_literal(rust, high);
    }
}
