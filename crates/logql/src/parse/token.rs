//! The tokens of LogQL and the names under which error messages speak of them.

use crate::ast::{Conversion, RangeOp, VectorOp};
use smol_str::SmolStr;

#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    End,
    Identifier(SmolStr),
    /// Unquoted.
    Text(SmolStr),
    /// As written.
    Number(SmolStr),
    /// Nanoseconds.
    Duration(i64),
    Bytes(u64),
    /// `[5m]`, in nanoseconds.
    Range(i64),
    /// `--name`
    Flag(SmolStr),
    /// An operator, a delimiter or a keyword, by its text in lower case.
    Fixed(&'static str),
    /// A function's name in front of its parenthesis or grouping.
    Function(Function),
    /// What belongs to no token, by the name that Loki gives it: IDENTIFIER for a character, STRING for a word with
    /// other letters than ASCII.
    Stray(&'static str),
    /// What the lexer could not read, and why.
    Bad(SmolStr),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    Range(RangeOp),
    Vector(VectorOp),
    Conversion(Conversion),
    LabelReplace,
    VectorLiteral,
    Variants,
    Ip,
}

/// Words that are never identifiers.
pub const KEYWORDS: [&str; 23] = [
    "by",
    "without",
    "bool",
    "offset",
    "unwrap",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "and",
    "or",
    "unless",
    "json",
    "logfmt",
    "regexp",
    "pattern",
    "unpack",
    "line_format",
    "label_format",
    "decolorize",
    "drop",
    "keep",
    "of",
];

impl Function {
    /// `name` in lower case.
    pub fn named(name: &str) -> Option<Function> {
        let conversions = [Conversion::Bytes, Conversion::Duration, Conversion::DurationSeconds];
        match name {
            "label_replace" => return Some(Function::LabelReplace),
            "vector" => return Some(Function::VectorLiteral),
            "variants" => return Some(Function::Variants),
            "ip" => return Some(Function::Ip),
            _ => {}
        }
        let range = RangeOp::ALL.into_iter().find(|op| op.as_str() == name).map(Function::Range);
        let vector = || VectorOp::ALL.into_iter().find(|op| op.as_str() == name).map(Function::Vector);
        let conversion = || conversions.into_iter().find(|c| c.as_str() == name).map(Function::Conversion);
        range.or_else(vector).or_else(conversion)
    }

    fn token_name(self) -> String {
        match self {
            Function::Range(op) => op.as_str().to_uppercase(),
            Function::Vector(op) => op.as_str().to_uppercase(),
            Function::Conversion(c) => format!("{}_CONV", c.as_str().to_uppercase()),
            Function::LabelReplace => "LABEL_REPLACE".into(),
            Function::VectorLiteral => "VECTOR".into(),
            Function::Variants => "VARIANTS".into(),
            Function::Ip => "ip".into(),
        }
    }
}

impl Token {
    /// The name in `unexpected ...`.
    pub fn name(&self) -> String {
        match self {
            Token::End => "$end".into(),
            Token::Identifier(_) => "IDENTIFIER".into(),
            Token::Stray(name) => (*name).into(),
            Token::Text(_) => "STRING".into(),
            Token::Number(_) => "NUMBER".into(),
            Token::Duration(_) => "DURATION".into(),
            Token::Bytes(_) => "BYTES".into(),
            Token::Range(_) => "RANGE".into(),
            Token::Flag(_) => "FUNCTION_FLAG".into(),
            Token::Fixed(text) => (*text).into(),
            Token::Function(function) => function.token_name(),
            Token::Bad(why) => why.to_string(),
        }
    }
}
