//! What a tail has shown of late: replicas tell the same entries, and the history ends where the live part has begun.
//! Only hashes are kept; of a million entries the chance to lose one is one in a hundred million.

use logql::value::LogEntry;
use model::{EntryRef, Labels};
use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, Hash, Hasher};
use std::time::Duration;
use tokio::time::Instant;

/// Live entries that are remembered: replicas are seconds apart at most.
const REMEMBERED_MAX: usize = 100_000;
/// How long after the history entries may come that are in it.
const HANDOVER: Duration = Duration::from_secs(30);

/// Live entries of late, as they were pushed.
#[derive(Default)]
pub struct Seen {
    state: RandomState,
    hashes: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Seen {
    /// A stream's part of its entries' hashes.
    pub fn stream(&self, labels: &Labels) -> u64 {
        self.state.hash_one(labels)
    }

    /// Whether the entry was not seen of late; from now on it was.
    pub fn is_new(&mut self, stream: u64, entry: &EntryRef<'_>) -> bool {
        let mut hasher = self.state.build_hasher();
        (stream, entry.ts_ns, entry.line).hash(&mut hasher);
        entry.metadata.iter().for_each(|pair| pair.hash(&mut hasher));
        let hash = hasher.finish();
        if !self.hashes.insert(hash) {
            return false;
        }
        self.order.push_back(hash);
        if self.order.len() > REMEMBERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.hashes.remove(&oldest);
        }
        true
    }
}

/// The history's entries as they were shown, while live ones may be the same. Its size is the limit of the history.
#[derive(Default)]
pub struct Handover {
    state: RandomState,
    /// How often each was shown.
    shown: HashMap<u64, u32>,
    ends: Option<Instant>,
}

impl Handover {
    fn hash(&self, labels: &Labels, e: &LogEntry) -> u64 {
        self.state.hash_one((labels, e.ts_ns, &e.line, &e.structured_metadata, &e.parsed))
    }

    /// The history has shown it.
    pub fn shown(&mut self, labels: &Labels, entry: &LogEntry) {
        *self.shown.entry(self.hash(labels, entry)).or_default() += 1;
        self.ends = Some(Instant::now() + HANDOVER);
    }

    /// Whether the history has shown this live entry: once for each time that it has.
    pub fn was_shown(&mut self, labels: &Labels, entry: &LogEntry) -> bool {
        let Some(ends) = self.ends else { return false };
        if Instant::now() > ends {
            self.shown = HashMap::new();
            self.ends = None;
            return false;
        }
        match self.shown.get_mut(&self.hash(labels, entry)) {
            Some(count) if *count > 0 => {
                *count -= 1;
                true
            }
            _ => false,
        }
    }
}
