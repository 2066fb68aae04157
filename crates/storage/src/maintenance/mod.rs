//! A bucket looked at as a whole: whether chunks and index are sound and agree, and an index made anew from the chunks.
//! It works on a bucket in use. It must not know who writes it, nor how findings are told.
//!
//! `survey` (what objects there are) → `rows` (what the index says of chunks) → `chunks` (each one read) → `findings`;
//! `check` looks a second time before anything counts. `rebuild` writes index files.

mod catalog;
mod check;
mod chunks;
mod findings;
mod rebuild;
mod rows;
mod survey;

pub use check::{CheckSettings, Expiring, check};
pub use findings::{Counts, Finding, FindingKind, Report};
pub use rebuild::{Built, RebuildSettings, Rebuilt, rebuild};

/// Bytes of objects that are held at a time; an object above it is read alone.
const HELD_BYTES_MAX: u64 = 256 << 20;

/// Lets objects in by their size.
struct Room(tokio::sync::Semaphore);

impl Room {
    const UNIT: u64 = 1024;

    fn new() -> Self {
        Room(tokio::sync::Semaphore::new((HELD_BYTES_MAX / Self::UNIT) as usize))
    }

    async fn enter(&self, bytes: u64) -> model::Result<tokio::sync::SemaphorePermit<'_>> {
        let units = (bytes.min(HELD_BYTES_MAX) / Self::UNIT) as u32;
        self.0.acquire_many(units).await.map_err(|e| model::Error::internal(e.to_string()))
    }
}
