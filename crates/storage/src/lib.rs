//! Chunks and index on the object store: put, fetch, cache, ship, look up, check and rebuild. It must not know LogQL or any role.

pub mod chunk_caches;
pub mod chunks;
pub mod decompressed;
pub mod index;
pub mod maintenance;
pub mod objects;
#[cfg(feature = "testing")]
pub mod testing;
