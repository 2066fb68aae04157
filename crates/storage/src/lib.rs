//! Chunks and index on the object store: put, fetch, cache, ship, look up. It must not know LogQL or any role.

pub mod chunks;
pub mod index;
pub mod objects;
#[cfg(feature = "testing")]
pub mod testing;
