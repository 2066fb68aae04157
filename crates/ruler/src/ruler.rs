//! The groups that this ruler evaluates: read from the store again and again, those that are its own run. It must not know
//! how a group is evaluated.

use crate::group::{Evaluator, GroupId, Run, not_evaluated};
use crate::rule::Group;
use crate::store::RuleStore;
use async_trait::async_trait;
use model::{Result, TenantId};
use parking_lot::Mutex;
use rpc::rules::{GroupState, RuleStates};
use runtime::tasks::Tasks;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// How often a ruler looks whether other groups are its own now.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Groups of all tenants that one cluster's rulers know; more are left out.
const GROUPS_MAX: usize = 100_000;

/// Whether this ruler is the one to evaluate a group, as the ring is now.
pub type Owns = Box<dyn Fn(&GroupId) -> bool + Send + Sync>;

/// Whose rules are evaluated.
#[derive(Clone, Debug, Default)]
pub struct TenantFilter {
    /// Empty: everybody's.
    pub enabled: Vec<String>,
    pub disabled: Vec<String>,
}

impl TenantFilter {
    pub fn allows(&self, tenant: &TenantId) -> bool {
        let named = |list: &[String]| list.iter().any(|name| name == tenant.as_str());
        (self.enabled.is_empty() || named(&self.enabled)) && !named(&self.disabled)
    }
}

pub struct Ruler {
    store: Arc<dyn RuleStore>,
    evaluator: Arc<Evaluator>,
    owns: Owns,
    tenants: TenantFilter,
    poll_interval: Duration,
    tasks: Tasks,
    groups: Mutex<Groups>,
    changed: Notify,
}

#[derive(Default)]
struct Groups {
    /// As the store had them last.
    known: BTreeMap<GroupId, Arc<Group>>,
    running: BTreeMap<GroupId, Running>,
}

struct Running {
    group: Arc<Group>,
    definition: watch::Sender<Option<Arc<Group>>>,
    state: Arc<Mutex<GroupState>>,
    stop: CancellationToken,
}

impl Ruler {
    /// Evaluations end with `tasks`.
    pub fn new(
        store: Arc<dyn RuleStore>,
        evaluator: Arc<Evaluator>,
        owns: Owns,
        tenants: TenantFilter,
        poll_interval: Duration,
        tasks: Tasks,
    ) -> Arc<Self> {
        let (groups, changed) = (Mutex::default(), Notify::new());
        Arc::new(Ruler { store, evaluator, owns, tenants, poll_interval, tasks, groups, changed })
    }

    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        loop {
            self.poll().await;
            let polled = tokio::time::Instant::now();
            while polled.elapsed() < self.poll_interval {
                let rest = self.poll_interval.saturating_sub(polled.elapsed());
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = self.changed.notified() => break,
                    () = tokio::time::sleep(rest.min(LOOK_EVERY)) => self.settle(),
                }
            }
        }
    }

    /// The store has changed: it is read now, not after the interval.
    pub fn changed(&self) {
        self.changed.notify_one();
    }

    /// What is known of the tenant's groups, evaluated here or not.
    pub fn known(&self, tenant: &TenantId) -> Vec<GroupState> {
        let groups = self.groups.lock();
        let own = groups.known.iter().filter(|(id, _)| id.tenant == *tenant);
        own.map(|(id, group)| not_evaluated(id, group, &self.evaluator)).collect()
    }

    /// Reads the store. Of a tenant that cannot be read, what was known holds.
    async fn poll(&self) {
        self.evaluator.metrics.syncs.inc();
        let tenants = match self.store.tenants().await {
            Ok(tenants) => tenants,
            Err(error) => return self.not_read(None, &error),
        };
        let mut known = BTreeMap::new();
        for tenant in tenants.into_iter().filter(|tenant| self.tenants.allows(tenant)) {
            match self.store.groups(&tenant).await {
                Ok(namespaces) => {
                    for (namespace, groups) in namespaces {
                        let id = |name: &str| GroupId {
                            tenant: tenant.clone(),
                            namespace: namespace.clone(),
                            name: name.to_string(),
                        };
                        known.extend(groups.into_iter().map(|group| (id(&group.name), Arc::new(group))));
                    }
                }
                Err(error) => {
                    self.not_read(Some(&tenant), &error);
                    let groups = self.groups.lock();
                    let before = groups.known.iter().filter(|(id, _)| id.tenant == tenant);
                    known.extend(before.map(|(id, group)| (id.clone(), group.clone())));
                }
            }
        }
        let left_out = known.len().saturating_sub(GROUPS_MAX);
        if left_out > 0 {
            tracing::error!(left_out, max = GROUPS_MAX, "there are more rule groups than rulers take");
            known = known.into_iter().take(GROUPS_MAX).collect();
        }
        self.groups.lock().known = known;
        self.settle();
    }

    fn not_read(&self, tenant: Option<&TenantId>, error: &model::Error) {
        self.evaluator.metrics.failed_syncs.inc();
        let tenant = tenant.map(TenantId::as_str);
        tracing::error!(tenant, %error, "rules cannot be read from their store: those that were known hold");
    }

    /// Starts, changes and ends groups until exactly those run that are known and ours.
    fn settle(&self) {
        let mut groups = self.groups.lock();
        let Groups { known, running } = &mut *groups;
        running.retain(|id, run| match known.get(id) {
            // Gone from the store: its series end.
            None => {
                let _gone = run.definition.send(None);
                false
            }
            // Its task has ended by a fault: it begins anew.
            Some(_) if run.definition.is_closed() => false,
            // Another ruler goes on with it.
            Some(_) if !(self.owns)(id) => {
                run.stop.cancel();
                false
            }
            Some(group) => {
                if run.group != *group {
                    run.group = group.clone();
                    let _ended = run.definition.send(Some(group.clone()));
                }
                true
            }
        });
        for (id, group) in known.iter() {
            if !running.contains_key(id) && (self.owns)(id) {
                running.insert(id.clone(), self.start(id, group));
            }
        }
        let tenants: BTreeSet<&TenantId> = running.keys().map(|id| &id.tenant).collect();
        self.evaluator.metrics.tenants.set(tenants.len() as i64);
    }

    fn start(&self, id: &GroupId, group: &Arc<Group>) -> Running {
        let state = Arc::new(Mutex::default());
        let (definition, changes) = watch::channel(Some(group.clone()));
        let stop = self.tasks.stopping().child_token();
        let run = Run::new(self.evaluator.clone(), id.clone(), group.clone(), state.clone());
        self.tasks.spawn("rule group", run.run(changes, stop.clone()));
        Running { group: group.clone(), definition, state, stop }
    }
}

#[async_trait]
impl RuleStates for Ruler {
    async fn own_states(&self, tenant: &TenantId) -> Result<Vec<GroupState>> {
        let groups = self.groups.lock();
        let own = groups.running.iter().filter(|(id, _)| id.tenant == *tenant);
        Ok(own.map(|(_, run)| run.state.lock().clone()).collect())
    }
}

#[cfg(test)]
#[path = "ruler_tests.rs"]
mod tests;
