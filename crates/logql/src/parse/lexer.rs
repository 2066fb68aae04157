//! Splits a query into tokens, with the place of each. It must not know the grammar, except that a function's name is
//! one only in front of `(`, `by (` or `without (`.

use super::token::{Function, KEYWORDS, Token};
use crate::units::bytes;
use model::duration;
use smol_str::SmolStr;

#[derive(Clone, Debug)]
pub struct Lexeme {
    pub token: Token,
    pub line: usize,
    pub column: usize,
}

/// Two-character operators first: the longest wins.
const OPERATORS: [&str; 28] = [
    "|=", "|~", "|>", "!=", "!~", "!>", "==", "=~", ">=", "<=", "|", "=", ">", "<", "+", "-", "*", "/", "%", "^", ",",
    "(", ")", "{", "}", ".", "]", "@",
];

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
    column: usize,
    lexemes: Vec<Lexeme>,
}

/// All tokens of `query`. The last is `End`, or `Bad` where reading stopped.
pub fn lex(query: &str) -> Vec<Lexeme> {
    let mut lexer = Lexer { rest: query, line: 1, column: 1, lexemes: Vec::new() };
    loop {
        lexer.skip_blank();
        let is_last = lexer.next();
        if is_last {
            return lexer.lexemes;
        }
    }
}

impl Lexer<'_> {
    /// Passes over `bytes` of the text.
    fn advance(&mut self, bytes: usize) {
        let (passed, rest) = self.rest.split_at(bytes);
        for c in passed.chars() {
            (self.line, self.column) = if c == '\n' { (self.line + 1, 1) } else { (self.line, self.column + 1) };
        }
        self.rest = rest;
    }

    fn skip_blank(&mut self) {
        loop {
            let blank = self.rest.len() - self.rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
            self.advance(blank);
            if !self.rest.starts_with('#') {
                return;
            }
            self.advance(self.rest.find('\n').unwrap_or(self.rest.len()));
        }
    }

    /// Appends a token of `bytes` bytes whose place is known.
    fn push(&mut self, token: Token, bytes: usize) -> bool {
        let is_last = matches!(token, Token::End | Token::Bad(_));
        self.lexemes.push(Lexeme { token, line: self.line, column: self.column });
        self.advance(bytes);
        is_last
    }

    /// The same for a token behind which Loki's scanner has lost the line.
    fn push_unplaced(&mut self, token: Token, bytes: usize) -> bool {
        let is_last = matches!(token, Token::Bad(_));
        self.lexemes.push(Lexeme { token, line: 0, column: self.column });
        self.advance(bytes);
        is_last
    }

    /// Reads one token; answers whether it is the last.
    fn next(&mut self) -> bool {
        let Some(first) = self.rest.chars().next() else {
            return self.push(Token::End, 0);
        };
        match first {
            '"' | '`' => self.text(first),
            '[' => self.range(),
            '0'..='9' => self.quantity(0),
            '.' if self.rest[1..].starts_with(|c: char| c.is_ascii_digit()) => self.quantity(0),
            '-' if self.rest[1..].starts_with(|c: char| c.is_ascii_digit()) => self.quantity(1),
            '-' if self.rest.starts_with("--") => self.flag(),
            c if c == '_' || c.is_ascii_alphabetic() => self.word(),
            c => match OPERATORS.iter().find(|op| self.rest.starts_with(**op)) {
                Some(op) if op.len() == 1 => self.push(Token::Fixed(op), 1),
                Some(op) => self.push_unplaced(Token::Fixed(op), op.len()),
                None if c.is_alphabetic() => self.push(Token::Stray("STRING"), c.len_utf8()),
                None => self.push(Token::Stray("IDENTIFIER"), c.len_utf8()),
            },
        }
    }

    fn text(&mut self, quote: char) -> bool {
        match model::quote::unquote_prefix(self.rest) {
            Some((text, bytes)) => self.push(Token::Text(text.into()), bytes),
            None if is_terminated(self.rest, quote) => self.push(Token::Bad("invalid char escape".into()), 0),
            None => self.push(Token::Bad("literal not terminated".into()), 0),
        }
    }

    fn range(&mut self) -> bool {
        let Some(end) = self.rest.find(']') else {
            return self.push_unplaced(Token::Bad("missing closing ']' in duration".into()), 0);
        };
        match duration::parse_prometheus(&self.rest[1..end]) {
            Ok(ns) => self.push_unplaced(Token::Range(ns), end + 1),
            Err(why) => self.push_unplaced(Token::Bad(why.into()), 0),
        }
    }

    /// A number, or a duration or size that starts with one; `sign` bytes of sign are in front, which only a duration
    /// may have: the sign of a number is an operator.
    fn quantity(&mut self, sign: usize) -> bool {
        let unsigned = &self.rest[sign..];
        let number_end = number_bytes(unsigned);
        let digits_end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let duration_end =
            run(unsigned, digits_end, |c| matches!(c, 'n' | 'u' | 'µ' | 'μ' | 'm' | 's' | 'h' | 'd' | 'w' | 'y'));
        if duration_end > digits_end
            && let Ok(ns) = duration::parse_literal(&unsigned[..duration_end])
        {
            return self.push_unplaced(Token::Duration(if sign > 0 { -ns } else { ns }), sign + duration_end);
        }
        if sign > 0 {
            return self.push(Token::Fixed("-"), 1);
        }
        let bytes_end = run(unsigned, digits_end, |c| matches!(c, 'B' | 'i' | 'k' | 'K' | 'M' | 'G' | 'T' | 'P'));
        if bytes_end > digits_end
            && let Ok(size) = bytes::parse(&unsigned[..bytes_end])
        {
            return self.push_unplaced(Token::Bytes(size), bytes_end);
        }
        let text = SmolStr::from(&unsigned[..number_end]);
        self.push(Token::Number(text), number_end)
    }

    fn flag(&mut self) -> bool {
        let name = &self.rest[2..];
        let end = name.find(|c: char| c != '-' && !c.is_ascii_alphanumeric()).unwrap_or(name.len());
        if end == 0 {
            return self.push(Token::Fixed("-"), 1);
        }
        let name = SmolStr::from(&name[..end]);
        self.push_unplaced(Token::Flag(name), end + 2)
    }

    fn word(&mut self) -> bool {
        let end = self.rest.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(self.rest.len());
        let (word, after) = self.rest.split_at(end);
        if after.starts_with(char::is_alphabetic) {
            // An identifier of other letters than ASCII is no label name.
            return self.push(Token::Stray("STRING"), end);
        }
        let lower = word.to_ascii_lowercase();
        if let Some(keyword) = KEYWORDS.iter().find(|k| **k == lower) {
            return self.push(Token::Fixed(keyword), end);
        }
        if let Some(function) = Function::named(&lower).filter(|_| is_call(after)) {
            return self.push(Token::Function(function), end);
        }
        let name = SmolStr::from(word);
        self.push(Token::Identifier(name), end)
    }
}

/// Whether the literal has an end, so that something inside it is wrong.
fn is_terminated(src: &str, quote: char) -> bool {
    if quote == '`' {
        return false;
    }
    let mut is_escaped = false;
    for c in src[1..].chars() {
        match c {
            '\n' => return false,
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return true,
            _ => {}
        }
    }
    false
}

/// The end of the run of digits, points and characters of `unit` that goes on from `start`.
fn run(text: &str, start: usize, unit: impl Fn(char) -> bool) -> usize {
    let end = text[start..].find(|c: char| !c.is_ascii_digit() && c != '.' && !unit(c));
    end.map_or(text.len(), |e| start + e)
}

/// The length of Go's number literal at the front: what it means is the parser's question.
fn number_bytes(text: &str) -> usize {
    if text.starts_with("0x") || text.starts_with("0X") {
        return 2 + text[2..].find(|c: char| !c.is_ascii_hexdigit() && c != '_').unwrap_or(text.len() - 2);
    }
    let whole = text.find(|c: char| !c.is_ascii_digit() && c != '_' && c != '.').unwrap_or(text.len());
    let after_point = text.find('.').map(|p| p + 1).filter(|p| *p <= whole);
    // Only one point belongs to a number.
    let mantissa = after_point.and_then(|p| text[p..whole].find('.').map(|q| p + q)).unwrap_or(whole);
    let Some(exponent) = text[mantissa..].strip_prefix(['e', 'E']) else { return mantissa };
    let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let digits_end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    if digits_end == 0 {
        return mantissa;
    }
    text.len() - digits.len() + digits_end
}

/// Whether `(`, `by (` or `without (` follows a function's name.
fn is_call(after: &str) -> bool {
    let after = after.trim_start();
    if after.starts_with('(') {
        return true;
    }
    let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
    let word = &after[..end];
    (word.eq_ignore_ascii_case("by") || word.eq_ignore_ascii_case("without"))
        && after[end..].trim_start().starts_with('(')
}
