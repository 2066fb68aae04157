//! An alert as Alertmanagers take it.

use model::Labels;

/// Active from `starts_at_ns` until `ends_at_ns`, which is ahead of now for one that fires.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    pub labels: Labels,
    pub annotations: Labels,
    pub starts_at_ns: i64,
    pub ends_at_ns: i64,
    /// Where its expression can be looked at.
    pub generator_url: String,
}
