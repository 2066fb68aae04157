//! Under which name an answer is kept. A key is a list of fields, each with its length, so that no two questions share
//! one; the cache is asked for its hash, and the kept bytes say the whole key.

use rpc::queries::Tenants;
use xxhash_rust::xxh64::xxh64;

/// Another one for every change of what is kept, and of what queries answer.
const FORM: u8 = 1;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    bytes: Vec<u8>,
}

impl Key {
    /// Of a kind of answers, to these tenants, with the generation of deletes of each.
    pub fn new(kind: &str, tenants: &Tenants, generations: &[String]) -> Self {
        let mut key = Key { bytes: vec![FORM, u8::from(tenants.labelled)] };
        key = key.field(kind.as_bytes()).number(tenants.ids.len() as i64);
        for tenant in &tenants.ids {
            key = key.field(tenant.as_str().as_bytes());
        }
        key = key.number(generations.len() as i64);
        generations.iter().fold(key, |key, generation| key.field(generation.as_bytes()))
    }

    pub fn field(mut self, bytes: &[u8]) -> Self {
        self = self.number(bytes.len() as i64);
        self.bytes.extend(bytes);
        self
    }

    pub fn number(mut self, number: i64) -> Self {
        self.bytes.extend(number.to_le_bytes());
        self
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What a cache knows the key by.
    pub fn name(&self) -> String {
        format!("answer-{:016x}", xxh64(&self.bytes, 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::TenantId;

    #[test]
    fn no_two_questions_share_a_key() {
        let tenants = |names: &[&str], labelled| Tenants {
            ids: names.iter().map(|name| TenantId::parse(name).unwrap()).collect(),
            labelled,
        };
        let generations = |texts: &[&str]| texts.iter().map(|text| text.to_string()).collect::<Vec<_>>();
        let key = |names: &[&str], labelled, of: &[&str], kind, query: &str| {
            Key::new(kind, &tenants(names, labelled), &generations(of)).field(query.as_bytes()).number(5)
        };
        let keys = [
            key(&["a"], false, &[""], "result", "x"),
            key(&["a"], true, &[""], "result", "x"),
            key(&["b"], false, &[""], "result", "x"),
            key(&["a", "b"], true, &["", ""], "result", "x"),
            key(&["ab"], true, &["", ""], "result", "x"),
            key(&["a", "b"], true, &["1", ""], "result", "x"),
            key(&["a", "b"], true, &["", "1"], "result", "x"),
            key(&["a"], false, &[""], "log", "x"),
            key(&["a"], false, &[""], "result", "y"),
            key(&["a"], false, &["x"], "result", ""),
            key(&["a"], false, &[""], "result", "x").number(5),
        ];
        for (i, a) in keys.iter().enumerate() {
            for b in &keys[..i] {
                assert!(a != b && a.name() != b.name(), "{a:?} {b:?}");
            }
        }
    }
}
