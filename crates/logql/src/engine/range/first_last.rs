//! `min_over_time`, `max_over_time`, `first_over_time` and `last_over_time`: one sample stands for the window.

use super::panes::{Fold, Sample};
use std::cmp::Ordering;

/// Which of two samples stands for both.
pub trait Choice: Clone + Send {
    fn prefers(new: &Sample, old: &Sample) -> bool;
}

/// The one sample chosen so far.
#[derive(Clone, Copy, Debug)]
pub struct One<C> {
    pub sample: Sample,
    choice: std::marker::PhantomData<C>,
}

impl<C: Choice> Fold for One<C> {
    fn of(sample: &Sample) -> Self {
        One { sample: *sample, choice: std::marker::PhantomData }
    }
    #[inline]
    fn add(&mut self, sample: &Sample) {
        if C::prefers(sample, &self.sample) {
            self.sample = *sample;
        }
    }
    fn merge(&mut self, other: &Self) {
        self.add(&other.sample);
    }
}

/// NaN is chosen only when there is nothing else.
#[derive(Clone, Copy, Debug)]
pub struct Min;
impl Choice for Min {
    fn prefers(new: &Sample, old: &Sample) -> bool {
        new.value < old.value || old.value.is_nan()
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Max;
impl Choice for Max {
    fn prefers(new: &Sample, old: &Sample) -> bool {
        new.value > old.value || old.value.is_nan()
    }
}

fn order(a: &Sample, b: &Sample) -> Ordering {
    (a.ts_ns, a.stream).cmp(&(b.ts_ns, b.stream))
}

/// Of equal times in one stream the one that came first.
#[derive(Clone, Copy, Debug)]
pub struct First;
impl Choice for First {
    fn prefers(new: &Sample, old: &Sample) -> bool {
        order(new, old) == Ordering::Less
    }
}

/// Of equal times in one stream the one that came last.
#[derive(Clone, Copy, Debug)]
pub struct Last;
impl Choice for Last {
    fn prefers(new: &Sample, old: &Sample) -> bool {
        order(new, old) != Ordering::Less
    }
}
