//! Label names and values of an index file: from the postings table alone when every series counts.

use super::Index;
use super::postings::List;
use super::select::select;
use foldhash::fast::FixedState;
use model::labels::METRIC_NAME;
use model::{Matcher, Result};
use smol_str::SmolStr;
use std::collections::HashSet;

type Ordinals = HashSet<u64, FixedState>;

impl<B: AsRef<[u8]>> Index<B> {
    /// The label names of the series that satisfy `matchers`, sorted. Times of chunks do not count.
    pub fn label_names(&self, matchers: &[Matcher]) -> Result<Vec<SmolStr>> {
        if selects_all(matchers) {
            return Ok(self.postings.names().cloned().collect());
        }
        let mut names = Ordinals::default();
        for reference in select(self.bytes.as_ref(), &self.postings, matchers)? {
            self.entry(reference)?.labels(|name, _| {
                names.insert(name);
            })?;
        }
        self.sorted(names)
    }

    /// The values that label `name` has in the series that satisfy `matchers`, sorted. Times of chunks do not count.
    pub fn label_values(&self, name: &str, matchers: &[Matcher]) -> Result<Vec<SmolStr>> {
        let file = self.bytes.as_ref();
        if selects_all(matchers) {
            return self.postings.values(file, name).map(|entry| Ok(entry?.0.into())).collect();
        }
        let refs = select(file, &self.postings, matchers)?;
        if refs.len() < self.postings.values_about(name) {
            self.values_of(&refs, name)
        } else {
            self.values_in(&refs, name)
        }
    }

    /// By reading each of a few series.
    fn values_of(&self, refs: &[u32], name: &str) -> Result<Vec<SmolStr>> {
        let Some(wanted) = self.symbols.ordinal(self.bytes.as_ref(), name)? else { return Ok(Vec::new()) };
        let mut values = Ordinals::default();
        for reference in refs {
            self.entry(*reference)?.labels(|name, value| {
                if name == u64::from(wanted) {
                    values.insert(value);
                }
            })?;
        }
        self.sorted(values)
    }

    /// By looking for any of many series in the list of each value.
    fn values_in(&self, refs: &[u32], name: &str) -> Result<Vec<SmolStr>> {
        let file = self.bytes.as_ref();
        let mut values = Vec::new();
        for entry in self.postings.values(file, name) {
            let (value, at) = entry?;
            if List::read(file, at)?.meets(refs) {
                values.push(value.into());
            }
        }
        Ok(values)
    }

    fn sorted(&self, ordinals: Ordinals) -> Result<Vec<SmolStr>> {
        let mut ordinals: Vec<u64> = ordinals.into_iter().collect();
        ordinals.sort_unstable();
        ordinals.into_iter().map(|o| self.symbols.get(self.bytes.as_ref(), o).map(SmolStr::from)).collect()
    }
}

fn selects_all(matchers: &[Matcher]) -> bool {
    matchers.iter().all(|m| m.name == METRIC_NAME)
}
