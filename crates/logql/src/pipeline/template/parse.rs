//! Parses a template. Errors are Go's texts, without `template: name:`.

use super::functions;
use super::lex::{Number, Spanned, Token, tokens};
use super::syntax::{Command, List, Node, Pipeline, Word, WordKind};
use std::collections::BTreeMap;

/// How deep blocks and parentheses may nest: parsing and running them recurses.
pub const NESTING_MAX: usize = 64;

/// A parsed template and the templates that it defines.
#[derive(Debug, Default)]
pub struct Tree {
    pub main: List,
    pub defined: BTreeMap<String, List>,
}

/// An error and the line it is on.
pub type Failure = (usize, String);

enum Piece<'t> {
    Text(&'t str),
    Action(Vec<Spanned>),
}

pub fn parse(text: &str) -> Result<Tree, Failure> {
    let pieces = split(text)?;
    let mut parser =
        Parser { text, pieces, at: 0, variables: vec!["$".into()], depth: 0, range_depth: 0, tree: Tree::default() };
    let (main, end) = parser.list()?;
    match end {
        Ending::Eof => {}
        Ending::End => return parser.fail("unexpected {{end}}"),
        Ending::Else(_) => return parser.fail("unexpected {{else}}"),
    }
    parser.tree.main = main;
    Ok(parser.tree)
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text[..at].matches('\n').count()
}

/// Splits text and actions and applies the trim markers.
fn split(text: &str) -> Result<Vec<Piece<'_>>, Failure> {
    const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];
    let mut pieces = Vec::new();
    let mut at = 0;
    let mut trim = false;
    loop {
        let open = text[at..].find("{{").map(|i| at + i);
        let mut literal = &text[at..open.unwrap_or(text.len())];
        if trim {
            literal = literal.trim_start_matches(SPACE);
        }
        let Some(open) = open else {
            pieces.push(Piece::Text(literal));
            return Ok(pieces);
        };
        let mut start = open + 2;
        if text[start..].starts_with('-') && text[start + 1..].starts_with(SPACE) {
            literal = literal.trim_end_matches(SPACE);
            start += 1;
        }
        pieces.push(Piece::Text(literal));
        let (action, end, trims) = action(text, start)?;
        pieces.extend(action.map(Piece::Action));
        (at, trim) = (end, trims);
    }
}

/// The action whose inside starts at `start`: its tokens (none for a comment), its end, whether it trims what follows.
fn action(text: &str, start: usize) -> Result<(Option<Vec<Spanned>>, usize, bool), Failure> {
    let fail = |what: &str| (line_of(text, start), what.to_string());
    let inside = text[start..].trim_start_matches([' ', '\t', '\r', '\n']);
    if inside.starts_with("/*") && (inside.len() == text.len() - start || text[start - 1..].starts_with('-')) {
        let close = inside.find("*/").ok_or_else(|| fail("unclosed comment"))?;
        let rest = &inside[close + 2..];
        let at = text.len() - rest.len();
        if rest.starts_with("}}") {
            return Ok((None, at + 2, false));
        }
        let after = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        return match after.len() < rest.len() && after.starts_with("-}}") {
            true => Ok((None, text.len() - after.len() + 3, true)),
            false => Err(fail("comment ends before closing delimiter")),
        };
    }
    let end = action_end(text, start).ok_or_else(|| fail("unclosed action"))?;
    let inside = &text[start..end];
    let trimmed = inside.strip_suffix('-').filter(|i| i.ends_with([' ', '\t', '\r', '\n']));
    let tokens = tokens(trimmed.unwrap_or(inside), start).map_err(|e| fail(&e))?;
    Ok((Some(tokens), end + 2, trimmed.is_some()))
}

/// The position of the `}}` that closes an action: not one inside a literal.
fn action_end(text: &str, start: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut i = start;
    while i < bytes.len() {
        match bytes[i] {
            b'}' if bytes.get(i + 1) == Some(&b'}') => return Some(i),
            b'`' => i += 1 + text[i + 1..].find('`')?,
            quote @ (b'"' | b'\'') => {
                i += 1;
                while *bytes.get(i)? != quote {
                    if bytes[i] == b'\n' {
                        return None;
                    }
                    i += if bytes[i] == b'\\' { 2 } else { 1 };
                }
            }
            _ => {}
        }
        i += 1;
    }
    None
}

/// What ended a list of nodes.
enum Ending {
    Eof,
    End,
    /// The tokens behind `else`.
    Else(Vec<Spanned>),
}

struct Parser<'t> {
    text: &'t str,
    pieces: Vec<Piece<'t>>,
    at: usize,
    variables: Vec<String>,
    depth: usize,
    range_depth: usize,
    tree: Tree,
}

impl Parser<'_> {
    fn fail<T>(&self, what: impl Into<String>) -> Result<T, Failure> {
        let at = self.pieces.get(self.at.saturating_sub(1)).and_then(|p| match p {
            Piece::Action(tokens) => tokens.first().map(|t| t.at),
            Piece::Text(_) => None,
        });
        Err((line_of(self.text, at.unwrap_or(self.text.len())), what.into()))
    }

    fn list(&mut self) -> Result<(List, Ending), Failure> {
        self.depth += 1;
        if self.depth > NESTING_MAX {
            return self.fail("template nests too deeply");
        }
        let mut list = List::new();
        while self.at < self.pieces.len() {
            self.at += 1;
            let tokens = match &mut self.pieces[self.at - 1] {
                Piece::Text(text) => {
                    if !text.is_empty() {
                        list.push(Node::Text((*text).to_string()));
                    }
                    continue;
                }
                Piece::Action(tokens) => tokens.clone(),
            };
            let mut cursor = Cursor::new(tokens);
            match cursor.peek() {
                Token::Keyword("end") => {
                    self.depth -= 1;
                    return Ok((list, Ending::End));
                }
                Token::Keyword("else") => {
                    cursor.next();
                    self.depth -= 1;
                    return Ok((list, Ending::Else(cursor.rest())));
                }
                Token::Keyword(word) if !matches!(*word, "true" | "false" | "nil") => {
                    let word = *word;
                    cursor.next();
                    list.extend(self.control(word, cursor)?);
                }
                _ => {
                    let pipe = self.whole_pipeline(&mut cursor, "command")?;
                    list.push(Node::Action(pipe));
                }
            }
        }
        self.depth -= 1;
        Ok((list, Ending::Eof))
    }

    fn control(&mut self, word: &'static str, mut cursor: Cursor) -> Result<Option<Node>, Failure> {
        match word {
            "if" | "with" | "range" => self.branch(word, cursor).map(Some),
            "break" | "continue" => {
                if self.range_depth == 0 {
                    return self.fail(format!("{{{{{word}}}}} outside {{{{range}}}}"));
                }
                Ok(Some(if word == "break" { Node::Break } else { Node::Continue }))
            }
            "template" => {
                let (name, at) = self.template_name(&mut cursor, "template clause")?;
                let pipe = match cursor.peek() {
                    Token::End => None,
                    _ => Some(self.whole_pipeline(&mut cursor, "template clause")?),
                };
                Ok(Some(Node::Template { name, pipe, at }))
            }
            "define" | "block" => {
                let (name, at) = self.template_name(&mut cursor, "define clause")?;
                let pipe = match word {
                    "block" => Some(self.whole_pipeline(&mut cursor, "block clause")?),
                    _ => None,
                };
                let outer = std::mem::replace(&mut self.variables, vec!["$".into()]);
                let (list, ending) = self.list()?;
                self.variables = outer;
                self.expect_end(ending, "define clause")?;
                self.tree.defined.insert(name.clone(), list);
                Ok(pipe.map(|pipe| Node::Template { name, pipe: Some(pipe), at }))
            }
            word => self.fail(format!("unexpected <{word}> in command")),
        }
    }

    fn template_name(&self, cursor: &mut Cursor, context: &str) -> Result<(String, usize), Failure> {
        let at = cursor.at();
        match cursor.next() {
            Token::Text(_, name) => Ok((String::from_utf8_lossy(&name).into_owned(), at)),
            token => self.fail(format!("unexpected {} in {context}", describe(&token))),
        }
    }

    fn expect_end(&self, ending: Ending, context: &str) -> Result<(), Failure> {
        match ending {
            Ending::End => Ok(()),
            Ending::Else(_) => self.fail(format!("unexpected {{{{else}}}} in {context}")),
            Ending::Eof => self.fail("unexpected EOF"),
        }
    }

    fn branch(&mut self, word: &str, mut cursor: Cursor) -> Result<Node, Failure> {
        let scope = self.variables.len();
        let pipe = self.whole_pipeline(&mut cursor, word)?;
        self.range_depth += usize::from(word == "range");
        let (then, ending) = self.list()?;
        self.range_depth -= usize::from(word == "range");
        let otherwise = match ending {
            Ending::End => List::new(),
            Ending::Eof => return self.fail("unexpected EOF"),
            Ending::Else(tokens) => self.otherwise(word, tokens)?,
        };
        self.variables.truncate(scope);
        Ok(match word {
            "if" => Node::If { pipe, then, otherwise },
            "with" => Node::With { pipe, then, otherwise },
            _ => Node::Range { pipe, body: then, otherwise },
        })
    }

    /// `{{else}}` up to its end, or `{{else if ...}}`, which shares the end of the whole.
    fn otherwise(&mut self, word: &str, tokens: Vec<Spanned>) -> Result<List, Failure> {
        let mut cursor = Cursor::new(tokens);
        match (word, cursor.peek()) {
            ("if", Token::Keyword("if")) | ("with", Token::Keyword("with")) => {
                cursor.next();
                self.depth += 1;
                if self.depth > NESTING_MAX {
                    return self.fail("template nests too deeply");
                }
                let node = self.branch(word, cursor)?;
                self.depth -= 1;
                Ok(vec![node])
            }
            (_, Token::End) => {
                let (list, ending) = self.list()?;
                match ending {
                    Ending::End => Ok(list),
                    Ending::Eof => self.fail("unexpected EOF"),
                    Ending::Else(_) => self.fail("expected end; found {{else}}"),
                }
            }
            (_, token) => self.fail(format!("unexpected {} in else", describe(token))),
        }
    }

    fn whole_pipeline(&mut self, cursor: &mut Cursor, context: &str) -> Result<Pipeline, Failure> {
        let pipe = self.pipeline(cursor, context, &Token::End, 0)?;
        Ok(pipe)
    }

    fn pipeline(&mut self, cursor: &mut Cursor, context: &str, end: &Token, depth: usize) -> Result<Pipeline, Failure> {
        if depth > NESTING_MAX {
            return self.fail("template nests too deeply");
        }
        let (variables, is_assign) = self.declarations(cursor, context)?;
        let mut commands = Vec::new();
        loop {
            let command = self.command(cursor, depth)?;
            let last = cursor.next_raw();
            if last == Token::Pipe {
                cursor.take_space();
            }
            if let Some(command) = command {
                commands.push(command);
            } else if last == Token::Pipe || !commands.is_empty() || last == *end {
                return self
                    .fail(format!("missing value for {}", if commands.is_empty() { context } else { "command" }));
            }
            match last {
                Token::Pipe => {}
                token if token == *end => break,
                token => return self.fail(format!("unexpected {} in {context}", describe(&token))),
            }
        }
        for (i, command) in commands.iter().enumerate().skip(1) {
            let is_callable = matches!(
                command.words[0].kind,
                WordKind::Function(_)
                    | WordKind::Field(_)
                    | WordKind::Variable(_)
                    | WordKind::Chain(..)
                    | WordKind::Pipeline(_)
            );
            if !is_callable {
                return self.fail(format!("non executable command in pipeline stage {}", i + 1));
            }
        }
        self.variables.extend(variables.iter().filter(|_| !is_assign).cloned());
        Ok(Pipeline { variables, is_assign, commands })
    }

    /// `$x :=`, `$i, $x :=`, `$x =`.
    fn declarations(&self, cursor: &mut Cursor, context: &str) -> Result<(Vec<String>, bool), Failure> {
        let mut ahead = cursor.clone();
        let mut variables = Vec::new();
        while let Token::Variable(name) = ahead.next() {
            variables.push(name);
            match ahead.next() {
                Token::Comma if context == "range" && variables.len() == 1 => {}
                token @ (Token::Declare | Token::Assign) => {
                    *cursor = ahead;
                    return Ok((variables, token == Token::Assign));
                }
                Token::Comma => return self.fail(format!("too many declarations in {context}")),
                _ => break,
            }
        }
        Ok((Vec::new(), false))
    }

    fn command(&mut self, cursor: &mut Cursor, depth: usize) -> Result<Option<Command>, Failure> {
        let at = cursor.at();
        let mut words = Vec::new();
        while let Some(word) = self.word(cursor, depth)? {
            words.push(word);
            if !cursor.take_space() {
                break;
            }
        }
        match cursor.peek() {
            Token::End | Token::Close | Token::Pipe => {}
            token => return self.fail(format!("unexpected {} in operand", describe(token))),
        }
        Ok((!words.is_empty()).then_some(Command { words, at }))
    }

    /// One operand with the fields behind it.
    fn word(&mut self, cursor: &mut Cursor, depth: usize) -> Result<Option<Word>, Failure> {
        let at = cursor.at();
        let kind = match cursor.peek().clone() {
            Token::Identifier(name) => {
                if functions::find(&name).is_none() {
                    return self.fail(format!("function {} not defined", model::quote::quote(&name)));
                }
                WordKind::Function(name)
            }
            Token::Dot => WordKind::Dot,
            Token::Keyword("nil") => WordKind::Nil,
            Token::Keyword("true") => WordKind::Bool(true),
            Token::Keyword("false") => WordKind::Bool(false),
            Token::Variable(name) => {
                if !self.variables.contains(&name) {
                    return self.fail(format!("undefined variable {}", model::quote::quote(&name)));
                }
                WordKind::Variable(vec![name])
            }
            Token::Field(name) => WordKind::Field(vec![name]),
            Token::Number(text) => match Number::parse(&text) {
                Some(number) => WordKind::Number(text, number),
                None => return self.fail(format!("bad number syntax: {}", model::quote::quote(&text))),
            },
            Token::Text(text, value) => WordKind::Text(text, value),
            Token::Open => {
                cursor.next();
                let pipe = self.pipeline(cursor, "parenthesized pipeline", &Token::Close, depth + 1)?;
                let word = Word { kind: WordKind::Pipeline(Box::new(pipe)), at };
                return Ok(Some(chained(word, cursor.at(), cursor.fields())));
            }
            _ => return Ok(None),
        };
        cursor.next_raw();
        Ok(Some(chained(Word { kind, at }, cursor.at(), cursor.fields())))
    }
}

/// `word` with the fields behind it, which begin at `at`: where Go says that the whole is.
fn chained(word: Word, at: usize, fields: Vec<String>) -> Word {
    if fields.is_empty() {
        return word;
    }
    let kind = match word.kind {
        WordKind::Field(names) => WordKind::Field([names, fields].concat()),
        WordKind::Variable(names) => WordKind::Variable([names, fields].concat()),
        kind => WordKind::Chain(Box::new(Word { kind, at: word.at }), fields),
    };
    Word { kind, at }
}

fn describe(token: &Token) -> String {
    match token {
        Token::Keyword(word) => format!("<{word}>"),
        Token::Identifier(text) | Token::Number(text) | Token::Text(text, _) | Token::Variable(text) => {
            model::quote::quote(text)
        }
        Token::Field(text) => format!("<.{text}>"),
        Token::Dot => "<.>".into(),
        Token::Pipe => "\"|\"".into(),
        Token::Open => "\"(\"".into(),
        Token::Close => "\")\"".into(),
        Token::Declare => "\":=\"".into(),
        Token::Assign => "\"=\"".into(),
        Token::Comma => "\",\"".into(),
        Token::Space => "\" \"".into(),
        Token::End => "\"}}\"".into(),
    }
}

/// The tokens of one action; spaces are skipped unless asked for.
#[derive(Clone)]
struct Cursor {
    tokens: Vec<Spanned>,
    i: usize,
}

impl Cursor {
    fn new(tokens: Vec<Spanned>) -> Self {
        let mut cursor = Cursor { tokens, i: 0 };
        cursor.take_space();
        cursor
    }
    fn peek(&self) -> &Token {
        self.tokens.get(self.i).map_or(&Token::End, |t| &t.token)
    }
    fn at(&self) -> usize {
        self.tokens.get(self.i).or(self.tokens.last()).map_or(0, |t| t.at)
    }
    fn next_raw(&mut self) -> Token {
        let token = self.peek().clone();
        self.i += 1;
        token
    }
    /// The token here; goes on behind it and any space.
    fn next(&mut self) -> Token {
        let token = self.next_raw();
        self.take_space();
        token
    }
    fn take_space(&mut self) -> bool {
        let is_space = *self.peek() == Token::Space;
        self.i += usize::from(is_space);
        is_space
    }
    /// The fields that follow without a space.
    fn fields(&mut self) -> Vec<String> {
        let mut fields = Vec::new();
        while let Token::Field(name) = self.peek() {
            fields.push(name.clone());
            self.i += 1;
        }
        fields
    }
    fn rest(self) -> Vec<Spanned> {
        self.tokens.into_iter().skip(self.i).collect()
    }
}
