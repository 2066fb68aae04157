//! `sort` and `sort_desc`: the order of an instant vector. In a range query they change nothing, since a matrix is
//! ordered by labels.

use super::StepSeries;

pub fn ascending(series: Vec<StepSeries>) -> Vec<StepSeries> {
    sorted(series, |a, b| a.total_cmp(&b))
}

pub fn descending(series: Vec<StepSeries>) -> Vec<StepSeries> {
    sorted(series, |a, b| b.total_cmp(&a))
}

/// NaN comes last either way, ties are in the order of labels.
fn sorted(mut series: Vec<StepSeries>, order: impl Fn(f64, f64) -> std::cmp::Ordering) -> Vec<StepSeries> {
    let value = |s: &StepSeries| s.points.first().map_or(f64::NAN, |(_, value)| *value);
    series.sort_by(|a, b| {
        let (x, y) = (value(a), value(b));
        x.is_nan().cmp(&y.is_nan()).then_with(|| order(x, y)).then_with(|| a.labels.cmp(&b.labels))
    });
    series
}
