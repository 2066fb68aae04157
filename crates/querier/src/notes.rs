//! What a query found out on its way: warnings for the client and counters for the `stats` object.

use model::Symbols;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Warnings kept for one answer; more are counted in the last one.
const WARNINGS_MAX: usize = 20;

/// Shared by all parts of one query.
#[derive(Default)]
pub struct Notes {
    warnings: Mutex<Vec<String>>,
    /// Symbols that are still read, and the warning if one turns out to be missing.
    watched: Mutex<Vec<(Arc<Symbols>, String)>>,
    dropped_warnings: AtomicU64,
    pub chunks_referenced: AtomicU64,
    /// What selections are about to read, in bytes.
    pub bytes_selected: AtomicU64,
    pub chunks_downloaded: AtomicU64,
    pub chunks_download_nanos: AtomicU64,
    pub chunk_refs_nanos: AtomicU64,
    pub compressed_bytes: AtomicU64,
    pub ingesters_reached: AtomicU64,
    pub ingester_streams: AtomicU64,
    pub ingester_blocks: AtomicU64,
    pub ingester_bytes: AtomicU64,
    pub ingester_lines: AtomicU64,
}

impl Notes {
    /// Adds a warning, once.
    pub fn warn(&self, text: impl Into<String>) {
        let text = text.into();
        let mut warnings = self.warnings.lock();
        if warnings.contains(&text) {
            return;
        }
        if warnings.len() < WARNINGS_MAX {
            warnings.push(text);
        } else {
            self.dropped_warnings.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Warns, when the answer is there at the latest, if `symbols` have turned out to be incomplete. They are kept only
    /// if somebody else has them as well.
    pub fn watch(&self, symbols: &Arc<Symbols>, warning: impl FnOnce() -> String) {
        if symbols.is_dangling() {
            self.warn(warning());
        } else if Arc::strong_count(symbols) > 1 {
            self.watched.lock().push((symbols.clone(), warning()));
        }
    }

    pub fn warnings(&self) -> Vec<String> {
        for (_, warning) in self.watched.lock().extract_if(.., |(symbols, _)| symbols.is_dangling()) {
            self.warn(warning);
        }
        let mut warnings = self.warnings.lock().clone();
        let dropped = self.dropped_warnings.load(Ordering::Relaxed);
        if dropped > 0 {
            warnings.push(format!("partial answer: {dropped} more warnings"));
        }
        warnings
    }
}

pub fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

pub fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
