//! Recent data: log it, hold it, answer for it, store it.
//!
//! A push walks `admit` (which entries are taken) → `wal` (one record, one shared fsync) → `stream` (heads of chunks).
//! Behind it, each on its own clock: `seal` compresses blocks, one replica for all of them (`share`), `spill` keeps them on disk, `sweep` closes chunks, `flush` stores them, `ship` makes
//! them known to the index, and `wal` lets go of segments that nobody needs. `recover` replays the log at start.
//! It must not know HTTP, the rules of ring membership, or how chunks and index are stored.

mod admit;
mod block;
mod chunk;
mod chunk_sync;
mod core;
pub mod flush;
mod head;
mod index;
pub mod ingester;
pub mod metrics;
mod order;
pub mod patterns;
mod rates;
mod recover;
mod reject;
mod seal;
mod select;
pub mod settings;
mod share;
mod ship;
mod spill;
mod stream;
mod sweep;
mod tail;
mod tenant;
pub mod wal;

pub use self::core::StreamShare;
pub use self::patterns::PatternSettings;
pub use chunk_sync::ChunkSync;
pub use flush::ChunkSink;
pub use ingester::{Ingester, Parts};
pub use settings::{Settings, WalSettings};
pub use share::{Compressor, Compressors};
