//! A line as words: split at spaces and punctuation, a logfmt line into its keys and values, of a JSON object the field
//! that holds the message. It must not know patterns.

use std::ops::Range;

/// Words of one line; what follows them is one word with the last.
const WORDS_MAX: usize = 100;

/// How the words of a line were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    Text,
    Logfmt,
    /// The message of a JSON object: its pattern is open at both ends.
    Json,
}

/// What stands between a word and the next.
pub const NOTHING: u8 = 0;
pub const SPACE: u8 = b' ';
pub const TAB: u8 = b'\t';
pub const EQUALS: u8 = b'=';

/// A line's words, in buffers that are used again.
#[derive(Debug, Default)]
pub struct Line {
    pub words: Vec<Range<usize>>,
    /// What follows each word.
    pub joints: Vec<u8>,
}

impl Line {
    /// Finds the words of `line`; `None` when it has none that a pattern could be made of. `message_fields` are the fields
    /// of a JSON object that may hold its message.
    pub fn read(&mut self, line: &[u8], message_fields: &[String]) -> Option<Form> {
        self.words.clear();
        self.joints.clear();
        let trimmed = line.trim_ascii();
        if trimmed.starts_with(b"{")
            && trimmed.ends_with(b"}")
            && let Some(found) = json_message(line, message_fields)
        {
            self.read_text(line, found?);
            return Some(Form::Json);
        }
        if self.read_logfmt(line) {
            return Some(Form::Logfmt);
        }
        self.words.clear();
        self.joints.clear();
        self.read_text(line, 0..line.len());
        Some(Form::Text)
    }

    fn push(&mut self, word: Range<usize>, joint: u8) {
        self.words.push(word);
        self.joints.push(joint);
    }

    /// A single space or tab joins words; any other run of white space is a word itself, so that numbers in columns are
    /// one pattern.
    fn read_text(&mut self, line: &[u8], range: Range<usize>) {
        let end = line[..range.end].trim_ascii_end().len().max(range.start);
        let mut at = range.start;
        while at < end {
            if self.words.len() == WORDS_MAX - 1 {
                self.push(at..end, NOTHING);
                return;
            }
            let start = at;
            at += match class(line[at]) {
                Class::Separator => 1,
                class => line[at..end].iter().take_while(|b| self::class(**b) == class).count(),
            };
            let single = at < end
                && matches!(line[at], SPACE | TAB)
                && (at + 1 >= end || class(line[at + 1]) != Class::White)
                && class(line[start]) != Class::White;
            self.push(start..at, if single { line[at] } else { NOTHING });
            at += usize::from(single);
        }
    }

    /// Whether the whole line is pairs with a space between them; their keys and values are then the words.
    fn read_logfmt(&mut self, line: &[u8]) -> bool {
        let mut at = 0;
        loop {
            let key = line[at..].iter().take_while(|b| b.is_ascii_alphanumeric() || b"_.-/".contains(b)).count();
            if key == 0 || line.get(at + key) != Some(&b'=') {
                return false;
            }
            self.push(at..at + key, EQUALS);
            at += key + 1;
            let Some(value) = logfmt_value(&line[at..]) else { return false };
            let end = at + value;
            if end == line.len() {
                self.push(at..end, NOTHING);
                return true;
            }
            if line[end] != b' ' {
                return false;
            }
            if self.words.len() + 1 >= WORDS_MAX {
                self.push(at..line.len(), NOTHING);
                return true;
            }
            self.push(at..end, SPACE);
            at = end + 1;
        }
    }
}

/// The length of a value: quoted, or up to the next space.
fn logfmt_value(rest: &[u8]) -> Option<usize> {
    if rest.first() != Some(&b'"') {
        return Some(rest.iter().take_while(|b| **b != b' ').count());
    }
    string_end(rest)
}

/// The length of the quoted string that `text` begins with.
fn string_end(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    while let Some(byte) = text.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return Some(at + 1),
            _ => at += 1,
        }
    }
    None
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    White,
    /// Punctuation that stands alone.
    Separator,
    Word,
}

/// Punctuation splits words, but for what paths, times, addresses and names are made of.
fn class(byte: u8) -> Class {
    match byte {
        b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => Class::White,
        b'_' | b'-' | b'.' | b':' | b'/' => Class::Word,
        b'=' => Class::Separator,
        b'$' | b'+' | b'<' | b'>' | b'^' | b'`' | b'|' | b'~' => Class::Word,
        b if b.is_ascii_punctuation() => Class::Separator,
        _ => Class::Word,
    }
}

/// Where the message stands in a JSON object: `Some(None)` for an object without one, `None` for what is no object.
fn json_message(line: &[u8], fields: &[String]) -> Option<Option<Range<usize>>> {
    let mut at = skip_white(line, 0);
    let mut found = None;
    at = skip_white(line, expect(line, at, b'{')?);
    if line.get(at) == Some(&b'}') {
        return Some(None);
    }
    loop {
        let key = at..at + string_of(line, at)?;
        at = skip_white(line, expect(line, skip_white(line, key.end), b':')?);
        let value = at..json_value_end(line, at)?;
        let name = &line[key.start + 1..key.end - 1];
        if found.is_none() && line[value.start] == b'"' && fields.iter().any(|field| field.as_bytes() == name) {
            found = Some(value.start + 1..value.end - 1);
        }
        at = skip_white(line, value.end);
        match line.get(at)? {
            b',' => at = skip_white(line, at + 1),
            b'}' => return Some(found),
            _ => return None,
        }
    }
}

fn expect(line: &[u8], at: usize, byte: u8) -> Option<usize> {
    (line.get(at) == Some(&byte)).then_some(at + 1)
}

fn skip_white(line: &[u8], at: usize) -> usize {
    at + line.get(at..).unwrap_or_default().iter().take_while(|b| b.is_ascii_whitespace()).count()
}

/// The length of the string at `at`.
fn string_of(line: &[u8], at: usize) -> Option<usize> {
    if line.get(at) != Some(&b'"') {
        return None;
    }
    string_end(&line[at..])
}

/// The end of a value: nested ones are passed over by their brackets.
fn json_value_end(line: &[u8], start: usize) -> Option<usize> {
    match line.get(start)? {
        b'"' => Some(start + string_of(line, start)?),
        b'{' | b'[' => {
            let (mut at, mut depth) = (start, 0usize);
            loop {
                match line.get(at)? {
                    b'"' => at += string_of(line, at)?,
                    b'{' | b'[' => {
                        depth += 1;
                        at += 1;
                    }
                    b'}' | b']' => {
                        depth -= 1;
                        at += 1;
                        if depth == 0 {
                            return Some(at);
                        }
                    }
                    _ => at += 1,
                }
            }
        }
        _ => {
            let length = line[start..].iter().take_while(|b| !b",}] \t\r\n".contains(b)).count();
            (length > 0).then_some(start + length)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_words() {
        let check = |text: &str, form: Option<Form>, words: &[&str]| {
            let mut line = Line::default();
            let fields = ["msg".to_string(), "message".into()];
            assert_eq!(line.read(text.as_bytes(), &fields), form, "{text}");
            let found: Vec<&str> = line.words.iter().map(|w| &text[w.clone()]).collect();
            if form.is_some() {
                assert_eq!(found, words, "{text}");
            }
        };
        check("processed 0 items, ok", Some(Form::Text), &["processed", "0", "items", ",", "ok"]);
        check("GET /api/v1/x HTTP/1.1", Some(Form::Text), &["GET", "/api/v1/x", "HTTP/1.1"]);
        check("took   5 ms ", Some(Form::Text), &["took", "   ", "5", "ms"]);
        check("a=1 b=\"x y\" c=", Some(Form::Logfmt), &["a", "1", "b", "\"x y\"", "c", ""]);
        check("a=1  b=2", Some(Form::Text), &["a", "=", "1", "  ", "b", "=", "2"]);
        check("{\"n\": [1, {}], \"msg\": \"took 5 ms\"}", Some(Form::Json), &["took", "5", "ms"]);
        check("{\"n\": 1}", None, &[]);
        check("{}", None, &[]);
        check("{not json}", Some(Form::Text), &["{", "not", "json", "}"]);
        check("{\"msg\": \"cut", Some(Form::Text), &["{", "\"", "msg", "\"", ":", "\"", "cut"]);
        check("", Some(Form::Text), &[]);
        let long = "a ".repeat(WORDS_MAX + 20);
        let mut line = Line::default();
        line.read(long.as_bytes(), &[]);
        assert_eq!(line.words.len(), WORDS_MAX);
    }
}
