//! `rate_counter`: the increase per second of a counter that may start over, stretched towards the window's start.
//!
//! Loki takes its nanosecond timestamps for milliseconds here while the window is in milliseconds, so the stretch is a
//! millionth of what Prometheus' `rate` has. Recorded answers show it; dashboards compare numbers, so it is kept.

/// Loki's factor between what it takes for seconds and its timestamps, which are nanoseconds.
const TIMESTAMPS_PER_SECOND: f64 = 1000.0;
/// A gap to the window's start of more than this many mean distances is not bridged.
const BRIDGED_DISTANCES_MAX: f64 = 1.1;

/// `samples` in time order; fewer than two give 0.
pub fn rate_counter(range_seconds: f64, samples: &[(i64, f64)]) -> f64 {
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return 0.0 };
    if samples.len() < 2 {
        return 0.0;
    }
    let resets: f64 = samples.windows(2).filter(|pair| pair[1].1 < pair[0].1).map(|pair| pair[0].1).sum();
    let increase = last.1 - first.1 + resets;
    let covered = (last.0 - first.0) as f64 / TIMESTAMPS_PER_SECOND;
    if covered == 0.0 {
        return f64::NAN;
    }
    let distance = covered / (samples.len() - 1) as f64;
    let mut to_start = range_seconds;
    if increase > 0.0 && first.1 >= 0.0 {
        // A counter was not below zero: no stretch past the point where it would have been.
        to_start = to_start.min(covered * (first.1 / increase));
    }
    let stretch = if to_start < distance * BRIDGED_DISTANCES_MAX { to_start } else { distance / 2.0 };
    increase * ((covered + stretch) / covered) / range_seconds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_rates_of_a_counter() {
        let every_15_s = |values: &[f64]| -> Vec<(i64, f64)> {
            values
                .iter()
                .enumerate()
                .map(|(i, v)| (1_768_471_755_000_000_000 + i as i64 * 15_000_000_000, *v))
                .collect()
        };
        for (values, range, expected) in [
            (vec![359.0, 360.0, 370.0, 373.0], 60.0, 0.233_333_644_444_444_43),
            (vec![7.0], 1800.0, 0.0),
            (vec![], 60.0, 0.0),
            (vec![100.0, 110.0, 5.0, 10.0], 60.0, 0.333_333_777_777_8),
        ] {
            let rate = rate_counter(range, &every_15_s(&values));
            assert!((rate - expected).abs() <= 1e-9 * expected, "{values:?} {rate}");
        }
    }
}
