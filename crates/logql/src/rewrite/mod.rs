//! A query as several that others answer, and back: by time ([`split`]) and by streams ([`shard`]). Each merge gives what
//! the whole query gives, whatever the interval and the number of shards.
//!
//! Equal means: the same entries, the same order, the same counts and bytes to the last bit. Sums of unwrapped values are
//! added in another order and may differ in their last bits, as they do between two runs over blocks in another order.

mod logs;
mod shard;
mod split;

pub use logs::{keeps_labels, merge_logs};
pub use shard::{Piece, SHARDS_MAX, Sharded, shard};
pub use split::{PARTS_MAX, clip, join, split, steps};
