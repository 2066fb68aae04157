//! The compactor: merges the index files that ingesters ship into one file per tenant and day, drops what has outlived
//! its retention, and deletes the chunks behind it. It must not know queries.

pub mod compactor;
pub mod index_file;
pub mod retention;
pub mod settings;
pub mod sweep;
pub mod table;
