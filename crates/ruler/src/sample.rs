//! A sample that a rule made.

use model::Labels;

/// The bits of the value by which Prometheus knows that a series has ended.
pub const STALE: u64 = 0x7ff0_0000_0000_0002;

#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// With `__name__`.
    pub labels: Labels,
    pub timestamp_ms: i64,
    pub value: f64,
}
