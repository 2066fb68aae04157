//! Rewrites a Go regular expression (RE2 with Perl classes, as `regexp.Compile` reads it) for the `regex` crate, in
//! one pass and without recursion, refusing with Go's words what Go refuses.

use super::class::{bracketed, perl_class, unicode_class};
use super::escape::{push_literal, unescape};
use super::{REGEX_NESTING_MAX, syntax};
use crate::Result;

/// The largest count in `x{n,m}`, also of nested counts multiplied, as in Go.
const REPEAT_MAX: u32 = 1000;

/// What the compiled expression will search.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    Text,
    Bytes,
}

/// What stands before a repetition operator.
#[derive(Clone)]
enum Before {
    /// Nothing that can be repeated.
    Nothing,
    /// An expression. `repeats` is the product of the counts nested in it. `any_byte` is set for a single character
    /// class that has every byte from 0x80 on: where the class starts in the output.
    Atom { repeats: u32, any_byte: Option<usize> },
}

/// What a closing parenthesis restores.
struct Group {
    ungreedy: bool,
    fold_case: bool,
    repeats: u32,
}

struct Translator<'a> {
    go: &'a str,
    rest: &'a str,
    out: String,
    subject: Subject,
    groups: Vec<Group>,
    names: Vec<&'a str>,
    ungreedy: bool,
    fold_case: bool,
    before: Before,
    /// Product of the counts nested in the current group so far.
    repeats: u32,
    /// The text from the last repetition operator on, if it is what was read last.
    last_repeat: Option<&'a str>,
}

pub fn translate(go: &str, subject: Subject) -> Result<String> {
    let mut t = Translator {
        go,
        rest: go,
        out: String::with_capacity(go.len() + 16),
        subject,
        groups: Vec::new(),
        names: Vec::new(),
        ungreedy: false,
        fold_case: false,
        before: Before::Nothing,
        repeats: 1,
        last_repeat: None,
    };
    while !t.rest.is_empty() {
        t.step()?;
    }
    if !t.groups.is_empty() {
        return Err(syntax("missing closing )", go));
    }
    Ok(t.out)
}

impl<'a> Translator<'a> {
    /// Reads one operator or one atom.
    fn step(&mut self) -> Result<()> {
        let last_repeat = self.last_repeat.take();
        let start = self.rest;
        match start.as_bytes()[0] {
            b'(' if start.starts_with("(?") => self.special_group(),
            b'(' => self.open(1, "("),
            b')' => self.close(),
            b'|' => {
                self.before = Before::Nothing;
                self.copy(1);
                Ok(())
            }
            b'^' | b'$' => {
                self.copy(1);
                self.atom(None);
                Ok(())
            }
            b'.' => {
                let at = self.out.len();
                self.copy(1);
                self.atom(Some(at));
                Ok(())
            }
            b'[' => self.class(),
            b'*' | b'+' | b'?' => self.repeat(1, u32::from(start.starts_with('+')), None, last_repeat),
            b'{' => self.braces(last_repeat),
            b'\\' => self.escape(),
            _ => {
                let c = start.chars().next().expect("the rest is not empty");
                self.rest = &start[c.len_utf8()..];
                self.literal(c as u32);
                Ok(())
            }
        }
    }

    fn copy(&mut self, bytes: usize) {
        let (head, rest) = self.rest.split_at(bytes);
        self.out.push_str(head);
        self.rest = rest;
    }

    fn atom(&mut self, any_byte: Option<usize>) {
        self.before = Before::Atom { repeats: 1, any_byte };
    }

    fn literal(&mut self, code: u32) {
        match char::from_u32(code) {
            Some(c) => push_literal(&mut self.out, c),
            // A surrogate: Go accepts it, and no text has one.
            None => self.out.push_str(r"[^\x{0}-\x{10FFFF}]"),
        }
        self.atom(None);
    }

    fn class(&mut self) -> Result<()> {
        let (class, rest) = bracketed(self.rest)?;
        let any_byte = (class.has_all_non_ascii && !self.fold_case).then_some(self.out.len());
        self.out.push_str(&class.rust);
        self.rest = rest;
        self.atom(any_byte);
        Ok(())
    }

    fn escape(&mut self) -> Result<()> {
        let src = self.rest;
        if let Some((class, rest)) = perl_class(src) {
            self.out.push_str(class);
            self.rest = rest;
            self.atom(None);
            return Ok(());
        }
        if let Some((class, rest)) = unicode_class(src)? {
            self.out.push_str(&class);
            self.rest = rest;
            self.atom(None);
            return Ok(());
        }
        let assertion = match src.as_bytes().get(1) {
            Some(b'A') => r"\A",
            Some(b'z') => r"\z",
            Some(b'b') => r"(?-u:\b)",
            Some(b'B') => r"(?-u:\B)",
            Some(b'Q') => return self.quoted(),
            _ => {
                let (code, rest) = unescape(src)?;
                self.rest = rest;
                self.literal(code);
                return Ok(());
            }
        };
        self.out.push_str(assertion);
        self.rest = &src[2..];
        self.atom(None);
        Ok(())
    }

    /// `\Q...\E`, or to the end.
    fn quoted(&mut self) -> Result<()> {
        let text = &self.rest[2..];
        let (literal, rest) = text.split_once("\\E").unwrap_or((text, ""));
        for c in literal.chars() {
            self.literal(c as u32);
        }
        self.rest = rest;
        Ok(())
    }

    fn open(&mut self, bytes: usize, rust: &str) -> Result<()> {
        if self.groups.len() >= REGEX_NESTING_MAX {
            return Err(syntax("expression nests too deeply", self.go));
        }
        self.groups.push(Group { ungreedy: self.ungreedy, fold_case: self.fold_case, repeats: self.repeats });
        self.repeats = 1;
        self.out.push_str(rust);
        self.rest = &self.rest[bytes..];
        self.before = Before::Nothing;
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        let Some(group) = self.groups.pop() else { return Err(syntax("unexpected )", self.go)) };
        self.copy(1);
        self.before = Before::Atom { repeats: self.repeats, any_byte: None };
        self.repeats = self.repeats.max(group.repeats);
        self.ungreedy = group.ungreedy;
        self.fold_case = group.fold_case;
        Ok(())
    }

    /// `(?P<name>`, `(?<name>`, `(?flags)`, `(?flags:`.
    fn special_group(&mut self) -> Result<()> {
        let src = self.rest;
        let name_start = if src.starts_with("(?P<") {
            4
        } else if src.starts_with("(?<") {
            3
        } else {
            return self.flags();
        };
        let Some(end) = src.find('>') else { return Err(syntax("invalid named capture", src)) };
        let name = &src[name_start..end];
        if name.is_empty() || !name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric()) {
            return Err(syntax("invalid named capture", &src[..=end]));
        }
        let is_usable = !name.starts_with(|c: char| c.is_ascii_digit()) && !self.names.contains(&name);
        if is_usable {
            self.names.push(name);
            return self.open(end + 1, &format!("(?P<{name}>"));
        }
        self.open(end + 1, "(")
    }

    fn flags(&mut self) -> Result<()> {
        let src = self.rest;
        let (mut ungreedy, mut fold_case) = (self.ungreedy, self.fold_case);
        let (mut is_set, mut saw_flag) = (true, false);
        for (at, c) in src.char_indices().skip(2) {
            let refused = Err(syntax("invalid or unsupported Perl syntax", &src[..at + c.len_utf8()]));
            match c {
                'i' => fold_case = is_set,
                'U' => ungreedy = is_set,
                'm' | 's' => {}
                '-' if is_set => {
                    (is_set, saw_flag) = (false, false);
                    continue;
                }
                ':' | ')' if is_set || saw_flag => {
                    let text = &src[..=at];
                    if c == ':' {
                        self.open(at + 1, text)?;
                    } else {
                        self.out.push_str(if text == "(?)" { "" } else { text });
                        self.rest = &src[at + 1..];
                        self.before = Before::Nothing;
                    }
                    (self.ungreedy, self.fold_case) = (ungreedy, fold_case);
                    return Ok(());
                }
                _ => return refused,
            }
            saw_flag = true;
        }
        Err(syntax("missing closing )", self.go))
    }

    /// `{n}`, `{n,}`, `{n,m}`; any other brace is a literal.
    fn braces(&mut self, last_repeat: Option<&'a str>) -> Result<()> {
        let Some((min, max, bytes)) = counts(self.rest) else {
            self.rest = &self.rest[1..];
            self.literal('{' as u32);
            return Ok(());
        };
        let largest = max.unwrap_or(min).max(min);
        if largest > REPEAT_MAX || max.is_some_and(|m| m < min) {
            return Err(syntax("invalid repeat count", &self.rest[..bytes]));
        }
        self.repeat(bytes, min, Some((min, max)), last_repeat)
    }

    /// Writes the operator of `bytes` bytes at the front of the rest, with the `?` behind it.
    fn repeat(
        &mut self,
        bytes: usize,
        min: u32,
        counts: Option<(u32, Option<u32>)>,
        last_repeat: Option<&'a str>,
    ) -> Result<()> {
        let start = self.rest;
        let is_lazy = start[bytes..].starts_with('?');
        let bytes_all = bytes + usize::from(is_lazy);
        let after = &start[bytes_all..];
        if let Some(last) = last_repeat {
            return Err(syntax("invalid nested repetition operator", &last[..last.len() - after.len()]));
        }
        let Before::Atom { mut repeats, any_byte } = self.before.clone() else {
            return Err(syntax("missing argument to repetition operator", &start[..bytes_all]));
        };
        if let Some((min, max)) = counts {
            repeats = match max {
                Some(0) => 1,
                _ => repeats.saturating_mul(max.unwrap_or(min).max(1)),
            };
            if (min >= 2 || max.is_some_and(|m| m >= 2)) && repeats > REPEAT_MAX {
                return Err(syntax("invalid repeat count", &start[..bytes_all]));
            }
        }
        match any_byte {
            Some(at) if self.subject == Subject::Bytes && counts.is_none() && !start.starts_with('?') => {
                self.repeat_any_byte(at, min, bytes_all, is_lazy);
            }
            _ => self.copy(bytes_all),
        }
        self.repeats = self.repeats.max(repeats);
        self.before = Before::Atom { repeats, any_byte: None };
        self.last_repeat = Some(start);
        Ok(())
    }

    /// Writes `x*` as a repetition of bytes and `x+` as one `x` and then bytes: the repetition crosses bytes that are
    /// no UTF-8, and the program is smaller. Only greedy: a lazy one could stop inside a character.
    fn repeat_any_byte(&mut self, class_start: usize, min: u32, bytes: usize, is_lazy: bool) {
        if is_lazy || self.ungreedy {
            return self.copy(bytes);
        }
        let class = self.out[class_start..].to_string();
        if min == 0 {
            self.out.truncate(class_start);
        }
        self.out.push_str("(?-u:");
        self.out.push_str(&class);
        self.out.push_str(")*");
        self.rest = &self.rest[bytes..];
    }
}

/// `{n}`, `{n,}` or `{n,m}` at the front of `src`: the counts and the length.
fn counts(src: &str) -> Option<(u32, Option<u32>, usize)> {
    let (inner, _) = src[1..].split_once('}')?;
    let bytes = inner.len() + 2;
    match inner.split_once(',') {
        None => count(inner).map(|n| (n, Some(n), bytes)),
        Some((min, "")) => count(min).map(|n| (n, None, bytes)),
        Some((min, max)) => Some((count(min)?, Some(count(max)?), bytes)),
    }
}

/// A decimal number without leading zeros; one too large for any bound is `u32::MAX`.
fn count(digits: &str) -> Option<u32> {
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let has_leading_zero = digits.len() > 1 && digits.starts_with('0');
    (is_number && !has_leading_zero).then(|| digits.parse().unwrap_or(u32::MAX))
}
