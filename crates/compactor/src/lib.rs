//! The compactor: merges the index files that ingesters ship into one file per tenant and day, drops what has outlived
//! its retention or is asked to be deleted, and later removes the chunks behind it. No source goes before its successor
//! has been read back and verified. It must not know queries, HTTP, or how a cluster agrees on the one to compact.
//!
//! Two that compact at once, as may happen while a cluster is parted, do no harm: each deletes only sources whose
//! successor it has verified itself, under a name that no other uses; deleting twice is deleting once; requests and marks
//! are objects of their own. What one lists again that the other has taken out is found when its mark is due, and taken
//! out again.
//!
//! A round: `tables` (what there is) → `table` (merge each, newest first) → `retention` and `erase` (what goes) →
//! `merge` (small chunks, where that is asked for) → `marks` (remembered in the bucket) → `sweep` (deleted when old
//! enough). `requests` are the tenants' delete requests.

mod book;
mod compactor;
mod erase;
mod marks;
mod merge;
mod metrics;
mod requests;
mod retention;
mod rewrite;
mod rows;
mod settings;
mod sweep;
mod table;
mod tables;

pub use compactor::{Compactor, Parts, Turn};
pub use marks::marked;
pub use merge::MERGE_BELOW_BYTES_MAX;
pub use metrics::Metrics;
pub use requests::DeleteRequests;
pub use settings::Settings;
