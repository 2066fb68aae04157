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
