//! The names that `regexp` and `pattern` extract, and the patterns of `|>`: syntax only, nothing is matched here.

use crate::parse::ParseError;
use model::pattern;
use std::collections::HashSet;

/// `regexp "..."`: it compiles, names at least one group, and every name is a label name that occurs once.
pub fn check_regexp(go: &str) -> Result<(), ParseError> {
    let invalid = |why: String| ParseError::new(format_args!("invalid regexp parser: {why}"));
    pattern::compile_bytes(go).map_err(|e| invalid(e.message))?;
    let mut names = HashSet::new();
    for name in group_names(go) {
        if name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(invalid(format!("invalid extracted label name '{name}'")));
        }
        if !names.insert(name) {
            return Err(invalid(format!("duplicate extracted label name '{name}'")));
        }
    }
    if names.is_empty() {
        return Err(invalid("at least one named capture must be supplied".into()));
    }
    Ok(())
}

/// Names of the groups of a valid Go expression, in order; what looks like a group inside a class or a quotation is
/// none.
fn group_names(go: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut is_class = false;
    let mut at = 0;
    while let Some(c) = go[at..].chars().next() {
        let rest = &go[at..];
        let name = rest.strip_prefix("(?P<").or_else(|| rest.strip_prefix("(?<"));
        at += match c {
            '\\' if rest.starts_with("\\Q") && !is_class => rest.find("\\E").map_or(rest.len(), |e| e + 2),
            '\\' => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            // A bracket in front is a character of the class.
            '[' if !is_class => {
                is_class = true;
                let inner = rest[1..].strip_prefix('^').unwrap_or(&rest[1..]);
                rest.len() - inner.len() + usize::from(inner.starts_with(']'))
            }
            '[' if rest.starts_with("[:") => rest.find(":]").map_or(1, |e| e + 2),
            ']' if is_class => {
                is_class = false;
                1
            }
            '(' if !is_class => {
                names.extend(name.and_then(|n| n.split_once('>')).map(|(n, _)| n));
                1
            }
            c => c.len_utf8(),
        };
    }
    names
}

/// A piece of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece<'a> {
    Literal,
    /// The name; `_` skips.
    Capture(&'a str),
}

/// `<name>` is a capture when the name could be a label's; everything else is literal.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(name) = capture(rest) {
            pieces.push(Piece::Capture(name));
            rest = &rest[name.len() + 2..];
            continue;
        }
        if pieces.last() != Some(&Piece::Literal) {
            pieces.push(Piece::Literal);
        }
        rest = &rest[rest.chars().next().map_or(0, char::len_utf8)..];
    }
    pieces
}

fn capture(text: &str) -> Option<&str> {
    let (name, _) = text.strip_prefix('<')?.split_once('>')?;
    let is_name = name.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic())
        && name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric());
    is_name.then_some(name)
}

fn check_consecutive(pieces: &[Piece]) -> Result<(), String> {
    for pair in pieces.windows(2) {
        if let [Piece::Capture(first), Piece::Capture(second)] = pair {
            return Err(format!("found consecutive capture '<{first}><{second}>': invalid expression"));
        }
    }
    Ok(())
}

/// `pattern "..."`: at least one named capture, none named twice, no two without text between.
pub fn check_pattern(text: &str) -> Result<(), ParseError> {
    let invalid = |why: String| ParseError::new(format_args!("invalid pattern parser: {why}"));
    let pieces = pieces(text);
    let mut names = HashSet::new();
    let named = pieces.iter().filter_map(|p| match p {
        Piece::Capture(name) if *name != "_" => Some(*name),
        _ => None,
    });
    let mut duplicate = None;
    for name in named {
        if !names.insert(name) {
            duplicate = duplicate.or(Some(name));
        }
    }
    if names.is_empty() {
        return Err(invalid("at least one capture is required".into()));
    }
    check_consecutive(&pieces).map_err(invalid)?;
    match duplicate {
        Some(name) => Err(invalid(format!("duplicate capture name ({name}): invalid expression"))),
        None => Ok(()),
    }
}

/// `|> "..."`: no named captures, no two without text between.
pub fn check_line_pattern(text: &str) -> Result<(), String> {
    let pieces = pieces(text);
    let named = pieces.iter().find_map(|p| match p {
        Piece::Capture(name) if *name != "_" => Some(*name),
        _ => None,
    });
    if let Some(name) = named {
        return Err(format!("named captures are not allowed: found '<{name}>'"));
    }
    check_consecutive(&pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_where_they_are() {
        for (go, names) in [
            ("(?P<a>x)(?<b>y)(z)(?:w)", &["a", "b"][..]),
            (r"\(?P<a>[(?P<b>](?P<c>x)", &["c"]),
            (r"\Q(?P<a>\E(?P<b>x)", &["b"]),
            (r"[](?P<a>](?P<b>[[:alpha:](?P<c>])", &["b"]),
            (r"[^](?P<a>\]](?P<b>x)", &["b"]),
        ] {
            assert_eq!(group_names(go), names, "{go}");
            assert!(check_regexp(go).is_ok(), "{go}");
        }
        for (go, why) in [
            ("x", "at least one named capture must be supplied"),
            ("(x)", "at least one named capture must be supplied"),
            ("(?P<a>x)(?P<a>y)", "duplicate extracted label name 'a'"),
            ("(?P<1>x)", "invalid extracted label name '1'"),
            ("(?P<a>x", "error parsing regexp: missing closing ): `(?P<a>x`"),
        ] {
            let expected = format!("parse error : invalid regexp parser: {why}");
            assert_eq!(check_regexp(go).map_err(|e| e.message), Err(expected), "{go}");
        }
    }

    #[test]
    fn patterns_have_captures_with_text_between() {
        for text in ["<a> <_>", "x<a>", "<a b><c>", "<<a>>", "é<a>"] {
            assert_eq!(check_pattern(text), Ok(()), "{text}");
        }
        for (text, why) in [
            ("abc", "at least one capture is required"),
            ("<a><b>", "found consecutive capture '<a><b>': invalid expression"),
            ("<a> <a>", "duplicate capture name (a): invalid expression"),
        ] {
            let expected = format!("parse error : invalid pattern parser: {why}");
            assert_eq!(check_pattern(text).map_err(|e| e.message), Err(expected), "{text}");
        }
        assert_eq!(check_line_pattern("a <_> b"), Ok(()));
    }
}
