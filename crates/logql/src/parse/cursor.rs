//! The parser's place in the tokens, its limits, and the errors that name what was expected there.

use super::error::ParseError;
use super::lexer::{Lexeme, lex};
use super::token::Token;
use smol_str::SmolStr;

type Result<T> = std::result::Result<T, ParseError>;

/// How deep an expression may be: parentheses, functions and operators in one another, as written and as a tree.
/// Each level costs stack in the parser, the printer and the engine, and 250 levels fit a thread of 2 MB.
pub const DEPTH_MAX: usize = 250;

/// Messages name what was expected if that is at most this many tokens, as yacc does.
const EXPECTED_MAX: usize = 4;

pub struct Cursor {
    lexemes: Vec<Lexeme>,
    at: usize,
    depth: usize,
}

impl Cursor {
    pub fn new(query: &str) -> Self {
        let mut lexemes = lex(query);
        if query.is_empty() {
            // Loki names no place in a query without text.
            lexemes.iter_mut().for_each(|l| (l.line, l.column) = (0, 0));
        }
        Cursor { lexemes, at: 0, depth: 0 }
    }

    pub fn peek(&self) -> &Token {
        &self.lexemes[self.at].token
    }

    /// The token after the next.
    pub fn peek_second(&self) -> &Token {
        &self.lexemes[(self.at + 1).min(self.lexemes.len() - 1)].token
    }

    /// The next token, passed over. The last one stays.
    pub fn next(&mut self) -> Token {
        let token = self.lexemes[self.at].token.clone();
        self.at = (self.at + 1).min(self.lexemes.len() - 1);
        token
    }

    pub fn is(&self, text: &str) -> bool {
        matches!(self.peek(), Token::Fixed(t) if *t == text)
    }

    /// Passes over `text` if it is next.
    pub fn accept(&mut self, text: &str) -> bool {
        let is_next = self.is(text);
        if is_next {
            self.next();
        }
        is_next
    }

    /// Passes over `text`; `expected` names all that could be here, and is empty where that is too much to name.
    pub fn expect(&mut self, text: &str, expected: &[&str]) -> Result<()> {
        if self.accept(text) { Ok(()) } else { Err(self.unexpected(expected)) }
    }

    pub fn identifier(&mut self, expected: &[&str]) -> Result<SmolStr> {
        match self.peek() {
            Token::Identifier(name) => {
                let name = name.clone();
                self.next();
                Ok(name)
            }
            _ => Err(self.unexpected(expected)),
        }
    }

    pub fn text(&mut self, expected: &[&str]) -> Result<SmolStr> {
        match self.peek() {
            Token::Text(text) => {
                let text = text.clone();
                self.next();
                Ok(text)
            }
            _ => Err(self.unexpected(expected)),
        }
    }

    /// The error at the next token.
    pub fn unexpected(&self, expected: &[&str]) -> ParseError {
        let lexeme = &self.lexemes[self.at];
        if let Token::Bad(why) = &lexeme.token {
            return ParseError::at(lexeme.line, lexeme.column, why);
        }
        let mut what = format!("syntax error: unexpected {}", lexeme.token.name());
        if !expected.is_empty() && expected.len() <= EXPECTED_MAX {
            what.push_str(", expecting ");
            what.push_str(&expected.join(" or "));
        }
        ParseError::at(lexeme.line, lexeme.column, what)
    }

    /// Goes one level deeper; each `enter` has its `leave`, and an error ends the parse.
    pub fn enter(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            let lexeme = &self.lexemes[self.at];
            return Err(ParseError::at(lexeme.line, lexeme.column, too_deep()));
        }
        Ok(())
    }

    pub fn leave(&mut self) {
        self.depth -= 1;
    }
}

pub fn too_deep() -> String {
    format!("expression nests too deeply (more than {DEPTH_MAX} levels)")
}
