//! The text of a stream's labels as push clients write it: `{name="value", ...}` in Prometheus' notation. Any order,
//! spaces, comments, a trailing comma, a metric name in front or alone, names in quotes, and the three kinds of Go
//! strings are accepted. It must not know what labels are allowed.

use crate::labels::{METRIC_NAME, is_label_name};
use crate::quote::{quote_into, unquote_prefix};
use crate::{Error, Result};
use smol_str::SmolStr;

/// The most labels that one text may hold: far above any tenant's limit, far below what would fill memory.
pub const LABELS_MAX: usize = 1024;

/// The pairs in `text`, sorted by name; pairs with an empty value are left out, as in Prometheus. Repeated names stay:
/// [`Labels::parse`](crate::Labels::parse) refuses them.
pub fn parse(text: &str) -> Result<Vec<(SmolStr, SmolStr)>> {
    let mut reader = Reader { text, at: 0 };
    let mut pairs = reader.labels()?;
    pairs.retain(|(_, value)| !value.is_empty());
    pairs.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(pairs)
}

/// `{a="1", a="2"}`: the canonical text of sorted pairs, also of pairs that are no valid labels. A name that could not stand
/// bare is in quotes, so that the text is read as these pairs.
pub fn canonical<N: AsRef<str>, V: AsRef<str>>(pairs: &[(N, V)]) -> String {
    let mut text =
        String::with_capacity(2 + pairs.iter().map(|(n, v)| n.as_ref().len() + v.as_ref().len() + 5).sum::<usize>());
    text.push('{');
    for (i, (name, value)) in pairs.iter().enumerate() {
        if i > 0 {
            text.push_str(", ");
        }
        match name.as_ref() {
            name if is_label_name(name) => text.push_str(name),
            name => quote_into(&mut text, name),
        }
        text.push('=');
        quote_into(&mut text, value.as_ref());
    }
    text.push('}');
    text
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn labels(&mut self) -> Result<Vec<(SmolStr, SmolStr)>> {
        let mut pairs: Vec<(SmolStr, SmolStr)> = Vec::new();
        self.skip_blank();
        if let Some(name) = self.identifier(true) {
            pairs.push((METRIC_NAME.into(), name.into()));
            self.skip_blank();
        }
        if self.take('{') {
            self.pairs(&mut pairs)?;
        } else if pairs.is_empty() && self.at < self.text.len() {
            return Err(self.unexpected());
        }
        self.skip_blank();
        if self.at < self.text.len() { Err(self.unexpected()) } else { Ok(pairs) }
    }

    fn pairs(&mut self, pairs: &mut Vec<(SmolStr, SmolStr)>) -> Result<()> {
        loop {
            self.skip_blank();
            if self.take('}') {
                return Ok(());
            }
            let name = match self.identifier(false) {
                Some(name) => SmolStr::from(name),
                None => SmolStr::from(self.string().ok_or_else(|| self.unexpected_inside())?),
            };
            self.skip_blank();
            if self.rest().starts_with("=~") {
                return Err(self.fail("unexpected <op:=~> in label set, expected \"=\""));
            }
            if !self.take('=') {
                return Err(self.unexpected_inside());
            }
            self.skip_blank();
            let Some(value) = self.string() else { return Err(self.not_a_string()) };
            if pairs.len() == LABELS_MAX {
                return Err(Error::invalid(format!("a stream has more than {LABELS_MAX} labels")));
            }
            pairs.push((name, value.into()));
            self.skip_blank();
            if !self.take(',') && !self.rest().starts_with('}') {
                return Err(self.unexpected_inside());
            }
        }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn take(&mut self, c: char) -> bool {
        let found = self.rest().starts_with(c);
        if found {
            self.at += c.len_utf8();
        }
        found
    }

    /// Spaces, line breaks and comments from `#` to the end of the line.
    fn skip_blank(&mut self) {
        loop {
            self.at += self.rest().bytes().take_while(u8::is_ascii_whitespace).count();
            if !self.rest().starts_with('#') {
                return;
            }
            self.at += self.rest().find('\n').unwrap_or(self.rest().len());
        }
    }

    fn identifier(&mut self, colons: bool) -> Option<&'a str> {
        let rest = self.rest();
        if rest.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        let len =
            rest.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_' || (colons && *b == b':')).count();
        self.at += len;
        (len > 0).then(|| &rest[..len])
    }

    /// A string between double quotes, single quotes or backquotes.
    fn string(&mut self) -> Option<String> {
        let (text, len) = match self.rest().as_bytes().first()? {
            b'\'' => single_quoted(self.rest())?,
            _ => unquote_prefix(self.rest())?,
        };
        self.at += len;
        Some(text)
    }

    fn fail(&self, what: impl std::fmt::Display) -> Error {
        let before = &self.text[..self.at];
        let line = before.matches('\n').count() + 1;
        let column = self.at - before.rfind('\n').map_or(0, |i| i + 1) + 1;
        Error::invalid(format!("{line}:{column}: parse error: {what}"))
    }

    fn unexpected(&mut self) -> Error {
        let start = self.at;
        let word = self.identifier(true);
        self.at = start;
        match (word, self.rest().chars().next()) {
            (Some(word), _) => self.fail(format!("unexpected identifier {word:?}")),
            (None, Some(c)) => self.fail(format!("unexpected {:?}", c.to_string())),
            (None, None) => self.fail("unexpected end of input"),
        }
    }

    fn unexpected_inside(&self) -> Error {
        match self.rest().chars().next() {
            None => self.fail("unexpected end of input inside braces"),
            Some(c) => self.fail(format!("unexpected character inside braces: '{c}'")),
        }
    }

    fn not_a_string(&mut self) -> Error {
        let start = self.at;
        let word = self.identifier(false);
        self.at = start;
        match (word, self.rest().chars().next()) {
            (Some(word), _) => self.fail(format!("unexpected identifier {word:?} in label set, expected string")),
            (None, Some('"' | '\'' | '`')) => self.fail("unterminated quoted string"),
            _ => self.unexpected_inside(),
        }
    }
}

/// The text of the single-quoted literal at the front of `src`, and the literal's length.
fn single_quoted(src: &str) -> Option<(String, usize)> {
    let mut double = String::from("\"");
    let mut chars = src.char_indices().skip(1);
    while let Some((i, c)) = chars.next() {
        match c {
            '\'' => {
                double.push('"');
                let (text, len) = unquote_prefix(&double)?;
                return (len == double.len()).then_some((text, i + 1));
            }
            '"' => double.push_str("\\\""),
            '\\' => match chars.next()?.1 {
                '\'' => double.push('\''),
                '"' => return None,
                escaped => double.extend(['\\', escaped]),
            },
            c => double.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_that_prometheus_reads_is_read() {
        for (text, canonical_text) in [
            ("", "{}"),
            ("{}", "{}"),
            (" { b = \"2\" , a=`1`, } ", r#"{a="1", b="2"}"#),
            (r#"{a="x\ny\"z"}"#, r#"{a="x\ny\"z"}"#),
            (r#"{a='it\'s "x"'}"#, r#"{a="it's \"x\""}"#),
            (r#"{"job"="x"}"#, r#"{job="x"}"#),
            (r#"{"1a"="x", "b\", c"="y", ""="z"}"#, r#"{""="z", "1a"="x", "b\", c"="y"}"#),
            ("up", r#"{__name__="up"}"#),
            (r#"up{job="x"}"#, r#"{__name__="up", job="x"}"#),
            ("{a=\"1\",\n b=\"2\"} # comment", r#"{a="1", b="2"}"#),
            (r#"{a="", b="2"}"#, r#"{b="2"}"#),
            (r#"{a="2", a="1"}"#, r#"{a="2", a="1"}"#),
        ] {
            assert_eq!(canonical(&parse(text).unwrap()), canonical_text, "{text}");
        }
    }

    #[test]
    fn errors_are_those_of_loki() {
        for (text, error) in [
            (r#"job="pushtest""#, r#"1:4: parse error: unexpected "=""#),
            ("{job=pushtest}", r#"1:6: parse error: unexpected identifier "pushtest" in label set, expected string"#),
            (r#"{job=~"pushtest"}"#, r#"1:5: parse error: unexpected <op:=~> in label set, expected "=""#),
            (r#"{job="pushtest", case="ga"} x"#, r#"1:29: parse error: unexpected identifier "x""#),
            (r#"{job="pushtest""#, "1:16: parse error: unexpected end of input inside braces"),
            (r#"{a-b="1"}"#, "1:3: parse error: unexpected character inside braces: '-'"),
            (r#"{1a="1"}"#, "1:2: parse error: unexpected character inside braces: '1'"),
            ("{\na=\"1\"", "2:6: parse error: unexpected end of input inside braces"),
        ] {
            assert_eq!(parse(text).unwrap_err().message, error, "{text}");
        }
        let many: String = (0..=LABELS_MAX).map(|i| format!("a{i}=\"1\",")).collect();
        assert!(parse(&format!("{{{many}}}")).is_err(), "a text is no way to fill memory");
    }
}
