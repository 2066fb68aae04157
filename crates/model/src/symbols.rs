//! A chunk's symbols: the names and values of structured metadata, each stored once and referred to by number.

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::borrow::Cow;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, Ordering};

/// An immutable list of strings in one allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Symbols {
    text: String,
    ends: Vec<u32>,
    dangling: Dangling,
}

/// Whether a number without a symbol was met. It is no part of what the symbols are.
#[derive(Debug, Default)]
struct Dangling(AtomicBool);

impl Clone for Dangling {
    fn clone(&self) -> Self {
        Dangling(AtomicBool::new(self.0.load(Ordering::Relaxed)))
    }
}

impl PartialEq for Dangling {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Dangling {}

impl Symbols {
    /// The symbol that an entry refers to; where there is none, "" and a note for [`Symbols::is_dangling`].
    pub fn resolve(&self, index: u64) -> &str {
        self.get(index).unwrap_or_else(|| {
            self.dangling.0.store(true, Ordering::Relaxed);
            ""
        })
    }
    /// Whether an entry that was read referred to a symbol that is not there: its metadata are incomplete. Found out
    /// while entries are read, because a search of its own would cost every query.
    pub fn is_dangling(&self) -> bool {
        self.dangling.0.load(Ordering::Relaxed)
    }
    pub fn get(&self, index: u64) -> Option<&str> {
        let i = usize::try_from(index).ok()?;
        let end = *self.ends.get(i)? as usize;
        let start = if i == 0 { 0 } else { self.ends[i - 1] as usize };
        self.text.get(start..end)
    }
    pub fn len(&self) -> usize {
        self.ends.len()
    }
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len() as u64).filter_map(|i| self.get(i))
    }
    /// The bytes of all strings together.
    pub fn text_bytes(&self) -> usize {
        self.text.len()
    }
}

impl<S: AsRef<str>> FromIterator<S> for Symbols {
    fn from_iter<I: IntoIterator<Item = S>>(iter: I) -> Self {
        let mut symbols = Symbols::default();
        for s in iter {
            symbols.text.push_str(s.as_ref());
            symbols.ends.push(symbols.text.len() as u32);
        }
        symbols
    }
}

/// Numbers strings in order of first use.
#[derive(Clone, Debug, Default)]
pub struct SymbolsBuilder {
    symbols: Symbols,
    index: HashTable<u32>,
}

impl SymbolsBuilder {
    pub fn intern(&mut self, s: &str) -> u64 {
        self.find(s.as_bytes()).unwrap_or_else(|| self.add(s))
    }

    /// As [`SymbolsBuilder::intern`], of bytes that should be UTF-8: what is known already need not be looked at.
    pub fn intern_bytes(&mut self, s: &[u8]) -> u64 {
        self.find(s).unwrap_or_else(|| match String::from_utf8_lossy(s) {
            Cow::Borrowed(s) => self.add(s),
            Cow::Owned(mended) => self.intern(&mended),
        })
    }

    fn find(&self, s: &[u8]) -> Option<u64> {
        let lookup = |i: &u32| self.symbols.get(u64::from(*i)).unwrap_or("").as_bytes();
        self.index.find(FixedState::default().hash_one(s), |i| lookup(i) == s).map(|i| u64::from(*i))
    }

    /// A string that is not there yet.
    fn add(&mut self, s: &str) -> u64 {
        let i = self.symbols.len() as u32;
        self.symbols.text.push_str(s);
        self.symbols.ends.push(self.symbols.text.len() as u32);
        let hash = |s: &str| FixedState::default().hash_one(s.as_bytes());
        let symbols = &self.symbols;
        self.index.insert_unique(hash(s), i, |i| hash(symbols.get(u64::from(*i)).unwrap_or("")));
        u64::from(i)
    }

    pub fn symbols(&self) -> &Symbols {
        &self.symbols
    }
    pub fn finish(self) -> Symbols {
        self.symbols
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_numbered_in_order_of_first_use() {
        let mut b = SymbolsBuilder::default();
        let seen: Vec<u64> = ["level", "info", "level", "", "warn", "info"].map(|s| b.intern(s)).to_vec();
        assert_eq!(seen, [0, 1, 0, 2, 3, 1]);
        let mut bytes = SymbolsBuilder::default();
        let of_bytes = ["level", "info", "level", "", "warn", "info"].map(|s| bytes.intern_bytes(s.as_bytes()));
        assert_eq!((of_bytes.to_vec(), &bytes.symbols), (seen, &b.symbols));
        assert_eq!((bytes.intern_bytes(b"a\xff"), bytes.intern_bytes(b"a\xff"), bytes.intern("a\u{fffd}")), (4, 4, 4));
        let symbols = b.finish();
        assert_eq!(symbols.iter().collect::<Vec<_>>(), ["level", "info", "", "warn"]);
        assert_eq!(symbols.get(4), None);
        assert!((symbols.resolve(1), symbols.is_dangling()) == ("info", false));
        assert!((symbols.resolve(4), symbols.is_dangling()) == ("", true));
    }
}
