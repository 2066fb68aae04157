//! The compressions of a chunk's blocks.

/// A compression, by Loki's byte value and `chunk_encoding` name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    None = 0,
    Gzip = 1,
    Lz4_64k = 3,
    Snappy = 4,
    Lz4_256k = 5,
    Lz4_1M = 6,
    Lz4_4M = 7,
    Flate = 8,
    Zstd = 9,
}
