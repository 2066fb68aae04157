//! The rules service: groups written and read through the store, and how they stand, asked of every ruler. It must not
//! know how requests come.

use crate::rule::{Group, print_all};
use crate::ruler::Ruler;
use crate::store::{Namespaces, RuleStore};
use async_trait::async_trait;
use futures::future::join_all;
use model::{Error, Kind, Result, TenantId};
use rpc::rules::{GroupState, RuleStates, Rules};
use runtime::limits::Overrides;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long the others may take to tell how their groups stand.
const STATES_WITHIN: Duration = Duration::from_secs(5);

/// The rulers of the cluster at this moment, this one among them.
pub trait Rulers: Send + Sync {
    fn all(&self) -> Vec<Arc<dyn RuleStates>>;
}

pub struct RulesService {
    pub store: Arc<dyn RuleStore>,
    pub ruler: Arc<Ruler>,
    pub rulers: Arc<dyn Rulers>,
    pub limits: Arc<Overrides>,
}

impl RulesService {
    async fn found(&self, tenant: &TenantId, namespace: Option<&str>) -> Result<Namespaces> {
        let mut namespaces = self.store.groups(tenant).await?;
        namespaces.retain(|name, groups| namespace.is_none_or(|wanted| wanted == name) && !groups.is_empty());
        match namespaces.is_empty() {
            true => Err(Error::new(Kind::NotFound, "no rule groups found")),
            false => Ok(namespaces),
        }
    }

    /// Loki's limits in Loki's words.
    async fn admit(&self, tenant: &TenantId, namespace: &str, group: &Group) -> Result<()> {
        let limits = self.limits.tenant(tenant);
        let over = |max: usize, n: usize| max > 0 && n > max;
        let (max, rules) = (limits.ruler_max_rules_per_rule_group, group.rules.len());
        if over(max, rules) {
            return Err(Error::invalid(format!(
                "per-user rules per rule group limit (limit: {max} actual: {rules}) exceeded \
                 (setting: limits_config.ruler_max_rules_per_rule_group)"
            )));
        }
        let max = limits.ruler_max_rule_groups_per_tenant;
        if max > 0 {
            let groups = self.store.groups(tenant).await?;
            let same = groups.get(namespace).is_some_and(|all| all.iter().any(|other| other.name == group.name));
            let count = groups.values().map(Vec::len).sum::<usize>() + usize::from(!same);
            if over(max, count) {
                return Err(Error::invalid(format!(
                    "per-user rule groups limit (limit: {max} actual: {count}) exceeded \
                     (setting: limits_config.ruler_max_rule_groups_per_tenant)"
                )));
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Rules for RulesService {
    async fn list(&self, tenant: &TenantId, namespace: Option<&str>) -> Result<String> {
        print_all(&self.found(tenant, namespace).await?)
    }

    async fn group(&self, tenant: &TenantId, namespace: &str, group: &str) -> Result<String> {
        let namespaces = self.store.groups(tenant).await?;
        let found = namespaces.get(namespace).and_then(|groups| groups.iter().find(|g| g.name == group));
        found.ok_or_else(|| Error::new(Kind::NotFound, "group does not exist"))?.print()
    }

    async fn set(&self, tenant: &TenantId, namespace: &str, group: &str) -> Result<()> {
        let group = Group::parse(group)?;
        self.admit(tenant, namespace, &group).await?;
        self.store.set(tenant, namespace, &group).await?;
        self.ruler.changed();
        Ok(())
    }

    async fn delete_group(&self, tenant: &TenantId, namespace: &str, group: &str) -> Result<()> {
        self.store.delete(tenant, namespace, group).await?;
        self.ruler.changed();
        Ok(())
    }

    async fn delete_namespace(&self, tenant: &TenantId, namespace: &str) -> Result<()> {
        let missing = |_| Error::new(Kind::NotFound, "group namespace does not exist");
        let namespaces = self.found(tenant, Some(namespace)).await.map_err(|e| match e.kind {
            Kind::NotFound => missing(e),
            _ => e,
        })?;
        for group in namespaces.values().flatten() {
            self.store.delete(tenant, namespace, &group.name).await?;
        }
        self.ruler.changed();
        Ok(())
    }

    async fn states(&self, tenant: &TenantId) -> Result<Vec<GroupState>> {
        let asked = self.rulers.all().into_iter().map(|ruler| async move {
            let states = tokio::time::timeout(STATES_WITHIN, ruler.own_states(tenant)).await;
            let states = states.unwrap_or_else(|_| {
                Err(Error::new(Kind::Timeout, format!("it did not answer within {STATES_WITHIN:?}")))
            });
            states.unwrap_or_else(|error| {
                tracing::warn!(%tenant, %error, "a ruler does not tell how its groups stand");
                vec![]
            })
        });
        // A group that no ruler tells of is shown without a state rather than not at all; of one that is handed over, the
        // state that is newer.
        let key = |state: &GroupState| (state.namespace.clone(), state.name.clone());
        let known = self.ruler.known(tenant).into_iter();
        let mut states: BTreeMap<(String, String), GroupState> = known.map(|state| (key(&state), state)).collect();
        for state in join_all(asked).await.into_iter().flatten() {
            let newest = states.entry(key(&state)).or_insert_with(|| state.clone());
            if state.evaluated_ns >= newest.evaluated_ns {
                *newest = state;
            }
        }
        Ok(states.into_values().collect())
    }
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
