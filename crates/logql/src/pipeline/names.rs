//! Label names of one stream's pipeline, each known by a small number, so that lines never hash or compare name text twice.
//! It must not know values or lines.

use super::hints::Interest;
use foldhash::SharedSeed;
use foldhash::quality::SeedableRandomState;
use hashbrown::HashTable;
use smol_str::{SmolStr, format_smolstr};
use std::hash::BuildHasher;

/// What a parser adds to the name of a field that the stream's labels or metadata already have.
pub const DUPLICATE_SUFFIX: &str = "_extracted";
/// Field names remembered per stream; beyond it the memory starts anew, so that lines with ever new fields stay bounded.
pub const NAMES_MAX: usize = 4096;

pub type NameId = u32;

/// The hash of label content: one seed per process, so that equal labels of different streams and threads hash alike.
pub fn content_hasher() -> SeedableRandomState {
    SeedableRandomState::with_seed(0x6c6f_6b69, SharedSeed::global_random())
}

pub struct Name {
    pub text: SmolStr,
    pub hash: u64,
    /// Position among the stream's labels.
    pub base: Option<u32>,
    extracted: Option<NameId>,
    /// Whether the rest of the query can look at it.
    pub required: bool,
    /// The label filter that a parser tries as soon as it has the value.
    pub filter: Option<u32>,
}

struct Key {
    raw: Box<[u8]>,
    name: Option<NameId>,
}

pub struct Names<'p> {
    interest: &'p Interest,
    hasher: SeedableRandomState,
    list: Vec<Name>,
    by_text: HashTable<NameId>,
    keys: HashTable<Key>,
}

impl<'p> Names<'p> {
    /// The names of `interest` get the numbers 0, 1, 2, ...: compiled stages hold them.
    pub fn new(interest: &'p Interest) -> Self {
        let mut names = Names {
            interest,
            hasher: content_hasher(),
            list: Vec::with_capacity(interest.names.len() + 16),
            by_text: HashTable::new(),
            keys: HashTable::new(),
        };
        for name in &interest.names {
            names.intern(name);
        }
        names
    }

    pub fn clear(&mut self) {
        self.list.clear();
        self.by_text.clear();
        self.keys.clear();
        for name in &self.interest.names {
            self.intern(name);
        }
    }

    pub fn is_full(&self) -> bool {
        self.list.len() > NAMES_MAX || self.keys.len() > NAMES_MAX
    }

    pub fn get(&self, id: NameId) -> &Name {
        &self.list[id as usize]
    }

    pub fn set_base(&mut self, id: NameId, index: u32) {
        self.list[id as usize].base = Some(index);
    }

    pub fn find(&self, text: &str) -> Option<NameId> {
        let hash = self.hasher.hash_one(text);
        self.by_text.find(hash, |id| self.list[*id as usize].text == text).copied()
    }

    pub fn intern(&mut self, text: &str) -> NameId {
        let hash = self.hasher.hash_one(text);
        let list = &self.list;
        if let Some(id) = self.by_text.find(hash, |id| list[*id as usize].text == text) {
            return *id;
        }
        let id = self.list.len() as NameId;
        self.list.push(Name {
            text: text.into(),
            hash,
            base: None,
            extracted: None,
            required: self.interest.is_required(text),
            filter: self.interest.early_filter(text),
        });
        let list = &self.list;
        self.by_text.insert_unique(hash, id, |id| list[*id as usize].hash);
        id
    }

    /// `name_extracted` for `name`.
    pub fn extracted(&mut self, id: NameId) -> NameId {
        if let Some(known) = self.list[id as usize].extracted {
            return known;
        }
        let text = format_smolstr!("{}{DUPLICATE_SUFFIX}", self.list[id as usize].text);
        let extracted = self.intern(&text);
        self.list[id as usize].extracted = Some(extracted);
        extracted
    }

    /// The label name that a field `raw` gets; `None` when nothing is left of it.
    #[inline]
    pub fn of_field(&mut self, raw: &[u8]) -> Option<NameId> {
        let hash = self.hasher.hash_one(raw);
        if let Some(key) = self.keys.find(hash, |key| *key.raw == *raw) {
            return key.name;
        }
        let text = sanitize(&String::from_utf8_lossy(raw));
        let name = (!text.is_empty()).then(|| self.intern(&text));
        let hasher = &self.hasher;
        self.keys.insert_unique(hash, Key { raw: raw.into(), name }, |key| hasher.hash_one(&*key.raw));
        name
    }
}

/// A field name as a label name: trimmed, `_` in front of a digit, and `_` for each character outside `[a-zA-Z0-9_]`.
pub fn sanitize(field: &str) -> String {
    let field = field.trim();
    let mut out = String::with_capacity(field.len() + 1);
    if field.starts_with(|c: char| c.is_ascii_digit()) {
        out.push('_');
    }
    out.extend(field.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }));
    out
}
