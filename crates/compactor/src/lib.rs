//! The compactor: merges the index files that ingesters ship into one file per tenant and day, drops what has outlived
//! its retention or is asked to be deleted, and later removes the chunks behind it. No source goes before its successor
//! has been read back and verified. It must not know queries, HTTP, or who in a cluster is the one to compact.
//!
//! A round: `tables` (what there is) → `table` (merge each, newest first) → `retention` and `erase` (what goes) →
//! `marks` (remembered in the bucket) → `sweep` (deleted when old enough). `requests` are the tenants' delete requests.

mod book;
mod compactor;
mod erase;
mod index_file;
mod marks;
mod metrics;
mod requests;
mod retention;
mod rewrite;
mod rows;
mod settings;
mod sweep;
mod table;
mod tables;

pub use compactor::{Compactor, Parts};
pub use metrics::Metrics;
pub use requests::DeleteRequests;
pub use settings::Settings;
