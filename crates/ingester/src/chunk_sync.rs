//! Where the replicas of a stream end its chunks: at moments of log time that follow from the stream's labels. Chunks that
//! begin at the same entry and get the same entries in the same order are equal to the last byte, so they have one name,
//! and are stored and read once. Replicas that differ, because one was away, are equal again from the next moment on.

use model::Fingerprint;
use std::time::Duration;

/// Loki's `sync_period` and `sync_min_utilization`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChunkSync {
    /// Log time between two of a stream's moments.
    pub period: Duration,
    /// The part of `chunk_target_size` that a chunk must have reached to end at one of them.
    pub min_utilization: f64,
}

impl ChunkSync {
    /// The stream's first moment after `ts_ns`.
    pub fn next_ns(&self, fingerprint: Fingerprint, ts_ns: i64) -> i64 {
        let period = self.period.as_nanos().max(1) as i128;
        let offset = i128::from(fingerprint.0) % period;
        let next = ((i128::from(ts_ns) + offset).div_euclid(period) + 1) * period - offset;
        next.min(i128::from(i64::MAX)) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_a_period_apart_and_differ_from_stream_to_stream() {
        let sync = ChunkSync { period: Duration::from_nanos(100), min_utilization: 0.1 };
        for (fingerprint, ts_ns, next) in [
            (0, 0, 100),
            (0, 99, 100),
            (0, 100, 200),
            (0, -1, 0),
            (30, 0, 70),
            (30, 70, 170),
            (130, 69, 70),
            (u64::MAX, i64::MIN, i64::MIN + 93),
            (0, i64::MAX, i64::MAX),
        ] {
            assert_eq!(sync.next_ns(Fingerprint(fingerprint), ts_ns), next, "{fingerprint} after {ts_ns}");
        }
    }
}
