//! The working label set of one line: the stream's labels, structured metadata, and what stages made of them.
//! Values live in one buffer that is reused from line to line. It must not know how stages read a line.

use super::hints::{ERROR, ERROR_DETAILS, Interest, PRESERVE_ERROR};
use super::names::{NameId, Names, content_hasher};
use foldhash::quality::SeedableRandomState;
use model::Labels;
use model::block::Metadata;
use std::borrow::Cow;
use std::hash::{BuildHasher, Hasher};
use std::ops::Range;

/// Where a label comes from; a response can ask to see them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    Stream,
    Metadata,
    Parsed,
}

/// What a parser does after it has extracted a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    Continue,
    /// Every name that the query needs is there.
    Done,
    /// A label filter of the query does not let the value pass: the line is dropped.
    Reject,
}

type Span = Range<u32>;

#[derive(Clone)]
struct Slot {
    name: NameId,
    category: Category,
    value: Span,
}

/// What differs from the stream's labels.
#[derive(Default)]
struct State {
    slots: Vec<Slot>,
    deleted: Vec<NameId>,
    error: Option<Span>,
    details: Option<Span>,
}

impl State {
    fn is_unchanged(&self) -> bool {
        self.slots.is_empty() && self.deleted.is_empty()
    }

    /// Details whose error was dropped are seen only if the labels differ from the stream's in some other way.
    fn shown_details(&self) -> Option<&Span> {
        let has_error = self.error.as_ref().is_some_and(|e| !e.is_empty());
        self.details.as_ref().filter(|d| !d.is_empty() && (has_error || !self.is_unchanged()))
    }

    fn clear(&mut self) {
        self.slots.clear();
        self.deleted.clear();
        self.error = None;
        self.details = None;
    }
}

pub struct WorkingLabels<'p> {
    pub interest: &'p Interest,
    names: Names<'p>,
    base: Labels,
    base_names: Vec<NameId>,
    base_hashes: Vec<u64>,
    base_hash: u64,
    hasher: SeedableRandomState,
    state: State,
    /// A copy of the state as templates of one `label_format` see it.
    frozen: State,
    text: String,
    /// Names that parsers have extracted from this line, in order: the first value of a name stays.
    extracted: Vec<NameId>,
    /// The names of the metadata of the line before: mostly those of the next.
    metadata_names: Vec<NameId>,
    unwrapped: Option<NameId>,
    generation: u64,
}

impl<'p> WorkingLabels<'p> {
    pub fn new(interest: &'p Interest, base: &Labels) -> Self {
        let mut labels = WorkingLabels {
            interest,
            names: Names::new(interest),
            base: Labels::default(),
            base_names: Vec::new(),
            base_hashes: Vec::new(),
            base_hash: 0,
            hasher: content_hasher(),
            state: State::default(),
            frozen: State::default(),
            text: String::new(),
            extracted: Vec::new(),
            metadata_names: Vec::new(),
            unwrapped: None,
            generation: 0,
        };
        labels.switch(base);
        labels
    }

    /// Goes on with another stream, keeping the buffers.
    pub fn switch(&mut self, base: &Labels) {
        self.generation += 1;
        self.names.clear();
        self.metadata_names.clear();
        self.base = base.clone();
        self.base_names.clear();
        self.base_hashes.clear();
        for (i, label) in base.iter().enumerate() {
            let id = self.names.intern(&label.name);
            self.names.set_base(id, i as u32);
            self.base_names.push(id);
            self.base_hashes.push(label_hash(&self.hasher, self.names.get(id).hash, &label.value));
        }
        self.base_hash = self.base_hashes.iter().fold(0, |sum, h| sum.wrapping_add(*h));
        self.clear();
    }

    fn clear(&mut self) {
        self.state.clear();
        self.text.clear();
        self.extracted.clear();
        self.unwrapped = None;
    }

    /// Starts a line. A metadata name that the stream has too is renamed.
    pub fn start(&mut self, metadata: Metadata<'_>) {
        if self.names.is_full() {
            let base = self.base.clone();
            self.switch(&base);
        }
        self.clear();
        for (i, (name, value)) in metadata.iter().enumerate() {
            match name {
                ERROR => self.state.error = Some(self.store(value)),
                ERROR_DETAILS => self.state.details = Some(self.store(value)),
                _ => {
                    let mut id = self.names.intern_expected(name, self.metadata_names.get(i).copied());
                    match self.metadata_names.get_mut(i) {
                        Some(known) => *known = id,
                        None => self.metadata_names.push(id),
                    }
                    if self.names.get(id).base.is_some() {
                        id = self.names.extracted(id);
                    }
                    self.set(Category::Metadata, id, value);
                }
            }
        }
    }

    fn store(&mut self, value: &str) -> Span {
        let start = self.text.len() as u32;
        self.text.push_str(value);
        start..self.text.len() as u32
    }

    fn text(&self, span: &Span) -> &str {
        &self.text[span.start as usize..span.end as usize]
    }

    pub fn name(&self, id: NameId) -> &str {
        &self.names.get(id).text
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.value(&self.state, self.names.find(name)?)
    }

    pub fn get_id(&self, id: NameId) -> Option<&str> {
        self.value(&self.state, id)
    }

    fn value<'a>(&'a self, state: &'a State, id: NameId) -> Option<&'a str> {
        if let Some(slot) = state.slots.iter().find(|s| s.name == id) {
            return Some(self.text(&slot.value));
        }
        let index = self.names.get(id).base?;
        (!state.deleted.contains(&id)).then(|| self.base_value(index))
    }

    fn base_value(&self, index: u32) -> &str {
        &self.base.iter().as_slice()[index as usize].value
    }

    /// Value and category.
    pub fn get_with_category(&self, id: NameId) -> Option<(&str, Category)> {
        let slot = self.state.slots.iter().find(|s| s.name == id);
        let category = slot.map_or(Category::Stream, |s| s.category);
        self.get_id(id).map(|v| (v, category))
    }

    /// Sets a label; parsed labels win over metadata, and metadata over the stream's.
    pub fn set(&mut self, category: Category, id: NameId, value: &str) {
        let value = self.store(value);
        self.set_span(category, id, value);
    }

    /// The same with a value that `write` appends.
    pub fn set_with(&mut self, category: Category, id: NameId, write: impl FnOnce(&mut String)) {
        let start = self.text.len() as u32;
        write(&mut self.text);
        let end = self.text.len() as u32;
        self.set_span(category, id, start..end);
    }

    fn set_span(&mut self, category: Category, id: NameId, value: Span) {
        match self.state.slots.iter_mut().find(|s| s.name == id) {
            None => self.state.slots.push(Slot { name: id, category, value }),
            Some(slot) if category as u8 >= slot.category as u8 => *slot = Slot { name: id, category, value },
            Some(_) => {}
        }
    }

    /// Renames a label within its category, as `label_format to=from` does.
    pub fn rename(&mut self, to: NameId, from: NameId) {
        let Some((_, category)) = self.get_with_category(from) else { return };
        let value = match self.state.slots.iter().find(|s| s.name == from) {
            Some(slot) => slot.value.clone(),
            None => {
                let index = self.names.get(from).base.unwrap_or_default();
                let start = self.text.len() as u32;
                self.text.push_str(&self.base.iter().as_slice()[index as usize].value);
                start..self.text.len() as u32
            }
        };
        self.set_span(category, to, value);
        self.delete(from);
    }

    pub fn delete(&mut self, id: NameId) {
        self.state.slots.retain(|s| s.name != id);
        if self.names.get(id).base.is_some() && !self.state.deleted.contains(&id) {
            self.state.deleted.push(id);
        }
    }

    /// Deletes every label that `keep` does not want.
    pub fn retain(&mut self, keep: impl Fn(NameId, &str) -> bool) {
        for (index, id) in self.base_names.iter().enumerate() {
            let replaced = self.state.slots.iter().any(|s| s.name == *id);
            let label = &self.base.iter().as_slice()[index];
            if !self.state.deleted.contains(id) && (replaced || !keep(*id, &label.value)) {
                self.state.deleted.push(*id);
            }
        }
        let text = &self.text;
        self.state.slots.retain(|s| keep(s.name, &text[s.value.start as usize..s.value.end as usize]));
    }

    pub fn error(&self) -> Option<&str> {
        self.state.error.as_ref().map(|s| self.text(s))
    }
    pub fn error_details(&self) -> Option<&str> {
        self.state.details.as_ref().map(|s| self.text(s))
    }
    pub fn has_error(&self) -> bool {
        self.state.error.as_ref().is_some_and(|s| !s.is_empty())
    }
    /// Sets `__error__`, and `__error_details__` unless `details` is empty.
    pub fn set_error(&mut self, error: &str, details: &str) {
        self.state.error = Some(self.store(error));
        if !details.is_empty() {
            self.state.details = Some(self.store(details));
        }
    }
    pub fn clear_error(&mut self) {
        self.state.error = None;
    }
    pub fn clear_error_details(&mut self) {
        self.state.details = None;
    }

    /// The name under which a parser may store field `raw`, `None` if nobody wants it or it has a value already.
    #[inline]
    pub fn target(&mut self, raw: &[u8]) -> Option<NameId> {
        let id = self.names.of_field(raw)?;
        self.target_id(id)
    }

    #[inline]
    pub fn target_id(&mut self, id: NameId) -> Option<NameId> {
        let id = self.free_name(id);
        (self.names.get(id).required && !self.extracted.contains(&id)).then_some(id)
    }

    /// `id`, renamed if the stream or its metadata has a label of this name.
    pub fn free_name(&mut self, id: NameId) -> NameId {
        let taken = self.names.get(id).base.is_some()
            || self.state.slots.iter().any(|s| s.name == id && s.category == Category::Metadata);
        if taken { self.names.extracted(id) } else { id }
    }

    /// Stores an extracted field under a name that [`Self::target`] gave.
    #[inline]
    pub fn extract(&mut self, id: NameId, value: &str) -> Flow {
        self.extract_with(id, |text| text.push_str(value))
    }

    /// The same with a value that `write` appends.
    #[inline]
    pub fn extract_with(&mut self, id: NameId, write: impl FnOnce(&mut String)) -> Flow {
        let start = self.text.len() as u32;
        write(&mut self.text);
        let end = self.text.len() as u32;
        self.set_span(Category::Parsed, id, start..end);
        self.extracted.push(id);
        if let Some(filter) = self.names.get(id).filter {
            let interest = self.interest;
            if !interest.filters[filter as usize].1.process(self) {
                return Flow::Reject;
            }
        }
        if self.extracted.len() >= self.interest.enough() { Flow::Done } else { Flow::Continue }
    }

    /// A mark to come back to with [`Self::rollback`].
    pub fn mark(&self) -> (usize, usize) {
        (self.state.slots.len(), self.extracted.len())
    }

    /// Forgets what was extracted after the mark.
    pub fn rollback(&mut self, (slots, extracted): (usize, usize)) {
        self.state.slots.truncate(slots);
        self.extracted.truncate(extracted);
    }

    /// Fixes what [`Self::frozen`] answers until the next call.
    pub fn freeze(&mut self) {
        self.frozen.slots.clone_from(&self.state.slots);
        self.frozen.deleted.clone_from(&self.state.deleted);
        self.frozen.error.clone_from(&self.state.error);
        self.frozen.details.clone_from(&self.state.details);
    }

    /// A label as a template sees it, the two error labels included.
    pub fn frozen(&self, name: &str) -> Option<&str> {
        let span = match name {
            ERROR => self.frozen.error.as_ref(),
            ERROR_DETAILS => self.frozen.details.as_ref(),
            _ => None,
        };
        if let Some(span) = span {
            return Some(self.text(span));
        }
        self.value(&self.frozen, self.names.find(name)?)
    }

    pub fn frozen_id(&self, id: NameId) -> Option<&str> {
        match self.name(id) {
            name @ (ERROR | ERROR_DETAILS) => self.frozen(name),
            _ => self.value(&self.frozen, id),
        }
    }

    /// All labels as a template sees them.
    pub fn frozen_all(&self) -> Vec<(&str, &str)> {
        let mut all = Vec::new();
        self.each(&self.frozen, None, |_, name, value| all.push((name, value)));
        all.sort_unstable();
        all
    }

    /// From now on the label is left out of the line's labels, unless the line has an error.
    pub fn set_unwrapped(&mut self, id: NameId) {
        self.unwrapped = Some(id);
    }

    pub fn is_left_out(&self, id: NameId) -> bool {
        self.left_out() == Some(id)
    }

    fn left_out(&self) -> Option<NameId> {
        self.unwrapped.filter(|_| !self.has_error())
    }

    /// Whether the final labels are the stream's.
    pub fn is_base(&self) -> bool {
        let s = &self.state;
        s.is_unchanged() && !self.has_error() && self.left_out().is_none()
    }

    pub fn base(&self) -> &Labels {
        &self.base
    }

    /// Every final label once, in no particular order.
    pub fn each_final<'a>(&'a self, f: impl FnMut(Category, &'a str, &'a str)) {
        self.each(&self.state, self.left_out(), f);
    }

    fn each<'a>(&'a self, state: &'a State, without: Option<NameId>, mut f: impl FnMut(Category, &'a str, &'a str)) {
        for (index, id) in self.base_names.iter().enumerate() {
            let gone = state.deleted.contains(id) || state.slots.iter().any(|s| s.name == *id) || without == Some(*id);
            if !gone {
                f(Category::Stream, self.name(*id), self.base_value(index as u32));
            }
        }
        let has_error = state.error.as_ref().is_some_and(|s| !s.is_empty());
        for slot in state.slots.iter().filter(|s| without != Some(s.name)) {
            let name = self.name(slot.name);
            let hidden = (name == ERROR && has_error) || (name == ERROR_DETAILS && state.shown_details().is_some());
            if !hidden {
                f(slot.category, name, self.text(&slot.value));
            }
        }
        if let (true, Some(error)) = (has_error, &state.error) {
            f(Category::Parsed, ERROR, self.text(error));
            if self.interest.preserve_error {
                f(Category::Parsed, PRESERVE_ERROR, "true");
            }
        }
        if let Some(details) = state.shown_details() {
            f(Category::Parsed, ERROR_DETAILS, self.text(details));
        }
    }

    /// A hash of the final labels' content, equal for equal labels within this process.
    pub fn identity(&self) -> u64 {
        let mut hash = self.base_hash;
        let without = self.left_out();
        let slots = &self.state.slots;
        let replaced = slots.iter().filter(|s| !self.state.deleted.contains(&s.name)).map(|s| s.name);
        let unwrapped = without.filter(|id| !slots.iter().any(|s| s.name == *id) && !self.state.deleted.contains(id));
        for id in replaced.chain(self.state.deleted.iter().copied()).chain(unwrapped) {
            if let Some(index) = self.names.get(id).base {
                hash = hash.wrapping_sub(self.base_hashes[index as usize]);
            }
        }
        for slot in slots.iter().filter(|s| without != Some(s.name)) {
            hash = hash.wrapping_add(label_hash(&self.hasher, self.names.get(slot.name).hash, self.text(&slot.value)));
        }
        let error = self.state.error.as_ref().filter(|e| !e.is_empty());
        for (name, value) in [(ERROR, error), (ERROR_DETAILS, self.state.shown_details())] {
            if let Some(value) = value {
                hash = hash.wrapping_add(label_hash(&self.hasher, self.hasher.hash_one(name), self.text(value)));
            }
        }
        hash
    }

    /// The hash of one label of [`Self::identity`].
    pub fn hash_of(&self, id: NameId, value: &str) -> u64 {
        label_hash(&self.hasher, self.names.get(id).hash, value)
    }

    /// Changes whenever names get new numbers.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Hashes like [`Self::identity`] of the labels of each category.
    pub fn identity_by_category(&self) -> [u64; 3] {
        let mut hashes = [0u64; 3];
        self.each_final(|category, name, value| {
            let hash = label_hash(&self.hasher, self.hasher.hash_one(name), value);
            hashes[category as usize] = hashes[category as usize].wrapping_add(hash);
        });
        hashes
    }

    pub fn find(&self, name: &str) -> Option<NameId> {
        self.names.find(name)
    }

    pub fn intern(&mut self, name: &str) -> NameId {
        self.names.intern(name)
    }
}

/// Bytes as text: each byte that is no UTF-8 becomes one U+FFFD, as where Go reads a string rune by rune.
pub fn go_text(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '\u{fffd}'));
    }
    Cow::Owned(text)
}

fn label_hash(hasher: &SeedableRandomState, name: u64, value: &str) -> u64 {
    let mut h = hasher.build_hasher();
    h.write_u64(name);
    h.write(value.as_bytes());
    h.finish()
}
