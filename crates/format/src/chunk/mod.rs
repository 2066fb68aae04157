//! Chunk objects: the compressed blocks of one stream, as Loki stores them (storage format, section 2). Versions 1 to 4
//! are read; 3 is written for blocks without structured metadata, 4 for blocks with it.
//!
//! Object: `u32 header length, header, u32 data length, data`; the header is snappy-framed JSON that repeats the
//! chunk's identity. Data: magic, version, codec, symbols (4 only), blocks, block table, tail. Numbers are big-endian.

use crate::Codec;

mod audit;
mod decode;
mod encode;
mod frame;
mod header;
mod outline;
mod table;

pub use audit::{FINGERPRINT_MAPPED_MAX, is_fingerprint_of};
pub use decode::Chunk;
pub use encode::{ChunkParts, SealedBlock, encode, seal, sealed};
pub use outline::{outline, without_outline};
pub use table::BlockMeta;

/// The size at which a block is cut: Loki's `chunk_block_size`, in line bytes plus 8 for each metadata pair.
pub const BLOCK_SIZE_BYTES_DEFAULT: u64 = 256 << 10;
/// The compressed size at which a chunk is full: Loki's `chunk_target_size`.
pub const CHUNK_TARGET_BYTES_DEFAULT: u64 = 1536 << 10;
/// The codec of new chunks: measured on logs, zstd at level 1 packs as gzip does at several times its speed both ways.
pub const CODEC_DEFAULT: Codec = Codec::Zstd;

/// The most bytes of one decompressed block. Loki cuts blocks at 256 KiB of lines by default and a line may be larger
/// than a block; a block that claims more than this is damaged or hostile.
pub const BLOCK_RAW_BYTES_MAX: usize = 64 << 20;
/// The most bytes that the blocks of one chunk should give together: 40 times what Loki packs into one by default. Readers
/// hold a block at a time, so this binds writers only.
pub const CHUNK_RAW_BYTES_MAX: usize = 256 << 20;
/// The most bytes of a chunk's decompressed symbols; they count towards Loki's chunk target of 1.5 MiB.
pub const SYMBOLS_BYTES_MAX: usize = 64 << 20;
/// The most bytes of a chunk's decompressed header: identity and labels.
pub const HEADER_BYTES_MAX: usize = 4 << 20;
/// The most bytes of an object, far above Loki's chunk target of 1.5 MiB.
pub const OBJECT_BYTES_MAX: usize = 256 << 20;

/// First bytes of the data.
const MAGIC: u32 = 0x012E_E56A;
