//! Loki's HTTP surface: requests are decoded, answers and errors encoded. It must not know how anything is done.

mod blocked;
pub mod deletes;
pub mod error;
pub mod limits;
pub mod push;
pub mod query;
pub mod rules;
pub mod tail;
pub mod tenant;
