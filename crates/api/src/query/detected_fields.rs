//! Which fields log lines have: structured metadata, labels that the query's stages made, and what the JSON or logfmt
//! parser finds in the line.

use logql::ast::Stage;
use logql::pipeline::names::sanitize;
use logql::pipeline::{Hints, Pipeline};
use logql::units;
use logql::units::bytes::parse as bytes;
use logql::value::{LogEntry, LogStream};
use model::duration::parse_go as duration_ns;
use model::{BlockBuilder, Labels, Layout, RawBlock, Result, Symbols, SymbolsBuilder};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub type Fields = BTreeMap<String, Field>;

/// How deep a JSON document is followed to find the path of a field.
const JSON_DEPTH_MAX: usize = 32;

pub struct Field {
    pub kind: FieldKind,
    /// Distinct values, in the form that the kind prints.
    pub values: BTreeSet<String>,
    /// `json`, `logfmt`, or none for structured metadata.
    pub parsers: Vec<&'static str>,
    /// The keys under which a JSON document holds the field.
    pub json_path: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    String,
    Int,
    Float,
    Boolean,
    Duration,
    Bytes,
}

impl FieldKind {
    pub fn name(self) -> &'static str {
        match self {
            FieldKind::String => "string",
            FieldKind::Int => "int",
            FieldKind::Float => "float",
            FieldKind::Boolean => "boolean",
            FieldKind::Duration => "duration",
            FieldKind::Bytes => "bytes",
        }
    }

    /// The narrowest kind that `value` is a spelling of.
    fn of(value: &str) -> FieldKind {
        if value.parse::<i64>().is_ok() {
            FieldKind::Int
        } else if value.parse::<f64>().is_ok() {
            FieldKind::Float
        } else if ["true", "false", "TRUE", "FALSE", "True", "False", "t", "f", "T", "F"].contains(&value) {
            FieldKind::Boolean
        } else if duration_ns(value).is_ok() {
            FieldKind::Duration
        } else if bytes(value).is_ok() {
            FieldKind::Bytes
        } else {
            FieldKind::String
        }
    }

    /// `value` as this kind prints it; as it is when it is no spelling of the kind.
    fn print(self, value: &str) -> String {
        match self {
            FieldKind::Duration => duration_ns(value).map_or(value.to_string(), model::duration::go_string),
            FieldKind::Bytes => bytes(value).map_or(value.to_string(), |n| units::bytes::format(n).replace(' ', "")),
            FieldKind::String | FieldKind::Int | FieldKind::Float | FieldKind::Boolean => value.to_string(),
        }
    }
}

/// The parsers tried on a line, in this order; the first that finds something without an error counts.
struct Parsers {
    json: Pipeline,
    logfmt: Pipeline,
}

pub fn detect(streams: &[LogStream]) -> Result<Fields> {
    let logfmt = Stage::Logfmt { strict: true, keep_empty: false, fields: vec![] };
    let parsers = Parsers {
        json: Pipeline::compile(&[Stage::Json(vec![])], &Hints::default())?,
        logfmt: Pipeline::compile(&[logfmt], &Hints::default())?,
    };
    let mut fields = Fields::new();
    for stream in streams {
        for entry in &stream.entries {
            for label in &entry.structured_metadata {
                add(&mut fields, &label.name, &label.value, None, &[]);
            }
            for (parser, label, path) in parsed(&parsers, &stream.labels, entry) {
                add(&mut fields, &label.0, &label.1, Some(parser), &path);
            }
        }
    }
    Ok(fields)
}

fn add(fields: &mut Fields, name: &str, value: &str, parser: Option<&'static str>, path: &[String]) {
    let field = fields.entry(name.to_string()).or_insert_with(|| Field {
        kind: FieldKind::of(value),
        values: BTreeSet::new(),
        parsers: vec![],
        json_path: vec![],
    });
    // As in Loki the last value decides, newest lines first: the kind is that of the oldest line looked at.
    field.kind = FieldKind::of(value);
    field.values.insert(field.kind.print(value));
    if let Some(parser) = parser.filter(|p| !field.parsers.contains(p)) {
        field.parsers.push(parser);
    }
    if field.json_path.is_empty() {
        field.json_path = path.to_vec();
    }
}

type Parsed = (&'static str, (String, String), Vec<String>);

/// The fields of one line, with the parser that found each.
fn parsed(parsers: &Parsers, stream: &Labels, entry: &LogEntry) -> Vec<Parsed> {
    let paths = json_paths(&entry.line);
    let (parser, labels) = match &paths {
        Some(_) => ("json", run(&parsers.json, stream, &entry.line)),
        None => ("logfmt", run(&parsers.logfmt, stream, &entry.line)),
    };
    let paths = paths.unwrap_or_default();
    let of = |name: &str| {
        let bare = name.strip_suffix("_extracted").unwrap_or(name);
        paths.get(name).or_else(|| paths.get(bare)).cloned().unwrap_or_default()
    };
    labels.into_iter().map(|(name, value)| (parser, (name.clone(), value), of(&name))).collect()
}

/// What a parser makes of a line; nothing when it fails.
fn run(pipeline: &Pipeline, stream: &Labels, line: &[u8]) -> Vec<(String, String)> {
    let mut symbols = SymbolsBuilder::default();
    let mut block = BlockBuilder::new(Layout::Plain);
    block.push(0, line, std::iter::empty(), &mut symbols);
    let raw = RawBlock { data: block.into_data().into(), layout: Layout::Plain, symbols: Arc::new(Symbols::default()) };
    let Ok(Some(entry)) = raw.entries().try_next() else { return vec![] };
    let mut lines = pipeline.stream(stream);
    if !lines.process(0, entry.line, entry.metadata) || lines.error().is_some() {
        return vec![];
    }
    let (_, _, parsed) = lines.categorized();
    parsed.iter().map(|l| (l.name.to_string(), l.value.to_string())).collect()
}

/// For a line that is a JSON object: the label of each scalar, and the keys that lead to it.
fn json_paths(line: &[u8]) -> Option<BTreeMap<String, Vec<String>>> {
    let value: Value = serde_json::from_slice(line).ok()?;
    value.as_object()?;
    let mut paths = BTreeMap::new();
    walk(&value, &mut vec![], &mut paths);
    Some(paths)
}

fn walk(value: &Value, path: &mut Vec<String>, paths: &mut BTreeMap<String, Vec<String>>) {
    let Some(object) = value.as_object() else {
        paths.entry(sanitize(&path.join("_"))).or_insert_with(|| path.clone());
        return;
    };
    if path.len() == JSON_DEPTH_MAX {
        return;
    }
    for (key, value) in object {
        path.push(key.clone());
        walk(value, path, paths);
        path.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_paths() {
        for (value, kind) in [
            ("12", FieldKind::Int),
            ("1.5", FieldKind::Float),
            ("true", FieldKind::Boolean),
            ("1.5s", FieldKind::Duration),
            ("10KB", FieldKind::Bytes),
            ("10.0.0.1", FieldKind::String),
        ] {
            assert_eq!(FieldKind::of(value), kind, "{value}");
        }
        let paths = json_paths(br#"{"a":{"b":{"c":1}},"with.dot":2,"9n":3}"#).unwrap();
        assert_eq!(paths["a_b_c"], ["a", "b", "c"]);
        assert_eq!(paths["with_dot"], ["with.dot"]);
        assert_eq!(paths["_9n"], ["9n"]);
        assert!(json_paths(b"[1]").is_none() && json_paths(b"k=v").is_none());
    }
}
