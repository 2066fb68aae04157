//! `| json label="path"`: the values at some paths of a JSON line. Paths are `a.b`, `a["b c"]`, `a[0]`.
//! A line is walked once for all paths, as leniently as Loki does, and the walk stops when all have a value.

use super::hints::Interest;
use super::json::{JSON_ERROR, push_value};
use super::json_scan::{self, Kind, Value};
use super::labels::{Category, WorkingLabels};
use super::names::NameId;
use super::words;
use crate::ast::Extraction;
use crate::check::expressions::{Step, parse_json_path};
use model::{Error, Result};

pub struct JsonPaths {
    names: Vec<NameId>,
    paths: Vec<Vec<Step>>,
    steps_max: usize,
}

/// Buffers that are reused from line to line.
#[derive(Default)]
pub struct PathScratch {
    found: Vec<bool>,
    /// The key of each open level: its place in the line, or in `unescaped`.
    keys: Vec<KeySpan>,
    unescaped: String,
}

#[derive(Clone, Copy, Default)]
struct KeySpan {
    start: usize,
    end: usize,
    escaped: bool,
}

impl JsonPaths {
    pub fn compile(fields: &[Extraction], interest: &mut Interest) -> Result<Self> {
        let mut paths = JsonPaths { names: Vec::new(), paths: Vec::new(), steps_max: 0 };
        for field in fields {
            let path = parse_json_path(&field.expression).map_err(Error::invalid)?;
            paths.names.push(interest.name(&field.name));
            paths.steps_max = paths.steps_max.max(path.len());
            paths.paths.push(path);
        }
        Ok(paths)
    }

    pub fn extract(&self, line: &[u8], labels: &mut WorkingLabels<'_>, scratch: &mut PathScratch) {
        if line.is_empty() || labels.interest.no_labels() {
            return;
        }
        if !matches!(line[0], b'"' | b'{' | b'[') {
            labels.set_error(JSON_ERROR, "");
            return;
        }
        scratch.found.resize(self.paths.len(), false);
        scratch.found.fill(false);
        scratch.keys.clear();
        scratch.unescaped.clear();
        Walk { paths: self, line, labels, scratch }.run();
        for name in &self.names {
            if labels.get_id(*name).is_none() {
                labels.set(Category::Parsed, *name, "");
            }
        }
    }
}

struct Walk<'w, 'p> {
    paths: &'w JsonPaths,
    line: &'w [u8],
    labels: &'w mut WorkingLabels<'p>,
    scratch: &'w mut PathScratch,
}

impl Walk<'_, '_> {
    /// Goes over the line's strings and brackets; `None` when the walk ends early, which is no error.
    fn run(mut self) -> Option<()> {
        let mut level = 0usize;
        let mut at = 0;
        while let Some(&b) = self.line.get(at) {
            at = match b {
                b'"' => self.string(at, level)?,
                b'{' => {
                    level += 1;
                    at + 1
                }
                b'}' => {
                    level = level.saturating_sub(1);
                    at + 1
                }
                b'[' => self.array(at, level)?,
                _ => at + 1,
            };
        }
        None
    }

    /// A string: a key if a colon follows it. Answers where to go on.
    fn string(&mut self, at: usize, level: usize) -> Option<usize> {
        let (end, escaped) = json_scan::string_end(self.line, at + 1)?;
        let next = json_scan::next_token(self.line, end)?;
        if self.line[next] != b':' {
            return Some(next);
        }
        if level == 0 {
            self.labels.set_error(JSON_ERROR, json_scan::Malformed::Json.text());
            return None;
        }
        if level > self.paths.steps_max {
            return Some(next + 1);
        }
        let mut span = KeySpan { start: at + 1, end: end - 1, escaped };
        if escaped {
            let start = self.scratch.unescaped.len();
            if !json_scan::unescape(&self.line[span.start..span.end], &mut self.scratch.unescaped) {
                return None;
            }
            span = KeySpan { start, end: self.scratch.unescaped.len(), escaped };
        }
        self.scratch.keys.resize(level, KeySpan::default());
        self.scratch.keys[level - 1] = span;
        for i in 0..self.paths.paths.len() {
            if self.ends_in(i, level, span) && !self.scratch.found[i] && self.is_open(i, level) {
                self.take(i, next + 1);
            }
        }
        if self.scratch.found.iter().all(|f| *f) { None } else { Some(next + 1) }
    }

    /// Whether path `i` has so many steps, the last of them the key `span`: what rules out most paths.
    #[inline]
    fn ends_in(&self, i: usize, level: usize, span: KeySpan) -> bool {
        let path = &self.paths.paths[i];
        path.len() == level
            && matches!(path.last(), Some(Step::Field(key)) if words::is_same(key.as_bytes(), self.key(span)))
    }

    /// Whether the first `levels` steps of path `i` are the keys that are open.
    fn is_open(&self, i: usize, levels: usize) -> bool {
        let open = self.scratch.keys.iter().take(levels);
        self.scratch.keys.len() >= levels
            && self.paths.paths[i].iter().zip(open).all(|(step, span)| match step {
                Step::Field(key) => key.as_bytes() == self.key(*span),
                Step::Index(_) => false,
            })
    }

    fn key(&self, span: KeySpan) -> &[u8] {
        let text = if span.escaped { self.scratch.unescaped.as_bytes() } else { self.line };
        &text[span.start..span.end]
    }

    fn take(&mut self, i: usize, at: usize) {
        self.scratch.found[i] = true;
        let start = json_scan::next_token(self.line, at);
        let value = start.map_or(Err(json_scan::Malformed::Json), |at| json_scan::value(self.line, at));
        match value {
            Ok((value, _)) => self.store(i, value),
            Err(malformed) => self.labels.set_error(JSON_ERROR, malformed.text()),
        }
    }

    fn store(&mut self, i: usize, value: Value<'_>) {
        let name = self.labels.free_name(self.paths.names[i]);
        self.labels.set_with(Category::Parsed, name, |out| match value.kind {
            Kind::Null => {}
            _ => push_value(value, out),
        });
    }

    /// An array: its elements are looked at if a path has an index here, else it is skipped.
    fn array(&mut self, at: usize, level: usize) -> Option<usize> {
        let mut wanted = false;
        for i in 0..self.paths.paths.len() {
            let Some(Step::Index(index)) = self.paths.paths[i].get(level) else { continue };
            if self.scratch.found[i] || !self.is_open(i, level) {
                continue;
            }
            wanted = true;
            if let Some(value) = element(self.line, at, *index) {
                self.scratch.found[i] = true;
                if let Some(value) = descend(value, &self.paths.paths[i][level + 1..]) {
                    self.store(i, value);
                }
            }
        }
        if wanted && self.scratch.found.iter().all(|f| *f) {
            return None;
        }
        json_scan::block_end(self.line, at, b'[', b']')
    }
}

/// Element `index` of the array at `at`.
fn element(data: &[u8], at: usize, index: usize) -> Option<Value<'_>> {
    let mut at = json_scan::next_token(data, at + 1)?;
    let mut i = 0;
    while data[at] != b']' {
        let (value, end) = json_scan::value(data, at).ok()?;
        if i == index {
            return Some(value);
        }
        i += 1;
        at = json_scan::next_token(data, end)?;
        match data[at] {
            b',' => at = json_scan::next_token(data, at + 1)?,
            _ => return None,
        }
    }
    None
}

/// The value at `steps` inside `value`.
fn descend<'a>(mut value: Value<'a>, steps: &[Step]) -> Option<Value<'a>> {
    for step in steps {
        value = match (step, value.kind) {
            (Step::Index(index), Kind::Array) => element(value.text, 0, *index)?,
            (Step::Field(key), Kind::Object) => member(value.text, key)?,
            _ => return None,
        };
    }
    Some(value)
}

fn member<'a>(data: &'a [u8], key: &str) -> Option<Value<'a>> {
    let mut at = json_scan::next_token(data, 1)?;
    while data[at] == b'"' {
        let (key_end, escaped) = json_scan::string_end(data, at + 1)?;
        let name = &data[at + 1..key_end - 1];
        let mut text = String::new();
        let same = if escaped { json_scan::unescape(name, &mut text) && text == key } else { name == key.as_bytes() };
        let colon = json_scan::next_token(data, key_end).filter(|i| data[*i] == b':')?;
        let (value, end) = json_scan::value(data, json_scan::next_token(data, colon + 1)?).ok()?;
        if same {
            return Some(value);
        }
        at = json_scan::next_token(data, end).filter(|i| data[*i] == b',')?;
        at = json_scan::next_token(data, at + 1)?;
    }
    None
}
