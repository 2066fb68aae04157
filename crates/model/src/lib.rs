//! The nouns of a log store: tenant, labels, matchers, entries, blocks, batches, time ranges, errors.
//! It must not know I/O, async, configuration or any role.

pub mod batch;
pub mod block;
pub mod duration;
pub mod error;
pub mod label_text;
pub mod labels;
pub mod matcher;
pub mod outline;
pub mod pattern;
pub mod quote;
pub mod symbols;
pub mod tenant;
pub mod time;
pub mod varint;

pub use batch::{Batch, BatchBuilder, StreamBatch};
pub use block::{BlockBuilder, EntryRef, Layout, RawBlock};
pub use error::{Error, Kind, Result};
pub use labels::{Fingerprint, Label, Labels};
pub use matcher::{MatchOp, Matcher};
pub use outline::Outline;
pub use symbols::{Symbols, SymbolsBuilder};
pub use tenant::TenantId;
pub use time::{Direction, TimeRange};
