//! JSON written in the member order that Grafana's streaming parser needs, into one buffer.

use logql::pipeline::labels::go_text;
use model::Labels;

/// Appends JSON to a buffer. The caller writes the punctuation between values.
#[derive(Default)]
pub struct Json {
    pub out: Vec<u8>,
}

impl Json {
    pub fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    pub fn number(&mut self, n: impl std::fmt::Display) {
        use std::io::Write;
        write!(self.out, "{n}").expect("a Vec takes any bytes");
    }

    /// A string as it is, but for what JSON must escape.
    pub fn string(&mut self, text: &str) {
        self.escaped(text, false);
    }

    /// A log line: each byte that is no UTF-8 becomes a U+FFFD, and `<`, `>`, `&` are escaped as Go does.
    pub fn line(&mut self, line: &[u8]) {
        self.escaped(&go_text(line), true);
    }

    fn escaped(&mut self, text: &str, html: bool) {
        self.out.push(b'"');
        let mut clean = 0;
        let bytes = text.as_bytes();
        for (i, &b) in bytes.iter().enumerate() {
            let escape: &str = match b {
                b'"' => "\\\"",
                b'\\' => "\\\\",
                b'\n' => "\\n",
                b'\r' => "\\r",
                b'\t' => "\\t",
                0..0x20 => "",
                b'<' if html => "\\u003c",
                b'>' if html => "\\u003e",
                b'&' if html => "\\u0026",
                0xe2 if bytes[i..].starts_with("\u{2028}".as_bytes()) => "\\u2028",
                0xe2 if bytes[i..].starts_with("\u{2029}".as_bytes()) => "\\u2029",
                _ => continue,
            };
            self.out.extend_from_slice(&bytes[clean..i]);
            clean = i + 1;
            if b == 0xe2 {
                clean = i + 3;
            }
            match escape {
                "" => self.raw(&format!("\\u{b:04x}")),
                escape => self.raw(escape),
            }
        }
        self.out.extend_from_slice(&bytes[clean..]);
        self.out.push(b'"');
    }

    /// An object of strings.
    pub fn labels(&mut self, labels: &Labels) {
        self.list('{', '}', labels, |json, label| {
            json.string(&label.name);
            json.raw(":");
            json.string(&label.value);
        });
    }

    /// `items` between brackets, with commas.
    pub fn list<T>(
        &mut self,
        open: char,
        close: char,
        items: impl IntoIterator<Item = T>,
        mut one: impl FnMut(&mut Self, T),
    ) {
        self.out.push(open as u8);
        for (i, item) in items.into_iter().enumerate() {
            if i > 0 {
                self.out.push(b',');
            }
            one(self, item);
        }
        self.out.push(close as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_go_escapes_them() {
        for (text, html, expected) in [
            ("a\"b\\c\n\r\t\u{1}", false, r#""a\"b\\c\n\r\t\u0001""#),
            ("<a>&", false, r#""<a>&""#),
            ("<a>&", true, r#""\u003ca\u003e\u0026""#),
            ("x\u{2028}y\u{2029}é€", true, "\"x\\u2028y\\u2029é€\""),
        ] {
            let mut json = Json::default();
            json.escaped(text, html);
            assert_eq!(String::from_utf8(json.out).unwrap(), expected);
        }
        let mut json = Json::default();
        json.line(b"\xe2\x82!");
        assert_eq!(json.out, "\"\u{fffd}\u{fffd}!\"".as_bytes());
    }
}
