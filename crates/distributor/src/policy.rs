//! Ingestion policies: named sets of streams (`policy_stream_mapping`) that may be blocked, or must have labels of their
//! own. It must not know entries.

use crate::discard::Offence;
use logql::parse::{Breadth, parse_selector};
use model::matcher::all_match;
use model::{Labels, TenantId};
use runtime::limits::Limits;
use smol_str::SmolStr;

/// In `policy_enforced_labels`: every policy.
const EVERY_POLICY: &str = "*";

/// The policy of a stream: the one that the client names, else that of the selector with the highest priority, else none,
/// which is empty. A selector that cannot be read fits no stream.
pub fn policy_of(labels: &Labels, named: &str, limits: &Limits) -> SmolStr {
    if !named.is_empty() {
        return named.into();
    }
    let mut best: Option<(i64, &String)> = None;
    for (policy, selectors) in &limits.policy_stream_mapping {
        for rule in selectors {
            let higher = best.is_none_or(|(priority, _)| rule.priority > priority);
            let fits = || parse_selector(&rule.selector, Breadth::Any).is_ok_and(|m| all_match(&m, labels));
            if higher && fits() {
                best = Some((rule.priority, policy));
            }
        }
    }
    best.map_or(SmolStr::default(), |(_, policy)| policy.into())
}

/// The labels that a stream of the policy must have and has not.
pub fn missing_labels(labels: &Labels, policy: &str, limits: &Limits) -> Vec<String> {
    let of_policy = |name: &str| limits.policy_enforced_labels.get(name).into_iter().flatten();
    let mut all: Vec<&String> = limits.enforced_labels.iter().chain(of_policy(EVERY_POLICY)).collect();
    if policy != EVERY_POLICY {
        all.extend(of_policy(policy));
    }
    all.into_iter().filter(|name| labels.get(name).is_none()).cloned().collect()
}

/// Why no stream of the policy is taken now.
pub fn blocked(policy: &str, tenant: &TenantId, limits: &Limits, now_ns: i64) -> Option<Offence> {
    let until_ns = *limits.block_ingestion_policy_until.get(policy).filter(|_| !policy.is_empty())?;
    (until_ns > now_ns).then(|| Offence::PolicyBlocked {
        policy: policy.to_string(),
        tenant: tenant.to_string(),
        until_ns,
        status: limits.block_ingestion_status_code,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::limits::PolicySelector;
    use std::collections::BTreeMap;

    #[test]
    fn the_highest_priority_names_the_policy() {
        let rule = |selector: &str, priority| PolicySelector { selector: selector.into(), priority };
        let limits = Limits {
            policy_stream_mapping: BTreeMap::from([
                ("finance".to_string(), vec![rule(r#"{team="pay"}"#, 2), rule("{broken", 9)]),
                ("ops".to_string(), vec![rule(r#"{env="prod"}"#, 1), rule(r#"{urgent="yes"}"#, 3)]),
            ]),
            ..Limits::default()
        };
        for (labels, named, policy) in [
            (vec![("team", "pay"), ("env", "prod")], "", "finance"),
            (vec![("team", "pay"), ("urgent", "yes")], "", "ops"),
            (vec![("env", "prod")], "", "ops"),
            (vec![("env", "prod")], "mine", "mine"),
            (vec![("env", "dev")], "", ""),
        ] {
            assert_eq!(policy_of(&Labels::new(labels.clone()), named, &limits), policy, "{labels:?}");
        }
    }
}
