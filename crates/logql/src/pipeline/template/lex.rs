//! Splits an action of a template into tokens. It must not know the grammar.

use model::quote::unquote_prefix;

#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    /// A word that is no keyword: a function.
    Identifier(String),
    /// `true`, `false`, `nil`, `if`, `else`, ...
    Keyword(&'static str),
    /// `.name`
    Field(String),
    /// `$` and `$name`, with the dollar.
    Variable(String),
    Dot,
    /// The text as written.
    Number(String),
    /// The text as written, and what it means.
    Text(String, Vec<u8>),
    Pipe,
    Open,
    Close,
    Declare,
    Assign,
    Comma,
    Space,
    /// The end of the action.
    End,
}

#[derive(Clone, Debug)]
pub struct Spanned {
    pub token: Token,
    /// Byte offset in the template.
    pub at: usize,
}

const KEYWORDS: [&str; 13] =
    ["true", "false", "nil", "if", "else", "end", "range", "with", "define", "block", "template", "break", "continue"];

/// The tokens of an action's inside, which starts at `at` of the template.
pub fn tokens(inside: &str, at: usize) -> Result<Vec<Spanned>, String> {
    let mut tokens = Vec::new();
    let mut i = 0;
    while i < inside.len() {
        let (token, len) = token(&inside[i..])?;
        tokens.push(Spanned { token, at: at + i });
        i += len;
    }
    tokens.push(Spanned { token: Token::End, at: at + i });
    Ok(tokens)
}

fn token(text: &str) -> Result<(Token, usize), String> {
    let c = text.chars().next().unwrap_or_default();
    let next = text[c.len_utf8()..].chars().next();
    let single = |token| Ok((token, 1));
    match c {
        ' ' | '\t' | '\r' | '\n' => {
            let len = text.find(|c| !matches!(c, ' ' | '\t' | '\r' | '\n')).unwrap_or(text.len());
            Ok((Token::Space, len))
        }
        ':' if next == Some('=') => Ok((Token::Declare, 2)),
        ':' => Err("expected :=".into()),
        '=' => single(Token::Assign),
        '|' => single(Token::Pipe),
        '(' => single(Token::Open),
        ')' => single(Token::Close),
        ',' => single(Token::Comma),
        '"' | '`' => quoted(text, c),
        '\'' => character(text),
        '$' => {
            let len = 1 + word_len(&text[1..]);
            Ok((Token::Variable(text[..len].to_string()), len))
        }
        '.' if !next.is_some_and(|c| c.is_ascii_digit()) => {
            let len = 1 + word_len(&text[1..]);
            let token = if len == 1 { Token::Dot } else { Token::Field(text[1..len].to_string()) };
            Ok((token, len))
        }
        '+' | '-' | '.' | '0'..='9' => number(text),
        c if c == '_' || c.is_alphabetic() => Ok(word(text)),
        c => Err(format!("unexpected bad character U+{:04X} {} in command", c as u32, quote_char(c))),
    }
}

fn quote_char(c: char) -> String {
    format!("'{c}'")
}

fn word_len(text: &str) -> usize {
    text.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(text.len())
}

fn word(text: &str) -> (Token, usize) {
    let len = word_len(text);
    let word = &text[..len];
    let token = match KEYWORDS.iter().find(|k| **k == word) {
        Some(keyword) => Token::Keyword(keyword),
        None => Token::Identifier(word.to_string()),
    };
    (token, len)
}

fn quoted(text: &str, quote: char) -> Result<(Token, usize), String> {
    match unquote_prefix(text) {
        Some((value, len)) => Ok((Token::Text(text[..len].to_string(), value.into_bytes()), len)),
        None if quote == '`' => Err("unterminated raw quoted string".into()),
        None => Err("unterminated quoted string".into()),
    }
}

/// A character constant stands for its number.
fn character(text: &str) -> Result<(Token, usize), String> {
    let mut escaped = false;
    for (i, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '\'' => return Ok((Token::Number(text[..=i].to_string()), i + 1)),
            '\n' => break,
            _ => {}
        }
    }
    Err("unterminated character constant".into())
}

fn number(text: &str) -> Result<(Token, usize), String> {
    let sign = usize::from(text.starts_with(['+', '-']));
    let mut len = sign;
    let mut last = ' ';
    for c in text[sign..].chars() {
        let is_part = c.is_ascii_alphanumeric()
            || matches!(c, '.' | '_')
            || (matches!(c, '+' | '-') && matches!(last, 'e' | 'E' | 'p' | 'P') && !text[sign..].starts_with("0x"));
        if !is_part {
            break;
        }
        last = c;
        len += c.len_utf8();
    }
    match Number::parse(&text[..len]) {
        Some(_) => Ok((Token::Number(text[..len].to_string()), len)),
        None => Err(format!("bad number syntax: {}", model::quote::quote(&text[..len]))),
    }
}

/// A numeric constant; what it is used as decides which of the two it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Number {
    pub int: Option<i64>,
    pub float: Option<f64>,
}

impl Number {
    pub fn parse(text: &str) -> Option<Number> {
        if let Some(inner) = text.strip_prefix('\'') {
            let inner = inner.strip_suffix('\'')?;
            let literal = format!("\"{}\"", inner.replace("\\'", "'"));
            let (value, len) = unquote_prefix(&literal)?;
            let c = value.chars().next().filter(|_| len == literal.len() && value.chars().count() == 1)?;
            return Some(Number { int: Some(i64::from(c as u32)), float: None });
        }
        let int = parse_int(text);
        let float = match int {
            Some(i) => Some(i as f64),
            None => crate::units::number::parse(text).ok().filter(|f| f.is_finite()),
        };
        let int = int.or_else(|| float.filter(|f| *f == (*f as i64) as f64).map(|f| f as i64));
        (int.is_some() || float.is_some()).then_some(Number { int, float })
    }
}

/// An integer in Go's notations: decimal, `0x`, `0o`, `0b`, and octal after a leading zero.
pub fn parse_int(text: &str) -> Option<i64> {
    let (negative, body) = match text.strip_prefix(['+', '-']) {
        Some(body) => (text.starts_with('-'), body),
        None => (false, text),
    };
    let lower = body.to_ascii_lowercase();
    let (digits, radix) = match lower.get(..2) {
        Some("0x") => (&lower[2..], 16),
        Some("0b") => (&lower[2..], 2),
        Some("0o") => (&lower[2..], 8),
        Some(_) if lower.starts_with('0') => (&lower[1..], 8),
        _ => (&lower[..], 10),
    };
    let digits = digits.replace('_', "");
    if digits.is_empty() || digits.starts_with(['+', '-']) || body.ends_with('_') || body.contains("__") {
        return None;
    }
    let magnitude = i128::from_str_radix(&digits, radix).ok()?;
    i64::try_from(if negative { -magnitude } else { magnitude }).ok()
}
