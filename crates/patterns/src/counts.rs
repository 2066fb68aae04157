//! How many lines of a pattern came in each interval. It must not know what a pattern is.

use model::TimeRange;
use std::time::Duration;

/// Lines in the interval that begins at `time_ns`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    pub time_ns: i64,
    pub lines: u64,
}

/// Counts by interval, oldest first.
#[derive(Debug, Default)]
pub struct Counts {
    /// Number of the interval since the epoch, and its lines.
    intervals: Vec<(i64, u64)>,
}

/// Memory of one interval, in bytes.
pub const INTERVAL_BYTES: usize = size_of::<(i64, u64)>();

impl Counts {
    /// Adds lines; true when the interval is new. Entries come nearly in order: the place is found from behind.
    pub fn add(&mut self, ts_ns: i64, lines: u64, interval: Duration) -> bool {
        let number = ts_ns.div_euclid(nanos(interval));
        let at = self.intervals.iter().rposition(|(n, _)| *n <= number);
        match at {
            Some(at) if self.intervals[at].0 == number => {
                self.intervals[at].1 = self.intervals[at].1.saturating_add(lines);
                false
            }
            at => {
                self.intervals.insert(at.map_or(0, |at| at + 1), (number, lines));
                true
            }
        }
    }

    /// Forgets what is older; how many intervals that were.
    pub fn forget_before(&mut self, oldest_ns: i64, interval: Duration) -> usize {
        let oldest = oldest_ns.div_euclid(nanos(interval));
        let kept = self.intervals.partition_point(|(number, _)| *number < oldest);
        self.intervals.drain(..kept);
        kept
    }

    pub fn is_empty(&self) -> bool {
        self.intervals.is_empty()
    }

    pub fn len(&self) -> usize {
        self.intervals.len()
    }

    /// The samples of intervals that begin in the range, put together by steps.
    pub fn samples(&self, range: TimeRange, interval: Duration, step: Duration) -> Vec<Sample> {
        let (interval_ns, step_ns) = (nanos(interval), nanos(step.max(interval)));
        let mut samples: Vec<Sample> = vec![];
        for (number, lines) in &self.intervals {
            let time_ns = number.saturating_mul(interval_ns);
            // The interval in which the range begins counts: its first lines may lie before the range.
            if time_ns.saturating_add(interval_ns) <= range.start_ns || time_ns >= range.end_ns {
                continue;
            }
            let time_ns = time_ns.div_euclid(step_ns) * step_ns;
            match samples.last_mut() {
                Some(last) if last.time_ns == time_ns => last.lines = last.lines.saturating_add(*lines),
                _ => samples.push(Sample { time_ns, lines: *lines }),
            }
        }
        samples
    }
}

fn nanos(d: Duration) -> i64 {
    i64::try_from(d.as_nanos()).unwrap_or(i64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;
    const INTERVAL: Duration = Duration::from_secs(10);

    #[test]
    fn lines_are_counted_by_interval_and_put_together_by_step() {
        let mut counts = Counts::default();
        for (at_s, lines) in [(5, 1), (12, 2), (9, 1), (31, 4), (20, 3)] {
            counts.add(at_s * SECOND, lines, INTERVAL);
        }
        let samples = |start_s: i64, end_s: i64, step_s: u64| -> Vec<(i64, u64)> {
            let range = TimeRange { start_ns: start_s * SECOND, end_ns: end_s * SECOND };
            let samples = counts.samples(range, INTERVAL, Duration::from_secs(step_s));
            samples.iter().map(|s| (s.time_ns / SECOND, s.lines)).collect()
        };
        assert_eq!(samples(0, 100, 1), [(0, 2), (10, 2), (20, 3), (30, 4)]);
        assert_eq!(samples(0, 100, 20), [(0, 4), (20, 7)]);
        assert_eq!(samples(10, 30, 10), [(10, 2), (20, 3)]);
        assert_eq!(samples(15, 30, 10), [(10, 2), (20, 3)]);
        assert_eq!(samples(50, 10, 10), []);
        assert_eq!(counts.forget_before(20 * SECOND, INTERVAL), 2);
        assert_eq!(counts.len(), 2);
    }
}
