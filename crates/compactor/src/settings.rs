//! Loki's `compactor` block, as far as it has a meaning here.

use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Time between two rounds over all tables.
    pub compaction_interval: Duration,
    /// Whether `retention_period`, `retention_stream` and delete requests are carried out.
    pub retention_enabled: bool,
    /// How long a chunk stays after its index rows are gone: running queries may still read it.
    pub retention_delete_delay: Duration,
    /// How long a delete request can be taken back; lines are removed only after that.
    pub delete_request_cancel_period: Duration,
    /// Chunks with fewer bytes of lines are merged; 0: none is.
    pub merge_chunks_below_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            compaction_interval: Duration::from_secs(600),
            retention_enabled: false,
            retention_delete_delay: Duration::from_secs(2 * 3600),
            delete_request_cancel_period: Duration::from_secs(24 * 3600),
            merge_chunks_below_bytes: 0,
        }
    }
}
