//! Hot streams: one that is pushed faster than `shard_streams.desired_rate` is spread over several, which the label
//! `__stream_shard__` tells apart. Each distributor measures the rate itself and takes the others to see the same. Which
//! shard takes a piece follows from the piece's time, so that a push that is repeated goes where it went before, and is
//! stored once, unless the number of shards has changed in between. It must not know entries.

use model::labels::Labels;
use runtime::limits::ShardStreams;

pub const SHARD_LABEL: &str = "__stream_shard__";
/// Streams that one stream may become.
const SHARDS_MAX: u32 = 256;
/// Over how long a rate is taken, in seconds: a client that sends a large batch now and then is not hot.
const WINDOW_SECONDS: f64 = 10.0;
const NANOS_PER_SECOND: f64 = 1e9;

/// The rate of one stream, as a mean that forgets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rate {
    bytes_per_second: f64,
    at_ns: i64,
}

/// How a push spreads one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    pub shards: u32,
    /// Bytes after which a piece ends.
    pub piece_bytes: u64,
}

impl Spread {
    /// The shard that takes piece `piece` of a push, whose first entry has this time. Jump consistent hashing (Lamping and Veach, 2014): of
    /// one shard more than before, only what it takes itself goes elsewhere.
    pub fn shard(&self, first_ts_ns: i64, piece: u32) -> u32 {
        let (mut key, mut shard, mut next) = ((first_ts_ns as u64).wrapping_add(u64::from(piece)), 0, 0);
        while next < i64::from(self.shards) {
            shard = next;
            key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
            next = ((shard + 1) as f64 * ((1u64 << 31) as f64 / ((key >> 33) + 1) as f64)) as i64;
        }
        shard as u32
    }
}

impl Rate {
    fn at(&self, now_ns: i64) -> f64 {
        let elapsed = now_ns.saturating_sub(self.at_ns).max(0) as f64 / NANOS_PER_SECOND;
        self.bytes_per_second * (-elapsed / WINDOW_SECONDS).exp()
    }

    pub fn add(&mut self, bytes: u64, now_ns: i64) {
        let rate = self.at(now_ns) + bytes as f64 / WINDOW_SECONDS;
        *self = Rate { bytes_per_second: rate, at_ns: now_ns.max(self.at_ns) };
    }

    /// How the stream is to be spread now; `None` while it is not hot. What is not known yet is not hot.
    pub fn spread(&self, limits: &ShardStreams, distributors: usize, now_ns: i64) -> Option<Spread> {
        if !limits.enabled || limits.desired_rate == 0 {
            return None;
        }
        let rate = self.at(now_ns) * distributors.max(1) as f64;
        let shards = ((rate / limits.desired_rate as f64).ceil() as u32).min(SHARDS_MAX);
        (shards > 1).then_some(Spread { shards, piece_bytes: limits.desired_rate })
    }
}

/// The labels of a shard.
pub fn shard_labels(labels: &Labels, shard: u32) -> Labels {
    let own = labels.iter().map(|l| (l.name.clone(), l.value.clone()));
    Labels::new(own.chain([(SHARD_LABEL.into(), shard.to_string().into())]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_share_evenly_and_one_more_takes_no_more_than_its_own() {
        let times = (0..10_000).map(|i| 1_795_772_644_481_686_707 + i * 13_370_001);
        let taken =
            |shards: u32| times.clone().map(|ts| Spread { shards, piece_bytes: 1 }.shard(ts, 0)).collect::<Vec<_>>();
        for shards in [1, 2, 3, 7, 64] {
            let (before, after) = (taken(shards), taken(shards + 1));
            let moved = before.iter().zip(&after).filter(|(before, after)| before != after);
            assert!(moved.clone().all(|(_, after)| *after == shards), "{shards}");
            let fair = 10_000 / (shards as usize + 1);
            assert!((fair / 2..=fair * 2).contains(&moved.count()), "{shards}");
            for shard in 0..shards {
                let of_shard = before.iter().filter(|taken| **taken == shard).count();
                let fair = 10_000 / shards as usize;
                assert!((fair / 2..=fair * 2).contains(&of_shard), "{of_shard} of {shard} among {shards}");
            }
        }
    }

    #[test]
    fn a_stream_is_spread_by_its_rate() {
        const SECOND: i64 = 1_000_000_000;
        let limits = ShardStreams { desired_rate: 1000, ..ShardStreams::default() };
        let shards = |bytes_per_second: u64, seconds: i64, distributors: usize, later_s: i64| {
            let mut rate = Rate::default();
            (0..seconds).for_each(|i| rate.add(bytes_per_second, i * SECOND));
            let now_ns = (seconds - 1 + later_s) * SECOND;
            rate.spread(&limits, distributors, now_ns).map_or(1, |spread| spread.shards)
        };
        assert_eq!(shards(900, 100, 1, 0), 1);
        assert_eq!(shards(3500, 100, 1, 0), 4);
        assert_eq!(shards(3500, 100, 2, 0), 8, "two distributors see half each");
        assert_eq!(shards(3500, 1, 1, 0), 1, "one push is no rate");
        assert_eq!(shards(3500, 100, 1, 60), 1, "quiet again");
        assert_eq!(shards(u64::MAX / 1000, 50, 1, 0), SHARDS_MAX);
        let off = ShardStreams { enabled: false, ..limits.clone() };
        let mut rate = Rate::default();
        rate.add(1 << 30, 0);
        assert_eq!((rate.spread(&off, 1, 0), rate.spread(&limits, 1, 0).is_some()), (None, true));
    }
}
