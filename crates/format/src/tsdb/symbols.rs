//! The symbols of an index file: every label name and value once, sorted; series name them by ordinal.

use super::section::{self, u32_be};
use foldhash::fast::FixedState;
use model::varint::{bytes, put_str};
use model::{Error, Labels, Result};
use std::collections::{HashMap, HashSet};

/// Where each symbol begins in the body of the section: found once, so that an ordinal is one step away.
#[derive(Debug)]
pub(super) struct SymbolOffsets {
    body_at: usize,
    offsets: Vec<u32>,
}

impl SymbolOffsets {
    /// Verifies the section at `at`: its checksum, that the symbols are text, and that they ascend.
    pub(super) fn read(file: &[u8], at: u64) -> Result<Self> {
        let body = section::read(file, at, "symbols")?;
        let junk = || Error::corrupt(format!("symbols at {at}: malformed"));
        let mut rest = body;
        let count = u32_be(&mut rest).ok_or_else(junk)? as usize;
        // Each symbol takes at least its length byte: a count beyond that is a lie that must not be allocated for.
        if count > rest.len() {
            return Err(junk());
        }
        let mut offsets = Vec::with_capacity(count);
        let mut previous: Option<&[u8]> = None;
        for _ in 0..count {
            offsets.push((body.len() - rest.len()) as u32);
            let symbol = bytes(&mut rest).ok_or_else(junk)?;
            if std::str::from_utf8(symbol).is_err() || previous.is_some_and(|p| p >= symbol) {
                return Err(junk());
            }
            previous = Some(symbol);
        }
        Ok(SymbolOffsets { body_at: at as usize + section::LENGTH_BYTES, offsets })
    }

    pub(super) fn get<'a>(&self, file: &'a [u8], ordinal: u64) -> Result<&'a str> {
        let text = || {
            let offset = *self.offsets.get(usize::try_from(ordinal).ok()?)?;
            let mut rest = file.get(self.body_at + offset as usize..)?;
            std::str::from_utf8(bytes(&mut rest)?).ok()
        };
        text().ok_or_else(|| Error::corrupt(format!("index file: no symbol {ordinal}")))
    }

    /// The ordinal of `symbol`, if the file uses it anywhere.
    pub(super) fn ordinal(&self, file: &[u8], symbol: &str) -> Result<Option<u32>> {
        let (mut low, mut high) = (0, self.offsets.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.get(file, middle as u64)?.cmp(symbol) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Ok(Some(middle as u32)),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Ok(None)
    }

    /// Heap bytes held.
    pub(super) fn heap_bytes(&self) -> usize {
        self.offsets.capacity() * size_of::<u32>()
    }
}

/// The symbols of a file that is being written, and their ordinals.
pub(super) struct SymbolTable<'a> {
    sorted: Vec<&'a str>,
    ordinals: HashMap<&'a str, u32, FixedState>,
}

impl<'a> SymbolTable<'a> {
    pub(super) fn of(labels: impl Iterator<Item = &'a Labels>) -> Result<Self> {
        let mut symbols: HashSet<&str, FixedState> = HashSet::default();
        for label in labels.flatten() {
            symbols.insert(&label.name);
            symbols.insert(&label.value);
        }
        if u32::try_from(symbols.len()).is_err() {
            return Err(Error::too_large("index file: more than 4294967295 symbols"));
        }
        let mut sorted: Vec<&str> = symbols.into_iter().collect();
        sorted.sort_unstable();
        let ordinals = sorted.iter().enumerate().map(|(i, s)| (*s, i as u32)).collect();
        Ok(SymbolTable { sorted, ordinals })
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) -> Result<()> {
        section::write(out, "symbols", |body| {
            body.extend_from_slice(&(self.sorted.len() as u32).to_be_bytes());
            for symbol in &self.sorted {
                put_str(body, symbol.as_bytes());
            }
        })
    }

    pub(super) fn ordinal(&self, symbol: &str) -> u32 {
        *self.ordinals.get(symbol).expect("the table was made of the same labels")
    }

    pub(super) fn get(&self, ordinal: u32) -> &'a str {
        self.sorted[ordinal as usize]
    }
}
