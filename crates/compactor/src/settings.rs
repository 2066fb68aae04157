//! Loki's `compactor` block, as far as it has a meaning here.

use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Settings {
    /// Time between two rounds over all tables.
    pub compaction_interval: Duration,
    /// Whether `retention_period` and `retention_stream` are applied.
    pub retention_enabled: bool,
    /// How long an expired chunk stays after its index rows are gone: running queries may still read it.
    pub retention_delete_delay: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            compaction_interval: Duration::from_secs(600),
            retention_enabled: false,
            retention_delete_delay: Duration::from_secs(2 * 3600),
        }
    }
}
