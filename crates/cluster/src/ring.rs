//! The hash ring: which members hold the stream at a token. A member's tokens are a function of its id and nothing else,
//! so that all agree without telling each other and a restart changes nothing.

use crate::members::Member;
use model::{Error, Result};
use std::collections::HashSet;
use std::sync::Arc;
use xxhash_rust::xxh64::xxh64;

/// Tokens of one member: with 128 the loads of members differ by about a tenth.
pub const TOKENS_PER_MEMBER: u64 = 128;

/// The `i`-th token of a member.
pub fn token_of(member_id: &str, i: u64) -> u32 {
    (xxh64(member_id.as_bytes(), i) >> 32) as u32
}

/// The members of one role on the ring.
#[derive(Clone, Debug)]
pub struct Ring {
    members: Arc<[Member]>,
    /// Token and member, sorted; equal tokens in order of ids.
    tokens: Vec<(u32, u32)>,
    /// How many zones there are; none when zones do not matter.
    zones: usize,
}

impl Ring {
    /// `members` sorted by id, all of the ring's role, whatever their state and zone.
    pub fn new(members: impl Into<Arc<[Member]>>) -> Self {
        let members = members.into();
        let of_member = |(at, member): (usize, &Member)| {
            let id = member.id.clone();
            (0..TOKENS_PER_MEMBER).map(move |i| (token_of(&id, i), at as u32))
        };
        let mut tokens: Vec<(u32, u32)> = members.iter().enumerate().flat_map(of_member).collect();
        tokens.sort_unstable();
        Ring { members, tokens, zones: 0 }
    }

    /// A ring that puts a stream's replicas into different zones: all of them where there are as many zones, so that a
    /// zone that is lost takes one replica along; else as far as the zones go.
    pub fn of_zones(members: impl Into<Arc<[Member]>>) -> Self {
        let ring = Ring::new(members);
        let zones = ring.members.iter().map(|member| member.zone.as_str()).collect::<HashSet<_>>().len();
        Ring { zones, ..ring }
    }

    /// Whether every stream has its replicas in different zones.
    pub fn spans_zones(&self, replicas: usize) -> bool {
        self.zones >= replicas
    }

    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Puts into `out` which of [`Ring::members`] hold the stream at `token`: `replicas` of them, clockwise, each in a
    /// zone of its own as far as there are zones. One that takes no writes is passed over and the next takes its place
    /// (write extension), so that a rolling restart loses no replica. An error, in Loki's words, when fewer than a
    /// majority are left.
    pub fn writers(&self, token: u32, replicas: usize, out: &mut Vec<usize>) -> Result<()> {
        self.walk(token, replicas, out, |member| member.state.takes_writes());
        enough(out.len(), replicas)
    }

    /// The same walk without regard to states: where the stream's replicas are by right.
    pub fn replicas(&self, token: u32, replicas: usize) -> Vec<usize> {
        let mut out = Vec::with_capacity(replicas);
        self.walk(token, replicas, &mut out, |_| true);
        out
    }

    fn walk(&self, token: u32, replicas: usize, out: &mut Vec<usize>, fits: impl Fn(&Member) -> bool) {
        out.clear();
        let start = self.tokens.partition_point(|(at, _)| *at < token);
        let clockwise = || self.tokens[start..].iter().chain(&self.tokens[..start]).map(|(_, member)| *member as usize);
        // First one of each zone, then, where zones are fewer than replicas, whoever comes next.
        for by_zone in [true, false] {
            let wanted = if by_zone { self.zones.min(replicas) } else { replicas };
            if by_zone && self.zones < 2 || !by_zone && self.spans_zones(replicas) {
                continue;
            }
            for member in clockwise() {
                if out.len() >= wanted {
                    break;
                }
                let taken = out.contains(&member) || by_zone && self.same_zone(out, member);
                if !taken && fits(&self.members[member]) {
                    out.push(member);
                }
            }
        }
    }

    fn same_zone(&self, chosen: &[usize], member: usize) -> bool {
        chosen.iter().any(|other| self.members[*other].zone == self.members[member].zone)
    }
}

/// How many of `replicas` must have a write, or answer a read.
pub fn majority(replicas: usize) -> usize {
    replicas / 2 + 1
}

/// How many of the replicas may be unreadable before something that was acknowledged could be missed: of those that
/// acknowledged it one is left.
pub fn may_miss(replicas: usize) -> usize {
    majority(replicas) - 1
}

/// An error, in Loki's words, when `found` replicas are too few for an acknowledgement.
pub fn enough(found: usize, replicas: usize) -> Result<()> {
    let needed = majority(replicas);
    if found >= needed {
        return Ok(());
    }
    Err(Error::unavailable(format!("at least {needed} live replicas required, could only find {found}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::{MemberState, member};

    fn ring(states: &[(&str, &str, MemberState)]) -> Ring {
        Ring::new(states.iter().map(|(id, zone, state)| member(id, zone, *state)).collect::<Vec<_>>())
    }

    use MemberState::{Active, Joining, Leaving, Unhealthy};

    #[test]
    fn tokens_are_a_function_of_the_id() {
        assert_eq!(token_of("ingester-0", 0), token_of("ingester-0", 0));
        let mut tokens: Vec<u32> = (0..3).flat_map(|m| (0..128).map(move |i| token_of(&format!("m{m}"), i))).collect();
        tokens.sort_unstable();
        tokens.dedup();
        assert_eq!(tokens.len(), 3 * 128);
        // Pinned: another function would move every stream of a running cluster.
        assert_eq!((token_of("ingester-0", 0), token_of("ingester-0", 1)), (20_987_251, 754_554_439));
    }

    #[test]
    fn load_is_spread_and_only_a_share_moves_when_one_joins() {
        let five = ring(&["a", "b", "c", "d", "e"].map(|id| (id, "", Active)));
        let six = ring(&["a", "b", "c", "d", "e", "f"].map(|id| (id, "", Active)));
        let mut counts = [0u32; 5];
        let mut moved = 0;
        for i in 0..20_000u64 {
            let token = xxh64(&i.to_le_bytes(), 7) as u32;
            let before = five.replicas(token, 1)[0];
            counts[before] += 1;
            moved += u32::from(five.members()[before].id != six.members()[six.replicas(token, 1)[0]].id);
        }
        assert!(counts.iter().all(|count| (2_800..5_400).contains(count)), "{counts:?}");
        assert!((2_000..5_000).contains(&moved), "{moved} of 20000 moved");
    }

    fn zone_ring(states: &[(&str, &str, MemberState)]) -> Ring {
        Ring::of_zones(ring(states).members)
    }

    #[test]
    fn replicas_are_distinct_and_in_distinct_zones() {
        let members =
            [("a1", "a", Active), ("a2", "a", Active), ("a3", "a", Active), ("b1", "b", Active), ("c1", "c", Active)];
        let ring = zone_ring(&members);
        assert!(ring.spans_zones(3) && !ring.spans_zones(5));
        for token in (0..u32::MAX).step_by(1 << 24) {
            let chosen = ring.replicas(token, 3);
            let mut zones: Vec<&str> = chosen.iter().map(|m| ring.members()[*m].zone.as_str()).collect();
            zones.sort_unstable();
            assert_eq!(zones, ["a", "b", "c"]);
            let mut five = ring.replicas(token, 5);
            five.sort_unstable();
            assert_eq!(five, [0, 1, 2, 3, 4]);
        }
    }

    /// How many writers of `replicas` are found, at every token.
    fn check(ring: &Ring, replicas: usize, expected: Result<usize, &str>) {
        let mut out = vec![];
        for token in (0..u32::MAX).step_by(1 << 28) {
            let result = ring.writers(token, replicas, &mut out).map(|()| out.len()).map_err(|e| e.message);
            assert_eq!(result, expected.map_err(str::to_string), "{replicas} of {:?}", ring.members());
            assert!(out.iter().all(|m| ring.members()[*m].state.takes_writes()));
        }
    }

    #[test]
    fn one_that_takes_no_writes_is_passed_over() {
        let few =
            |needed: usize, found: usize| format!("at least {needed} live replicas required, could only find {found}");
        for (states, replicas, expected) in [
            (vec![Active, Leaving, Active, Active], 3, Ok(3)),
            (vec![Active, Joining, Active], 3, Ok(2)),
            (vec![Active, Leaving, Unhealthy], 3, Err(few(2, 1))),
            (vec![], 3, Err(few(2, 0))),
            (vec![Active], 1, Ok(1)),
            (vec![Unhealthy], 1, Err(few(1, 0))),
            (vec![Active, Unhealthy], 2, Err(few(2, 1))),
            (vec![Active, Unhealthy, Active], 2, Ok(2)),
            (vec![Active, Unhealthy, Active, Active], 4, Ok(3)),
            (vec![Active, Unhealthy, Active, Leaving], 4, Err(few(3, 2))),
            (vec![Active, Unhealthy, Active, Leaving, Active], 5, Ok(3)),
            (vec![Active, Unhealthy, Active, Leaving, Joining], 5, Err(few(3, 2))),
        ] {
            let names = ["a", "b", "c", "d", "e"];
            let members: Vec<_> = states.iter().enumerate().map(|(i, s)| (names[i], "", *s)).collect();
            check(&ring(&members), replicas, expected.as_ref().map(|n| *n).map_err(String::as_str));
        }
    }

    #[test]
    fn a_lost_zone_takes_one_replica_along_and_no_zone_gets_two() {
        let zones = |of_c: MemberState| {
            [
                ("a1", "a", Active),
                ("a2", "a", Active),
                ("b1", "b", Active),
                ("b2", "b", Unhealthy),
                ("c1", "c", of_c),
                ("c2", "c", of_c),
            ]
        };
        check(&zone_ring(&zones(Active)), 3, Ok(3));
        check(&zone_ring(&zones(Unhealthy)), 3, Ok(2));
        check(&ring(&zones(Unhealthy)), 3, Ok(3));
        let lost = [("a1", "a", Active), ("b1", "b", Unhealthy), ("c1", "c", Leaving)];
        check(&zone_ring(&lost), 3, Err("at least 2 live replicas required, could only find 1"));
    }

    #[test]
    fn so_many_replicas_may_be_away() {
        let table: Vec<_> = (1..=5).map(|replicas| (replicas, majority(replicas), may_miss(replicas))).collect();
        assert_eq!(table, [(1, 1, 0), (2, 2, 1), (3, 2, 1), (4, 3, 2), (5, 3, 2)]);
    }
}
