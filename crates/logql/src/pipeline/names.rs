//! Label names of one stream's pipeline, each known by a small number, so that lines never hash or compare name text twice.
//! It must not know values or lines.

use super::hints::Interest;
use super::words;
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

/// A field as lines write it, and the label name that it gets.
struct Key {
    raw: Box<[u8]>,
    name: Option<NameId>,
    /// The key that came after it last.
    next: usize,
}

pub struct Names<'p> {
    interest: &'p Interest,
    hasher: SeedableRandomState,
    list: Vec<Name>,
    by_text: HashTable<NameId>,
    keys: Vec<Key>,
    by_raw: HashTable<usize>,
    /// The key seen last. Lines of a stream have their fields in the same order, so the next one is mostly known.
    latest: usize,
}

impl<'p> Names<'p> {
    /// The names of `interest` get the numbers 0, 1, 2, ...: compiled stages hold them.
    pub fn new(interest: &'p Interest) -> Self {
        let mut names = Names {
            interest,
            hasher: content_hasher(),
            list: Vec::with_capacity(interest.names.len() + 16),
            by_text: HashTable::new(),
            keys: Vec::new(),
            by_raw: HashTable::new(),
            latest: 0,
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
        self.by_raw.clear();
        self.latest = 0;
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

    /// The same for a name that is probably `expected`.
    #[inline]
    pub fn intern_expected(&mut self, text: &str, expected: Option<NameId>) -> NameId {
        match expected.filter(|id| words::is_same(self.get(*id).text.as_bytes(), text.as_bytes())) {
            Some(id) => id,
            None => self.intern(text),
        }
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
        let expected = self.keys.get(self.latest).map_or(0, |latest| latest.next);
        if let Some(key) = self.keys.get(expected)
            && words::is_same(&key.raw, raw)
        {
            self.latest = expected;
            return key.name;
        }
        let key = self.key(raw);
        if let Some(latest) = self.keys.get_mut(self.latest) {
            latest.next = key;
        }
        self.latest = key;
        self.keys[key].name
    }

    /// The place of a key, a new one if need be.
    fn key(&mut self, raw: &[u8]) -> usize {
        let hash = self.hasher.hash_one(raw);
        if let Some(known) = self.by_raw.find(hash, |key| *self.keys[*key].raw == *raw) {
            return *known;
        }
        let text = sanitize(&String::from_utf8_lossy(raw));
        let name = (!text.is_empty()).then(|| self.intern(&text));
        let new = self.keys.len();
        self.keys.push(Key { raw: raw.into(), name, next: new });
        let (keys, hasher) = (&self.keys, &self.hasher);
        self.by_raw.insert_unique(hash, new, |key| hasher.hash_one(&*keys[*key].raw));
        new
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
