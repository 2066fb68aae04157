//! `| logfmt`: `key=value` pairs, values optionally quoted; tolerant of broken pairs unless strict.

use super::hints::Interest;
use super::json_scan;
use super::labels::{Category, Flow, WorkingLabels};
use super::names::NameId;
use super::words;
use crate::ast::Extraction;
use crate::check::expressions::parse_logfmt_key;
use model::{Error, Result};

pub const LOGFMT_ERROR: &str = "LogfmtParserErr";

pub struct Logfmt {
    strict: bool,
    keep_empty: bool,
    /// Label and the key it is read from; empty means all keys.
    fields: Vec<(NameId, String)>,
}

/// A pair of a line; the value as written, without its quotes.
struct Pair<'a> {
    key: &'a [u8],
    value: &'a [u8],
    escaped: bool,
}

impl Logfmt {
    pub fn compile(strict: bool, keep_empty: bool, fields: &[Extraction], interest: &mut Interest) -> Result<Self> {
        let fields = fields
            .iter()
            .map(|f| {
                let key = parse_logfmt_key(&f.expression).map_err(Error::invalid)?;
                Ok((interest.name(&f.name), key))
            })
            .collect::<Result<_>>()?;
        Ok(Logfmt { strict, keep_empty, fields })
    }

    /// Whether the line stays. `unquoted` is a buffer for values with escapes.
    pub fn extract(&self, line: &[u8], labels: &mut WorkingLabels<'_>, unquoted: &mut String) -> bool {
        if labels.interest.no_labels() {
            return true;
        }
        let flow = match self.fields.is_empty() {
            true => self.extract_all(line, labels, unquoted),
            false => {
                self.extract_fields(line, labels, unquoted);
                Flow::Continue
            }
        };
        flow != Flow::Reject
    }

    fn extract_all(&self, line: &[u8], labels: &mut WorkingLabels<'_>, unquoted: &mut String) -> Flow {
        let mut decoder = Decoder { line, at: 0, error: None };
        while let Some(step) = decoder.next(unquoted) {
            let Some(pair) = step else {
                if self.strict {
                    break;
                }
                continue;
            };
            let Some(name) = labels.target(pair.key) else { continue };
            let value = pair.text(unquoted);
            if value.is_empty() && !self.keep_empty {
                continue;
            }
            let flow = labels.extract(name, value);
            if flow != Flow::Continue {
                return flow;
            }
        }
        self.report(&decoder, labels);
        Flow::Continue
    }

    fn extract_fields(&self, line: &[u8], labels: &mut WorkingLabels<'_>, unquoted: &mut String) {
        for (name, _) in &self.fields {
            if labels.get_id(*name).is_none() {
                labels.set(Category::Parsed, *name, "");
            }
        }
        let mut decoder = Decoder { line, at: 0, error: None };
        while let Some(step) = decoder.next(unquoted) {
            let Some(pair) = step else {
                if self.strict {
                    break;
                }
                continue;
            };
            for (name, _) in self.fields.iter().filter(|(_, key)| key.as_bytes() == pair.key) {
                let name = labels.free_name(*name);
                labels.set(Category::Parsed, name, pair.text(unquoted));
            }
        }
        self.report(&decoder, labels);
    }

    fn report(&self, decoder: &Decoder<'_>, labels: &mut WorkingLabels<'_>) {
        if let (true, Some((at, what))) = (self.strict, &decoder.error) {
            let details = match what {
                Broken::Unexpected(b) => format!("unexpected {}", quote_byte(*b)),
                Broken::Text(text) => (*text).to_string(),
            };
            labels.set_error(LOGFMT_ERROR, &format!("logfmt syntax error at pos {} : {details}", at + 1));
        }
    }
}

fn quote_byte(b: u8) -> String {
    format!("'{}'", b as char)
}

impl Pair<'_> {
    /// The value as a label has it: one with a character that is not UTF-8 counts as empty.
    fn text<'a>(&'a self, unquoted: &'a str) -> &'a str {
        if self.escaped {
            return unquoted;
        }
        json_scan::clean_text(self.value).unwrap_or("")
    }
}

enum Broken {
    Unexpected(u8),
    Text(&'static str),
}

struct Decoder<'a> {
    line: &'a [u8],
    at: usize,
    /// The latest broken pair: where and why.
    error: Option<(usize, Broken)>,
}

impl<'a> Decoder<'a> {
    /// The next pair, `Some(None)` after a broken one, `None` at the end of the line. The text of a value with escapes is
    /// put into `unquoted`.
    #[inline]
    fn next(&mut self, unquoted: &mut String) -> Option<Option<Pair<'a>>> {
        let line = self.line;
        let start = self.at + line[self.at..].iter().position(|b| *b > b' ')?;
        let end = words::logfmt_end(line, start).unwrap_or(line.len());
        let key = &line[start..end];
        self.at = end;
        match line.get(end) {
            Some(b'"') => return Some(self.broken(end, Broken::Unexpected(b'"'))),
            Some(b'=') if key.is_empty() => return Some(self.broken(end, Broken::Unexpected(b'='))),
            Some(b'=') => {}
            _ => return Some(Some(Pair { key, value: &[], escaped: false })),
        }
        self.at = end + 1;
        match line.get(end + 1) {
            Some(b'"') => Some(self.quoted(key, unquoted)),
            _ => Some(self.bare(key)),
        }
    }

    fn bare(&mut self, key: &'a [u8]) -> Option<Pair<'a>> {
        let start = self.at;
        self.at = words::logfmt_end(self.line, start).unwrap_or(self.line.len());
        match self.line.get(self.at) {
            Some(b @ (b'=' | b'"')) => self.broken(self.at, Broken::Unexpected(*b)),
            _ => Some(Pair { key, value: &self.line[start..self.at], escaped: false }),
        }
    }

    fn quoted(&mut self, key: &'a [u8], unquoted: &mut String) -> Option<Pair<'a>> {
        let start = self.at + 1;
        let Some((end, escaped)) = json_scan::string_end(self.line, start) else {
            self.at = self.line.len();
            return self.broken(self.at, Broken::Text("unterminated quoted value"));
        };
        self.at = end;
        let value = &self.line[start..end - 1];
        if escaped {
            unquoted.clear();
            if !unquote(value, unquoted) {
                return self.broken(end, Broken::Text("invalid quoted value"));
            }
        }
        Some(Pair { key, value, escaped })
    }

    /// Notes what is broken at `at` and goes to the next space.
    fn broken(&mut self, at: usize, what: Broken) -> Option<Pair<'a>> {
        self.error = Some((at, what));
        self.at = at + self.line[at..].iter().position(|b| *b <= b' ').unwrap_or(self.line.len() - at);
        None
    }
}

/// JSON's escapes and `\'`; a lone surrogate is left out.
fn unquote(text: &[u8], out: &mut String) -> bool {
    let mut rest = text;
    while let Some(i) = memchr::memchr(b'\\', rest) {
        json_scan::push_text(&rest[..i], out);
        rest = &rest[i..];
        let (c, len) = match (json_scan::escape(rest), rest.get(1)) {
            (Some(found), _) => found,
            (None, Some(b'\'')) => (Some('\''), 2),
            (None, Some(b'u')) if json_scan::hex4(rest).is_some() => (None, 6),
            _ => return false,
        };
        out.extend(c);
        rest = &rest[len..];
    }
    json_scan::push_text(rest, out);
    true
}
