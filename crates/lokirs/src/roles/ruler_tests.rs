//! Groups shared out among rulers.

use super::*;
use cluster::members::{Member, MemberState, StaticMembers};

fn shares(own: &str, states: &[(&str, MemberState)]) -> Shares {
    let member = |(id, state): &(&str, MemberState)| Member {
        id: id.to_string(),
        grpc_address: format!("{id}:9095"),
        zone: String::new(),
        state: *state,
        roles: vec![RULER.into()],
    };
    let members = Arc::new(StaticMembers::new(states.iter().map(member).collect()));
    Shares { rulers: RoleRing::new(members, RULER), id: own.into() }
}

#[test]
fn each_group_is_evaluated_by_one_active_ruler() {
    use MemberState::{Active, Leaving, Unhealthy};
    let group = |i: usize| GroupId { tenant: TenantId::anonymous(), namespace: "n".into(), name: format!("g{i}") };
    for states in [[Active, Active, Active], [Active, Leaving, Active], [Unhealthy, Unhealthy, Active]] {
        let states: Vec<(&str, MemberState)> = ["a", "b", "c"].into_iter().zip(states).collect();
        let mut owned = [0; 3];
        for group in (0..300).map(group) {
            let owners: Vec<usize> = (0..3).filter(|i| shares(states[*i].0, &states).owns(&group)).collect();
            assert_eq!(owners.len(), 1, "{group:?}");
            assert_eq!(states[owners[0]].1, Active);
            owned[owners[0]] += 1;
        }
        let shares = states.iter().zip(owned).all(|((_, state), owned)| (*state == Active) == (owned > 50));
        assert!(shares, "{states:?} {owned:?}");
    }
}
