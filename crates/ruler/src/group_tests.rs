//! Groups evaluated at given times against queries that are answered by their text.

use super::*;
use crate::alert::Alert;
use crate::testing::ByExpression;
use runtime::clock::ManualClock;
use runtime::metrics::Metrics;

const SECOND: i64 = 1_000_000_000;
/// A multiple of a day.
const START: i64 = 20_000 * 86_400 * SECOND;

#[derive(Default)]
struct Out {
    alerts: Mutex<Vec<Alert>>,
    samples: Mutex<Vec<Sample>>,
}

impl Alerts for Out {
    fn send(&self, _: &TenantId, alerts: Vec<Alert>) {
        self.alerts.lock().extend(alerts);
    }
}

impl Samples for Out {
    fn append(&self, _: &TenantId, samples: Vec<Sample>) {
        self.samples.lock().extend(samples);
    }
}

struct Bench {
    queries: Arc<ByExpression>,
    out: Arc<Out>,
    clock: Arc<ManualClock>,
    evaluator: Arc<Evaluator>,
    metrics: Metrics,
    shown: Arc<Mutex<GroupState>>,
}

impl Bench {
    fn new() -> Bench {
        let (queries, out, clock) = (Arc::<ByExpression>::default(), Arc::<Out>::default(), ManualClock::at(START));
        let metrics = Metrics::default();
        let evaluator = Evaluator::new(
            (queries.clone(), out.clone(), out.clone()),
            clock.clone(),
            Surroundings::default(),
            (Duration::from_secs(60), Duration::from_secs(60)),
            RulerMetrics::new(&metrics),
        );
        Bench { queries, out, clock, evaluator: Arc::new(evaluator), metrics, shown: Arc::default() }
    }

    fn run(&self, yaml: &str) -> Run {
        let (tenant, namespace) = (TenantId::anonymous(), "n".to_string());
        let group = Arc::new(Group::parse(yaml).unwrap());
        let id = GroupId { tenant, namespace, name: group.name.clone() };
        Run::new(self.evaluator.clone(), id, group, self.shown.clone())
    }

    fn samples(&self) -> Vec<String> {
        let shown = |s: Sample| match s.value.is_nan() {
            true => format!("{} {} ended", s.labels, (s.timestamp_ms * 1_000_000 - START) / SECOND),
            false => format!("{} {} {}", s.labels, (s.timestamp_ms * 1_000_000 - START) / SECOND, s.value),
        };
        std::mem::take(&mut *self.out.samples.lock()).into_iter().map(shown).collect()
    }

    fn sent(&self) -> Vec<String> {
        let at = |ns: i64| (ns - START) / SECOND;
        let shown = |a: Alert| format!("{} {} {}", a.labels, at(a.starts_at_ns), at(a.ends_at_ns));
        std::mem::take(&mut *self.out.alerts.lock()).into_iter().map(shown).collect()
    }

    fn states(&self) -> Vec<String> {
        let shown = |rule: &RuleState| {
            let state = rule.alerting.as_ref().map_or("", |alerting| alerting.state());
            format!("{} {state} {} {}", rule.name, rule.health.name(), rule.last_error)
        };
        self.shown.lock().rules.iter().map(shown).collect()
    }
}

const GROUP: &str = r#"
name: g
rules:
  - {record: "a:rate", expr: "sum(rate({app=\"a\"}[1m]))"}
  - {alert: Many, expr: "sum(rate({app=\"a\"}[1m])) > 1", for: 1m}
"#;
const RATE: &str = r#"sum(rate({app="a"}[1m]))"#;
const MANY: &str = r#"sum(rate({app="a"}[1m])) > 1"#;

#[tokio::test]
async fn rules_record_alert_and_say_how_they_stand() {
    let bench = Bench::new();
    let mut run = bench.run(GROUP);
    assert_eq!(bench.states(), ["a:rate  unknown ", "Many inactive unknown "]);
    bench.queries.answer(RATE, 2.0);
    bench.queries.answer(MANY, 2.0);
    run.evaluate(START).await;
    let alert = |state: &str| format!(r#"{{__name__="ALERTS", alertname="Many", alertstate="{state}"}}"#);
    let since = r#"{__name__="ALERTS_FOR_STATE", alertname="Many"}"#;
    let seconds = START / SECOND;
    let expected =
        [r#"{__name__="a:rate"} 0 2"#.to_string(), format!("{} 0 1", alert("pending")), format!("{since} 0 {seconds}")];
    assert_eq!(bench.samples(), expected);
    assert_eq!(bench.sent(), Vec::<String>::new());
    assert_eq!(bench.states(), ["a:rate  ok ", "Many pending ok "]);
    run.evaluate(START + 60 * SECOND).await;
    assert_eq!(
        bench.samples()[1..],
        [
            format!("{} 60 1", alert("firing")),
            format!("{since} 60 {seconds}"),
            format!("{} 60 ended", alert("pending"))
        ]
    );
    assert_eq!(bench.sent(), [r#"{alertname="Many"} 60 300"#]);
    assert_eq!(bench.states()[1], "Many firing ok ");
    // A series that is not there any more ends, once.
    bench.queries.answer_nothing(RATE);
    bench.queries.answer_nothing(MANY);
    run.evaluate(START + 120 * SECOND).await;
    let ended = [r#"{__name__="a:rate"}"#.to_string(), alert("firing"), since.to_string()];
    assert_eq!(bench.samples(), ended.map(|labels| format!("{labels} 120 ended")));
    assert_eq!(bench.sent(), [r#"{alertname="Many"} 60 120"#], "resolved");
    run.evaluate(START + 180 * SECOND).await;
    assert_eq!(bench.samples(), Vec::<String>::new());
    let metrics = bench.metrics.print_classic();
    let labels = r#"{rule_group="fake/n;g",user="fake"}"#;
    for line in [
        format!("loki_prometheus_rule_evaluations_total{labels} 8"),
        format!("loki_prometheus_rule_evaluation_failures_total{labels} 0"),
        format!("loki_prometheus_rule_group_rules{labels} 2"),
        format!("loki_prometheus_rule_group_iterations_total{labels} 4"),
    ] {
        assert!(metrics.contains(&line), "{line} in\n{metrics}");
    }
    drop(run);
    assert!(!bench.metrics.print_classic().contains("fake/n;g"), "a group that is gone leaves no series");
}

#[tokio::test]
async fn a_failure_changes_no_alert_and_is_told() {
    let bench = Bench::new();
    let mut run = bench.run(GROUP);
    bench.queries.answer(RATE, 2.0);
    bench.queries.answer(MANY, 2.0);
    run.evaluate(START).await;
    run.evaluate(START + 60 * SECOND).await;
    bench.queries.fail(MANY, "no store");
    bench.queries.warn(RATE, "partial answer: the ingester i is unhealthy");
    run.evaluate(START + 120 * SECOND).await;
    assert_eq!(
        bench.states(),
        [
            "a:rate  err the answer is not complete: partial answer: the ingester i is unhealthy",
            "Many firing err no store"
        ]
    );
    bench.queries.answer(MANY, 2.0);
    bench.sent();
    run.evaluate(START + 180 * SECOND).await;
    assert_eq!(bench.sent(), [r#"{alertname="Many"} 60 420"#], "it has fired all the time");
}

#[tokio::test]
async fn a_rule_that_asks_for_lines_fails_at_its_evaluation() {
    let bench = Bench::new();
    bench.run("name: g\nrules: [{alert: A, expr: '{app=\"a\"}'}]").evaluate(START).await;
    assert_eq!(bench.states(), ["A inactive err rule result is not a vector or scalar"]);
    assert!(bench.queries.asked().is_empty());
}

#[tokio::test]
async fn more_alerts_than_the_limit_are_none() {
    let bench = Bench::new();
    let mut run = bench.run(&format!("name: g\nlimit: 1\nrules: [{{alert: A, expr: {RATE:?}}}]"));
    bench.queries.answer_each(RATE, &[1.0]);
    run.evaluate(START).await;
    assert_eq!(bench.states(), ["A firing ok "]);
    bench.queries.answer_each(RATE, &[1.0, 2.0]);
    run.evaluate(START + 60 * SECOND).await;
    assert_eq!(bench.states(), ["A inactive err exceeded limit of 1 with 2 alerts (setting: the group's limit)"]);
}

#[tokio::test]
async fn who_goes_on_with_a_group_knows_since_when_alerts_are_pending() {
    let bench = Bench::new();
    let now = START + 3600 * SECOND;
    for (held_for, fires) in [(30, false), (290, false), (310, true), (3000, true)] {
        let mut run = bench.run(&format!("name: g\nrules: [{{alert: A, expr: {RATE:?}, for: 5m}}]"));
        bench.queries.answer_since(RATE, now - held_for * SECOND, 2.0);
        run.replay(now).await;
        assert_eq!(bench.samples(), Vec::<String>::new(), "what is over is not recorded again");
        run.evaluate(now).await;
        assert_eq!(bench.states(), [if fires { "A firing ok " } else { "A pending ok " }], "{held_for}");
        assert_eq!(bench.sent().len(), usize::from(fires));
        assert!(bench.samples().iter().all(|sample| sample.contains(" 3600 ")), "nothing of before");
    }
    // What fails is done later.
    let mut run = bench.run(&format!("name: g\nrules: [{{alert: A, expr: {RATE:?}, for: 5m}}]"));
    bench.queries.fail(RATE, "no store");
    run.replay(now).await;
    bench.queries.answer_since(RATE, now - 310 * SECOND, 2.0);
    run.evaluate(now).await;
    assert_eq!(bench.states(), ["A pending ok "]);
    run.replay(now + 60 * SECOND).await;
    run.evaluate(now + 60 * SECOND).await;
    assert_eq!(bench.states(), ["A firing ok "]);
    let asked = bench.queries.asked().len();
    run.replay(now + 120 * SECOND).await;
    assert_eq!(bench.queries.asked().len(), asked, "once is enough");
    // A year is gone through in as few steps.
    let mut run = bench.run(&format!("name: g\nrules: [{{alert: A, expr: {RATE:?}, for: 365d}}]"));
    bench.queries.answer_since(RATE, now - 400 * 86_400 * SECOND, 2.0);
    run.replay(now).await;
    assert!(bench.queries.steps_max() <= REPLAYED_STEPS_MAX + 2, "{}", bench.queries.steps_max());
    run.evaluate(now).await;
    assert_eq!(bench.states(), ["A firing ok "]);
}

#[tokio::test]
async fn a_rule_that_stays_when_its_group_changes_goes_on() {
    let bench = Bench::new();
    let mut run = bench.run(GROUP);
    bench.queries.answer(RATE, 2.0);
    bench.queries.answer(MANY, 2.0);
    run.evaluate(START).await;
    bench.samples();
    let changed = GROUP.replace("a:rate", "a:other").replace("for: 1m", "for: 30s");
    bench.clock.set(START + 10 * SECOND);
    run.become_group(Arc::new(Group::parse(&changed).unwrap()));
    assert_eq!(bench.samples(), [r#"{__name__="a:rate"} 10 ended"#]);
    run.evaluate(START + 30 * SECOND).await;
    assert_eq!(bench.states(), ["a:other  ok ", "Many firing ok "]);
    run.end();
    assert_eq!(bench.samples().iter().filter(|sample| sample.ends_with("ended")).count(), 4);
}

#[tokio::test]
async fn times_are_even_and_those_that_were_missed_are_counted() {
    let bench = Bench::new();
    let run = bench.run(GROUP);
    let first = run.first_time();
    assert!(first > START && first <= START + 60 * SECOND);
    for later in [1, 59, 60, 600] {
        bench.clock.set(START + later * SECOND);
        assert_eq!((run.first_time() - first) % (60 * SECOND), 0, "another start gives the same grid");
    }
    for (now, next, missed) in [(first, 60, 0), (first + 59 * SECOND, 60, 0), (first + 150 * SECOND, 180, 2)] {
        bench.clock.set(now);
        let before = missed_so_far(&bench);
        assert_eq!(run.following(first) - first, next * SECOND);
        assert_eq!(missed_so_far(&bench) - before, missed);
    }
}

fn missed_so_far(bench: &Bench) -> u64 {
    let text = bench.metrics.print_classic();
    let line = text.lines().find(|line| line.starts_with("loki_prometheus_rule_group_iterations_missed_total{"));
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}
