//! Prometheus's relabelling: rules that keep, drop and rewrite sets of labels. It must not know whose labels they are.

use md5::{Digest, Md5};
use model::labels::is_label_name;
use model::{Labels, pattern};
use regex::Regex;
use runtime::settings;
use runtime::settings::{Described, Reader, Setting, Tree, Value};
use smol_str::SmolStr;
use std::collections::BTreeMap;

settings! {
    /// One rule, under Prometheus's names.
    pub struct RelabelConfig {
        /// Labels whose values, joined by `separator`, are what `regex` is matched against.
        pub source_labels: Vec<String> = vec![],
        pub separator: Verbatim = Verbatim::new(";"),
        /// Of Go's syntax; it must match the whole text.
        pub regex: Verbatim = Verbatim::new("(.*)"),
        /// Of action `hashmod`.
        pub modulus: u64 = 0,
        /// The label that is written; groups of `regex` may stand in it.
        pub target_label: String = String::new(),
        pub replacement: Verbatim = Verbatim::new("$1"),
        /// `replace`, `keep`, `drop`, `keepequal`, `dropequal`, `hashmod`, `labelmap`, `labeldrop`, `labelkeep`,
        /// `lowercase` or `uppercase`.
        pub action: String = "replace".into(),
    }
}

/// A text that is taken as it is written, spaces at its ends included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verbatim(String);

impl Verbatim {
    pub fn new(text: impl Into<String>) -> Self {
        Verbatim(text.into())
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Setting for Verbatim {
    fn read(&mut self, tree: &Tree, reader: &mut Reader) {
        match &tree.value {
            Value::Null => {}
            Value::Scalar(text) => self.0.clone_from(text),
            _ => reader.error(tree, "expected a single value"),
        }
    }
    fn write(&self) -> Tree {
        Tree::scalar(&*self.0)
    }
    fn describe(&self, path: &str, docs: &[&str], into: &mut Vec<Described>) {
        into.push(Described::new(path, "text", &self.write(), docs));
    }
}

/// Rules that are proven to be usable, in the order in which they are applied.
#[derive(Clone, Debug, Default)]
pub struct Relabel(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    source_labels: Vec<String>,
    separator: String,
    regex: Regex,
    action: Action,
}

#[derive(Clone, Debug)]
enum Action {
    Replace { target: String, replacement: String },
    Keep,
    Drop,
    KeepEqual(String),
    DropEqual(String),
    HashMod { target: String, modulus: u64 },
    LabelMap { replacement: String },
    LabelDrop,
    LabelKeep,
    Lowercase(String),
    Uppercase(String),
}

type Builder = BTreeMap<SmolStr, SmolStr>;

impl Relabel {
    /// The error names the rule by its number, from 1.
    pub fn compile(rules: &[RelabelConfig]) -> Result<Self, String> {
        let rule = |(i, rule): (usize, &RelabelConfig)| Rule::compile(rule).map_err(|e| format!("rule {}: {e}", i + 1));
        Ok(Relabel(rules.iter().enumerate().map(rule).collect::<Result<_, _>>()?))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The labels after all rules, without empty values; nothing when a rule drops them or none is left.
    pub fn apply(&self, labels: &Labels) -> Option<Labels> {
        if self.0.is_empty() {
            return Some(labels.clone());
        }
        let mut builder: Builder = labels.iter().map(|label| (label.name.clone(), label.value.clone())).collect();
        if !self.0.iter().all(|rule| rule.apply(&mut builder)) {
            return None;
        }
        builder.retain(|_, value| !value.is_empty());
        (!builder.is_empty()).then(|| Labels::new(builder))
    }
}

impl Rule {
    fn compile(config: &RelabelConfig) -> Result<Self, String> {
        let action = Action::compile(config)?;
        let regex = pattern::anchored(config.regex.as_str()).map_err(|error| format!("regex: {}", error.message))?;
        if let Some(bad) = config.source_labels.iter().find(|name| !is_label_name(name)) {
            return Err(format!("source_labels: {bad:?} is no label name"));
        }
        let separator = config.separator.as_str().to_string();
        Ok(Rule { source_labels: config.source_labels.clone(), separator, regex, action })
    }

    /// Whether the labels stay.
    fn apply(&self, labels: &mut Builder) -> bool {
        let text = |labels: &Builder| {
            let values = self.source_labels.iter().map(|name| value_of(labels, name));
            values.collect::<Vec<_>>().join(&self.separator)
        };
        match &self.action {
            Action::Keep => return self.regex.is_match(&text(labels)),
            Action::Drop => return !self.regex.is_match(&text(labels)),
            Action::KeepEqual(target) => return text(labels) == value_of(labels, target),
            Action::DropEqual(target) => return text(labels) != value_of(labels, target),
            Action::Replace { target, replacement } => self.replace(&text(labels), target, replacement, labels),
            Action::HashMod { target, modulus } => {
                let hash = hash_of(&text(labels)) % modulus;
                set(labels, target, &hash.to_string());
            }
            Action::LabelMap { replacement } => self.map_names(replacement, labels),
            Action::LabelDrop => labels.retain(|name, _| !self.regex.is_match(name)),
            Action::LabelKeep => labels.retain(|name, _| self.regex.is_match(name)),
            Action::Lowercase(target) => set(labels, target, &text(labels).to_lowercase()),
            Action::Uppercase(target) => set(labels, target, &text(labels).to_uppercase()),
        }
        true
    }

    fn replace(&self, text: &str, target: &str, replacement: &str, labels: &mut Builder) {
        let Some(groups) = self.regex.captures(text) else { return };
        let (mut name, mut value) = (String::new(), String::new());
        groups.expand(target, &mut name);
        groups.expand(replacement, &mut value);
        if is_label_name(&name) {
            set(labels, &name, &value);
        }
    }

    fn map_names(&self, replacement: &str, labels: &mut Builder) {
        for (name, value) in labels.clone() {
            let Some(groups) = self.regex.captures(&name) else { continue };
            let mut mapped = String::new();
            groups.expand(replacement, &mut mapped);
            if is_label_name(&mapped) {
                set(labels, &mapped, &value);
            }
        }
    }
}

impl Action {
    fn compile(config: &RelabelConfig) -> Result<Self, String> {
        let action = config.action.to_lowercase();
        let target = config.target_label.clone();
        let replacement = config.replacement.as_str().to_string();
        let needs_target = ["replace", "hashmod", "lowercase", "uppercase", "keepequal", "dropequal"];
        if needs_target.contains(&action.as_str()) && target.is_empty() {
            return Err(format!("action {action} needs target_label"));
        }
        // Only `replace` makes its target's name of groups.
        let template = action == "replace" && is_name_template(&target);
        if !target.is_empty() && !template && !is_label_name(&target) {
            return Err(format!("target_label: {target:?} is no label name"));
        }
        let default = RelabelConfig::default();
        let of_names = RelabelConfig { regex: config.regex.clone(), action: config.action.clone(), ..default.clone() };
        let of_equals = RelabelConfig {
            source_labels: config.source_labels.clone(),
            target_label: target.clone(),
            separator: config.separator.clone(),
            action: config.action.clone(),
            ..default
        };
        Ok(match action.as_str() {
            "replace" => Action::Replace { target, replacement },
            "keep" => Action::Keep,
            "drop" => Action::Drop,
            "keepequal" | "dropequal" if *config != of_equals => {
                return Err(format!("action {action} reads source_labels and target_label and no other setting"));
            }
            "keepequal" => Action::KeepEqual(target),
            "dropequal" => Action::DropEqual(target),
            "hashmod" if config.modulus == 0 => return Err("action hashmod needs a modulus above 0".into()),
            "hashmod" => Action::HashMod { target, modulus: config.modulus },
            "labelmap" if !is_name_template(&replacement) => {
                return Err(format!("replacement: {replacement:?} makes no label name"));
            }
            "labelmap" => Action::LabelMap { replacement },
            "labeldrop" | "labelkeep" if *config != of_names => {
                return Err(format!("action {action} reads regex and no other setting"));
            }
            "labeldrop" => Action::LabelDrop,
            "labelkeep" => Action::LabelKeep,
            "lowercase" => Action::Lowercase(target),
            "uppercase" => Action::Uppercase(target),
            _ => return Err(format!("unknown action {action:?}")),
        })
    }
}

/// A label name in which `$1` and `${name}` may stand.
fn is_name_template(text: &str) -> bool {
    let mut rest = text;
    let mut name = String::new();
    while let Some((before, after)) = rest.split_once('$') {
        name.push_str(before);
        // What a group holds is not known here; a letter stands for it.
        name.push('a');
        let (group, tail) = match after.strip_prefix('{') {
            Some(braced) => braced.split_once('}').unwrap_or(("", braced)),
            None => after.split_at(after.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count()),
        };
        if group.is_empty() || !group.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return false;
        }
        rest = tail;
    }
    name.push_str(rest);
    is_label_name(&name)
}

fn value_of<'l>(labels: &'l Builder, name: &str) -> &'l str {
    labels.get(name).map(SmolStr::as_str).unwrap_or_default()
}

/// An empty value takes the label away.
fn set(labels: &mut Builder, name: &str, value: &str) {
    if value.is_empty() {
        labels.remove(name);
    } else {
        labels.insert(name.into(), value.into());
    }
}

/// The last eight bytes of the MD5, as Prometheus takes them.
fn hash_of(text: &str) -> u64 {
    let digest = Md5::digest(text.as_bytes());
    digest[8..].iter().fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

#[cfg(test)]
#[path = "relabel_tests.rs"]
mod tests;
