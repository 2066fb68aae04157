//! The compactor on copies of buckets that Loki wrote.

mod bucket;
mod compaction;
mod deletes;
mod merge;
mod retention;
mod turns;
