//! The syntax tree of a template and its printing, as Go shows parts of it in errors.

use super::lex::Number;
use std::fmt;

pub type List = Vec<Node>;

#[derive(Debug)]
pub enum Node {
    Text(String),
    Action(Pipeline),
    If { pipe: Pipeline, then: List, otherwise: List },
    With { pipe: Pipeline, then: List, otherwise: List },
    Range { pipe: Pipeline, body: List, otherwise: List },
    Template { name: String, pipe: Option<Pipeline>, at: usize },
    Break,
    Continue,
}

#[derive(Debug)]
pub struct Pipeline {
    /// Variables with their dollar.
    pub variables: Vec<String>,
    /// `=` instead of `:=`.
    pub is_assign: bool,
    pub commands: Vec<Command>,
}

#[derive(Debug)]
pub struct Command {
    /// At least one.
    pub words: Vec<Word>,
    pub at: usize,
}

#[derive(Debug)]
pub struct Word {
    pub kind: WordKind,
    pub at: usize,
}

#[derive(Debug)]
pub enum WordKind {
    Dot,
    Nil,
    Bool(bool),
    Number(String, Number),
    /// The literal as written, and its text.
    Text(String, Vec<u8>),
    Function(String),
    /// `.a.b`
    Field(Vec<String>),
    /// `$x.a.b`, the first with its dollar.
    Variable(Vec<String>),
    /// `(pipeline)`
    Pipeline(Box<Pipeline>),
    /// Fields of something that is not a plain field or variable.
    Chain(Box<Word>, Vec<String>),
}

impl fmt::Display for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.variables.is_empty() {
            write!(f, "{} {} ", self.variables.join(", "), if self.is_assign { "=" } else { ":=" })?;
        }
        for (i, command) in self.commands.iter().enumerate() {
            write!(f, "{}{command}", if i > 0 { " | " } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, word) in self.words.iter().enumerate() {
            write!(f, "{}{word}", if i > 0 { " " } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            WordKind::Dot => f.write_str("."),
            WordKind::Nil => f.write_str("nil"),
            WordKind::Bool(b) => write!(f, "{b}"),
            WordKind::Number(text, _) | WordKind::Text(text, _) | WordKind::Function(text) => f.write_str(text),
            WordKind::Field(names) => names.iter().try_for_each(|n| write!(f, ".{n}")),
            WordKind::Variable(names) => f.write_str(&names.join(".")),
            WordKind::Pipeline(pipe) => write!(f, "({pipe})"),
            WordKind::Chain(word, names) => {
                write!(f, "{word}")?;
                names.iter().try_for_each(|n| write!(f, ".{n}"))
            }
        }
    }
}
