//! Hot streams: one that is pushed faster than `shard_streams.desired_rate` is spread over several, which the label
//! `__stream_shard__` tells apart. Each distributor measures the rate itself and takes the others to see the same. It must
//! not know entries.

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
    /// The shard whose turn it is.
    turn: u32,
}

/// How a push spreads one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    pub shards: u32,
    /// The shard that takes the next piece.
    pub next: u32,
    /// Bytes after which the next shard takes over.
    pub piece_bytes: u64,
}

impl Rate {
    fn at(&self, now_ns: i64) -> f64 {
        let elapsed = now_ns.saturating_sub(self.at_ns).max(0) as f64 / NANOS_PER_SECOND;
        self.bytes_per_second * (-elapsed / WINDOW_SECONDS).exp()
    }

    pub fn add(&mut self, bytes: u64, pieces: u32, now_ns: i64) {
        let rate = self.at(now_ns) + bytes as f64 / WINDOW_SECONDS;
        *self = Rate { bytes_per_second: rate, at_ns: now_ns.max(self.at_ns), turn: self.turn.wrapping_add(pieces) };
    }

    /// How the stream is to be spread now; `None` while it is not hot. What is not known yet is not hot.
    pub fn spread(&self, limits: &ShardStreams, distributors: usize, now_ns: i64) -> Option<Spread> {
        if !limits.enabled || limits.desired_rate == 0 {
            return None;
        }
        let rate = self.at(now_ns) * distributors.max(1) as f64;
        let shards = ((rate / limits.desired_rate as f64).ceil() as u32).min(SHARDS_MAX);
        let spread = Spread { shards, next: self.turn % shards.max(1), piece_bytes: limits.desired_rate };
        (shards > 1).then_some(spread)
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
    fn a_stream_is_spread_by_its_rate() {
        const SECOND: i64 = 1_000_000_000;
        let limits = ShardStreams { desired_rate: 1000, ..ShardStreams::default() };
        let shards = |bytes_per_second: u64, seconds: i64, distributors: usize, later_s: i64| {
            let mut rate = Rate::default();
            (0..seconds).for_each(|i| rate.add(bytes_per_second, 1, i * SECOND));
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
        rate.add(1 << 30, 1, 0);
        assert_eq!((rate.spread(&off, 1, 0), rate.spread(&limits, 1, 0).is_some()), (None, true));
    }
}
