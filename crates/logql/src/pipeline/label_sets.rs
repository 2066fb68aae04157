//! Label sets that one stream's lines have had lately, by the hash of their content, so that equal ones are one allocation.

use hashbrown::HashTable;
use model::Labels;

/// Label sets kept per stream; lines with ever new labels start the memory anew.
pub const LABEL_SETS_MAX: usize = 1024;

#[derive(Default)]
pub struct LabelSets(HashTable<(u64, Labels)>);

impl LabelSets {
    /// The labels of content hash `hash`, made by `build` if they are new. Hashes are 64 bits of a secret seed: two
    /// different sets of one stream do not share one.
    pub fn get<'a>(&mut self, hash: u64, build: impl FnOnce() -> Vec<(&'a str, &'a str)>) -> Labels {
        if let Some((_, labels)) = self.0.find(hash, |(h, _)| *h == hash) {
            return labels.clone();
        }
        if self.0.len() >= LABEL_SETS_MAX {
            self.0.clear();
        }
        let labels = Labels::new(build());
        self.0.insert_unique(hash, (hash, labels.clone()), |(h, _)| *h);
        labels
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}
