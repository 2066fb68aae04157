//! Why a query was refused, in Loki's words.

use crate::ast::Stage;
use std::fmt;

/// `line` and `column` count characters from 1. Both are 0 where Loki names no place; a place whose line is 0 is
/// behind an operator of two characters, a range or a duration, where Loki's scanner has lost the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The whole text: `parse error at line 1, col 5: syntax error: unexpected ...`.
    pub message: String,
    pub line: usize,
    pub column: usize,
}

impl ParseError {
    /// A query that is well formed and means nothing.
    pub fn new(what: impl fmt::Display) -> Self {
        ParseError { message: format!("parse error : {what}"), line: 0, column: 0 }
    }

    pub fn at(line: usize, column: usize, what: impl fmt::Display) -> Self {
        if (line, column) == (0, 0) {
            return Self::new(what);
        }
        ParseError { message: format!("parse error at line {line}, col {column}: {what}"), line, column }
    }

    /// A stage that cannot work, whatever the line.
    pub fn at_stage(stage: &Stage, what: impl fmt::Display) -> Self {
        Self::new(format_args!("stage '{stage}' : {what}"))
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ParseError {}

impl From<ParseError> for model::Error {
    fn from(error: ParseError) -> Self {
        model::Error::invalid(error.message)
    }
}

/// Of a matcher or a regular expression outside of a stage.
impl From<model::Error> for ParseError {
    fn from(error: model::Error) -> Self {
        ParseError::new(error.message)
    }
}
