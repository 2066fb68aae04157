//! A YAML document as a tree of texts with line numbers, before anybody gives them a meaning.
//! Scalars stay text, so that the setting decides how to read them (`yes` is a word to one and a boolean to another).

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use std::fmt;

/// The deepest nesting of a document: Loki's own reference nests nine deep.
const DEPTH_MAX: usize = 64;

#[derive(Clone, Debug, PartialEq)]
pub struct Tree {
    pub value: Value,
    /// Where it stands, from 1; 0 where it comes from no document (a flag, an environment variable, a default).
    pub line: u64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    #[default]
    Null,
    Scalar(String),
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

impl Default for Tree {
    fn default() -> Self {
        Tree::from(Value::Map(vec![]))
    }
}

impl From<Value> for Tree {
    fn from(value: Value) -> Self {
        Tree { value, line: 0 }
    }
}

impl Tree {
    /// A document; an empty one is an empty mapping. The error names the line, never the text.
    pub fn parse(yaml: &str) -> Result<Tree, String> {
        let mut budget = serde_saphyr::budget::Budget::default();
        budget.max_depth = DEPTH_MAX;
        let mut options = serde_saphyr::Options::default();
        options.budget = Some(budget);
        options.with_snippet = false;
        options.strict_booleans = true;
        options.leading_zero_numbers_as_strings = true;
        options.underscored_numbers_as_strings = true;
        if yaml.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
            return Ok(Tree::default());
        }
        serde_saphyr::from_str_with_options(yaml, options).map_err(|e| e.to_string())
    }

    pub fn scalar(text: impl Into<String>) -> Tree {
        Tree::from(Value::Scalar(text.into()))
    }

    pub fn list<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Tree {
        Tree::from(Value::List(texts.into_iter().map(Tree::scalar).collect()))
    }

    pub fn is_null(&self) -> bool {
        self.value == Value::Null
    }

    pub fn get(&self, key: &str) -> Option<&Tree> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, tree)| tree),
            _ => None,
        }
    }

    /// What stands at a path of keys.
    pub fn at(&self, path: &[&str]) -> Option<&Tree> {
        path.iter().try_fold(self, |tree, key| tree.get(key))
    }

    /// This value and one more, as a list.
    pub fn with(&self, item: impl Into<String>) -> Tree {
        let mut items = match &self.value {
            Value::List(items) => items.clone(),
            Value::Null => vec![],
            _ => vec![self.clone()],
        };
        items.push(Tree::scalar(item));
        Tree::from(Value::List(items))
    }

    /// Puts `tree` at a path of keys, making the mappings on the way.
    pub fn set(&mut self, path: &[&str], tree: Tree) {
        let Some((first, rest)) = path.split_first() else {
            *self = tree;
            return;
        };
        if !matches!(self.value, Value::Map(_)) {
            self.value = Value::Map(vec![]);
        }
        let Value::Map(entries) = &mut self.value else { return };
        let at = entries.iter().position(|(name, _)| name == first).unwrap_or_else(|| {
            entries.push((first.to_string(), Tree::from(Value::Null)));
            entries.len() - 1
        });
        entries[at].1.set(rest, tree);
    }

    /// What of `self` differs from `base`: mappings are compared key by key, all else as a whole.
    pub fn difference(&self, base: &Tree) -> Option<Tree> {
        match (&self.value, &base.value) {
            (Value::Map(mine), Value::Map(_)) => {
                let changed = mine.iter().filter_map(|(key, tree)| {
                    let changed = base.get(key).map_or(Some(tree.clone()), |base| tree.difference(base));
                    changed.map(|tree| (key.clone(), tree))
                });
                let changed: Vec<_> = changed.collect();
                (!changed.is_empty()).then(|| Tree::from(Value::Map(changed)))
            }
            (mine, base) if same(mine, base) => None,
            _ => Some(self.clone()),
        }
    }

    /// The document as YAML, block style, two spaces a level.
    pub fn print(&self) -> String {
        let mut out = String::new();
        print(self, 0, &mut out);
        out
    }

    /// The document on one line, flow style; nothing where nothing is set.
    pub fn print_inline(&self) -> String {
        match &self.value {
            Value::Null => String::new(),
            Value::Scalar(text) => text.clone(),
            Value::List(items) => format!("[{}]", items.iter().map(Tree::print_inline).collect::<Vec<_>>().join(", ")),
            Value::Map(entries) => {
                let entries = entries.iter().map(|(key, value)| format!("{key}: {}", value.print_inline()));
                format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// Equal whatever the lines.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::List(a), Value::List(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(&a.value, &b.value))
        }
        (Value::Map(a), Value::Map(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|((k, a), (l, b))| k == l && same(&a.value, &b.value))
        }
        (a, b) => a == b,
    }
}

fn print(tree: &Tree, indent: usize, out: &mut String) {
    match &tree.value {
        Value::Null => out.push_str("null\n"),
        Value::Scalar(text) => {
            out.push_str(&quoted(text));
            out.push('\n');
        }
        Value::List(items) if items.is_empty() => out.push_str("[]\n"),
        Value::Map(entries) if entries.is_empty() => out.push_str("{}\n"),
        Value::List(items) => {
            for item in items {
                out.push_str(&" ".repeat(indent));
                out.push_str("- ");
                let start = out.len();
                print(item, indent + 2, out);
                let first = out[start..].trim_start_matches(' ').len();
                out.replace_range(start..out.len() - first, "");
            }
        }
        Value::Map(entries) => {
            for (key, value) in entries {
                out.push_str(&" ".repeat(indent));
                out.push_str(&quoted(key));
                out.push(':');
                match &value.value {
                    Value::Map(inner) if !inner.is_empty() => out.push('\n'),
                    Value::List(inner) if !inner.is_empty() => out.push('\n'),
                    _ => out.push(' '),
                }
                print(value, indent + 2, out);
            }
        }
    }
}

/// A scalar as YAML reads it back: plain where that is plainly a text, a number or a boolean; else double-quoted.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./-+".contains(c);
    let opens_plain = text.starts_with(|c: char| c.is_ascii_alphanumeric() || "_./".contains(c));
    if opens_plain && text.chars().all(plain) && !matches!(text, "null" | "Null" | "NULL") {
        return text.to_string();
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Tree { value: spanned.value, line: spanned.referenced.line() })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a YAML value")
    }
    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }
    fn visit_bool<E: de::Error>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Scalar(v.to_string()))
    }
    fn visit_i64<E: de::Error>(self, v: i64) -> Result<Value, E> {
        Ok(Value::Scalar(v.to_string()))
    }
    fn visit_u64<E: de::Error>(self, v: u64) -> Result<Value, E> {
        Ok(Value::Scalar(v.to_string()))
    }
    fn visit_f64<E: de::Error>(self, v: f64) -> Result<Value, E> {
        Ok(Value::Scalar(v.to_string()))
    }
    fn visit_str<E: de::Error>(self, v: &str) -> Result<Value, E> {
        Ok(Value::Scalar(v.to_string()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = vec![];
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = vec![];
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let mut tree: Tree = map.next_value()?;
            tree.line = key.referenced.line();
            entries.push((key.value, tree));
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_stay_text_and_know_their_line() {
        let tree = Tree::parse("a:\n  b: yes\n  c: [1, x]\nd:\ne: '0'\nf: 0777\n").unwrap();
        assert_eq!(tree.get("a").unwrap().line, 1);
        let b = tree.get("a").unwrap().get("b").unwrap();
        assert_eq!((b.line, &b.value), (2, &Value::Scalar("yes".into())));
        assert!(tree.get("d").unwrap().is_null());
        assert_eq!(tree.get("e").unwrap().value, Value::Scalar("0".into()));
        assert_eq!(tree.get("f").unwrap().value, Value::Scalar("0777".into()));
    }

    #[test]
    fn what_is_printed_reads_back() {
        let yaml = "a:\n  b: \"x: \\\"y\\\"\\n\"\n  l:\n    - k: 1\n      m:\n        - p\n        - q\n    - z\n  e: []\n'null': \"\"\n";
        for yaml in [yaml, "", "# nothing\n", "x: -1ns\n"] {
            let tree = Tree::parse(yaml).unwrap();
            let again = Tree::parse(&tree.print()).unwrap();
            assert_eq!(tree.difference(&again), None, "{}", tree.print());
        }
    }

    #[test]
    fn merges_and_aliases_are_followed_and_junk_is_an_error() {
        let tree = Tree::parse("x: &x {a: 1, b: 2}\ny:\n  <<: *x\n  b: 3\n").unwrap();
        assert_eq!(tree.get("y").unwrap().get("a").unwrap().value, Value::Scalar("1".into()));
        assert_eq!(tree.get("y").unwrap().get("b").unwrap().value, Value::Scalar("3".into()));
        for bad in ["a: 1\na: 2\n", "a: [", "a: b: c", "\t- x: {", &"[".repeat(500)] {
            assert!(Tree::parse(bad).is_err(), "{bad}");
        }
    }
}
