//! Object keys: how a chunk is named.

use model::Fingerprint;

/// A chunk's identity within its tenant, and its size as the index lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChunkRef {
    pub fingerprint: Fingerprint,
    pub from_ms: i64,
    pub through_ms: i64,
    /// CRC-32C of the whole object.
    pub checksum: u32,
    /// Uncompressed size, in units of 1024 bytes.
    pub kb: u32,
    pub entries: u32,
}
