//! Bytes at rest: Loki's chunk objects and TSDB index files, and the records of our write-ahead log. One format, one
//! file: encode, decode, golden bytes. It must not know where the bytes live.

pub mod chunk;
pub mod codec;
pub mod crc;
pub mod key;
pub mod schema;
pub mod tsdb;
pub mod wal;

pub use codec::Codec;
pub use key::ChunkRef;
