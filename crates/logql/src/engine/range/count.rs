//! `count_over_time`, `bytes_over_time` and their rates: exact integers.

use super::panes::{Fold, Sample};

#[derive(Clone, Copy, Debug)]
pub struct Count(pub u64);

impl Fold for Count {
    fn of(_: &Sample) -> Self {
        Count(1)
    }
    fn of_lines(lines: u64, _: u64) -> Option<Self> {
        Some(Count(lines))
    }
    #[inline]
    fn add(&mut self, _: &Sample) {
        self.0 += 1;
    }
    fn merge(&mut self, other: &Self) {
        self.0 += other.0;
    }
}

/// Bytes of lines; a sample's value is the line's length.
#[derive(Clone, Copy, Debug)]
pub struct Bytes(pub u64);

impl Fold for Bytes {
    fn of(sample: &Sample) -> Self {
        Bytes(sample.value as u64)
    }
    fn of_lines(_: u64, bytes: u64) -> Option<Self> {
        Some(Bytes(bytes))
    }
    #[inline]
    fn add(&mut self, sample: &Sample) {
        self.0 += sample.value as u64;
    }
    fn merge(&mut self, other: &Self) {
        self.0 += other.0;
    }
}
