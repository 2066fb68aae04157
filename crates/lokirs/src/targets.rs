//! The roles that a process can play, and the groups of them that `-target` knows.

use std::collections::BTreeSet;
use std::fmt;

/// One role. The order is bottom up: a role calls only roles above it in this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Ingester,
    Distributor,
    IndexGateway,
    QueryScheduler,
    Querier,
    QueryFrontend,
    Compactor,
    Ruler,
}

const ROLES: [(&str, Role); 8] = [
    ("ingester", Role::Ingester),
    ("distributor", Role::Distributor),
    ("index-gateway", Role::IndexGateway),
    ("query-scheduler", Role::QueryScheduler),
    ("querier", Role::Querier),
    ("query-frontend", Role::QueryFrontend),
    ("compactor", Role::Compactor),
    ("ruler", Role::Ruler),
];

/// Groups, as Loki groups them: in one process nobody needs an index gateway.
const GROUPS: [(&str, &[Role]); 4] = [
    (
        "all",
        &[
            Role::Ingester,
            Role::Distributor,
            Role::QueryScheduler,
            Role::Querier,
            Role::QueryFrontend,
            Role::Compactor,
            Role::Ruler,
        ],
    ),
    ("read", &[Role::Querier, Role::QueryFrontend]),
    ("write", &[Role::Ingester, Role::Distributor]),
    ("backend", &[Role::IndexGateway, Role::QueryScheduler, Role::Compactor, Role::Ruler]),
];

/// Loki's targets that have no counterpart; a file that names one among others still starts.
const ABSENT: [&str; 3] = ["pattern-ingester", "overrides-exporter", "ui"];

impl Role {
    pub fn name(self) -> &'static str {
        ROLES.iter().find(|(_, role)| *role == self).map_or("", |(name, _)| name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The roles of a list of targets. Names that nobody knows count for nothing: [`faults`] has refused them.
pub fn roles(targets: &[String]) -> BTreeSet<Role> {
    targets.iter().flat_map(|target| of_target(target).unwrap_or_default()).collect()
}

/// What is wrong with a list of targets, in Loki's words.
pub fn faults(targets: &[String]) -> Vec<String> {
    let unknown = targets.iter().filter(|target| of_target(target).is_none() && !ABSENT.contains(&target.as_str()));
    let mut faults: Vec<String> = unknown.map(|target| format!("unrecognised module name: {target}")).collect();
    if faults.is_empty() && roles(targets).is_empty() {
        faults.push("no modules specified".into());
    }
    faults
}

fn of_target(target: &str) -> Option<Vec<Role>> {
    let group = GROUPS.iter().find(|(name, _)| *name == target).map(|(_, roles)| roles.to_vec());
    group.or_else(|| ROLES.iter().find(|(name, _)| *name == target).map(|(_, role)| vec![*role]))
}

/// What `-list-targets` prints.
pub fn list() -> String {
    let mut out = String::new();
    for (name, roles) in GROUPS {
        out.push_str(name);
        out.push('\n');
        roles.iter().for_each(|role| out.push_str(&format!("  {role}\n")));
    }
    ROLES.iter().for_each(|(name, _)| out.push_str(&format!("{name}\n")));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|t| t.to_string()).collect()
    }

    #[test]
    fn groups_and_single_roles_add_up() {
        let write = roles(&texts(&["write"]));
        assert_eq!(write, roles(&texts(&["distributor", "ingester"])));
        assert_eq!(roles(&texts(&["write", "read"])).len(), 4);
        assert!(!roles(&texts(&["all"])).contains(&Role::IndexGateway));
    }

    #[test]
    fn unknown_targets_are_refused_in_lokis_words() {
        assert_eq!(faults(&texts(&["all", "nope"])), ["unrecognised module name: nope"]);
        assert_eq!(faults(&texts(&["read", "ui"])), Vec::<String>::new());
        assert_eq!(faults(&texts(&["ui"])), ["no modules specified"]);
    }
}
