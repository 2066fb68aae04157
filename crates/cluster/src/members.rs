//! The members of the cluster and their roles. It must not know how they find each other: a list that never changes is
//! here, gossip implements the same trait.

use std::sync::Arc;

/// One process, as the others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Stable over restarts: the ring's tokens follow from it.
    pub id: String,
    /// `host:port` of its gRPC listener.
    pub grpc_address: String,
    /// Empty: no zone.
    pub zone: String,
    pub state: MemberState,
    /// Names of the roles it plays: `ingester`, `querier`, ...
    pub roles: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberState {
    /// Recovering: answers reads, takes no writes yet.
    Joining,
    Active,
    /// Stopping: answers reads, takes no writes any more.
    Leaving,
    /// Not heard of for a while.
    Unhealthy,
}

impl MemberState {
    pub fn takes_writes(self) -> bool {
        self == MemberState::Active
    }
    pub fn answers_reads(self) -> bool {
        self != MemberState::Unhealthy
    }
    /// Loki's name, which ring pages show.
    pub fn name(self) -> &'static str {
        match self {
            MemberState::Joining => "JOINING",
            MemberState::Active => "ACTIVE",
            MemberState::Leaving => "LEAVING",
            MemberState::Unhealthy => "Unhealthy",
        }
    }
}

impl Member {
    pub fn plays(&self, role: &str) -> bool {
        self.roles.iter().any(|own| own == role)
    }
}

/// The cluster at this moment.
pub trait Members: Send + Sync {
    /// Everybody, sorted by id. An unchanged cluster gives the same `Arc`, so that what is built from it can be kept.
    fn all(&self) -> Arc<[Member]>;

    fn playing(&self, role: &str) -> Vec<Member> {
        self.all().iter().filter(|member| member.plays(role)).cloned().collect()
    }

    /// Members that died, did not come back and are none any more: what they had not stored is not found.
    fn forgotten(&self) -> Vec<Member> {
        vec![]
    }
}

/// A cluster that never changes.
pub struct StaticMembers(Arc<[Member]>);

impl StaticMembers {
    /// Of members with the same id the first stays.
    pub fn new(mut members: Vec<Member>) -> Self {
        members.sort_by(|a, b| a.id.cmp(&b.id));
        members.dedup_by(|b, a| a.id == b.id);
        StaticMembers(members.into())
    }
}

impl Members for StaticMembers {
    fn all(&self) -> Arc<[Member]> {
        self.0.clone()
    }
}

#[cfg(test)]
pub(crate) fn member(id: &str, zone: &str, state: MemberState) -> Member {
    Member {
        id: id.into(),
        grpc_address: format!("{id}:9095"),
        zone: zone.into(),
        state,
        roles: vec!["ingester".into()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_sorted_unique_and_found_by_role() {
        let mut querier = member("a", "", MemberState::Active);
        querier.roles = vec!["querier".into()];
        let members = StaticMembers::new(vec![
            member("b", "", MemberState::Active),
            querier,
            member("b", "z", MemberState::Leaving),
        ]);
        let ids: Vec<String> = members.all().iter().map(|m| m.id.clone()).collect();
        assert_eq!(ids, ["a", "b"]);
        assert_eq!(members.playing("ingester"), [member("b", "", MemberState::Active)]);
        assert!(Arc::ptr_eq(&members.all(), &members.all()));
    }
}
