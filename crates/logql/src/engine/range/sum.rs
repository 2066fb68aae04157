//! `sum_over_time`, `avg_over_time`, `stdvar_over_time`, `stddev_over_time` and `rate` of unwrapped values.
//! Sums are kept in twice the precision of a float, so that neither the order of samples nor the split over threads
//! shows in the answer.

use super::panes::{Fold, Sample};

/// The unevaluated sum of two floats, the second far smaller than the first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wide {
    hi: f64,
    lo: f64,
}

impl Wide {
    pub fn of(value: f64) -> Self {
        Wide { hi: value, lo: 0.0 }
    }

    fn square(value: f64) -> Self {
        let hi = value * value;
        if !hi.is_finite() {
            return Wide::of(hi);
        }
        Wide { hi, lo: value.mul_add(value, -hi) }
    }

    #[inline]
    pub fn add(&mut self, other: Wide) {
        let sum = self.hi + other.hi;
        if !sum.is_finite() {
            *self = Wide::of(sum);
            return;
        }
        let part = sum - self.hi;
        let error = (self.hi - (sum - part)) + (other.hi - part) + self.lo + other.lo;
        let hi = sum + error;
        *self = Wide { hi, lo: error - (hi - sum) };
    }

    pub fn value(&self) -> f64 {
        self.hi + self.lo
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Sum {
    pub sum: Wide,
    pub count: u64,
}

impl Sum {
    pub fn mean(&self) -> f64 {
        self.sum.value() / self.count as f64
    }
}

impl Fold for Sum {
    fn of(sample: &Sample) -> Self {
        Sum { sum: Wide::of(sample.value), count: 1 }
    }
    #[inline]
    fn add(&mut self, sample: &Sample) {
        self.sum.add(Wide::of(sample.value));
        self.count += 1;
    }
    fn merge(&mut self, other: &Self) {
        self.sum.add(other.sum);
        self.count += other.count;
    }
}

/// What population variance is made of.
#[derive(Clone, Copy, Debug)]
pub struct Variance {
    sum: Wide,
    squares: Wide,
    count: u64,
}

impl Variance {
    pub fn variance(&self) -> f64 {
        let n = self.count as f64;
        let mean = self.sum.value() / n;
        // squares - sum * mean, with the product's rounding error kept.
        let product = self.sum.value() * mean;
        let mut rest = self.squares;
        rest.add(Wide { hi: -product, lo: -self.sum.value().mul_add(mean, -product) });
        let variance = rest.value() / n;
        if variance < 0.0 { 0.0 } else { variance }
    }
}

impl Fold for Variance {
    fn of(sample: &Sample) -> Self {
        Variance { sum: Wide::of(sample.value), squares: Wide::square(sample.value), count: 1 }
    }
    fn add(&mut self, sample: &Sample) {
        self.merge(&Variance::of(sample));
    }
    fn merge(&mut self, other: &Self) {
        self.sum.add(other.sum);
        self.squares.add(other.squares);
        self.count += other.count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: &[f64]) -> Vec<Sample> {
        values.iter().map(|v| Sample { ts_ns: 0, value: *v, stream: 0 }).collect()
    }

    fn fold<F: Fold>(values: &[f64]) -> F {
        let samples = samples(values);
        let mut all = F::of(&samples[0]);
        samples[1..].iter().for_each(|s| all.add(s));
        all
    }

    #[test]
    fn nothing_is_lost_beside_large_values() {
        assert_eq!(fold::<Sum>(&[1e16, 1.0, -1e16, 1.0]).sum.value(), 2.0);
        assert_eq!(fold::<Sum>(&[0.1; 10]).mean(), 0.1);
        assert!((fold::<Variance>(&[1e9 + 1.0, 1e9 + 2.0, 1e9 + 3.0]).variance() - 2.0 / 3.0).abs() < 1e-9);
        assert_eq!(fold::<Variance>(&[5.0]).variance(), 0.0);
        assert_eq!(fold::<Sum>(&[f64::INFINITY, 1.0]).sum.value(), f64::INFINITY);
        assert!(fold::<Sum>(&[f64::INFINITY, f64::NEG_INFINITY]).sum.value().is_nan());
    }
}
