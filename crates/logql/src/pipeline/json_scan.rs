//! Walking JSON text without building values, as leniently as Loki's scanner does: values are slices of the line, what
//! is not looked at is not checked, and text after the document is ignored. It must not know labels.

use super::words;

/// How deep objects may nest before a line counts as malformed: walking them recurses.
pub const OBJECT_DEPTH_MAX: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    String,
    Number,
    Boolean,
    Null,
    Object,
    Array,
}

#[derive(Clone, Copy, Debug)]
pub struct Value<'a> {
    pub kind: Kind,
    /// Without the quotes of a string.
    pub text: &'a [u8],
    /// Whether a string has escapes.
    pub escaped: bool,
}

/// Why text is malformed; the texts are those that Loki shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    Object,
    Array,
    Json,
    String,
    Value,
    Escape,
}

impl Malformed {
    pub fn text(self) -> &'static str {
        match self {
            Malformed::Object => "Value looks like object, but can't find closing '}' symbol",
            Malformed::Array => "Value is array, but can't find closing ']' symbol",
            Malformed::Json => "Malformed JSON error",
            Malformed::String => "Value is string, but can't find closing '\"' symbol",
            Malformed::Value => "Unknown value type",
            Malformed::Escape => "Encountered an invalid escape sequence in a string",
        }
    }
}

/// The position of the next byte that is no space, from `at` on.
#[inline]
pub fn next_token(data: &[u8], at: usize) -> Option<usize> {
    let rest = data.get(at..)?;
    rest.iter().position(|b| !matches!(b, b' ' | b'\n' | b'\r' | b'\t')).map(|i| at + i)
}

/// The position after the closing quote of the string whose text starts at `at`, and whether it has escapes.
#[inline]
pub fn string_end(data: &[u8], at: usize) -> Option<(usize, bool)> {
    let mut i = at;
    let mut escaped = false;
    loop {
        i = words::quote_or_backslash(data, i)?;
        if data[i] == b'"' {
            return Some((i + 1, escaped));
        }
        escaped = true;
        i += 2;
    }
}

/// The position after the bracket that closes the one at `at`; only brackets of the one kind are counted.
pub fn block_end(data: &[u8], at: usize, open: u8, close: u8) -> Option<usize> {
    let mut level = 0usize;
    let mut i = at;
    while let Some(&b) = data.get(i) {
        if b == b'"' {
            i = string_end(data, i + 1)?.0;
            continue;
        }
        if b == open {
            level += 1;
        } else if b == close {
            level = level.saturating_sub(1);
            if level == 0 {
                return Some(i + 1);
            }
        }
        i += 1;
    }
    None
}

/// The value that starts at `at` (no space before it) and the position after it.
#[inline]
pub fn value(data: &[u8], at: usize) -> Result<(Value<'_>, usize), Malformed> {
    let (kind, end) = match data[at] {
        b'"' => {
            let (end, escaped) = string_end(data, at + 1).ok_or(Malformed::String)?;
            return Ok((Value { kind: Kind::String, text: &data[at + 1..end - 1], escaped }, end));
        }
        b'[' => (Kind::Array, block_end(data, at, b'[', b']').ok_or(Malformed::Array)?),
        b'{' => (Kind::Object, block_end(data, at, b'{', b'}').ok_or(Malformed::Object)?),
        _ => {
            let end = token_end(data, at);
            (token_kind(&data[at..end]).ok_or(Malformed::Value)?, end)
        }
    };
    Ok((Value { kind, text: &data[at..end], escaped: false }, end))
}

fn token_end(data: &[u8], at: usize) -> usize {
    let is_end = |b: &u8| matches!(b, b' ' | b'\n' | b'\r' | b'\t' | b',' | b'}' | b']');
    data[at..].iter().position(is_end).map_or(data.len(), |i| at + i)
}

fn token_kind(token: &[u8]) -> Option<Kind> {
    match token {
        b"true" | b"false" => Some(Kind::Boolean),
        b"null" => Some(Kind::Null),
        [b'0'..=b'9' | b'-', ..] => Some(Kind::Number),
        _ => None,
    }
}

/// Appends the text of a string with escapes; `false`, with `out` as it was, if an escape is malformed.
pub fn unescape(text: &[u8], out: &mut String) -> bool {
    let start = out.len();
    let mut rest = text;
    while let Some(i) = memchr::memchr(b'\\', rest) {
        push_text(&rest[..i], out);
        let Some((c, len)) = escape(&rest[i..]) else {
            out.truncate(start);
            return false;
        };
        out.extend(c);
        rest = &rest[i + len..];
    }
    push_text(rest, out);
    true
}

/// Appends bytes that should be UTF-8; what is not, and U+FFFD itself, is left out, as Loki does.
pub fn push_text(text: &[u8], out: &mut String) {
    match clean_text(text) {
        Some(text) => out.push_str(text),
        None => out.extend(String::from_utf8_lossy(text).chars().filter(|c| *c != '\u{fffd}')),
    }
}

/// Bytes that are UTF-8 without U+FFFD.
#[inline]
pub fn clean_text(text: &[u8]) -> Option<&str> {
    let is_ascii = text.is_ascii();
    std::str::from_utf8(text).ok().filter(|text| is_ascii || !text.contains('\u{fffd}'))
}

/// The character of the escape at the front of `text`, if it is one that can be shown, and the length of the escape.
pub fn escape(text: &[u8]) -> Option<(Option<char>, usize)> {
    let c = match text.get(1)? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\x08',
        b'f' => '\x0c',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unicode_escape(text),
        _ => return None,
    };
    Some((Some(c), 2))
}

fn unicode_escape(text: &[u8]) -> Option<(Option<char>, usize)> {
    let high = hex4(text)?;
    if !(0xd800..=0xdfff).contains(&high) {
        return Some((char::from_u32(high).filter(|c| *c != '\u{fffd}'), 6));
    }
    let low = hex4(&text[6..]).filter(|low| *low >= 0xdc00)?;
    Some((char::from_u32((high - 0xd800) * 0x400 + (low - 0xdc00) + 0x1_0000), 12))
}

/// The number of a `\uXXXX`.
pub fn hex4(text: &[u8]) -> Option<u32> {
    if text.get(..2)? != b"\\u" {
        return None;
    }
    text.get(2..6)?.iter().try_fold(0, |n, b| Some(n * 16 + (*b as char).to_digit(16)?))
}
