//! The range functions that need every sample of a window, or every value: held by pane. Their memory is charged.

use super::panes::{Fold, Panes, Sample};

#[derive(Clone, Debug)]
pub struct Samples(Vec<(i64, f64)>);

impl Fold for Samples {
    const SAMPLE_BYTES: usize = size_of::<(i64, f64)>();
    fn of(sample: &Sample) -> Self {
        Samples(vec![(sample.ts_ns, sample.value)])
    }
    fn add(&mut self, sample: &Sample) {
        self.0.push((sample.ts_ns, sample.value));
    }
    fn merge(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }
}

impl Panes<Samples> {
    /// Applies `function` to the samples of each window, in time order; equal times are ordered by value, so that the
    /// answer does not depend on the order in which streams were read.
    pub fn gather(&self, function: impl Fn(&mut [(i64, f64)]) -> f64) -> Vec<(u32, f64)> {
        let mut window = Vec::new();
        self.windows()
            .map(|(step, panes)| {
                window.clear();
                self.folds(panes).for_each(|held| window.extend_from_slice(&held.0));
                window.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
                (step, function(&mut window))
            })
            .collect()
    }
}

/// The values alone, for functions that do not ask when.
#[derive(Clone, Debug)]
pub struct Values(Vec<f64>);

impl Fold for Values {
    const SAMPLE_BYTES: usize = size_of::<f64>();
    fn of(sample: &Sample) -> Self {
        Values(vec![sample.value])
    }
    #[inline]
    fn add(&mut self, sample: &Sample) {
        self.0.push(sample.value);
    }
    fn merge(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }
}

impl Panes<Values> {
    /// Applies `function`, to which the order must not matter, to the values of each window.
    pub fn gather(&self, function: impl Fn(&mut [f64]) -> f64) -> Vec<(u32, f64)> {
        let mut window = Vec::new();
        self.windows()
            .map(|(step, panes)| {
                window.clear();
                self.folds(panes).for_each(|held| window.extend_from_slice(&held.0));
                (step, function(&mut window))
            })
            .collect()
    }
}
