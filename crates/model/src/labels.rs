//! A stream's labels: sorted, unique, immutable; their canonical text and their fingerprint.

use crate::quote::{quote_into, unquote_prefix};
use crate::{Error, Result};
use smol_str::SmolStr;
use std::fmt;
use std::sync::Arc;
use xxhash_rust::xxh64::Xxh64;

/// The label that Loki leaves out of fingerprints.
pub const METRIC_NAME: &str = "__name__";

/// A stream's identity in keys and index: XXH64 over its labels (`../shared`'s storage format, section 3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Fingerprint(pub u64);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}
impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label {
    pub name: SmolStr,
    pub value: SmolStr,
}

/// Labels sorted by name, each name once. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels(Arc<[Label]>);

impl Default for Labels {
    fn default() -> Self {
        Labels(Arc::new([]))
    }
}

impl Labels {
    /// Sorts `pairs`; of a repeated name the last value stays.
    pub fn new<N: Into<SmolStr>, V: Into<SmolStr>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut labels: Vec<Label> =
            pairs.into_iter().map(|(name, value)| Label { name: name.into(), value: value.into() }).collect();
        labels.sort_by(|a, b| a.name.cmp(&b.name));
        labels.reverse();
        labels.dedup_by(|a, b| a.name == b.name);
        labels.reverse();
        Labels(labels.into())
    }

    /// Parses `{name="value", ...}` as Loki's push API takes it: Go-quoted values, any order, spaces and a trailing
    /// comma allowed. A repeated name is an error that names it.
    pub fn parse(text: &str) -> Result<Self> {
        parse(text)
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.binary_search_by(|l| l.name.as_str().cmp(name)).ok().map(|i| self.0[i].value.as_str())
    }
    pub fn iter(&self) -> std::slice::Iter<'_, Label> {
        self.0.iter()
    }
    pub fn len(&self) -> usize {
        self.0.len()
    }
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn fingerprint(&self) -> Fingerprint {
        let mut hash = Xxh64::new(0);
        for label in self.iter().filter(|l| l.name != METRIC_NAME) {
            hash.update(label.name.as_bytes());
            hash.update(&[0xff]);
            hash.update(label.value.as_bytes());
            hash.update(&[0xff]);
        }
        Fingerprint(hash.digest())
    }

    /// The stream's position on the ring: FNV-1 32 over tenant and canonical text.
    pub fn ring_token(&self, tenant: &str) -> u32 {
        let canonical = self.to_string();
        tenant.bytes().chain(canonical.bytes()).fold(0x811c_9dc5u32, |h, b| h.wrapping_mul(0x0100_0193) ^ u32::from(b))
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = &'a Label;
    type IntoIter = std::slice::Iter<'a, Label>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The canonical text: `{a="1", b="2"}`.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::from("{");
        for (i, label) in self.iter().enumerate() {
            if i > 0 {
                text.push_str(", ");
            }
            text.push_str(&label.name);
            text.push('=');
            quote_into(&mut text, &label.value);
        }
        text.push('}');
        f.write_str(&text)
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether `name` is a label name of the classic form `[a-zA-Z_][a-zA-Z0-9_]*`.
pub fn is_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn parse(text: &str) -> Result<Labels> {
    let fail = |at: usize, what: &str| Error::invalid(format!("1:{}: parse error: {what}", at + 1));
    let mut at = skip_space(text, 0);
    if !text[at..].starts_with('{') {
        return Err(fail(at, &unexpected(text, at, "expected \"{\"")));
    }
    at = skip_space(text, at + 1);
    let mut pairs: Vec<(SmolStr, SmolStr)> = Vec::new();
    while !text[at..].starts_with('}') {
        let name_end =
            at + text[at..].bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_' || *b == b':').count();
        let name = &text[at..name_end];
        if name.is_empty() || name.as_bytes()[0].is_ascii_digit() {
            return Err(fail(at, &unexpected(text, at, "expected label name or \"}\"")));
        }
        let eq = skip_space(text, name_end);
        if !text[eq..].starts_with('=') {
            return Err(fail(eq, &unexpected(text, eq, "expected \"=\"")));
        }
        let open = skip_space(text, eq + 1);
        let Some((value, len)) = unquote_prefix(&text[open..]) else {
            return Err(fail(open, &unexpected(text, open, "expected a quoted string")));
        };
        if pairs.iter().any(|(n, _)| n == name) {
            return Err(Error::invalid(format!("stream '{text}' has duplicate label name: '{name}'")));
        }
        pairs.push((name.into(), value.into()));
        at = skip_space(text, open + len);
        if text[at..].starts_with(',') {
            at = skip_space(text, at + 1);
        } else if !text[at..].starts_with('}') {
            return Err(fail(at, &unexpected(text, at, "expected \",\" or \"}\"")));
        }
    }
    let end = skip_space(text, at + 1);
    if end != text.len() {
        return Err(fail(end, &unexpected(text, end, "expected end of input")));
    }
    Ok(Labels::new(pairs))
}

fn skip_space(text: &str, at: usize) -> usize {
    at + text[at..].bytes().take_while(u8::is_ascii_whitespace).count()
}

fn unexpected(text: &str, at: usize, expected: &str) -> String {
    match text[at..].chars().next() {
        None => format!("unexpected end of input inside braces, {expected}"),
        Some(c) => format!("unexpected character inside braces: '{c}', {expected}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_and_tokens_are_loki_s() {
        for (text, fp) in [
            (r#"{app="checkout",env="prod",region="eu-1"}"#, 0x7c7447f434f0f7a8),
            (r#"{env="prod", app="gateway"}"#, 0x16a4dee85bd8f561),
            (r#"{host="h-01",job="nightly"}"#, 0x250492dab81a843a),
            (r#"{pod="api-1",service="api",service_name="api"}"#, 0xbc9a6b32e8a70c4d),
            (r#"{a="v13"}"#, 0x231f737d56684b24),
            (r#"{__name__="logs",a="v13"}"#, 0x231f737d56684b24),
        ] {
            assert_eq!(Labels::parse(text).unwrap().fingerprint(), Fingerprint(fp), "{text}");
        }
        let labels = Labels::parse(r#"{app="checkout",env="prod",region="eu-1"}"#).unwrap();
        assert_eq!(labels.ring_token("acme"), 2_996_169_313);
    }

    #[test]
    fn label_text_is_parsed_and_printed_canonically() {
        for (text, canonical) in
            [("{}", "{}"), (" { b = \"2\" , a=`1`, } ", r#"{a="1", b="2"}"#), (r#"{a="x\ny\"z"}"#, r#"{a="x\ny\"z"}"#)]
        {
            assert_eq!(Labels::parse(text).unwrap().to_string(), canonical);
        }
        for bad in
            ["", "{", "{a}", "{a=}", "{a=1}", "{a-b=\"1\"}", "{a=\"1\"", "{a=\"1\"}x", "{a=\"1\",a=\"2\"}", "{1a=\"\"}"]
        {
            assert!(Labels::parse(bad).is_err(), "{bad}");
        }
    }
}
