//! A stream's labels: sorted, unique, immutable; their canonical text and their fingerprint.

use crate::label_text;
use crate::quote::quote;
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

    /// Parses what [`label_text::parse`] reads. A repeated name is an error that names it.
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
        let pairs: Vec<(&str, &str)> = self.iter().map(|label| (&*label.name, &*label.value)).collect();
        f.write_str(&label_text::canonical(&pairs))
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

/// The label name for an OTLP or metadata name: other characters and runs of them become one underscore, a digit in
/// front gets `key_`. Names between double underscores keep these. An error when nothing of the name remains.
pub fn normalised_name(name: &str) -> std::result::Result<String, String> {
    if name.is_empty() {
        return Err("label name is empty".into());
    }
    let inner = name.strip_prefix("__").and_then(|n| n.strip_suffix("__")).filter(|n| !n.is_empty());
    let mut out = String::with_capacity(name.len() + 4);
    let mut gap = false;
    for c in inner.unwrap_or(name).chars() {
        if c.is_ascii_alphanumeric() {
            out.push(c);
            gap = false;
        } else if !gap {
            out.push('_');
            gap = true;
        }
    }
    if out.starts_with(|c: char| c.is_ascii_digit()) {
        out.insert_str(0, "key_");
    }
    if out.bytes().all(|b| b == b'_') {
        return Err(format!("normalization for label name {} resulted in invalid name \"{out}\"", quote(name)));
    }
    Ok(match inner {
        Some(_) => format!("__{out}__"),
        None => out,
    })
}

fn parse(text: &str) -> Result<Labels> {
    let pairs = label_text::parse(text)?;
    if let Some(twice) = pairs.windows(2).find(|w| w[0].0 == w[1].0) {
        let stream = label_text::canonical(&pairs);
        return Err(Error::invalid(format!("stream '{stream}' has duplicate label name: '{}'", twice[0].0)));
    }
    Ok(Labels(pairs.into_iter().map(|(name, value)| Label { name, value }).collect()))
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
            ["{", "{a}", "{a=}", "{a=1}", "{a-b=\"1\"}", "{a=\"1\"", "{a=\"1\"}x", "{a=\"1\",a=\"2\"}", "{1a=\"\"}"]
        {
            assert!(Labels::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_become_label_names() {
        for (name, normal) in [
            ("a.b", "a_b"),
            ("c-d", "c_d"),
            ("9e", "key_9e"),
            ("h__i", "h_i"),
            ("_j", "_j"),
            ("a..b", "a_b"),
            ("ünï", "_n_"),
            ("weird key!", "weird_key_"),
            ("__x.y__", "__x_y__"),
        ] {
            assert_eq!(normalised_name(name).unwrap(), normal);
        }
        assert_eq!(normalised_name("").unwrap_err(), "label name is empty");
        let nothing = normalised_name("ключ").unwrap_err();
        assert_eq!(nothing, "normalization for label name \"ключ\" resulted in invalid name \"_\"");
    }
}
