//! A reader of JSON that is pulled: strings are slices of the body unless they hold escapes, nothing is built, and what
//! is not asked for is skipped without recursion. Strings may hold bytes that are no UTF-8, as log lines do. It must not
//! know what the document means.

use std::borrow::Cow;

/// How deep a skipped value may nest, as in Loki's decoder.
const DEPTH_MAX: usize = 10_000;

/// What is wrong, in the words of Loki's decoders.
pub type Wrong = Cow<'static, str>;
pub type Read<T> = std::result::Result<T, Wrong>;

pub const NO_STRING: &str = "Value is string, but can't find closing '\"' symbol";
pub const NO_OBJECT: &str = "Value looks like object, but can't find closing '}' symbol";
pub const NO_ARRAY: &str = "Value is array, but can't find closing ']' symbol";
pub const NO_NUMBER: &str = "Value looks like Number/Boolean/None, but can't find its end: ',' or '}' symbol";
pub const MALFORMED: &str = "Malformed JSON error";
pub const UNKNOWN_TYPE: &str = "Unknown value type";
const BAD_ESCAPE: &str = "Encountered an invalid escape sequence in a string";

#[derive(Clone)]
pub struct JsonReader<'a> {
    data: &'a [u8],
    pub at: usize,
}

impl<'a> JsonReader<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        JsonReader { data, at: 0 }
    }

    /// The first byte of what comes next, 0 at the end.
    #[inline]
    pub fn peek(&mut self) -> u8 {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.data.get(self.at) {
            self.at += 1;
        }
        self.data.get(self.at).copied().unwrap_or(0)
    }

    /// Takes `b` if it comes next.
    #[inline]
    pub fn take(&mut self, b: u8) -> bool {
        let found = self.peek() == b && self.at < self.data.len();
        self.at += usize::from(found);
        found
    }

    /// Takes `null` if it comes next.
    pub fn null(&mut self) -> bool {
        self.peek();
        let found = self.data[self.at..].starts_with(b"null");
        self.at += if found { 4 } else { 0 };
        found
    }

    /// Goes to the next element of an array whose `[` is taken; false after the `]`.
    #[inline]
    pub fn next_element(&mut self, first: &mut bool) -> Read<bool> {
        self.next(b']', first, NO_ARRAY)
    }

    /// Goes to the next key of an object whose `{` is taken, and takes its colon; `None` after the `}`.
    pub fn next_key(&mut self, first: &mut bool) -> Read<Option<Cow<'a, [u8]>>> {
        if !self.next(b'}', first, NO_OBJECT)? {
            return Ok(None);
        }
        let key = self.string_owned_if_escaped()?;
        if self.take(b':') { Ok(Some(key)) } else { Err(MALFORMED.into()) }
    }

    #[inline]
    fn next(&mut self, close: u8, first: &mut bool, wrong: &'static str) -> Read<bool> {
        if self.take(close) {
            return Ok(false);
        }
        if !*first && !self.take(b',') {
            return Err(wrong.into());
        }
        *first = false;
        Ok(true)
    }

    /// The text of a string; `unescaped` holds it if it had escapes.
    #[inline]
    pub fn string<'s>(&mut self, unescaped: &'s mut Vec<u8>) -> Read<&'s [u8]>
    where
        'a: 's,
    {
        let (raw, escaped) = self.raw_string()?;
        if !escaped {
            return Ok(raw);
        }
        unescape(raw, unescaped)?;
        Ok(unescaped)
    }

    pub fn string_owned_if_escaped(&mut self) -> Read<Cow<'a, [u8]>> {
        let (raw, escaped) = self.raw_string()?;
        if !escaped {
            return Ok(Cow::Borrowed(raw));
        }
        let mut text = Vec::with_capacity(raw.len());
        unescape(raw, &mut text)?;
        Ok(Cow::Owned(text))
    }

    /// The same as text; bytes that are no UTF-8 are replaced.
    pub fn text(&mut self) -> Read<Cow<'a, str>> {
        Ok(match self.string_owned_if_escaped()? {
            Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
            Cow::Owned(bytes) => match String::from_utf8(bytes) {
                Ok(text) => Cow::Owned(text),
                Err(e) => Cow::Owned(String::from_utf8_lossy(e.as_bytes()).into_owned()),
            },
        })
    }

    /// A string's bytes as written between its quotes, and whether there are escapes in them.
    fn raw_string(&mut self) -> Read<(&'a [u8], bool)> {
        if !self.take(b'"') {
            return Err(NO_STRING.into());
        }
        let start = self.at;
        let mut escaped = false;
        loop {
            let rest = self.data.get(self.at..).ok_or(NO_STRING)?;
            self.at += memchr::memchr2(b'"', b'\\', rest).ok_or(NO_STRING)?;
            if self.data[self.at] == b'"' {
                break;
            }
            escaped = true;
            self.at += 2;
        }
        let raw = &self.data[start..self.at];
        self.at += 1;
        match raw.iter().fold(false, |found, b| found | (*b < b' ')) {
            false => Ok((raw, escaped)),
            true => {
                let bad = raw.iter().find(|b| **b < b' ').copied().unwrap_or_default();
                Err(format!("trySkipString: invalid control character found: {bad}").into())
            }
        }
    }

    /// The bytes of a value of any kind, which is checked no further than to find its end.
    pub fn raw_value(&mut self) -> Read<&'a [u8]> {
        let mut depth = 0usize;
        self.peek();
        let start = self.at;
        loop {
            match self.peek() {
                b'"' => drop(self.raw_string()?),
                b'{' | b'[' => {
                    self.at += 1;
                    depth += 1;
                    if depth > DEPTH_MAX {
                        return Err("exceeded max depth".into());
                    }
                    continue;
                }
                b'}' | b']' | b',' | b':' if depth > 0 => {
                    depth -= usize::from(matches!(self.data[self.at], b'}' | b']'));
                    self.at += 1;
                }
                _ => self.word()?,
            }
            if depth == 0 {
                return Ok(&self.data[start..self.at]);
            }
        }
    }

    /// A number or a name such as `true`.
    fn word(&mut self) -> Read<()> {
        let rest = &self.data[self.at..];
        let len = rest.iter().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.')).count();
        self.at += len;
        if len == 0 { Err(MALFORMED.into()) } else { Ok(()) }
    }

    /// The error text of Loki's decoder at the reader's place: what is around it, in two sizes.
    pub fn error(&self, what: &str) -> String {
        const NEAR: usize = 10;
        const FAR: usize = 50;
        let around = |n: usize| {
            let range = self.at.saturating_sub(n)..(self.at + n).min(self.data.len());
            String::from_utf8_lossy(&self.data[range]).into_owned()
        };
        let place = self.at.min(NEAR);
        format!(
            "{what}, error found in #{place} byte of ...|{}|..., bigger context ...|{}|...",
            around(NEAR),
            around(FAR)
        )
    }
}

fn unescape(raw: &[u8], out: &mut Vec<u8>) -> Read<()> {
    out.clear();
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        let escape = *rest.get(at + 1).ok_or(BAD_ESCAPE)?;
        rest = &rest[at + 2..];
        match escape {
            b'"' | b'\\' | b'/' => out.push(escape),
            b'b' => out.push(0x08),
            b'f' => out.push(0x0c),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'u' => out.extend_from_slice(unicode(&mut rest)?.encode_utf8(&mut [0; 4]).as_bytes()),
            _ => return Err(BAD_ESCAPE.into()),
        }
    }
    out.extend_from_slice(rest);
    Ok(())
}

/// The character of the four digits that come next, and of the `\u` escape after them for the second half of a pair.
fn unicode(rest: &mut &[u8]) -> Read<char> {
    let first = hex4(rest)?;
    if let Some(c) = char::from_u32(first) {
        return Ok(c);
    }
    *rest = rest.strip_prefix(b"\\u").ok_or(BAD_ESCAPE)?;
    let second = hex4(rest)?;
    let pair = (0xd800..0xdc00).contains(&first) && (0xdc00..0xe000).contains(&second);
    let c = pair.then(|| 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00));
    c.and_then(char::from_u32).ok_or_else(|| BAD_ESCAPE.into())
}

fn hex4(rest: &mut &[u8]) -> Read<u32> {
    let (digits, after) = rest.split_at_checked(4).ok_or(BAD_ESCAPE)?;
    *rest = after;
    digits.iter().try_fold(0, |n, d| Ok(n << 4 | char::from(*d).to_digit(16).ok_or(BAD_ESCAPE)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_unescaped_and_bad_ones_refused() {
        for (json, text) in [
            (r#""plain""#, "plain"),
            (r#""\t\n\"\\\/\u00e9 \ud83d\ude00""#, "\t\n\"\\/é 😀"),
            ("\"\u{7f}漢\"", "\u{7f}漢"),
        ] {
            assert_eq!(JsonReader::new(json.as_bytes()).text().unwrap(), text);
        }
        for bad in ["5", "\"open", "\"a\tb\"", r#""\q""#, r#""\ud83d""#, r#""\ud83dx""#, r#""\u12""#, "\"\\", ""] {
            assert!(JsonReader::new(bad.as_bytes()).text().is_err(), "{bad}");
        }
    }

    #[test]
    fn any_value_is_skipped_whole() {
        for (json, rest) in
            [(r#" {"a":[1,{"b":"]}"}],"c":null} ,x"#, " ,x"), ("[[],[]]", ""), ("-1.5e+3]", "]"), ("true,", ",")]
        {
            let mut reader = JsonReader::new(json.as_bytes());
            reader.raw_value().unwrap();
            assert_eq!(&json[reader.at..], rest);
        }
        for bad in ["", "{", "[1,2", "\"x", "?", &"[".repeat(20_000)] {
            assert!(JsonReader::new(bad.as_bytes()).raw_value().is_err());
        }
    }
}
