//! What a member tells of itself: a handful of keys, none of them durable. The ring's tokens are not among them: they
//! follow from the id.

use crate::members::{Member, MemberState};

const GRPC: &str = "grpc";
const ZONE: &str = "zone";
const ROLES: &str = "roles";
const STATE: &str = "state";
const VERSION: &str = "version";
const KEYS: [&str; 5] = [GRPC, ZONE, ROLES, STATE, VERSION];
/// Stands before the generation and the id of an incarnation that an operator wants forgotten.
const FORGET: &str = "forget/";

/// What a member says of its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Joining,
    Active,
    Leaving,
    /// It has gone by itself: no member any more.
    Left,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    pub grpc_address: String,
    pub zone: String,
    pub roles: Vec<String>,
    pub state: Told,
    /// Of the program.
    pub version: String,
}

impl Told {
    pub fn name(self) -> &'static str {
        match self {
            Told::Joining => "joining",
            Told::Active => "active",
            Told::Leaving => "leaving",
            Told::Left => "left",
        }
    }

    fn parse(name: &str) -> Option<Told> {
        [Told::Joining, Told::Active, Told::Leaving, Told::Left].into_iter().find(|told| told.name() == name)
    }
}

impl Facts {
    /// `None` until all keys have arrived.
    pub fn read<'a>(key: impl Fn(&str) -> Option<&'a str>) -> Option<Facts> {
        let [grpc, zone, roles, state, version] = KEYS.map(key);
        Some(Facts {
            grpc_address: grpc?.into(),
            zone: zone?.into(),
            roles: roles?.split(',').filter(|role| !role.is_empty()).map(str::to_string).collect(),
            state: Told::parse(state?)?,
            version: version?.into(),
        })
    }

    pub fn write(&self) -> Vec<(String, String)> {
        let values = [&self.grpc_address, &self.zone, &self.roles.join(","), self.state.name(), &self.version]
            .map(str::to_string);
        KEYS.map(str::to_string).into_iter().zip(values).collect()
    }

    pub fn member(&self, id: &str, healthy: bool) -> Member {
        let state = match self.state {
            _ if !healthy => MemberState::Unhealthy,
            Told::Joining => MemberState::Joining,
            Told::Active => MemberState::Active,
            Told::Leaving | Told::Left => MemberState::Leaving,
        };
        Member {
            id: id.into(),
            grpc_address: self.grpc_address.clone(),
            zone: self.zone.clone(),
            state,
            roles: self.roles.clone(),
        }
    }
}

/// The key and value that say that a state was changed.
pub fn state_key(state: Told) -> (&'static str, &'static str) {
    (STATE, state.name())
}

/// The key that asks everybody to forget an incarnation.
pub fn forget_key(id: &str, generation: u64) -> String {
    format!("{FORGET}{generation}/{id}")
}

/// Whom a key asks to forget.
pub fn forgets(key: &str) -> Option<(u64, &str)> {
    let (generation, id) = key.strip_prefix(FORGET)?.split_once('/')?;
    Some((generation.parse().ok()?, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_as_they_were_written_or_not_at_all() {
        let facts = Facts {
            grpc_address: "10.0.0.1:9095".into(),
            zone: String::new(),
            roles: vec!["ingester".into(), "distributor".into()],
            state: Told::Leaving,
            version: "0.1.0".into(),
        };
        let keys = facts.write();
        let read = |keys: &[(String, String)]| {
            Facts::read(|name| keys.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()))
        };
        assert_eq!(read(&keys), Some(facts));
        for missing in 0..keys.len() {
            let mut keys = keys.clone();
            keys.remove(missing);
            assert_eq!(read(&keys), None);
        }
        assert_eq!(forgets(&forget_key("a/b", 7)), Some((7, "a/b")));
        assert_eq!(forgets("state"), None);
    }
}
