//! How many members of each role are in which state, as metrics under Loki's names.

use crate::members::{Member, MemberState};
use crate::ring::TOKENS_PER_MEMBER;
use parking_lot::Mutex;
use runtime::metrics::{Family, Gauge, Metrics};
use std::collections::BTreeSet;

const STATES: [MemberState; 4] =
    [MemberState::Joining, MemberState::Active, MemberState::Leaving, MemberState::Unhealthy];

type Labels = Vec<(String, String)>;

pub struct Census {
    members: Family<Labels, Gauge>,
    tokens: Family<Labels, Gauge>,
    /// Every role that was ever seen: one that lost its last member is told as none.
    roles: Mutex<BTreeSet<String>>,
}

impl Census {
    pub fn new(metrics: &Metrics) -> Self {
        Census {
            members: metrics.gauges("ring_members", "Number of members in the ring"),
            tokens: metrics.gauges("ring_tokens_total", "Number of tokens in the ring"),
            roles: Mutex::default(),
        }
    }

    pub fn count(&self, members: &[Member]) {
        let mut roles = self.roles.lock();
        roles.extend(members.iter().flat_map(|member| member.roles.iter().cloned()));
        for role in roles.iter() {
            let name = ("name".to_string(), role.clone());
            let of_role = || members.iter().filter(|member| member.plays(role));
            for state in STATES {
                let count = of_role().filter(|member| member.state == state).count();
                let labels = vec![("state".to_string(), state.name().to_string()), name.clone()];
                self.members.get_or_create(&labels).set(count as i64);
            }
            self.tokens.get_or_create(&vec![name]).set((of_role().count() as u64 * TOKENS_PER_MEMBER) as i64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::member;

    #[test]
    fn members_are_counted_by_role_and_state() {
        let metrics = Metrics::default();
        let census = Census::new(&metrics);
        let both = [member("a", "", MemberState::Active), member("b", "", MemberState::Unhealthy)];
        census.count(&both);
        census.count(&both[..1]);
        let printed = metrics.print_classic();
        for line in [
            "loki_ring_members{state=\"ACTIVE\",name=\"ingester\"} 1",
            "loki_ring_members{state=\"Unhealthy\",name=\"ingester\"} 0",
            "loki_ring_tokens_total{name=\"ingester\"} 128",
        ] {
            assert!(printed.lines().any(|l| l == line), "{line} in\n{printed}");
        }
    }
}
