//! Random identities of traces and spans. They need to differ, not to be hard to guess.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// The odd number whose multiples are spread most evenly over 64 bits.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Mixes a counter that starts at a random number.
pub struct Ids(AtomicU64);

impl Ids {
    pub fn new() -> Self {
        Ids(AtomicU64::new(RandomState::new().hash_one(std::process::id())))
    }

    pub fn span_id(&self) -> u64 {
        // SplitMix64; it gives 0 once in its whole period.
        let mut z = self.0.fetch_add(GOLDEN, Ordering::Relaxed).wrapping_add(GOLDEN);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).max(1)
    }

    pub fn trace_id(&self) -> u128 {
        u128::from(self.span_id()) << 64 | u128::from(self.span_id())
    }
}
