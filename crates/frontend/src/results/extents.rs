//! Which times of a question have kept answers: arithmetic on ranges of steps, both ends included. It must not know
//! what an answer is.

use bytes::Bytes;

/// Extents of one question; of more, the oldest are dropped.
pub const EXTENTS_MAX: usize = 32;
/// Gaps that are asked one by one; more are asked as one range.
pub const GAPS_MAX: usize = 4;

/// The answers at the steps from `first_ns` to `last_ns`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    pub first_ns: i64,
    pub last_ns: i64,
    pub answer: Bytes,
}

impl Extent {
    /// Whether it begins and ends at steps of the grid of `at_ns`.
    pub fn is_on_grid(&self, at_ns: i64, step_ns: i64) -> bool {
        [self.first_ns, self.last_ns].iter().all(|ns| ns.rem_euclid(step_ns) == at_ns.rem_euclid(step_ns))
    }
}

/// The last step until `until_ns` on the grid of `at_ns`.
pub fn step_before(until_ns: i64, at_ns: i64, step_ns: i64) -> i64 {
    let past = (i128::from(until_ns) - i128::from(at_ns)).rem_euclid(i128::from(step_ns));
    until_ns.saturating_sub(past as i64)
}

/// A part of what is asked, in order of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// From the extent of this number.
    Kept {
        extent: usize,
        first_ns: i64,
        last_ns: i64,
    },
    Gap {
        first_ns: i64,
        last_ns: i64,
    },
}

/// What of `first_ns..=last_ns` is kept, and what is to be asked. Nothing behind `until_ns` counts as kept.
pub fn pieces(extents: &[Extent], (first_ns, last_ns): (i64, i64), until_ns: i64, step_ns: i64) -> Vec<Piece> {
    let mut pieces = vec![];
    let mut from = first_ns;
    for (number, extent) in extents.iter().enumerate() {
        let (start, end) = (extent.first_ns.max(from), extent.last_ns.min(last_ns).min(until_ns));
        if start > end {
            continue;
        }
        if start > from {
            pieces.push(Piece::Gap { first_ns: from, last_ns: start - step_ns });
        }
        pieces.push(Piece::Kept { extent: number, first_ns: start, last_ns: end });
        match end.checked_add(step_ns) {
            Some(next) => from = next,
            None => return pieces,
        }
    }
    if from <= last_ns {
        pieces.push(Piece::Gap { first_ns: from, last_ns });
    }
    few_gaps(pieces)
}

/// Many small gaps cost more than what lies between them.
fn few_gaps(pieces: Vec<Piece>) -> Vec<Piece> {
    let gaps: Vec<(i64, i64)> = gaps(&pieces).collect();
    let (Some(first), Some(last), true) = (gaps.first(), gaps.last(), gaps.len() > GAPS_MAX) else { return pieces };
    let whole = Piece::Gap { first_ns: first.0, last_ns: last.1 };
    let before = |piece: &&Piece| matches!(piece, Piece::Kept { last_ns, .. } if *last_ns < first.0);
    let behind = |piece: &&Piece| matches!(piece, Piece::Kept { first_ns, .. } if *first_ns > last.1);
    let (before, behind) = (pieces.iter().filter(before), pieces.iter().filter(behind));
    before.copied().chain([whole]).chain(behind.copied()).collect()
}

/// First and last step of each gap.
pub fn gaps(pieces: &[Piece]) -> impl Iterator<Item = (i64, i64)> {
    pieces.iter().filter_map(|piece| match piece {
        Piece::Gap { first_ns, last_ns } => Some((*first_ns, *last_ns)),
        Piece::Kept { .. } => None,
    })
}

/// The extents that a new one from `first_ns` to `last_ns` leaves alone, and those that it covers, overlaps or touches.
pub fn apart(extents: Vec<Extent>, (first_ns, last_ns): (i64, i64), step_ns: i64) -> (Vec<Extent>, Vec<Extent>) {
    let touches = |extent: &Extent| {
        extent.last_ns >= first_ns.saturating_sub(step_ns) && extent.first_ns <= last_ns.saturating_add(step_ns)
    };
    extents.into_iter().partition(|extent| !touches(extent))
}

/// `extents` with one more, in order.
pub fn with(mut extents: Vec<Extent>, new: Extent) -> Vec<Extent> {
    extents.push(new);
    extents.sort_by_key(|extent| extent.first_ns);
    let too_many = extents.len().saturating_sub(EXTENTS_MAX);
    extents.drain(..too_many);
    extents
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extents(ranges: &[(i64, i64)]) -> Vec<Extent> {
        ranges
            .iter()
            .map(|(first_ns, last_ns)| Extent { first_ns: *first_ns, last_ns: *last_ns, answer: Bytes::new() })
            .collect()
    }

    fn kept(extent: usize, first_ns: i64, last_ns: i64) -> Piece {
        Piece::Kept { extent, first_ns, last_ns }
    }

    fn gap(first_ns: i64, last_ns: i64) -> Piece {
        Piece::Gap { first_ns, last_ns }
    }

    #[test]
    fn what_is_kept_and_what_is_missing_make_the_whole() {
        for (held, asked, until, expected) in [
            (vec![], (0, 100), 100, vec![gap(0, 100)]),
            (vec![(0, 100)], (0, 100), 100, vec![kept(0, 0, 100)]),
            (vec![(0, 100)], (20, 50), 100, vec![kept(0, 20, 50)]),
            (vec![(0, 100)], (50, 150), 200, vec![kept(0, 50, 100), gap(110, 150)]),
            (vec![(0, 100)], (50, 150), 80, vec![kept(0, 50, 80), gap(90, 150)]),
            (vec![(0, 100)], (50, 150), 40, vec![gap(50, 150)]),
            (
                vec![(20, 30), (60, 70)],
                (0, 100),
                100,
                vec![gap(0, 10), kept(0, 20, 30), gap(40, 50), kept(1, 60, 70), gap(80, 100)],
            ),
            (vec![(0, 10), (200, 300)], (50, 150), 400, vec![gap(50, 150)]),
            (
                vec![(10, 10), (30, 30), (50, 50), (70, 70), (90, 100)],
                (0, 100),
                100,
                vec![gap(0, 80), kept(4, 90, 100)],
            ),
        ] {
            assert_eq!(pieces(&extents(&held), asked, until, 10), expected, "{held:?} {asked:?}");
        }
        let everything = extents(&[(i64::MIN, i64::MAX)]);
        assert_eq!(pieces(&everything, (0, i64::MAX), i64::MAX, 10), [kept(0, 0, i64::MAX)]);
    }

    #[test]
    fn steps_are_those_of_the_grid() {
        for (until, at, step, expected) in [
            (25, 0, 10, 20),
            (25, 5, 10, 25),
            (24, 5, 10, 15),
            (-25, 0, 10, -30),
            (5, 100, 10, 0),
            (i64::MAX, i64::MIN, 10, i64::MAX - 5),
            (5, i64::MIN, i64::MAX, -1),
        ] {
            assert_eq!(step_before(until, at, step), expected, "{until} {at} {step}");
        }
        for ((first_ns, last_ns), expected) in [((5, 25), true), ((5, 24), false), ((4, 25), false), ((-5, -5), true)] {
            let extent = Extent { first_ns, last_ns, answer: Bytes::new() };
            assert_eq!(extent.is_on_grid(15, 10), expected, "{first_ns} {last_ns}");
        }
    }

    #[test]
    fn a_new_extent_meets_those_beside_it() {
        let held = extents(&[(0, 10), (20, 30), (50, 60), (80, 90)]);
        for (new, alone) in [
            ((40, 40), vec![(0, 10), (80, 90)]),
            ((40, 65), vec![(0, 10), (80, 90)]),
            ((0, 100), vec![]),
            ((110, 110), vec![(0, 10), (20, 30), (50, 60), (80, 90)]),
        ] {
            assert_eq!(apart(held.clone(), new, 10).0, extents(&alone), "{new:?}");
        }
        let many: Vec<(i64, i64)> = (0..EXTENTS_MAX as i64).map(|i| (i * 10, i * 10)).collect();
        let with = with(extents(&many), Extent { first_ns: 95, last_ns: 95, answer: Bytes::new() });
        assert_eq!((with.len(), with[0].first_ns, with[9].first_ns), (EXTENTS_MAX, 10, 95));
    }
}
