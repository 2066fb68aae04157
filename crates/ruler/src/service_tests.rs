//! Rules written, limited and listed; states asked of several rulers.

use super::*;
use crate::evaluate::Surroundings;
use crate::group::Evaluator;
use crate::metrics::RulerMetrics;
use crate::notify::{Notifier, NotifySettings};
use crate::remote_write::{RemoteWriteSettings, RemoteWriter};
use crate::ruler::TenantFilter;
use crate::store::LocalStore;
use crate::testing::{ByExpression, Process, until};
use rpc::rules::Health;
use runtime::limits::Limits;

/// The rulers: this one, one that tells of a group, and one that does not answer.
struct Three(Arc<Ruler>);

struct Other(Result<Vec<GroupState>>);

#[async_trait]
impl RuleStates for Other {
    async fn own_states(&self, _: &TenantId) -> Result<Vec<GroupState>> {
        self.0.clone()
    }
}

impl Rulers for Three {
    fn all(&self) -> Vec<Arc<dyn RuleStates>> {
        let state = |name: &str, evaluated_ns| GroupState {
            namespace: "n".into(),
            name: name.into(),
            evaluated_ns,
            ..GroupState::default()
        };
        let other = Other(Ok(vec![state("g2", 7), state("g3", 5)]));
        let handed_over = Other(Ok(vec![state("g3", 4)]));
        let down = Other(Err(Error::unavailable("it is down")));
        vec![self.0.clone(), Arc::new(other), Arc::new(handed_over), Arc::new(down)]
    }
}

struct Bench {
    _dir: tempfile::TempDir,
    process: Process,
    service: RulesService,
}

fn bench(limits: Limits) -> Bench {
    let (dir, process) = (tempfile::tempdir().unwrap(), Process::new());
    let Process { metrics, tasks, reloader, clock } = &process;
    let queries = Arc::<ByExpression>::default();
    queries.answer("vector(1)", 1.0);
    let notifier =
        Notifier::new(Arc::new(|_| Arc::<NotifySettings>::default()), clock.clone(), tasks, reloader, metrics);
    let writer =
        RemoteWriter::new(Arc::new(|_| Arc::<RemoteWriteSettings>::default()), clock.clone(), tasks, reloader, metrics);
    let evaluator = Evaluator::new(
        (queries, Arc::new(notifier), Arc::new(writer)),
        clock.clone(),
        Surroundings::default(),
        (Duration::from_secs(60), Duration::from_secs(60)),
        RulerMetrics::new(metrics),
    );
    let store: Arc<dyn RuleStore> = Arc::new(LocalStore::writable(dir.path()));
    let owned = Box::new(|id: &crate::group::GroupId| id.name == "g1");
    let hour = Duration::from_secs(3600);
    let ruler = Ruler::new(store.clone(), Arc::new(evaluator), owned, TenantFilter::default(), hour, tasks.clone());
    tasks.spawn("ruler", ruler.clone().run(tasks.stopping()));
    let rulers = Arc::new(Three(ruler.clone()));
    Bench {
        _dir: dir,
        service: RulesService { store, ruler, rulers, limits: Arc::new(Overrides::new(limits)) },
        process,
    }
}

fn group(name: &str, rules: usize) -> String {
    format!("name: {name}\nrules:\n{}", "- {alert: A, expr: vector(1)}\n".repeat(rules))
}

#[tokio::test]
async fn groups_are_written_listed_and_removed() {
    let bench = bench(Limits::default());
    let (service, tenant) = (&bench.service, TenantId::anonymous());
    let missing = |error: Error| (error.kind, error.message);
    let none = (Kind::NotFound, "no rule groups found".to_string());
    assert_eq!(service.list(&tenant, None).await.map_err(missing), Err(none.clone()));
    for (namespace, name) in [("one", "g1"), ("one", "g2"), ("a/b", "g1")] {
        service.set(&tenant, namespace, &group(name, 1)).await.unwrap();
    }
    let listed = service.list(&tenant, None).await.unwrap();
    assert!(listed.starts_with("a/b:\n") && listed.contains("\none:\n"), "{listed}");
    assert!(!service.list(&tenant, Some("a/b")).await.unwrap().contains("g2"));
    assert_eq!(service.list(&tenant, Some("x")).await.map_err(missing), Err(none));
    assert!(service.group(&tenant, "one", "g2").await.unwrap().contains("name: g2"));
    let no_group = (Kind::NotFound, "group does not exist".to_string());
    assert_eq!(service.group(&tenant, "a/b", "g2").await.map_err(missing), Err(no_group));
    assert_eq!(service.set(&tenant, "one", "rules: []").await.unwrap_err().kind, Kind::Invalid);
    service.delete_group(&tenant, "one", "g2").await.unwrap();
    service.delete_group(&tenant, "one", "g2").await.unwrap();
    service.delete_namespace(&tenant, "a/b").await.unwrap();
    let no_namespace = (Kind::NotFound, "group namespace does not exist".to_string());
    assert_eq!(service.delete_namespace(&tenant, "a/b").await.map_err(missing), Err(no_namespace));
    assert_eq!(service.store.groups(&tenant).await.unwrap().keys().collect::<Vec<_>>(), ["one"]);
}

#[tokio::test]
async fn a_tenants_limits_hold() {
    let limits = Limits { ruler_max_rules_per_rule_group: 2, ruler_max_rule_groups_per_tenant: 1, ..Limits::default() };
    let bench = bench(limits);
    let (service, tenant) = (&bench.service, TenantId::anonymous());
    let refused = service.set(&tenant, "n", &group("g1", 3)).await.unwrap_err();
    assert!(
        refused.message.starts_with("per-user rules per rule group limit (limit: 2 actual: 3) exceeded"),
        "{refused}"
    );
    service.set(&tenant, "n", &group("g1", 1)).await.unwrap();
    service.set(&tenant, "n", &group("g1", 2)).await.unwrap();
    let refused = service.set(&tenant, "n", &group("g2", 1)).await.unwrap_err();
    assert!(refused.message.starts_with("per-user rule groups limit (limit: 1 actual: 2) exceeded"), "{refused}");
}

#[tokio::test]
async fn states_are_asked_of_every_ruler_and_no_group_is_missing() {
    let bench = bench(Limits::default());
    let (service, tenant) = (&bench.service, TenantId::anonymous());
    for name in ["g1", "g4"] {
        service.set(&tenant, "n", &group(name, 1)).await.unwrap();
    }
    until(|| service.ruler.known(&tenant).len() == 2, || "the rules are read".to_string()).await;
    let states = service.states(&tenant).await.unwrap();
    let shown: Vec<(&str, i64)> = states.iter().map(|state| (state.name.as_str(), state.evaluated_ns)).collect();
    assert_eq!(shown, [("g1", 0), ("g2", 7), ("g3", 5), ("g4", 0)]);
    assert_eq!(states[3].rules[0].health, Health::Unknown);
    assert_eq!(bench.process.tasks.stop(Duration::from_secs(5)).await, Vec::<&str>::new());
}
