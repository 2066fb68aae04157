//! How a tree becomes typed settings and back. A setting that is absent or null keeps what it has, so that documents are
//! laid over one another: defaults, file, flags.

use super::secret::{Secret, SecretUrl};
use super::tree::{Tree, Value};
use super::units;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// One value, list or block of settings.
pub trait Setting {
    /// Lays `tree` over what is there. What is wrong goes to the reader, and reading goes on.
    fn read(&mut self, tree: &Tree, reader: &mut Reader);
    /// The setting as it would be written; secrets masked.
    fn write(&self) -> Tree;
    /// What the reference says of the setting at `path`, and of those below it.
    fn describe(&self, path: &str, docs: &[&str], into: &mut Vec<Described>);
}

/// A setting as the reference names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Dotted path; `[]` stands for the items of a list, `<name>` for the names of a free mapping.
    pub path: String,
    /// What may be written: `duration`, `text`, `a | b`. Of a block: nothing.
    pub kind: String,
    /// The default as it would be written. Of a block, and of what is not set: nothing.
    pub default: String,
    /// The doc comment.
    pub what: String,
}

impl Described {
    pub fn new(path: &str, kind: &str, default: &Tree, docs: &[&str]) -> Self {
        let lines: Vec<&str> = docs.iter().map(|line| line.trim()).collect();
        Described { path: path.into(), kind: kind.into(), default: default.print_inline(), what: lines.join(" ") }
    }
}

/// Which keys exist beyond those that have a meaning here.
pub trait Reference {
    /// `path` is a dotted path from the top: `server.log_level`. What lies below a known path is known.
    fn knows(&self, path: &str) -> bool;
    /// The keys that may stand under a path.
    fn keys_under(&self, path: &str) -> Vec<String>;
}

/// No key but those with a meaning.
pub struct NoReference;

impl Reference for NoReference {
    fn knows(&self, _path: &str) -> bool {
        false
    }
    fn keys_under(&self, _path: &str) -> Vec<String> {
        vec![]
    }
}

/// Where reading stands, and what it found.
pub struct Reader<'a> {
    reference: &'a dyn Reference,
    path: Vec<String>,
    /// Dotted paths of keys that are known and mean nothing here.
    pub ignored: BTreeSet<String>,
    pub errors: Vec<String>,
}

impl<'a> Reader<'a> {
    /// A reader that starts at a dotted path.
    pub fn at(path: &str, reference: &'a dyn Reference) -> Self {
        let path = path.split('.').filter(|p| !p.is_empty()).map(str::to_string).collect();
        Reader { reference, path, ignored: BTreeSet::new(), errors: vec![] }
    }

    pub fn error(&mut self, tree: &Tree, what: impl std::fmt::Display) {
        let place = match (tree.line, self.path.is_empty()) {
            (0, _) => self.path.join("."),
            (line, true) => format!("line {line}"),
            (line, false) => format!("line {line}: {}", self.path.join(".")),
        };
        self.errors.push(if place.is_empty() { what.to_string() } else { format!("{place}: {what}") });
    }

    /// Reads with `key` on the path.
    pub fn within(&mut self, key: &str, read: impl FnOnce(&mut Self)) {
        self.path.push(key.to_string());
        read(self);
        self.path.pop();
    }

    /// The entries of a mapping; `read` tells whether it has a setting of that name.
    pub fn block(&mut self, tree: &Tree, own: &[&str], mut read: impl FnMut(&str, &Tree, &mut Self)) {
        let entries = match &tree.value {
            Value::Null => return,
            Value::Map(entries) => entries,
            _ => return self.error(tree, "expected a mapping of settings"),
        };
        for (key, child) in entries {
            if own.contains(&key.as_str()) {
                self.within(key, |reader| read(key, child, reader));
            } else {
                self.strange(key, child, own);
            }
        }
    }

    /// A key without a setting: known to the reference, or an error that names the nearest known one.
    fn strange(&mut self, key: &str, child: &Tree, own: &[&str]) {
        let parent = self.path.join(".");
        let path = if parent.is_empty() { key.to_string() } else { format!("{parent}.{key}") };
        match &child.value {
            // A section of the reference is looked into, so that a wrong key in it is found.
            Value::Map(entries) if self.reference.knows(&path) && !self.reference.keys_under(&path).is_empty() => {
                self.path.push(key.to_string());
                entries.iter().for_each(|(key, child)| self.strange(key, child, &[]));
                self.path.pop();
            }
            _ if self.reference.knows(&path) => {
                self.ignored.insert(path);
            }
            _ => {
                let known = self.reference.keys_under(&parent);
                let known = known.iter().map(String::as_str).chain(own.iter().copied());
                let hint = nearest(key, known).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                let place = if parent.is_empty() { "the configuration".to_string() } else { parent };
                self.errors.push(format!("line {}: field {key} not found in {place}{hint}", child.line));
            }
        }
    }

    fn parsed<T>(&mut self, tree: &Tree, into: &mut T, parse: impl FnOnce(&str) -> Result<T, String>) {
        match &tree.value {
            Value::Null => {}
            Value::Scalar(text) => match parse(text.trim()) {
                Ok(value) => *into = value,
                Err(what) => self.error(tree, what),
            },
            _ => self.error(tree, "expected a single value"),
        }
    }
}

/// The closest of `known` by edit distance, if it is close: at most a third of the letters differ.
pub fn nearest<'k>(key: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let close = |name: &&str| edit_distance(key, name) * 3 <= key.len().max(name.len());
    known.filter(close).min_by_key(|name| edit_distance(key, name))
}

fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let swap = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = swap.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

/// A block: its fields are its keys, its doc comments the reference, its defaults beside them.
///
/// A field whose key is a word of Rust is written `r#type`.
#[macro_export]
macro_rules! settings {
    ($($(#[$meta:meta])* pub struct $name:ident {
        $($(#[doc = $doc:literal])* pub $field:ident : $type:ty = $default:expr),* $(,)?
    })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name { $($(#[doc = $doc])* pub $field: $type),* }

        impl Default for $name {
            fn default() -> Self {
                $name { $($field: $default),* }
            }
        }

        impl $crate::settings::Setting for $name {
            fn read(&mut self, tree: &$crate::settings::Tree, reader: &mut $crate::settings::Reader) {
                let own = [$($crate::settings::key(stringify!($field))),*];
                reader.block(tree, &own, |key, child, reader| {
                    $(if key == $crate::settings::key(stringify!($field)) {
                        return $crate::settings::Setting::read(&mut self.$field, child, reader);
                    })*
                });
            }
            fn write(&self) -> $crate::settings::Tree {
                let mut tree = $crate::settings::Tree::default();
                $(tree.set(
                    &[$crate::settings::key(stringify!($field))],
                    $crate::settings::Setting::write(&self.$field),
                );)*
                tree
            }
            fn describe(&self, path: &str, docs: &[&str], into: &mut Vec<$crate::settings::Described>) {
                into.push($crate::settings::Described::new(path, "", &$crate::settings::Tree::default(), docs));
                $($crate::settings::Setting::describe(
                    &self.$field,
                    &$crate::settings::below(path, $crate::settings::key(stringify!($field))),
                    &[$($doc),*],
                    into,
                );)*
            }
        }
    )*};
}

/// A setting that is one word of several.
#[macro_export]
macro_rules! choice {
    ($name:ident { $($word:literal => $variant:ident),* $(,)? }) => {
        impl $crate::settings::Setting for $name {
            fn read(&mut self, tree: &$crate::settings::Tree, reader: &mut $crate::settings::Reader) {
                match &tree.value {
                    $crate::settings::Value::Null => {}
                    $($crate::settings::Value::Scalar(word) if word == $word => *self = $name::$variant,)*
                    _ => reader.error(tree, concat!("expected one of", $(" ", $word),*)),
                }
            }
            fn write(&self) -> $crate::settings::Tree {
                $crate::settings::Tree::scalar(match self { $($name::$variant => $word),* })
            }
            fn describe(&self, path: &str, docs: &[&str], into: &mut Vec<$crate::settings::Described>) {
                let words = [$($word),*].join(" | ");
                into.push($crate::settings::Described::new(path, &words, &self.write(), docs));
            }
        }
    };
}

/// The path of a key in the block at `path`.
pub fn below(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_string() } else { format!("{path}.{key}") }
}

/// The key of a field.
pub fn key(field: &'static str) -> &'static str {
    field.strip_prefix("r#").unwrap_or(field)
}

macro_rules! scalar {
    ($($type:ty: $kind:literal, $parse:expr, $print:expr;)*) => {$(
        impl Setting for $type {
            fn read(&mut self, tree: &Tree, reader: &mut Reader) {
                reader.parsed(tree, self, $parse);
            }
            fn write(&self) -> Tree {
                let print: fn(&$type) -> String = $print;
                Tree::scalar(print(self))
            }
            fn describe(&self, path: &str, docs: &[&str], into: &mut Vec<Described>) {
                into.push(Described::new(path, $kind, &self.write(), docs));
            }
        }
    )*};
}

scalar! {
    String: "text", |text| Ok(text.to_string()), |v| without_user_information(v);
    bool: "boolean", parse_bool, |v| v.to_string();
    f64: "number", |text| text.parse::<f64>().ok().filter(|v| v.is_finite()).ok_or_else(|| not("a number", text)), |v| v.to_string();
    u64: "integer or size", units::parse_bytes, |v| v.to_string();
    usize: "integer or size", narrow, |v| v.to_string();
    u32: "integer or size", narrow, |v| v.to_string();
    u16: "integer", narrow, |v| v.to_string();
    Duration: "duration", units::parse_duration, |v| model::duration::go_string(v.as_nanos().min(i64::MAX as u128) as i64);
    Secret: "secret", |text| Ok(Secret::new(text)), |v| v.masked().to_string();
    SecretUrl: "URL", |text| Ok(SecretUrl::new(text)), SecretUrl::masked;
    // Loki's settings of this type are priorities and moments; a moment is kept in nanoseconds since the epoch.
    i64: "integer or moment", |text| text.parse().or_else(|_| units::parse_moment_ns(text)), |v| v.to_string();
}

/// Any text may be a URL, and a URL may hold a password.
fn without_user_information(text: &str) -> String {
    if text.contains("://") { SecretUrl::new(text).masked() } else { text.to_string() }
}

fn not(what: &str, text: &str) -> String {
    format!("not {what}: {text:?}")
}

/// Whole numbers may have a byte unit wherever they are used, as in Loki.
fn narrow<T: TryFrom<u64>>(text: &str) -> Result<T, String> {
    let wide = units::parse_bytes(text)?;
    T::try_from(wide).map_err(|_| format!("{wide} is too large"))
}

/// YAML 1.1's booleans and Go's.
fn parse_bool(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" | "t" | "1" => Ok(true),
        "false" | "no" | "off" | "n" | "f" | "0" => Ok(false),
        _ => Err(not("a boolean", text)),
    }
}

/// A list, or one text with commas between the items. It replaces what was there.
impl<T: Setting + Default> Setting for Vec<T> {
    fn read(&mut self, tree: &Tree, reader: &mut Reader) {
        let split;
        let items = match &tree.value {
            Value::Null => return,
            Value::List(items) => items,
            Value::Scalar(text) => {
                let texts = text.split(',').map(str::trim).filter(|text| !text.is_empty());
                split = texts.map(|text| Tree { value: Value::Scalar(text.into()), line: tree.line }).collect();
                &split
            }
            Value::Map(_) => return reader.error(tree, "expected a list"),
        };
        let read = |item: &Tree| {
            let mut value = T::default();
            value.read(item, reader);
            value
        };
        *self = items.iter().map(read).collect();
    }
    fn write(&self) -> Tree {
        Tree::from(Value::List(self.iter().map(Setting::write).collect()))
    }
    fn describe(&self, path: &str, docs: &[&str], into: &mut Vec<Described>) {
        describe_items::<T>("list of", &format!("{path}[]"), Described::new(path, "", &self.write(), docs), into);
    }
}

/// A free mapping. It replaces what was there.
impl<T: Setting + Default> Setting for BTreeMap<String, T> {
    fn read(&mut self, tree: &Tree, reader: &mut Reader) {
        let entries = match &tree.value {
            Value::Null => return,
            Value::Map(entries) => entries,
            _ => return reader.error(tree, "expected a mapping"),
        };
        self.clear();
        for (key, child) in entries {
            let mut value = T::default();
            reader.within(key, |reader| value.read(child, reader));
            self.insert(key.clone(), value);
        }
    }
    fn write(&self) -> Tree {
        Tree::from(Value::Map(self.iter().map(|(key, value)| (key.clone(), value.write())).collect()))
    }
    fn describe(&self, path: &str, docs: &[&str], into: &mut Vec<Described>) {
        describe_items::<T>("by name:", &format!("{path}.<name>"), Described::new(path, "", &self.write(), docs), into);
    }
}

/// Several settings of one sort: one entry if they are values, else also what is below an item.
fn describe_items<T: Setting + Default>(several: &str, below: &str, mut all: Described, into: &mut Vec<Described>) {
    let mut items = vec![];
    T::default().describe(below, &[], &mut items);
    let item = items.remove(0);
    all.kind = if item.kind.is_empty() { format!("{several} blocks") } else { format!("{several} {}", item.kind) };
    into.push(all);
    into.extend(items);
}

/// A setting that knows whether it was set.
impl<T: Setting + Default> Setting for Option<T> {
    fn read(&mut self, tree: &Tree, reader: &mut Reader) {
        if !tree.is_null() {
            self.get_or_insert_default().read(tree, reader);
        }
    }
    fn write(&self) -> Tree {
        self.as_ref().map_or_else(|| Tree::from(Value::Null), Setting::write)
    }
    fn describe(&self, path: &str, docs: &[&str], into: &mut Vec<Described>) {
        let first = into.len();
        match self {
            Some(value) => value.describe(path, docs, into),
            None => T::default().describe(path, docs, into),
        }
        if self.is_none() {
            into[first].default.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    settings! {
        pub struct Inner {
            pub wait: Duration = Duration::from_secs(5),
            pub r#type: String = "local".into(),
        }
        pub struct Outer {
            pub on: bool = true,
            pub size: u64 = 7,
            pub names: Vec<String> = vec!["x".into()],
            pub key: Secret = Secret::default(),
            pub inner: Inner = Inner::default(),
            pub inners: BTreeMap<String, Inner> = BTreeMap::new(),
        }
    }

    struct Loki;
    impl Reference for Loki {
        fn knows(&self, path: &str) -> bool {
            matches!(path, "inner.ring" | "inner.ring.store" | "bloom")
        }
        fn keys_under(&self, path: &str) -> Vec<String> {
            if path == "inner.ring" { vec!["store".into()] } else { vec![] }
        }
    }

    fn read(yaml: &str) -> (Outer, Vec<String>, Vec<String>) {
        let mut outer = Outer::default();
        let mut reader = Reader::at("", &Loki);
        outer.read(&Tree::parse(yaml).unwrap(), &mut reader);
        (outer, reader.ignored.into_iter().collect(), reader.errors)
    }

    #[test]
    fn settings_are_laid_over_what_is_there() {
        let (outer, ignored, errors) =
            read("on: no\nsize: 4MB\nnames: a, b\nkey: s3cret\ninner:\n  type: s3\ninners: {p: {wait: 1m}}\n");
        assert_eq!((outer.on, outer.size, outer.names.clone()), (false, 4 << 20, vec!["a".to_string(), "b".into()]));
        assert_eq!((outer.inner.wait, outer.inner.r#type.as_str()), (Duration::from_secs(5), "s3"));
        assert_eq!(outer.inners["p"].wait, Duration::from_secs(60));
        assert!(ignored.is_empty() && errors.is_empty(), "{errors:?}");
        assert_eq!(outer.write().get("key").unwrap().value, Value::Scalar("********".into()));
        let url = Inner { r#type: "https://user:s3cret@host/a@b".into(), ..Inner::default() }.write();
        assert_eq!(url.get("type").unwrap().value, Value::Scalar("https://********@b".into()));
        assert_eq!(read("").0, read("inner:\nnames:\n").0);
    }

    #[test]
    fn a_known_key_is_named_and_an_unknown_one_is_an_error_with_its_line() {
        let (_, ignored, errors) = read("inner:\n  ring: {store: x}\nbloom: {any: [thing]}\n");
        assert_eq!((ignored, errors), (vec!["bloom".to_string(), "inner.ring.store".into()], vec![]));
        for (yaml, error) in [
            ("on: 1\nsizes: 2\n", "line 2: field sizes not found in the configuration; did you mean size?"),
            ("inner:\n  weit: 1s\n", "line 2: field weit not found in inner; did you mean wait?"),
            ("inner:\n  ring:\n    stor: 1\n", "line 3: field stor not found in inner.ring; did you mean store?"),
            ("inner:\n  wait: soon\n", "line 2: inner.wait: time: invalid duration \"soon\""),
            ("inner:\n  wait: 5\n", "line 2: inner.wait: time: missing unit in duration \"5\""),
            ("on: [1]\n", "line 1: on: expected a single value"),
            ("inner: 5\n", "line 1: inner: expected a mapping of settings"),
        ] {
            assert_eq!(read(yaml).2, [error]);
        }
    }
}
