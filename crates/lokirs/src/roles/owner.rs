//! Which of the members that could is the one to compact: the first on the ring, from a fixed place on, that is active.
//! All who see the same members name the same one. While they do not, as in a parted network, two may compact at once;
//! the compactor is made for that. Members of a static list count as alive.

use cluster::members::{Member, Members};
use cluster::ring::{Ring, token_of};

pub const COMPACTOR: &str = "compactor";

/// `None` when nobody plays the role and is active.
pub fn compactor(members: &dyn Members) -> Option<Member> {
    let ring = Ring::new(members.playing(COMPACTOR));
    let mut chosen = Vec::new();
    ring.writers(token_of(COMPACTOR, 0), 1, &mut chosen).ok()?;
    chosen.first().map(|i| ring.members()[*i].clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::members::{MemberState, StaticMembers};

    fn owner(states: &[(&str, MemberState)]) -> Option<String> {
        let member = |(id, state): &(&str, MemberState)| Member {
            id: id.to_string(),
            grpc_address: format!("{id}:9095"),
            zone: String::new(),
            state: *state,
            roles: vec![COMPACTOR.into()],
        };
        compactor(&StaticMembers::new(states.iter().map(member).collect())).map(|member| member.id)
    }

    #[test]
    fn one_compacts_and_another_when_it_is_away() {
        use MemberState::{Active, Joining, Leaving, Unhealthy};
        assert_eq!(owner(&[]), None);
        let all = ["a", "b", "c"];
        let first = owner(&all.map(|id| (id, Active))).unwrap();
        for away in [Joining, Leaving, Unhealthy] {
            let second = owner(&all.map(|id| (id, if id == first { away } else { Active }))).unwrap();
            assert_ne!(second, first, "{away:?}");
            assert_eq!(owner(&all.map(|id| (id, if id == second { away } else { Active }))).unwrap(), first);
            assert_eq!(owner(&[("a", away)]), None);
        }
    }
}
