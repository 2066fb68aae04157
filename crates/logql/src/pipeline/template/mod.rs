//! Go's `text/template` with Loki's functions, for `line_format` and `label_format`: parsed once, run per line, with
//! Go's error texts. A template of plain fields and text only is run without the evaluator.

pub mod compare;
pub mod decimal;
pub mod escape;
pub mod from_json;
pub mod functions;
pub mod go_time;
pub mod lex;
pub mod math;
pub mod parse;
pub mod printf;
pub mod run;
pub mod strings;
pub mod syntax;
pub mod time_parse;
pub mod times;
pub mod value;

use super::hints::Interest;
use super::labels::WorkingLabels;
use super::names::NameId;
use model::pattern::compile_bytes;
use regex::bytes::Regex;
use smol_str::SmolStr;
use std::borrow::Cow;
use syntax::{List, Node, Pipeline, Word, WordKind};

/// The largest output of one template, in bytes: twice Loki's default `max_line_size`. A query of many templates, each of
/// which doubles its line, stops growing here.
pub const OUTPUT_BYTES_MAX: usize = 512 << 10;
/// Nodes and loop rounds that one run may take: a template is no place for long computations.
pub const STEPS_MAX: usize = 100_000;
/// Bytes of text that the functions of one run may read and make together: a bound on its time.
pub const WORK_BYTES_MAX: usize = 64 << 20;

/// What a template can see of a line: the labels as frozen.
pub struct Data<'a, 'p> {
    pub ts_ns: i64,
    pub line: &'a [u8],
    pub labels: &'a WorkingLabels<'p>,
}

pub struct Template {
    name: &'static str,
    text: String,
    tree: parse::Tree,
    /// The template as pieces, if it is simple.
    simple: Option<Vec<Piece>>,
    regexes: Regexes,
}

enum Piece {
    Text(String),
    Label(NameId),
    Line,
}

impl Template {
    /// The error is Go's text.
    pub fn parse(name: &'static str, text: &str, interest: &mut Interest) -> Result<Self, String> {
        let tree = parse_named(name, text)?;
        let simple = simple(&tree.main, interest);
        let regexes = Regexes::of(&tree);
        Ok(Template { name, text: text.into(), tree, simple, regexes })
    }

    /// Appends the output; on failure, which is Go's text, `out` is as it was.
    pub fn execute(&self, data: &Data<'_, '_>, out: &mut Vec<u8>) -> Result<(), String> {
        let start = out.len();
        let done = match &self.simple {
            None => run::run(self, data, out),
            Some(pieces) => pieces.iter().try_for_each(|piece| {
                out.extend_from_slice(match piece {
                    Piece::Text(text) => text.as_bytes(),
                    Piece::Label(id) => data.labels.frozen_id(*id).unwrap_or("").as_bytes(),
                    Piece::Line => data.line,
                });
                self.check_size(out.len() - start)
            }),
        };
        done.inspect_err(|_| out.truncate(start))
    }

    fn check_size(&self, bytes: usize) -> Result<(), String> {
        match bytes > OUTPUT_BYTES_MAX {
            true => Err(format!("template: {}: more than {OUTPUT_BYTES_MAX} bytes", self.name)),
            false => Ok(()),
        }
    }
}

fn simple(list: &List, interest: &mut Interest) -> Option<Vec<Piece>> {
    let piece = |node: &Node| match node {
        Node::Text(text) => Some(Piece::Text(text.clone())),
        Node::Action(pipe) => match &only_word(pipe)?.kind {
            WordKind::Field(names) if names.len() == 1 => Some(Piece::Label(interest.name(&names[0]))),
            WordKind::Function(name) if name == "__line__" => Some(Piece::Line),
            _ => None,
        },
        _ => None,
    };
    list.iter().map(piece).collect()
}

fn only_word(pipe: &Pipeline) -> Option<&Word> {
    match &pipe.commands[..] {
        [command] if pipe.variables.is_empty() && command.words.len() == 1 => command.words.first(),
        _ => None,
    }
}

/// Whether a template can be compiled; the error is Go's text (`template: line:1: unclosed action`).
pub fn check(name: &str, text: &str) -> Result<(), String> {
    parse_named(name, text).map(|_| ())
}

fn parse_named(name: &str, text: &str) -> Result<parse::Tree, String> {
    parse::parse(text).map_err(|(line, what)| format!("template: {name}:{line}: {what}"))
}

/// The names of the labels that a template reads, as far as they stand in it.
pub fn fields(text: &str) -> Vec<SmolStr> {
    let mut names = Vec::new();
    if let Ok(tree) = parse::parse(text) {
        let mut collect = |word: &Word| match &word.kind {
            WordKind::Field(fields) => names.extend(fields.first().map(SmolStr::from)),
            WordKind::Variable(fields) => names.extend(fields.get(1).map(SmolStr::from)),
            _ => {}
        };
        std::iter::once(&tree.main).chain(tree.defined.values()).for_each(|list| each_word(list, &mut collect));
    }
    names
}

fn each_word<'t>(list: &'t List, f: &mut impl FnMut(&'t Word)) {
    for node in list {
        match node {
            Node::Text(_) | Node::Break | Node::Continue => {}
            Node::Action(pipe) => each_word_of(pipe, f),
            Node::Template { pipe, .. } => pipe.iter().for_each(|pipe| each_word_of(pipe, f)),
            Node::If { pipe, then, otherwise } | Node::With { pipe, then, otherwise } => {
                each_word_of(pipe, f);
                each_word(then, f);
                each_word(otherwise, f);
            }
            Node::Range { pipe, body, otherwise } => {
                each_word_of(pipe, f);
                each_word(body, f);
                each_word(otherwise, f);
            }
        }
    }
}

fn each_word_of<'t>(pipe: &'t Pipeline, f: &mut impl FnMut(&'t Word)) {
    for word in pipe.commands.iter().flat_map(|c| &c.words) {
        let mut word = word;
        f(word);
        while let WordKind::Chain(inner, _) = &word.kind {
            word = inner;
            f(word);
        }
        if let WordKind::Pipeline(pipe) = &word.kind {
            each_word_of(pipe, f);
        }
    }
}

/// Expressions that stand as literals behind a function that takes one, compiled once.
#[derive(Default)]
pub struct Regexes(Vec<(String, Result<Regex, String>)>);

impl Regexes {
    fn of(tree: &parse::Tree) -> Self {
        let mut regexes = Regexes::default();
        let mut is_argument = false;
        let mut collect = |word: &Word| {
            if let (true, WordKind::Text(_, text)) = (is_argument, &word.kind) {
                let text = String::from_utf8_lossy(text).into_owned();
                let regex = compile_bytes(&text).map_err(|e| e.message);
                regexes.0.push((text, regex));
            }
            is_argument = matches!(&word.kind, WordKind::Function(name)
                if matches!(name.as_str(), "regexReplaceAll" | "regexReplaceAllLiteral" | "count"));
        };
        std::iter::once(&tree.main).chain(tree.defined.values()).for_each(|list| each_word(list, &mut collect));
        regexes
    }

    /// The compiled expression; the error is Go's text.
    pub fn get(&self, text: &str) -> Result<Cow<'_, Regex>, String> {
        match self.0.iter().find(|(known, _)| known == text) {
            Some((_, regex)) => regex.as_ref().map(Cow::Borrowed).map_err(String::clone),
            None => compile_bytes(text).map(Cow::Owned).map_err(|e| e.message),
        }
    }
}
