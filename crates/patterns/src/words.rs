//! The words of a stream's patterns, each held once under a small number. It must not know what they stand for.

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

/// The number of what differs between the lines of a pattern.
pub const ANY: u32 = 0;
/// A word that is in no pattern.
pub const UNKNOWN: u32 = u32::MAX;
pub const PLACEHOLDER: &str = "<_>";

/// Memory of a word beside its text, in bytes.
const WORD_OVERHEAD_BYTES: usize = 32;

/// Words by number and numbers by word. Keys of the hash are not secret: a stream holds few words, and a crowded table
/// costs that stream's patterns only.
#[derive(Debug)]
pub struct Words {
    texts: Vec<Box<[u8]>>,
    numbers: HashTable<u32>,
    bytes: usize,
}

impl Default for Words {
    fn default() -> Self {
        let placeholder: Box<[u8]> = PLACEHOLDER.as_bytes().into();
        Words { texts: vec![placeholder], numbers: HashTable::new(), bytes: 0 }
    }
}

impl Words {
    pub fn number(&self, word: &[u8]) -> u32 {
        let found = self.numbers.find(hash(word), |number| *self.texts[*number as usize] == *word);
        found.copied().unwrap_or(UNKNOWN)
    }

    /// The number of the word, a new one if need be.
    pub fn keep(&mut self, word: &[u8]) -> u32 {
        match self.number(word) {
            UNKNOWN => {
                let number = self.texts.len() as u32;
                self.texts.push(word.into());
                let Words { texts, numbers, .. } = self;
                numbers.insert_unique(hash(word), number, |number| hash(&texts[*number as usize]));
                self.bytes += word.len() + WORD_OVERHEAD_BYTES;
                number
            }
            number => number,
        }
    }

    pub fn text(&self, number: u32) -> &[u8] {
        self.texts.get(number as usize).map_or(b"", |text| text)
    }

    /// Memory in use, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

fn hash(word: &[u8]) -> u64 {
    FixedState::with_seed(0).hash_one(word)
}
