//! Time as the store counts it: signed nanoseconds since the Unix epoch for entries, milliseconds for chunks and index.

/// Nanoseconds in a millisecond.
pub const NANOS_PER_MILLI: i64 = 1_000_000;
/// Milliseconds in a day: the span of one index table.
pub const MILLIS_PER_DAY: i64 = 86_400_000;

/// From `start_ns` inclusive to `end_ns` exclusive, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeRange {
    pub start_ns: i64,
    pub end_ns: i64,
}

impl TimeRange {
    pub fn new(start_ns: i64, end_ns: i64) -> Self {
        TimeRange { start_ns, end_ns }
    }
    pub fn contains(&self, ts_ns: i64) -> bool {
        self.start_ns <= ts_ns && ts_ns < self.end_ns
    }
    /// Whether anything of `[min_ns, max_ns]` (both inclusive) can lie inside.
    pub fn overlaps(&self, min_ns: i64, max_ns: i64) -> bool {
        min_ns < self.end_ns && max_ns >= self.start_ns
    }
    /// The part of `[min_ns, max_ns]` that lies inside, from 0 to 1; a single moment lies inside.
    pub fn share_of(&self, min_ns: i64, max_ns: i64) -> f64 {
        if max_ns <= min_ns {
            return 1.0;
        }
        let span = |from: i64, to: i64| to as f64 - from as f64;
        (span(min_ns.max(self.start_ns), max_ns.min(self.end_ns)) / span(min_ns, max_ns)).clamp(0.0, 1.0)
    }
    pub fn is_empty(&self) -> bool {
        self.start_ns >= self.end_ns
    }
    /// The first millisecond touched: the start rounded down.
    pub fn from_ms(&self) -> i64 {
        floor_ms(self.start_ns)
    }
    /// The end rounded up to a millisecond.
    pub fn through_ms(&self) -> i64 {
        ceil_ms(self.end_ns)
    }
}

pub fn floor_ms(ts_ns: i64) -> i64 {
    ts_ns.div_euclid(NANOS_PER_MILLI)
}

pub fn ceil_ms(ts_ns: i64) -> i64 {
    ts_ns.div_euclid(NANOS_PER_MILLI) + i64::from(ts_ns.rem_euclid(NANOS_PER_MILLI) != 0)
}

/// The order in which a log query walks time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Direction {
    Forward,
    #[default]
    Backward,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_the_part_inside() {
        let range = TimeRange::new(100, 200);
        for (min, max, share) in [
            (100, 200, 1.0),
            (150, 250, 0.5),
            (50, 150, 0.5),
            (0, 400, 0.25),
            (150, 150, 1.0),
            (300, 400, 0.0),
            (i64::MIN, i64::MAX, 0.0),
        ] {
            assert!((range.share_of(min, max) - share).abs() < 1e-9, "{min}..{max}");
        }
    }
}
