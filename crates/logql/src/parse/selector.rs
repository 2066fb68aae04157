//! `{app="x", env=~"a|b"}` and single matchers.

use super::cursor::Cursor;
use super::error::ParseError;
use super::token::Token;
use model::{MatchOp, Matcher};
use smol_str::SmolStr;

const OPERATORS: [&str; 4] = ["=", "=~", "!~", "!="];

/// The most matchers of one selector; each costs an index look-up per query.
pub const MATCHERS_MAX: usize = 1000;

/// A selector in braces; `{}` and a comma at the end are allowed.
pub fn selector(cursor: &mut Cursor) -> Result<Vec<Matcher>, ParseError> {
    cursor.expect("{", &[])?;
    let mut matchers = Vec::new();
    while !cursor.accept("}") {
        if matchers.len() == MATCHERS_MAX {
            return Err(ParseError::new(format_args!("more than {MATCHERS_MAX} matchers in a selector")));
        }
        let name = cursor.identifier(&["IDENTIFIER", "}"])?;
        let Some(op) = match_op(cursor) else { return Err(cursor.unexpected(&OPERATORS)) };
        matchers.push(matcher(cursor, name, op)?);
        if !cursor.is("}") {
            cursor.expect(",", &["}", ","])?;
        }
    }
    Ok(matchers)
}

/// Passes over the operator of a matcher.
pub fn match_op(cursor: &mut Cursor) -> Option<MatchOp> {
    let op = match cursor.peek() {
        Token::Fixed("=") => MatchOp::Eq,
        Token::Fixed("!=") => MatchOp::Ne,
        Token::Fixed("=~") => MatchOp::Re,
        Token::Fixed("!~") => MatchOp::NotRe,
        _ => return None,
    };
    cursor.next();
    Some(op)
}

/// The text of a matcher whose name and operator were read.
pub fn matcher(cursor: &mut Cursor, name: SmolStr, op: MatchOp) -> Result<Matcher, ParseError> {
    let value = cursor.text(&["STRING"])?;
    Ok(Matcher::new(name, op, value)?)
}
