//! A sample that a recording rule made.

use model::Labels;

#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// With `__name__`.
    pub labels: Labels,
    pub timestamp_ms: i64,
    pub value: f64,
}
