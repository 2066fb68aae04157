//! `quantile_over_time`: linear interpolation between the two nearest ranks, NaN ranking lowest.

use std::cmp::Ordering;

pub fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    let rank = q * (values.len() - 1) as f64;
    let low = rank.floor() as usize;
    let weight = rank - rank.floor();
    let (_, at_low, above) = values.select_nth_unstable_by(low, |a, b| rank_order(*a, *b));
    let low_value = *at_low;
    let high_value = above.iter().copied().min_by(|a, b| rank_order(*a, *b)).unwrap_or(low_value);
    low_value * (1.0 - weight) + high_value * weight
}

fn rank_order(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_interpolate_and_nan_is_lowest() {
        let sixty: Vec<f64> = (1..=60).map(f64::from).collect();
        for (q, mut values, expected) in [
            (0.0, sixty.clone(), 1.0),
            (0.01, sixty.clone(), 1.5899999999999999),
            (0.25, sixty.clone(), 15.75),
            (0.99, sixty.clone(), 59.41),
            (1.0, sixty.clone(), 60.0),
            (1.5, sixty.clone(), f64::INFINITY),
            (-0.5, sixty, f64::NEG_INFINITY),
            (0.5, vec![f64::NAN, 1.5, 1.0], 1.0),
            (0.3, vec![60.0], 60.0),
        ] {
            assert_eq!(quantile(q, &mut values), expected, "{q}");
        }
    }
}
