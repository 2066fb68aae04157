//! Loki's TSDB index file: which streams there are, and which chunks hold them (storage format, section 4). Written
//! byte for byte as Loki writes versions 2 and 3; read from memory that somebody else mapped or loaded.
//! It must not know where files live, nor how they are named.

mod audit;
mod labels;
mod postings;
mod read;
mod section;
mod select;
mod series;
mod symbols;
mod toc;
mod write;

pub use read::{Index, SeriesChunks, SeriesView};
pub use write::{IndexBuilder, merge};

/// The label that names the tenant of each series in a file of several tenants; fingerprints do not cover it.
pub const TENANT_LABEL: &str = "__loki_tenant__";

const MAGIC: u32 = 0xbaaa_d700;
/// Magic and version: where the symbols begin.
const HEADER_BYTES: usize = 5;
/// Series begin at multiples of this; a series' reference is its offset divided by it.
const SERIES_ALIGNMENT: usize = 16;
/// Chunks on a page of a version 3 series.
const PAGE_CHUNKS: usize = 16;
/// A series with fewer chunks is read from its first chunk on, as in Loki.
const PAGED_CHUNKS_MIN: u64 = 64;
/// One series in so many has its fingerprint sampled in the table of fingerprint offsets.
const FINGERPRINT_SAMPLE: usize = 1024;
