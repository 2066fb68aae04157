//! Runs a parsed template over one line. Steps, output and recursion are bounded.

use super::functions::{self, Context, Function, Kind, is_short_circuit};
use super::syntax::{Command, List, Node, Pipeline, Word, WordKind};
use super::times::{duration_method, time_method};
use super::value::Value;
use super::{Data, OUTPUT_BYTES_MAX, STEPS_MAX, Template, WORK_BYTES_MAX};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;

/// How deep templates may call each other.
const CALLS_MAX: usize = 64;

/// Why a node ended early.
enum Stop {
    Failed(String),
    Break,
    Continue,
}

impl From<String> for Stop {
    fn from(text: String) -> Self {
        Stop::Failed(text)
    }
}

type Outcome<T> = Result<T, Stop>;

pub fn run<'e>(template: &'e Template, data: &Data<'e, '_>, out: &mut Vec<u8>) -> Result<(), String> {
    let mut run = Run {
        template,
        labels: data,
        context: Context {
            line: data.line,
            ts_ns: data.ts_ns,
            now_ns: data.labels.interest.now_ns,
            bytes_max: OUTPUT_BYTES_MAX,
            regexes: &template.regexes,
        },
        start: out.len(),
        out,
        variables: vec![("$".into(), Value::Labels)],
        steps: 0,
        work_bytes: 0,
        calls: 0,
    };
    match run.list(&template.tree.main, &Value::Labels) {
        Ok(()) | Err(Stop::Break | Stop::Continue) => Ok(()),
        Err(Stop::Failed(text)) => Err(text),
    }
}

struct Run<'r, 'e, 'p> {
    template: &'e Template,
    labels: &'r Data<'e, 'p>,
    context: Context<'e>,
    out: &'r mut Vec<u8>,
    start: usize,
    variables: Vec<(Cow<'e, str>, Value<'e>)>,
    steps: usize,
    work_bytes: usize,
    calls: usize,
}

impl<'e> Run<'_, 'e, '_> {
    /// Go's text of a failure at a node.
    fn fail<T>(&self, at: usize, node: &dyn std::fmt::Display, what: impl std::fmt::Display) -> Outcome<T> {
        let text = &self.template.text[..at];
        let line = 1 + text.matches('\n').count();
        let column = at - text.rfind('\n').map_or(0, |i| i + 1);
        let name = self.template.name;
        Err(Stop::Failed(format!("template: {name}:{line}:{column}: executing {name:?} at <{node}>: {what}")))
    }

    fn step(&mut self) -> Outcome<()> {
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return Err(Stop::Failed(format!("template: {}: more than {STEPS_MAX} steps", self.template.name)));
        }
        self.template.check_size(self.out.len() - self.start).map_err(Stop::Failed)
    }

    fn list(&mut self, list: &'e List, dot: &Value<'e>) -> Outcome<()> {
        list.iter().try_for_each(|node| self.node(node, dot))
    }

    fn node(&mut self, node: &'e Node, dot: &Value<'e>) -> Outcome<()> {
        self.step()?;
        match node {
            Node::Text(text) => self.out.extend_from_slice(text.as_bytes()),
            Node::Action(pipe) => {
                let value = self.pipeline(pipe, dot)?;
                if pipe.variables.is_empty() {
                    match value {
                        Value::Nil => self.out.extend_from_slice(b"<no value>"),
                        Value::Labels => self.all_labels().print(self.out),
                        value => value.print(self.out),
                    }
                }
            }
            Node::If { pipe, then, otherwise } => {
                let scope = self.variables.len();
                let value = self.pipeline(pipe, dot)?;
                self.list(if self.is_true(&value) { then } else { otherwise }, dot)?;
                self.variables.truncate(scope);
            }
            Node::With { pipe, then, otherwise } => {
                let scope = self.variables.len();
                let value = self.pipeline(pipe, dot)?;
                match self.is_true(&value) {
                    true => self.list(then, &value)?,
                    false => self.list(otherwise, dot)?,
                }
                self.variables.truncate(scope);
            }
            Node::Range { pipe, body, otherwise } => self.range(pipe, body, otherwise, dot)?,
            Node::Template { name, pipe, at } => self.call_template(name, pipe.as_ref(), *at, dot)?,
            Node::Break => return Err(Stop::Break),
            Node::Continue => return Err(Stop::Continue),
        }
        Ok(())
    }

    fn is_true(&self, value: &Value<'e>) -> bool {
        match value {
            Value::Labels => !self.labels.labels.frozen_all().is_empty(),
            value => value.is_true(),
        }
    }

    fn all_labels(&self) -> Value<'e> {
        let all = self.labels.labels.frozen_all();
        let map: BTreeMap<String, Value<'e>> = all.into_iter().map(|(n, v)| (n.to_string(), Value::text(v))).collect();
        Value::Map(Rc::new(map))
    }

    fn call_template(&mut self, name: &str, pipe: Option<&'e Pipeline>, at: usize, dot: &Value<'e>) -> Outcome<()> {
        let template = self.template;
        let shown = format!("{{{{template {name:?}}}}}");
        let Some(list) = template.tree.defined.get(name) else {
            return self.fail(at, &shown, format!("template {name:?} not defined"));
        };
        if self.calls >= CALLS_MAX {
            return self.fail(at, &shown, "exceeded maximum template depth");
        }
        let value = pipe.map_or(Ok(Value::Nil), |p| self.pipeline(p, dot))?;
        let outer = std::mem::replace(&mut self.variables, vec![("$".into(), value.clone())]);
        self.calls += 1;
        let result = self.list(list, &value);
        self.calls -= 1;
        self.variables = outer;
        result
    }

    fn range(&mut self, pipe: &'e Pipeline, body: &'e List, otherwise: &'e List, dot: &Value<'e>) -> Outcome<()> {
        let scope = self.variables.len();
        let value = match self.pipeline_value(pipe, dot)? {
            Value::Labels => self.all_labels(),
            value => value,
        };
        let pairs: Vec<(Value<'e>, Value<'e>)> = match &value {
            Value::List(items) => items.iter().enumerate().map(|(i, v)| (Value::Int(i as i64), v.clone())).collect(),
            Value::Map(map) => map.iter().map(|(k, v)| (Value::text(k.clone()), v.clone())).collect(),
            Value::Int(n) => (0..(*n).clamp(0, STEPS_MAX as i64 + 1)).map(|i| (Value::Int(i), Value::Int(i))).collect(),
            Value::Nil => Vec::new(),
            other => {
                let mut shown = Vec::new();
                other.print(&mut shown);
                let at = pipe.commands.first().map_or(0, |c| c.at);
                return self.fail(at, pipe, format!("range can't iterate over {}", String::from_utf8_lossy(&shown)));
            }
        };
        if pairs.is_empty() {
            self.list(otherwise, dot)?;
        }
        for (key, item) in pairs {
            self.step()?;
            match &pipe.variables[..] {
                [one] => self.bind(pipe, one, item.clone()),
                [first, second] => {
                    self.bind(pipe, first, key);
                    self.bind(pipe, second, item.clone());
                }
                _ => {}
            }
            let result = self.list(body, &item);
            self.variables.truncate(scope);
            match result {
                Err(Stop::Break) => break,
                Err(Stop::Continue) => {}
                other => other?,
            }
        }
        self.variables.truncate(scope);
        Ok(())
    }

    fn bind(&mut self, pipe: &Pipeline, name: &'e str, value: Value<'e>) {
        if !pipe.is_assign {
            self.variables.push((Cow::Borrowed(name), value));
        } else if let Some(slot) = self.variables.iter_mut().rev().find(|(n, _)| n == name) {
            slot.1 = value;
        }
    }

    fn pipeline(&mut self, pipe: &'e Pipeline, dot: &Value<'e>) -> Outcome<Value<'e>> {
        let value = self.pipeline_value(pipe, dot)?;
        if let [name] = &pipe.variables[..] {
            self.bind(pipe, name, value.clone());
        }
        Ok(value)
    }

    fn pipeline_value(&mut self, pipe: &'e Pipeline, dot: &Value<'e>) -> Outcome<Value<'e>> {
        let mut last = None;
        for command in &pipe.commands {
            last = Some(self.command(command, dot, last)?);
        }
        Ok(last.unwrap_or(Value::Nil))
    }

    fn command(&mut self, command: &'e Command, dot: &Value<'e>, last: Option<Value<'e>>) -> Outcome<Value<'e>> {
        self.step()?;
        let word = &command.words[0];
        match &word.kind {
            WordKind::Function(name) => {
                let Some(function) = functions::find(name) else {
                    return self.fail(word.at, word, format!("{name:?} is not a defined function"));
                };
                self.call(function, command, dot, last)
            }
            WordKind::Field(_) | WordKind::Variable(_) | WordKind::Chain(..) => self.access(word, command, dot, last),
            _ if command.words.len() > 1 || last.is_some() => {
                self.fail(word.at, word, format!("can't give argument to non-function {word}"))
            }
            WordKind::Nil => self.fail(word.at, word, "nil is not a command"),
            _ => self.word(word, dot),
        }
    }

    /// A word where any value will do.
    fn word(&mut self, word: &'e Word, dot: &Value<'e>) -> Outcome<Value<'e>> {
        Ok(match &word.kind {
            WordKind::Dot => dot.clone(),
            WordKind::Nil => Value::Nil,
            WordKind::Bool(b) => Value::Bool(*b),
            WordKind::Text(_, text) => Value::Text(Cow::Borrowed(text)),
            WordKind::Number(text, number) => {
                let is_float =
                    !text.starts_with("0x") && !text.starts_with('\'') && text.contains(['.', 'e', 'E', 'p', 'P']);
                match (number.int, number.float) {
                    (_, Some(f)) if is_float => Value::Float(f),
                    (Some(i), _) => Value::Int(i),
                    _ => return self.fail(word.at, word, format!("{text} overflows int")),
                }
            }
            WordKind::Function(name) => {
                let Some(function) = functions::find(name) else {
                    return self.fail(word.at, word, format!("{name:?} is not a defined function"));
                };
                self.check_count(function, 0, word.at, word)?;
                return self.invoke(function, &mut [], word.at, word);
            }
            WordKind::Pipeline(pipe) => return self.pipeline(pipe, dot),
            WordKind::Field(_) | WordKind::Variable(_) | WordKind::Chain(..) => {
                return self.fields(word, dot, &mut []);
            }
        })
    }

    /// A field, a variable or a chain as a command: what follows are arguments of the method it ends in.
    fn access(
        &mut self,
        word: &'e Word,
        command: &'e Command,
        dot: &Value<'e>,
        last: Option<Value<'e>>,
    ) -> Outcome<Value<'e>> {
        let mut args = Vec::with_capacity(command.words.len());
        for word in &command.words[1..] {
            args.push(self.word(word, dot)?);
        }
        args.extend(last);
        self.fields(word, dot, &mut args)
    }

    fn fields(&mut self, word: &'e Word, dot: &Value<'e>, args: &mut [Value<'e>]) -> Outcome<Value<'e>> {
        let (mut value, names) = match &word.kind {
            WordKind::Field(names) => (dot.clone(), &names[..]),
            WordKind::Variable(names) => {
                let found = self.variables.iter().rev().find(|(n, _)| *n == names[0]);
                (found.map_or(Value::Nil, |(_, v)| v.clone()), &names[1..])
            }
            WordKind::Chain(inner, names) => (self.word(inner, dot)?, &names[..]),
            _ => return self.word(word, dot),
        };
        if names.is_empty() && !args.is_empty() {
            return self.fail(word.at, word, format!("can't give argument to non-function {word}"));
        }
        for (i, name) in names.iter().enumerate() {
            let is_last = i + 1 == names.len();
            let args = if is_last { &mut *args } else { &mut [][..] };
            value = self.field(&value, name, args, word)?;
        }
        Ok(value)
    }

    fn field(&mut self, value: &Value<'e>, name: &str, args: &mut [Value<'e>], word: &Word) -> Outcome<Value<'e>> {
        let missing = |kind: &str| format!("can't evaluate field {name} in type {kind}");
        let has_arguments = !args.is_empty();
        let found = match value {
            Value::Labels => Ok(Value::text(self.labels.labels.frozen(name).unwrap_or(""))),
            Value::Map(map) => Ok(map.get(name).cloned().unwrap_or(Value::Nil)),
            Value::Nil => Err(format!("nil pointer evaluating interface {{}}.{name}")),
            Value::Time(time) => {
                return match time_method(time, name, args) {
                    Some(Ok(value)) => Ok(value),
                    Some(Err(text)) => self.fail(word.at, word, text),
                    None => self.fail(word.at, word, missing("time.Time")),
                };
            }
            Value::Duration(ns) => duration_method(*ns, name).ok_or_else(|| missing("time.Duration")),
            Value::Month(_) | Value::Weekday(_) if name == "String" => {
                let mut text = Vec::new();
                value.print(&mut text);
                Ok(Value::owned(text))
            }
            other => Err(missing(other.type_name())),
        };
        match found {
            Ok(_) if has_arguments => self.fail(word.at, word, format!("{name} is not a method but has arguments")),
            Ok(value) => Ok(value),
            Err(text) => self.fail(word.at, word, text),
        }
    }

    fn check_count(&self, f: &Function, given: usize, at: usize, node: &dyn std::fmt::Display) -> Outcome<()> {
        let wanted = f.parameters.len();
        match f.more {
            Some(_) if given < wanted => {
                self.fail(at, node, format!("wrong number of args for {}: want at least {wanted} got {given}", f.name))
            }
            None if given != wanted => {
                self.fail(at, node, format!("wrong number of args for {}: want {wanted} got {given}", f.name))
            }
            _ => Ok(()),
        }
    }

    fn call(
        &mut self,
        f: &'static Function,
        command: &'e Command,
        dot: &Value<'e>,
        last: Option<Value<'e>>,
    ) -> Outcome<Value<'e>> {
        let given = command.words.len() - 1 + usize::from(last.is_some());
        self.check_count(f, given, command.words[0].at, &command.words[0])?;
        if is_short_circuit(f.name) {
            return self.short_circuit(f.name == "or", command, dot, last);
        }
        let mut args = Vec::with_capacity(given);
        for (i, word) in command.words[1..].iter().enumerate() {
            let kind = f.parameters.get(i).copied().or(f.more).unwrap_or(Kind::Any);
            args.push(self.argument(word, kind, dot)?);
        }
        if let Some(last) = last {
            let kind = f.parameters.get(args.len()).copied().or(f.more).unwrap_or(Kind::Any);
            args.push(self.check_kind(last, kind, &command.words[0])?);
        }
        self.invoke(f, &mut args, command.at, command)
    }

    fn invoke(
        &mut self,
        f: &Function,
        args: &mut [Value<'e>],
        at: usize,
        node: &dyn std::fmt::Display,
    ) -> Outcome<Value<'e>> {
        for arg in args.iter_mut() {
            if matches!(arg, Value::Labels) {
                *arg = self.all_labels();
            }
            self.work_bytes += functions::bytes(arg).len();
        }
        let result = (f.call)(&self.context, args);
        self.work_bytes += result.as_ref().map_or(0, |v| functions::bytes(v).len());
        if self.work_bytes > WORK_BYTES_MAX {
            return self.fail(at, node, format!("functions on more than {WORK_BYTES_MAX} bytes"));
        }
        match result {
            Ok(value) => Ok(value),
            Err(text) => self.fail(at, node, format!("error calling {}: {text}", f.name)),
        }
    }

    fn short_circuit(
        &mut self,
        is_or: bool,
        command: &'e Command,
        dot: &Value<'e>,
        last: Option<Value<'e>>,
    ) -> Outcome<Value<'e>> {
        let mut value = Value::Nil;
        for word in &command.words[1..] {
            value = self.word(word, dot)?;
            if self.is_true(&value) == is_or {
                return Ok(value);
            }
        }
        Ok(last.unwrap_or(value))
    }

    /// An argument for a parameter of some kind.
    fn argument(&mut self, word: &'e Word, kind: Kind, dot: &Value<'e>) -> Outcome<Value<'e>> {
        match (&word.kind, kind) {
            (WordKind::Number(_, number), Kind::Int) if number.int.is_some() => {
                Ok(Value::Int(number.int.unwrap_or_default()))
            }
            (WordKind::Number(_, number), Kind::Float) => {
                Ok(Value::Float(number.float.unwrap_or_else(|| number.int.unwrap_or_default() as f64)))
            }
            (WordKind::Number(..) | WordKind::Text(..) | WordKind::Bool(_), Kind::Text | Kind::Int) => {
                let value = self.word(word, dot)?;
                match kind.takes(&value) {
                    true => Ok(value),
                    false => {
                        let wanted = if kind == Kind::Int { "integer" } else { "string" };
                        self.fail(word.at, word, format!("expected {wanted}; found {word}"))
                    }
                }
            }
            _ => {
                let value = self.word(word, dot)?;
                self.check_kind(value, kind, word)
            }
        }
    }

    fn check_kind(&self, value: Value<'e>, kind: Kind, word: &Word) -> Outcome<Value<'e>> {
        match (kind.takes(&value), &value) {
            (true, _) => Ok(value),
            (false, Value::Nil) => self.fail(word.at, word, format!("invalid value; expected {}", kind.type_name())),
            (false, other) => {
                let what = format!("wrong type for value; expected {}; got {}", kind.type_name(), other.type_name());
                self.fail(word.at, word, what)
            }
        }
    }
}
