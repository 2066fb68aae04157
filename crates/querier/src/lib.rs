//! The querier: runs a query over what the ingesters hold and what is stored, and merges both with no gap and no double.
//! It must not know HTTP, nor how a query was split.

pub mod hidden;
pub mod ingesters;
pub mod metadata;
pub mod notes;
pub mod patterns;
pub mod places;
pub mod querier;
pub mod recent;
pub mod settings;
pub mod source;
pub mod stored;
pub mod tail;
pub mod tenants;
