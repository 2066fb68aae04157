//! Which of a tenant's streams carry a label. It must not know what streams hold.

use crate::stream::Stream;
use model::{Labels, MatchOp, Matcher};
use smol_str::SmolStr;
use std::collections::HashMap;
use std::sync::Arc;

/// Streams by number, and numbers by label.
#[derive(Default)]
pub struct Index {
    streams: Vec<Option<Arc<Stream>>>,
    free: Vec<u32>,
    labels: HashMap<SmolStr, HashMap<SmolStr, Vec<u32>>>,
}

impl Index {
    /// The number that the next stream gets. Every number taken is given to [`Index::insert`] before the next.
    pub fn next_id(&self) -> u32 {
        self.free.last().copied().unwrap_or(self.streams.len() as u32)
    }

    pub fn insert(&mut self, stream: Arc<Stream>) {
        let id = stream.id;
        for label in &stream.labels {
            let ids = self.labels.entry(label.name.clone()).or_default().entry(label.value.clone()).or_default();
            if let Err(at) = ids.binary_search(&id) {
                ids.insert(at, id);
            }
        }
        match self.free.pop() {
            Some(reused) => self.streams[reused as usize] = Some(stream),
            None => self.streams.push(Some(stream)),
        }
    }

    pub fn remove(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(id as usize).and_then(Option::take) else { return };
        self.free.push(id);
        self.unlist(&stream.labels, id);
    }

    fn unlist(&mut self, labels: &Labels, id: u32) {
        for label in labels {
            let Some(values) = self.labels.get_mut(&label.name) else { continue };
            if let Some(ids) = values.get_mut(&label.value) {
                if let Ok(at) = ids.binary_search(&id) {
                    ids.remove(at);
                }
                if ids.is_empty() {
                    values.remove(&label.value);
                }
            }
            if values.is_empty() {
                self.labels.remove(&label.name);
            }
        }
    }

    pub fn all(&self) -> Vec<Arc<Stream>> {
        self.streams.iter().flatten().cloned().collect()
    }

    /// The streams that satisfy all matchers: the fewest candidates that an equality gives, the rest checked.
    pub fn select(&self, matchers: &[Matcher]) -> Vec<Arc<Stream>> {
        let matches = |s: &&Arc<Stream>| model::matcher::all_match(matchers, &s.labels);
        let equalities = matchers
            .iter()
            .filter(|m| m.op == MatchOp::Eq && !m.value.is_empty() && m.name != model::labels::METRIC_NAME);
        let ids = |m: &Matcher| self.labels.get(&m.name).and_then(|v| v.get(&m.value)).map_or(&[][..], Vec::as_slice);
        match equalities.map(ids).min_by_key(|ids| ids.len()) {
            Some(ids) => {
                ids.iter().filter_map(|id| self.streams.get(*id as usize)?.as_ref()).filter(matches).cloned().collect()
            }
            None => self.streams.iter().flatten().filter(matches).cloned().collect(),
        }
    }
}
