//! One series' partial results by pane, and their combination into windows. It must not know which function runs:
//! that is the [`Fold`].

use crate::engine::grid::Pane;
use std::ops::Range;

/// An entry as a range function sees it.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub ts_ns: i64,
    /// The unwrapped value, the line's bytes, or 1.
    pub value: f64,
    /// The stream's fingerprint: orders samples of equal time, so that the answer depends on no thread's luck.
    pub stream: u64,
}

/// A mergeable summary of samples.
pub trait Fold: Clone + Send {
    /// Memory that each sample adds, in bytes; 0 for summaries of fixed size.
    const SAMPLE_BYTES: usize = 0;
    fn of(sample: &Sample) -> Self;
    fn add(&mut self, sample: &Sample);
    /// The summary of so many lines with so many bytes, if it follows from these.
    fn of_lines(_lines: u64, _bytes: u64) -> Option<Self> {
        None
    }
    /// Takes in a summary of other samples of the same series.
    fn merge(&mut self, other: &Self);
}

/// The steps whose windows see a pane: all that is kept of it, for there may be millions.
#[derive(Clone, Copy, Debug)]
struct Steps {
    first: u32,
    last: u32,
}

impl Steps {
    /// As [`Pane::key`].
    #[inline]
    fn key(&self) -> u32 {
        self.first + self.last
    }
}

/// Summaries in time order, one for each pane that has samples.
#[derive(Clone, Debug)]
pub struct Panes<F> {
    panes: Vec<(Steps, F)>,
    /// Where the last sample went: entries come in time order, so the next is here or just after.
    cursor: usize,
}

impl<F: Fold> Panes<F> {
    /// Memory that each pane takes.
    pub const PANE_BYTES: usize = size_of::<(Steps, F)>();

    pub fn new() -> Self {
        Panes { panes: Vec::new(), cursor: 0 }
    }

    /// Reads what [`Self::add`] will read first.
    #[inline]
    pub fn touch(&self) -> u32 {
        self.panes.get(self.cursor).map_or(0, |(at, _)| at.key())
    }

    /// Whether the sample opened a pane.
    #[inline]
    pub fn add(&mut self, pane: &Pane, sample: &Sample) -> bool {
        if let Some((at, fold)) = self.panes.get_mut(self.cursor)
            && at.key() == pane.key()
        {
            fold.add(sample);
            return false;
        }
        match self.find(pane.key()) {
            Ok(i) => {
                self.cursor = i;
                self.panes[i].1.add(sample);
                false
            }
            Err(i) => {
                self.cursor = i;
                self.panes.insert(i, (Steps { first: pane.first, last: pane.last }, F::of(sample)));
                true
            }
        }
    }

    /// Adds the summary of many samples; whether that opened a pane.
    pub fn add_summary(&mut self, pane: &Pane, summary: F) -> bool {
        let found = self.find(pane.key());
        match found {
            Ok(i) => self.panes[i].1.merge(&summary),
            Err(i) => self.panes.insert(i, (Steps { first: pane.first, last: pane.last }, summary)),
        }
        self.cursor = found.unwrap_or_else(|i| i);
        found.is_err()
    }

    fn find(&self, key: u32) -> Result<usize, usize> {
        match self.panes.last() {
            Some((last, _)) if last.key() >= key => self.panes.binary_search_by_key(&key, |(p, _)| p.key()),
            _ => Err(self.panes.len()),
        }
    }

    /// Takes in what another thread saw of the same series.
    pub fn merge(&mut self, other: Panes<F>) {
        for (pane, fold) in other.panes {
            match self.find(pane.key()) {
                Ok(i) => self.panes[i].1.merge(&fold),
                Err(i) => self.panes.insert(i, (pane, fold)),
            }
        }
    }

    /// For each step whose window has samples, the panes in it.
    pub fn windows(&self) -> impl Iterator<Item = (u32, Range<usize>)> {
        let (mut from, mut to, mut step) = (0, 0, 0u32);
        std::iter::from_fn(move || {
            while self.panes.get(from).is_some_and(|(p, _)| p.last < step) {
                from += 1;
            }
            step = step.max(self.panes.get(from)?.0.first);
            to = to.max(from);
            while self.panes.get(to).is_some_and(|(p, _)| p.first <= step) {
                to += 1;
            }
            step += 1;
            Some((step - 1, from..to))
        })
    }

    /// No more steps than these have a value.
    fn steps_max(&self) -> usize {
        let (first, last) = (self.panes.first(), self.panes.last());
        let seen_by_panes: usize = self.panes.iter().map(|(steps, _)| (steps.last - steps.first + 1) as usize).sum();
        let (first, last) = (first.map_or(0, |(p, _)| p.first), last.map_or(0, |(p, _)| p.last));
        seen_by_panes.min((last - first + 1) as usize)
    }

    /// The summaries of some panes.
    pub fn folds(&self, panes: Range<usize>) -> impl Iterator<Item = &F> {
        self.panes[panes].iter().map(|(_, fold)| fold)
    }

    /// Each window's value. A queue of two stacks merges every pane a constant number of times however much the
    /// windows overlap, and never subtracts, so nothing cancels.
    pub fn slide(&self, value: impl Fn(&F) -> f64) -> Vec<(u32, f64)> {
        let mut queue = Queue { panes: self, front: Vec::new(), back: None, from: 0, to: 0 };
        let mut points = Vec::with_capacity(self.steps_max());
        points.extend(self.windows().filter_map(|(step, window)| Some((step, queue.sum(window, &value)?))));
        points
    }
}

/// The panes `from..to`: `front`'s top sums up the older ones, `back` the rest.
struct Queue<'a, F> {
    panes: &'a Panes<F>,
    front: Vec<F>,
    back: Option<F>,
    from: usize,
    to: usize,
}

impl<F: Fold> Queue<'_, F> {
    /// Moves to `window`, which lies later than the one before, and sums it up.
    fn sum(&mut self, window: Range<usize>, value: impl Fn(&F) -> f64) -> Option<f64> {
        if window.start >= self.to {
            self.front.clear();
            self.back = None;
            (self.from, self.to) = (window.start, window.start);
        }
        for fold in self.panes.folds(self.to..window.end) {
            match &mut self.back {
                Some(sum) => sum.merge(fold),
                None => self.back = Some(fold.clone()),
            }
        }
        for _ in self.from..window.start {
            if self.front.pop().is_none() {
                self.turn(window.clone());
                break;
            }
        }
        (self.from, self.to) = (window.start, window.end);
        match (self.front.last(), &self.back) {
            (Some(older), Some(newer)) => {
                let mut sum = older.clone();
                sum.merge(newer);
                Some(value(&sum))
            }
            (Some(one), None) | (None, Some(one)) => Some(value(one)),
            (None, None) => None,
        }
    }

    /// Rebuilds the front over the whole window: sums from each pane to the end, the oldest on top.
    fn turn(&mut self, window: Range<usize>) {
        self.back = None;
        for (_, fold) in self.panes.panes[window].iter().rev() {
            let mut sum = fold.clone();
            if let Some(newer) = self.front.last() {
                sum.merge(newer);
            }
            self.front.push(sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::first_last::{First, Last, Max, Min, One};
    use super::super::{count::Count, samples::Samples, sum::Sum};
    use super::*;
    use crate::engine::grid::{Grid, Windows};

    /// Samples at irregular times from a fixed linear generator.
    fn samples(n: usize) -> Vec<Sample> {
        let mut seed = 7u64;
        let mut next = move || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) as i64
        };
        let mut samples: Vec<Sample> =
            (0..n).map(|_| Sample { ts_ns: next() % 1000, value: (next() % 100) as f64, stream: 1 }).collect();
        samples.sort_by_key(|s| s.ts_ns);
        samples
    }

    fn panes<F: Fold>(windows: &Windows, samples: &[Sample]) -> Panes<F> {
        let mut panes = Panes::new();
        for sample in samples {
            let pane = windows.pane(sample.ts_ns);
            if !pane.is_outside() {
                panes.add(&pane, sample);
            }
        }
        panes
    }

    fn brute(windows: &Windows, samples: &[Sample], value: impl Fn(&[Sample]) -> f64) -> Vec<(u32, f64)> {
        let steps = 0..windows.grid.steps;
        let points = steps.map(|step| {
            let end = windows.grid.time_ns(step) - windows.offset_ns;
            let inside = samples.iter().filter(|s| end - windows.range_ns < s.ts_ns && s.ts_ns <= end);
            (step as u32, inside.copied().collect::<Vec<_>>())
        });
        points.filter(|(_, inside)| !inside.is_empty()).map(|(step, inside)| (step, value(&inside))).collect()
    }

    #[test]
    fn windows_of_panes_equal_windows_of_samples() {
        for (steps, step, range, offset, n) in [
            (1, 1, 500, 0, 50),
            (20, 50, 50, 0, 200),
            (20, 50, 20, 7, 200),
            (50, 20, 333, 0, 300),
            (200, 5, 900, -40, 40),
            (30, 30, 47, 11, 8),
            (10, 100, 100, 0, 0),
        ] {
            let grid = Grid { start_ns: 10, step_ns: step, steps };
            let windows = Windows { grid, range_ns: range, offset_ns: offset };
            let all = samples(n);
            // Two threads that saw every other sample.
            let (even, odd): (Vec<_>, Vec<_>) = all.iter().enumerate().partition(|(i, _)| i % 2 == 0);
            let half = |half: Vec<(usize, &Sample)>| half.into_iter().map(|(_, s)| *s).collect::<Vec<Sample>>();
            let (even, odd) = (half(even), half(odd));
            fn both<F: Fold>(windows: &Windows, a: &[Sample], b: &[Sample]) -> Panes<F> {
                let mut merged = panes::<F>(windows, a);
                merged.merge(panes::<F>(windows, b));
                merged
            }
            let case = format!("{steps} {step} {range} {offset} {n}");
            let values = |s: &[Sample]| s.iter().map(|s| s.value).collect::<Vec<f64>>();
            let count = both::<Count>(&windows, &even, &odd).slide(|c| c.0 as f64);
            assert_eq!(count, brute(&windows, &all, |s| s.len() as f64), "{case}");
            let sum = both::<Sum>(&windows, &even, &odd).slide(|s| s.sum.value());
            assert_eq!(sum, brute(&windows, &all, |s| values(s).iter().sum()), "{case}");
            let min = both::<One<Min>>(&windows, &even, &odd).slide(|o| o.sample.value);
            assert_eq!(min, brute(&windows, &all, |s| values(s).into_iter().fold(f64::NAN, f64::min)), "{case}");
            let max = both::<One<Max>>(&windows, &even, &odd).slide(|o| o.sample.value);
            assert_eq!(max, brute(&windows, &all, |s| values(s).into_iter().fold(f64::NAN, f64::max)), "{case}");
            // Equal times come in the order of one thread's reading.
            let first = panes::<One<First>>(&windows, &all).slide(|o| o.sample.value);
            assert_eq!(first, brute(&windows, &all, |s| s[0].value), "{case}");
            let last = panes::<One<Last>>(&windows, &all).slide(|o| o.sample.value);
            assert_eq!(last, brute(&windows, &all, |s| s[s.len() - 1].value), "{case}");
            let held = both::<Samples>(&windows, &even, &odd).gather(|s| s.len() as f64);
            assert_eq!(held, count, "{case}");
        }
    }
}
