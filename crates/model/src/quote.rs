//! Go's quoted strings (`strconv.Quote` and `strconv.Unquote`), in which Loki writes labels and LogQL literals.

use regex_syntax::hir::{Class, HirKind};
use std::sync::OnceLock;

/// `s` between double quotes, escaped as `strconv.Quote` does.
pub fn quote(s: &str) -> String {
    let mut out = String::with_capacity(s.len() + 2);
    quote_into(&mut out, s);
    out
}

/// Appends the quoted form of `s` to `out`.
pub fn quote_into(out: &mut String, s: &str) {
    use std::fmt::Write;
    out.push('"');
    for c in s.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            c if is_print(c) => out.push(c),
            c if (c as u32) < 0x80 => write!(out, "\\x{:02x}", c as u32).expect("a String takes any text"),
            c if (c as u32) < 0x10000 => write!(out, "\\u{:04x}", c as u32).expect("a String takes any text"),
            c => write!(out, "\\U{:08x}", c as u32).expect("a String takes any text"),
        }
    }
    out.push('"');
}

/// Go's `strconv.IsPrint`: letters, marks, numbers, punctuation, symbols and the ASCII space.
fn is_print(c: char) -> bool {
    if c.is_ascii() {
        return c == ' ' || c.is_ascii_graphic();
    }
    let ranges = printable();
    let after = ranges.partition_point(|(_, end)| *end < c);
    ranges.get(after).is_some_and(|(start, _)| *start <= c)
}

/// The printable characters as ranges, both ends inclusive, ascending.
fn printable() -> &'static [(char, char)] {
    static RANGES: OnceLock<Vec<(char, char)>> = OnceLock::new();
    RANGES.get_or_init(|| {
        let hir = regex_syntax::parse(r"[\p{L}\p{M}\p{N}\p{P}\p{S}]").expect("general categories are known");
        let HirKind::Class(Class::Unicode(class)) = hir.kind() else { return Vec::new() };
        class.ranges().iter().map(|r| (r.start(), r.end())).collect()
    })
}

/// The text of the Go string literal at the front of `src` (double-quoted or back-quoted) and the length of the literal.
/// `None` when it is not a well-formed literal. Escapes for bytes that are no UTF-8 become U+FFFD.
pub fn unquote_prefix(src: &str) -> Option<(String, usize)> {
    let bytes = src.as_bytes();
    match bytes.first()? {
        b'`' => {
            let end = src[1..].find('`')? + 1;
            Some((src[1..end].replace('\r', ""), end + 1))
        }
        b'"' => {
            let mut out: Vec<u8> = Vec::new();
            let mut i = 1;
            loop {
                match *bytes.get(i)? {
                    b'"' => return Some((String::from_utf8_lossy(&out).into_owned(), i + 1)),
                    b'\n' => return None,
                    b'\\' => i = unescape(bytes, i + 1, &mut out)?,
                    b => {
                        out.push(b);
                        i += 1;
                    }
                }
            }
        }
        _ => None,
    }
}

/// Decodes the escape whose letter is at `i`; answers the index after it.
fn unescape(src: &[u8], i: usize, out: &mut Vec<u8>) -> Option<usize> {
    let simple = match src.get(i)? {
        b'a' => 0x07,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        b'\\' => b'\\',
        b'"' => b'"',
        b'x' => return number(src, i + 1, 2, 16).map(|(v, end)| push_byte(out, v, end)),
        b'u' => return number(src, i + 1, 4, 16).and_then(|(v, end)| push_char(out, v, end)),
        b'U' => return number(src, i + 1, 8, 16).and_then(|(v, end)| push_char(out, v, end)),
        b'0'..=b'7' => return number(src, i, 3, 8).filter(|(v, _)| *v < 256).map(|(v, end)| push_byte(out, v, end)),
        _ => return None,
    };
    out.push(simple);
    Some(i + 1)
}

fn push_byte(out: &mut Vec<u8>, v: u32, end: usize) -> usize {
    out.push(v as u8);
    end
}

fn push_char(out: &mut Vec<u8>, v: u32, end: usize) -> Option<usize> {
    out.extend_from_slice(char::from_u32(v)?.encode_utf8(&mut [0; 4]).as_bytes());
    Some(end)
}

fn number(src: &[u8], start: usize, len: usize, radix: u32) -> Option<(u32, usize)> {
    let digits = std::str::from_utf8(src.get(start..start + len)?).ok()?;
    if digits.starts_with('+') {
        return None;
    }
    Some((u32::from_str_radix(digits, radix).ok()?, start + len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_round_trips() {
        for (raw, quoted) in [
            ("a", r#""a""#),
            ("a\"b\\c\n", r#""a\"b\\c\n""#),
            ("\u{7f}\u{200b}", r#""\x7f\u200b""#),
            ("grün 日本", "\"grün 日本\""),
            ("\u{feff}", r#""\ufeff""#),
            ("\u{a0}\u{ad}\u{378}\u{2028}", r#""\u00a0\u00ad\u0378\u2028""#),
            ("\u{e000}\u{10ffff}", r#""\ue000\U0010ffff""#),
            ("e\u{301} 😀 €", "\"e\u{301} 😀 €\""),
        ] {
            assert_eq!(quote(raw), quoted);
            assert_eq!(unquote_prefix(quoted), Some((raw.to_string(), quoted.len())));
        }
        assert_eq!(unquote_prefix("`a\\b` rest"), Some(("a\\b".into(), 5)));
        assert_eq!(unquote_prefix(r#""\101\x41\u0041""#), Some(("AAA".into(), 16)));
        for bad in ["", "a", "\"", "\"\\q\"", "\"\n\"", "`x", r#""\x4""#, r#""\ud800""#] {
            assert_eq!(unquote_prefix(bad), None, "{bad}");
        }
    }
}
