//! The querier's settings.

/// Loki's `querier` block, as far as it has a meaning here.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Queries that run at once (`max_concurrent`); more wait.
    pub max_concurrent: usize,
    /// Queries that may wait; one more is refused with 429.
    pub max_waiting: usize,
    /// Threads of one query.
    pub workers: usize,
    /// Chunks fetched ahead of the scan, per query part.
    pub chunks_ahead: usize,
    /// Whether `a|b` in the tenant header asks several tenants at once.
    pub multi_tenant_queries_enabled: bool,
    /// Whether ingesters look for patterns.
    pub patterns_enabled: bool,
}

impl Default for Settings {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        Settings {
            max_concurrent: cores.max(2) * 2,
            max_waiting: 1000,
            workers: cores,
            chunks_ahead: 16,
            multi_tenant_queries_enabled: false,
            patterns_enabled: false,
        }
    }
}
