//! The ruler of a process: its share of the cluster's rules evaluated against the process's own engine, and the rules API.

use super::read;
use super::role_ring::RoleRing;
use super::stores::Stores;
use crate::config::{RuleStorage, Settings};
use crate::node::{Base, Parts};
use crate::query_log::QueryMetrics;
use api::rules::RulesApi;
use cluster::pool::Pool;
use cluster::ring::token_of;
use model::{Result, TenantId};
use parking_lot::Mutex;
use rpc::queries::Queries;
use rpc::rules::RuleStates;
use rpc::wire::{RuleStatesClient, rule_states_server};
use ruler::evaluate::Surroundings;
use ruler::group::{Evaluator, GroupId};
use ruler::metrics::RulerMetrics;
use ruler::notify::Notifier;
use ruler::remote_write::RemoteWriter;
use ruler::ruler::{Owns, Ruler, TenantFilter};
use ruler::service::{Rulers, RulesService};
use ruler::store::{BucketStore, LocalStore, RuleStore};
use runtime::limits::{Limits, Overrides};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const RULER: &str = "ruler";
/// Tenants whose settings are remembered; beyond, all are made anew.
const TENANTS_MAX: usize = 10_000;
/// How long evaluations that run may take to end.
const EVALUATIONS_STOP_WITHIN: Duration = Duration::from_secs(2);
/// How long alerts and samples that wait may take to be sent.
const SENDING_STOPS_WITHIN: Duration = Duration::from_secs(6);

/// Evaluates rules with `engine`, and serves their API.
pub fn serve(
    base: &Base,
    stores: &Stores,
    engine: Arc<dyn Queries>,
    query_metrics: QueryMetrics,
    parts: &mut Parts,
) -> Result<(), String> {
    let own = &base.settings.ruler;
    let store = store(&base.settings, stores)?;
    let (evaluation, sending) = (base.tasks.child(), base.tasks.child());
    let queries = read::rule_stages(base, engine, query_metrics);
    let evaluator = Arc::new(evaluator(base, queries, &sending));
    let shares = Shares { rulers: RoleRing::new(base.members.clone(), RULER), id: base.id.clone() };
    let tenants = TenantFilter { enabled: own.enabled_tenants.clone(), disabled: own.disabled_tenants.clone() };
    let owns: Owns = Box::new(move |group| shares.owns(group));
    let ruler = Ruler::new(store.clone(), evaluator, owns, tenants, own.poll_interval, evaluation.clone());
    evaluation.spawn("ruler", ruler.clone().run(evaluation.stopping()));
    parts.serve_grpc(rule_states_server(ruler.clone()));
    if own.enable_api {
        let rulers = Arc::new(Peers::new(base, ruler.clone()));
        let rules = RulesService { store, ruler, rulers, limits: base.limits.clone() };
        let auth_enabled = base.settings.auth_enabled.unwrap_or(true);
        let routes = api::rules::router(RulesApi { rules: Arc::new(rules), auth_enabled });
        parts.http = std::mem::take(&mut parts.http).merge(routes);
    }
    parts.on_stop("ruler", async move {
        evaluation.stop(EVALUATIONS_STOP_WITHIN).await;
        let late = sending.stop(SENDING_STOPS_WITHIN).await;
        if !late.is_empty() {
            tracing::warn!(?late, "alerts or samples were not sent in time");
        }
    });
    Ok(())
}

fn store(settings: &Settings, stores: &Stores) -> Result<Arc<dyn RuleStore>, String> {
    Ok(match settings.rule_storage()? {
        RuleStorage::Files { directory, writable: true } => Arc::new(LocalStore::writable(Path::new(&directory))),
        RuleStorage::Files { directory, writable: false } => Arc::new(LocalStore::read_only(Path::new(&directory))),
        RuleStorage::Bucket(store) => Arc::new(BucketStore::new(stores.bucket("rules", store)?)),
    })
}

fn evaluator(base: &Base, queries: Arc<dyn Queries>, sending: &runtime::tasks::Tasks) -> Evaluator {
    let own = &base.settings.ruler;
    let (clock, reloader, metrics) = (&base.clock, &base.reloader, &base.metrics);
    let ruler = own.clone();
    let notify = settings_of(&base.limits, move |limits| ruler.notify_settings(limits));
    let notifier = Notifier::new(notify, clock.clone(), sending, reloader, metrics);
    let ruler = own.clone();
    let remote_write = settings_of(&base.limits, move |limits| ruler.remote_write_settings(limits));
    let writer = Arc::new(RemoteWriter::new(remote_write, clock.clone(), sending, reloader, metrics));
    if !own.wal.dir.is_empty() {
        writer.resume(own.wal.dir.clone().into(), own.wal.max_age);
    }
    let around = Surroundings {
        external_url: own.external_url.without_user(),
        datasource_uid: own.datasource_uid.clone(),
        external_labels: own.external_labels.clone(),
    };
    Evaluator::new(
        (queries, Arc::new(notifier), writer),
        clock.clone(),
        around,
        (own.evaluation_interval, own.resend_delay),
        RulerMetrics::new(metrics),
    )
}

type SettingsOf<T> = Arc<dyn Fn(&TenantId) -> Arc<T> + Send + Sync>;

/// A tenant's settings made of its limits, once for each set of limits; a set that cannot be used has been refused when it
/// was read, and counts as the defaults.
fn settings_of<T: Default + Send + Sync + 'static>(
    limits: &Arc<Overrides>,
    make: impl Fn(&Limits) -> Result<T, String> + Send + Sync + 'static,
) -> SettingsOf<T> {
    type Made<T> = HashMap<TenantId, (Arc<Limits>, Arc<T>)>;
    let (limits, made) = (limits.clone(), Mutex::new(Made::<T>::new()));
    Arc::new(move |tenant| {
        let current = limits.tenant(tenant);
        let mut made = made.lock();
        if let Some((_, settings)) = made.get(tenant).filter(|(of, _)| Arc::ptr_eq(of, &current)) {
            return settings.clone();
        }
        let settings = Arc::new(make(&current).unwrap_or_default());
        if made.len() >= TENANTS_MAX {
            made.clear();
        }
        made.insert(tenant.clone(), (current, settings.clone()));
        settings
    })
}

/// Which ruler evaluates which group: the first active one on the ring from the group's token on.
struct Shares {
    rulers: RoleRing,
    /// This ruler.
    id: String,
}

impl Shares {
    fn owns(&self, group: &GroupId) -> bool {
        let GroupId { tenant, namespace, name } = group;
        let ((ring, _), mut chosen) = (self.rulers.current(), Vec::new());
        let found = ring.writers(token_of(&format!("{tenant};{namespace};{name}"), 0), 1, &mut chosen);
        found.is_ok() && chosen.first().is_some_and(|i| ring.members()[*i].id == self.id)
    }
}

/// The rulers as one of them asks them.
struct Peers {
    rulers: RoleRing,
    id: String,
    pool: Pool<dyn RuleStates>,
    own: Arc<dyn RuleStates>,
}

impl Peers {
    fn new(base: &Base, own: Arc<dyn RuleStates>) -> Self {
        let connector = base.connectors.ruler.clone();
        let connect = move |address: &str| -> Result<Arc<dyn RuleStates>> {
            Ok(Arc::new(RuleStatesClient::connect(&connector, address)?))
        };
        let (rulers, id) = (RoleRing::new(base.members.clone(), RULER), base.id.clone());
        Peers { rulers, id, pool: Pool::new(None, Box::new(connect)), own }
    }
}

impl Rulers for Peers {
    fn all(&self) -> Vec<Arc<dyn RuleStates>> {
        let (ring, changed) = self.rulers.current();
        if changed {
            self.pool.keep(ring.members());
        }
        let alive = ring.members().iter().filter(|member| member.state.answers_reads());
        let others = alive.filter(|member| member.id != self.id);
        others.filter_map(|member| self.pool.get(member).ok()).chain([self.own.clone()]).collect()
    }
}

#[cfg(test)]
#[path = "ruler_tests.rs"]
mod tests;
