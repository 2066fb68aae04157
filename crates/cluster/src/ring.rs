//! The hash ring: which members hold the stream at a token. A member's tokens are a function of its id and nothing else,
//! so that all agree without telling each other and a restart changes nothing.

use crate::members::Member;
use model::{Error, Result};
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
    zones: usize,
}

impl Ring {
    /// `members` sorted by id, all of the ring's role, whatever their state.
    pub fn new(members: impl Into<Arc<[Member]>>) -> Self {
        let members = members.into();
        let of_member = |(at, member): (usize, &Member)| {
            let id = member.id.clone();
            (0..TOKENS_PER_MEMBER).map(move |i| (token_of(&id, i), at as u32))
        };
        let mut tokens: Vec<(u32, u32)> = members.iter().enumerate().flat_map(of_member).collect();
        tokens.sort_unstable();
        let mut zones: Vec<&str> = members.iter().map(|member| member.zone.as_str()).collect();
        zones.sort_unstable();
        zones.dedup();
        let zones = zones.len();
        Ring { members, tokens, zones }
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
        let needed = majority(replicas);
        if out.len() < needed {
            let found = out.len();
            let text = format!("at least {needed} live replicas required, could only find {found}");
            return Err(Error::unavailable(text));
        }
        Ok(())
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
        let zones_wanted = self.zones.min(replicas);
        let clockwise = || self.tokens[start..].iter().chain(&self.tokens[..start]).map(|(_, member)| *member as usize);
        // First one of each zone, then whoever comes next: zones may be fewer than replicas, or without a writer.
        for by_zone in [zones_wanted > 1, false] {
            for member in clockwise() {
                if out.len() == replicas || (by_zone && out.len() == zones_wanted) {
                    break;
                }
                let taken = |out: &[usize]| out.contains(&member) || by_zone && self.same_zone(out, member);
                if !taken(out) && fits(&self.members[member]) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::{MemberState, member};

    fn ring(states: &[(&str, &str, MemberState)]) -> Ring {
        Ring::new(states.iter().map(|(id, zone, state)| member(id, zone, *state)).collect::<Vec<_>>())
    }

    use MemberState::{Active, Leaving, Unhealthy};

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

    #[test]
    fn replicas_are_distinct_and_in_distinct_zones() {
        let ring = ring(&[
            ("a1", "a", Active),
            ("a2", "a", Active),
            ("a3", "a", Active),
            ("b1", "b", Active),
            ("c1", "c", Active),
        ]);
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

    #[test]
    fn one_that_takes_no_writes_is_passed_over() {
        let mut out = vec![];
        for (states, replicas, expected) in [
            (vec![Active, Leaving, Active, Active], 3, Ok(3)),
            (vec![Active, Leaving, Active], 3, Ok(2)),
            (vec![Active, Leaving, Unhealthy], 3, Err("at least 2 live replicas required, could only find 1")),
            (vec![], 3, Err("at least 2 live replicas required, could only find 0")),
            (vec![Active], 1, Ok(1)),
        ] {
            let names = ["a", "b", "c", "d"];
            let members: Vec<_> = states.iter().enumerate().map(|(i, s)| (names[i], "", *s)).collect();
            let result = ring(&members).writers(7, replicas, &mut out).map(|()| out.len());
            assert_eq!(result.map_err(|e| e.message), expected.map_err(str::to_string), "{states:?}");
        }
    }
}
