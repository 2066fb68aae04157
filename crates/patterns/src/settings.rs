//! What bounds the mining of one stream.

use model::{Error, Result};
use std::time::Duration;

/// `pattern_ingester`, as far as it concerns one stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Patterns of one stream and level; the ones longest unseen give way to new ones (`max_clusters`).
    pub max_clusters: usize,
    /// When more new patterns than this share of the lines came since patterns last gave way, lines of that stream have no
    /// patterns worth keeping, and none are added for a while (`max_eviction_ratio`).
    pub max_eviction_ratio: f64,
    /// Lines longer than this are not looked at (`max_allowed_line_length`).
    pub max_allowed_line_length: usize,
    /// The length of a sample in time (`pattern_sample_interval`).
    pub sample_interval: Duration,
    /// How far back samples reach (`retain_for`).
    pub retain_for: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            max_clusters: 300,
            max_eviction_ratio: 0.25,
            max_allowed_line_length: 3000,
            sample_interval: Duration::from_secs(10),
            retain_for: Duration::from_secs(3 * 3600),
        }
    }
}

/// Patterns of a stream, at most: their tree is rebuilt when some give way.
const CLUSTERS_MAX: usize = 10_000;

impl Settings {
    /// `Invalid`, naming the setting, for values that nothing can be done with.
    pub fn check(&self) -> Result<()> {
        let interval = self.sample_interval;
        let checks = [
            ("max_clusters", (1..=CLUSTERS_MAX).contains(&self.max_clusters)),
            ("max_eviction_ratio", (0.0..=1.0).contains(&self.max_eviction_ratio)),
            ("pattern_sample_interval", interval >= Duration::from_secs(1) && interval <= self.retain_for),
        ];
        match checks.iter().find(|(_, ok)| !ok) {
            None => Ok(()),
            Some((name, _)) => Err(Error::invalid(format!("setting pattern_ingester.{name} is out of its range"))),
        }
    }
}
