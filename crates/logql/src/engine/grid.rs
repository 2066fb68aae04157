//! The times at which a metric query answers, and which of them an entry counts for. It must not know series or values.

use super::errors;
use super::limits::EngineLimits;
use model::{Error, Result, TimeRange};

/// Evaluation times `start_ns + i * step_ns` for `i < steps`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    pub start_ns: i64,
    pub step_ns: i64,
    pub steps: usize,
}

impl Grid {
    pub fn instant(time_ns: i64) -> Self {
        Grid { start_ns: time_ns, step_ns: 1, steps: 1 }
    }

    /// `start`, `start + step`, ... up to `end`. With `align`, start is floored and end ceiled to multiples of the step,
    /// as Loki does when it splits queries by time (feature B3.7).
    pub fn range(start_ns: i64, end_ns: i64, step_ns: i64, align: bool, limits: &EngineLimits) -> Result<Self> {
        if step_ns <= 0 {
            return Err(Error::invalid(
                "zero or negative query resolution step widths are not accepted. Try a positive integer",
            ));
        }
        if end_ns < start_ns {
            return Err(errors::end_before_start());
        }
        if (i128::from(end_ns) - i128::from(start_ns)) / i128::from(step_ns) > limits.max_steps as i128 {
            return Err(Error::invalid(
                "exceeded maximum resolution of 11,000 points per time series. Try increasing the value of the step parameter",
            ));
        }
        let (mut first, mut last) = (i128::from(start_ns), i128::from(end_ns));
        if align {
            let step = i128::from(step_ns);
            first = first.div_euclid(step) * step;
            last = (last + step - 1).div_euclid(step) * step;
        }
        let steps = (last - first) / i128::from(step_ns) + 1;
        Ok(Grid { start_ns: clamp(first), step_ns, steps: steps as usize })
    }

    pub fn time_ns(&self, step: usize) -> i64 {
        clamp(i128::from(self.start_ns) + step as i128 * i128::from(self.step_ns))
    }

    fn end_ns(&self) -> i64 {
        self.time_ns(self.steps.saturating_sub(1))
    }
}

/// The windows `(t - offset - range, t - offset]` of a grid.
#[derive(Clone, Copy, Debug)]
pub struct Windows {
    pub grid: Grid,
    pub range_ns: i64,
    pub offset_ns: i64,
}

/// A maximal run of timestamps that lie in the same windows: those of steps `first..=last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pane {
    pub first: u32,
    pub last: u32,
    /// The timestamps `from_ns < ts <= through_ns` are the pane.
    from_ns: i64,
    through_ns: i64,
}

impl Pane {
    /// A pane that holds no timestamp.
    pub const NOWHERE: Pane = Pane { first: 1, last: 0, from_ns: 0, through_ns: 0 };

    #[inline]
    pub fn contains(&self, ts_ns: i64) -> bool {
        self.from_ns < ts_ns && ts_ns <= self.through_ns
    }
    /// Whether no window sees the pane.
    #[inline]
    pub fn is_outside(&self) -> bool {
        self.first > self.last
    }
    /// Panes of later timestamps have larger keys.
    #[inline]
    pub fn key(&self) -> u32 {
        self.first + self.last
    }
}

impl Windows {
    /// What at least one window may see.
    pub fn span(&self) -> TimeRange {
        let shift = i128::from(self.offset_ns);
        let start = i128::from(self.grid.start_ns) - shift - i128::from(self.range_ns) + 1;
        let end = i128::from(self.grid.end_ns()) - shift + 1;
        TimeRange::new(clamp(start), clamp(end))
    }

    /// The pane of a timestamp. The steps `i` whose window holds `ts` satisfy `x <= t_i < x + range` with
    /// `x = ts + offset`.
    pub fn pane(&self, ts_ns: i64) -> Pane {
        let (start, step) = (i128::from(self.grid.start_ns), i128::from(self.grid.step_ns));
        let (range, offset) = (i128::from(self.range_ns), i128::from(self.offset_ns));
        let steps = self.grid.steps as i128;
        let x = i128::from(ts_ns) + offset - start;
        let first = ceil_div(x, step).clamp(0, steps);
        let last = (ceil_div(x + range, step) - 1).clamp(-1, steps - 1);
        // The bounds between which neither number changes; beyond the grid's ends they never change again.
        let lower = |step_number: i128, shift: i128, floor: i128| match step_number <= floor {
            true => i128::MIN / 4,
            false => step_number * step - shift,
        };
        let from = lower(first - 1, 0, -1).max(lower(last, range, -1));
        let upper_first = if first == steps { i128::MAX / 4 } else { first * step };
        let upper_last = if last == steps - 1 { i128::MAX / 4 } else { (last + 1) * step - range };
        let to_ts = |x: i128| clamp(x + start - offset);
        let (from_ns, through_ns) = (to_ts(from), to_ts(upper_first.min(upper_last)));
        if first > last {
            return Pane { from_ns, through_ns, ..Pane::NOWHERE };
        }
        Pane { first: first as u32, last: last as u32, from_ns, through_ns }
    }
}

fn ceil_div(a: i128, b: i128) -> i128 {
    -(-a).div_euclid(b)
}

fn clamp(v: i128) -> i64 {
    v.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligned_grids_reach_past_the_end_as_loki_s_do() {
        let limits = EngineLimits::default();
        let grid = Grid::range(1000, 1100, 60, true, &limits).unwrap();
        let times: Vec<i64> = (0..grid.steps).map(|i| grid.time_ns(i)).collect();
        assert_eq!(times, [960, 1020, 1080, 1140]);
        let grid = Grid::range(1000, 1100, 60, false, &limits).unwrap();
        assert_eq!((grid.start_ns, grid.steps), (1000, 2));
        for (start, end, step) in [(0, 10, 0), (0, 10, -1), (10, 0, 1), (0, 11_001, 1), (i64::MIN, i64::MAX, 1)] {
            assert!(Grid::range(start, end, step, true, &limits).is_err(), "{start} {end} {step}");
        }
    }

    #[test]
    fn a_pane_holds_exactly_the_timestamps_of_the_same_windows() {
        for (steps, step, range, offset) in
            [(1, 1, 10, 0), (5, 10, 10, 0), (5, 10, 25, 0), (5, 10, 3, 4), (4, 7, 30, -5), (3, 10, 100, 0)]
        {
            let grid = Grid { start_ns: 1000, step_ns: step, steps };
            let windows = Windows { grid, range_ns: range, offset_ns: offset };
            let holds = |ts: i64| -> Vec<u32> {
                (0..steps)
                    .filter(|i| {
                        let t = grid.time_ns(*i) - offset;
                        t - range < ts && ts <= t
                    })
                    .map(|i| i as u32)
                    .collect()
            };
            let mut previous: Option<Pane> = None;
            for ts in 800..1200 {
                let pane = windows.pane(ts);
                let expected = holds(ts);
                assert!(pane.contains(ts), "{ts} {pane:?}");
                assert_eq!(pane.is_outside(), expected.is_empty(), "{ts} {pane:?}");
                assert!(windows.span().contains(ts) || expected.is_empty(), "{ts}");
                if let (Some(first), Some(last)) = (expected.first(), expected.last()) {
                    assert_eq!((pane.first, pane.last), (*first, *last), "{ts}");
                }
                if let Some(p) = previous.filter(|p| p.contains(ts)) {
                    assert_eq!(holds(ts - 1), expected, "{p:?}");
                }
                previous = Some(pane);
            }
        }
    }
}
