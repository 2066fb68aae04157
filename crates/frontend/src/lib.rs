//! The query-frontend: one question becomes several and their answers one again. Each stage is a query service over the
//! next one and merges what it split. It must not know chunks, index files or how a query is run.

pub mod freshness;
pub mod limit;
pub mod merge;
pub mod queue;
pub mod remote;
pub mod results;
pub mod shard;
pub mod single;
pub mod split;
pub mod spread;
