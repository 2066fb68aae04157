//! Entries that wait for older ones of slower senders. It must not know where entries come from.

use logql::value::LogEntry;
use model::Labels;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// Entries and line bytes held of one tail; with more, the oldest go early rather than be lost.
const HELD_ENTRIES_MAX: usize = 20_000;
const HELD_BYTES_MAX: usize = 8 << 20;
/// Held entries go in groups this far apart: each group looks at all that is held.
const GATHER: Duration = Duration::from_millis(100);

pub struct Held {
    delay: Duration,
    /// In the order in which they came.
    entries: VecDeque<(Instant, Labels, LogEntry)>,
    bytes: usize,
}

impl Held {
    pub fn new(delay: Duration) -> Self {
        Held { delay, entries: VecDeque::new(), bytes: 0 }
    }

    pub fn add(&mut self, now: Instant, labels: Labels, entry: LogEntry) {
        self.bytes += entry.line.len();
        self.entries.push_back((now + self.delay, labels, entry));
    }

    /// When the next entries go.
    pub fn due(&self) -> Option<Instant> {
        let gather = if self.delay.is_zero() { Duration::ZERO } else { GATHER };
        self.entries.front().map(|(due, ..)| *due + gather)
    }

    fn is_over(&self) -> bool {
        self.entries.len() > HELD_ENTRIES_MAX || self.bytes > HELD_BYTES_MAX
    }

    /// What has waited long enough: without a delay as it came, else by time. An entry that is older than one that goes
    /// goes with it.
    pub fn release(&mut self, now: Instant) -> Vec<(Labels, LogEntry)> {
        let mut released = vec![];
        let is_due = self.due().is_some_and(|due| due <= now);
        while self.is_over() || (is_due && self.entries.front().is_some_and(|(due, ..)| *due <= now)) {
            let Some((_, labels, entry)) = self.entries.pop_front() else { break };
            self.bytes -= entry.line.len();
            released.push((labels, entry));
        }
        if self.delay.is_zero() {
            return released;
        }
        if let Some(newest) = released.iter().map(|(_, e)| e.ts_ns).max() {
            let all = std::mem::take(&mut self.entries);
            let (older, later): (VecDeque<_>, _) = all.into_iter().partition(|(_, _, e)| e.ts_ns < newest);
            self.entries = later;
            self.bytes -= older.iter().map(|(_, _, e)| e.line.len()).sum::<usize>();
            released.extend(older.into_iter().map(|(_, labels, e)| (labels, e)));
        }
        released.sort_by_key(|(_, e)| e.ts_ns);
        released
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delayed_entries_go_by_time_and_late_ones_in_between() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let check = |delay, waves: &[(u64, &[i64], &[i64])]| {
            let mut held = Held::new(Duration::from_millis(delay));
            for (now, added, expected) in waves {
                for ts_ns in *added {
                    let empty = Labels::default();
                    let entry = LogEntry {
                        ts_ns: *ts_ns,
                        line: "x".into(),
                        structured_metadata: empty.clone(),
                        parsed: empty.clone(),
                    };
                    held.add(at(*now), empty, entry);
                }
                let released: Vec<i64> = held.release(at(*now)).iter().map(|(_, e)| e.ts_ns).collect();
                assert_eq!(released, *expected, "after {now} ms of a delay of {delay} ms");
            }
            assert_eq!((held.bytes, held.entries.len()), (0, 0));
        };
        check(0, &[(0, &[3, 1, 2], &[3, 1, 2])]);
        let waves: &[(u64, &[i64], &[i64])] =
            &[(0, &[5, 3], &[]), (1000, &[4, 7], &[]), (2050, &[], &[]), (2100, &[], &[3, 4, 5]), (3100, &[], &[7])];
        check(2000, waves);
    }

    #[test]
    fn too_many_entries_go_early() {
        let mut held = Held::new(Duration::from_secs(5));
        let now = Instant::now();
        for ts_ns in 0..HELD_ENTRIES_MAX as i64 + 7 {
            let empty = Labels::default();
            let entry = LogEntry { ts_ns, line: "".into(), structured_metadata: empty.clone(), parsed: empty.clone() };
            held.add(now, empty, entry);
        }
        assert_eq!(held.release(now).len(), 7);
    }
}
