//! Groups that come and go with their store and with the ring.

use super::*;
use crate::evaluate::Surroundings;
use crate::metrics::RulerMetrics;
use crate::outbound::{Alerts, Samples};
use crate::store::{LocalStore, Namespaces};
use crate::testing::{ByExpression, until};
use model::Error;
use runtime::clock::SystemClock;
use runtime::metrics::Metrics;
use std::sync::atomic::{AtomicBool, Ordering};

struct Nowhere;

impl Alerts for Nowhere {
    fn send(&self, _: &TenantId, _: Vec<crate::alert::Alert>) {}
}

impl Samples for Nowhere {
    fn append(&self, _: &TenantId, _: Vec<crate::sample::Sample>) {}
}

/// A store that can be made to fail.
struct Failing {
    inner: LocalStore,
    down: AtomicBool,
}

impl Failing {
    fn check(&self) -> Result<()> {
        if self.down.load(Ordering::SeqCst) { Err(Error::unavailable("the store is down")) } else { Ok(()) }
    }
}

#[async_trait]
impl RuleStore for Failing {
    async fn tenants(&self) -> Result<Vec<TenantId>> {
        self.check()?;
        self.inner.tenants().await
    }
    async fn groups(&self, tenant: &TenantId) -> Result<Namespaces> {
        self.check()?;
        self.inner.groups(tenant).await
    }
    async fn set(&self, tenant: &TenantId, namespace: &str, group: &Group) -> Result<()> {
        self.inner.set(tenant, namespace, group).await
    }
    async fn delete(&self, tenant: &TenantId, namespace: &str, group: &str) -> Result<()> {
        self.inner.delete(tenant, namespace, group).await
    }
}

struct Bench {
    _dir: tempfile::TempDir,
    queries: Arc<ByExpression>,
    store: Arc<Failing>,
    ruler: Arc<Ruler>,
    tasks: Tasks,
    metrics: Metrics,
    /// Groups of this name are another's.
    elsewhere: Arc<Mutex<String>>,
}

impl Bench {
    fn new(tenants: TenantFilter) -> Bench {
        let (dir, metrics) = (tempfile::tempdir().unwrap(), Metrics::default());
        let tasks = Tasks::new(&metrics);
        let store = Arc::new(Failing { inner: LocalStore::writable(dir.path()), down: AtomicBool::new(false) });
        let queries = Arc::<ByExpression>::default();
        queries.answer("vector(1)", 1.0);
        queries.answer("vector(2)", 2.0);
        let evaluator = Evaluator::new(
            (queries.clone(), Arc::new(Nowhere), Arc::new(Nowhere)),
            Arc::new(SystemClock),
            Surroundings::default(),
            (Duration::from_millis(20), Duration::from_secs(60)),
            RulerMetrics::new(&metrics),
        );
        let elsewhere = Arc::<Mutex<String>>::default();
        let others = elsewhere.clone();
        let owns: Owns = Box::new(move |id| id.name != *others.lock());
        let hour = Duration::from_secs(3600);
        let ruler = Ruler::new(store.clone(), Arc::new(evaluator), owns, tenants, hour, tasks.clone());
        tasks.spawn("ruler", ruler.clone().run(tasks.stopping()));
        Bench { _dir: dir, queries, store, ruler, tasks, metrics, elsewhere }
    }

    async fn set(&self, of: &str, name: &str, expr: &str) {
        let group = Group::parse(&format!("name: {name}\nrules: [{{alert: A, expr: {expr}}}]")).unwrap();
        self.store.set(&tenant(of), "n", &group).await.unwrap();
        self.ruler.changed();
    }

    /// Waits until exactly these groups of the tenant have been evaluated.
    async fn evaluates(&self, of: &str, expected: &[(&str, f64)]) {
        let evaluated = || {
            let groups = self.ruler.groups.lock();
            let own = groups.running.iter().filter(|(id, _)| id.tenant == tenant(of));
            let value = |state: &GroupState| {
                state.rules[0].alerting.as_ref().unwrap().alerts.first().map_or(0.0, |alert| alert.value)
            };
            own.map(|(id, run)| (id.name.clone(), value(&run.state.lock()))).collect::<Vec<_>>()
        };
        let expected: Vec<(String, f64)> = expected.iter().map(|(name, value)| (name.to_string(), *value)).collect();
        until(|| evaluated() == expected, || format!("{expected:?}, but {:?}", evaluated())).await;
    }
}

fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).unwrap()
}

#[tokio::test]
async fn groups_come_change_and_go_with_the_store() {
    let bench = Bench::new(TenantFilter::default());
    bench.set("a", "g1", "vector(1)").await;
    bench.set("a", "g2", "vector(1)").await;
    bench.set("b", "g1", "vector(2)").await;
    bench.evaluates("a", &[("g1", 1.0), ("g2", 1.0)]).await;
    bench.evaluates("b", &[("g1", 2.0)]).await;
    assert!(bench.metrics.print_classic().contains("loki_ruler_managers 2"));
    bench.set("a", "g1", "vector(2)").await;
    bench.evaluates("a", &[("g1", 2.0), ("g2", 1.0)]).await;
    bench.store.delete(&tenant("a"), "n", "g1").await.unwrap();
    bench.ruler.changed();
    bench.evaluates("a", &[("g2", 1.0)]).await;
    assert_eq!(bench.ruler.known(&tenant("a")).len(), 1);
    assert_eq!(bench.tasks.stop(Duration::from_secs(5)).await, Vec::<&str>::new());
}

#[tokio::test]
async fn while_the_store_is_down_what_was_known_goes_on() {
    let bench = Bench::new(TenantFilter::default());
    bench.set("a", "g1", "vector(1)").await;
    bench.evaluates("a", &[("g1", 1.0)]).await;
    bench.store.down.store(true, Ordering::SeqCst);
    bench.set("a", "g2", "vector(1)").await;
    let failed = || bench.metrics.print_classic().contains("loki_ruler_sync_rules_failed_total 1");
    until(failed, || "the failure is counted".to_string()).await;
    bench.evaluates("a", &[("g1", 1.0)]).await;
    bench.store.down.store(false, Ordering::SeqCst);
    bench.ruler.changed();
    bench.evaluates("a", &[("g1", 1.0), ("g2", 1.0)]).await;
}

#[tokio::test]
async fn a_group_that_is_anothers_is_known_and_not_run() {
    let bench = Bench::new(TenantFilter::default());
    *bench.elsewhere.lock() = "g1".into();
    bench.set("a", "g1", "vector(1)").await;
    bench.set("a", "g2", "vector(1)").await;
    bench.evaluates("a", &[("g2", 1.0)]).await;
    assert_eq!(bench.ruler.known(&tenant("a")).len(), 2);
    *bench.elsewhere.lock() = "g2".into();
    bench.evaluates("a", &[("g1", 1.0)]).await;
}

#[tokio::test]
async fn a_group_whose_task_has_ended_runs_again_and_goes_with_the_store() {
    let bench = Bench::new(TenantFilter::default());
    // Nobody has said what this is answered with: the query panics.
    bench.set("a", "g1", "vector(3)").await;
    let ended = || bench.metrics.print_classic().contains("loki_panic_total 1");
    until(ended, || "the task ends".to_string()).await;
    bench.queries.answer("vector(3)", 3.0);
    bench.evaluates("a", &[("g1", 3.0)]).await;
    bench.store.delete(&tenant("a"), "n", "g1").await.unwrap();
    bench.ruler.changed();
    bench.evaluates("a", &[]).await;
}

#[tokio::test]
async fn only_tenants_that_may_are_evaluated() {
    let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
    let bench = Bench::new(TenantFilter { enabled: names(&["a", "b"]), disabled: names(&["b"]) });
    for tenant in ["a", "b", "c"] {
        bench.set(tenant, "g", "vector(1)").await;
    }
    bench.evaluates("a", &[("g", 1.0)]).await;
    assert!(bench.ruler.known(&tenant("b")).is_empty() && bench.ruler.known(&tenant("c")).is_empty());
}
