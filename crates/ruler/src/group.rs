//! A group of rules that runs: its rules evaluated one after the other at each of its times, and what each has from the
//! evaluations before. It must not know where groups come from.

use crate::active::{ActiveAlerts, Timing};
use crate::evaluate::{self, Asker, Surroundings, Vector};
use crate::metrics::{GroupMetrics, RulerMetrics};
use crate::outbound::{Alerts, Samples};
use crate::rule::{Group, Rule};
use crate::sample::{STALE, Sample};
use model::time::{NANOS_PER_MILLI, floor_ms};
use model::{Labels, TenantId};
use parking_lot::Mutex;
use rpc::queries::Queries;
use rpc::rules::{Alerting, GroupState, Health, RuleState};
use runtime::clock::SharedClock;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh64::xxh64;

/// Groups evaluated at one time; others wait.
const GROUPS_AT_ONCE_MAX: usize = 16;
/// Steps in which the time before the first evaluation is gone through.
const REPLAYED_STEPS_MAX: i64 = 500;
/// Of these longer intervals an alert that fires is good for, if it is not sent again.
const VALID_FOR: u32 = 4;

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId {
    pub tenant: TenantId,
    pub namespace: String,
    pub name: String,
}

/// What the evaluation of every group needs.
pub struct Evaluator {
    pub queries: Arc<dyn Queries>,
    pub alerts: Arc<dyn Alerts>,
    pub samples: Arc<dyn Samples>,
    pub clock: SharedClock,
    pub around: Surroundings,
    /// Of groups that say none.
    pub interval: Duration,
    /// How often an alert that fires is sent again.
    pub resend_delay: Duration,
    pub metrics: RulerMetrics,
    places: Semaphore,
}

impl Evaluator {
    pub fn new(
        (queries, alerts, samples): (Arc<dyn Queries>, Arc<dyn Alerts>, Arc<dyn Samples>),
        clock: SharedClock,
        around: Surroundings,
        (interval, resend_delay): (Duration, Duration),
        metrics: RulerMetrics,
    ) -> Self {
        let places = Semaphore::new(GROUPS_AT_ONCE_MAX);
        Evaluator { queries, alerts, samples, clock, around, interval, resend_delay, metrics, places }
    }

    fn interval_of(&self, group: &Group) -> Duration {
        if group.interval.is_zero() { self.interval } else { group.interval }
    }
}

/// A group and what its rules have found so far.
pub struct Run {
    evaluator: Arc<Evaluator>,
    id: GroupId,
    group: Arc<Group>,
    rules: Vec<RuleRun>,
    metrics: GroupMetrics,
    shown: Arc<Mutex<GroupState>>,
}

struct RuleRun {
    rule: Rule,
    memory: Memory,
    /// Nothing is known of the time before its first evaluation.
    to_be_replayed: bool,
    health: Health,
    last_error: String,
    evaluated_ns: i64,
    evaluation_time: Duration,
}

/// What a rule remembers from one evaluation to the next.
enum Memory {
    Alerts(ActiveAlerts),
    /// The series that it gave last.
    Series(BTreeSet<Labels>),
}

impl Run {
    /// `shown` is where the group's state can be looked at.
    pub fn new(evaluator: Arc<Evaluator>, id: GroupId, group: Arc<Group>, shown: Arc<Mutex<GroupState>>) -> Self {
        let metrics = evaluator.metrics.group(&id);
        let rules = group.rules.iter().cloned().map(RuleRun::new).collect();
        let run = Run { evaluator, id, group, rules, metrics, shown };
        run.describe();
        run
    }

    /// Evaluates whenever it is time, until `stop`; follows what the group is changed to. Taken away (`None`), it ends its
    /// series.
    pub async fn run(mut self, mut definition: watch::Receiver<Option<Arc<Group>>>, stop: CancellationToken) {
        let mut next_ns = self.first_time();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.until(next_ns) => {}
                changed = definition.changed() => {
                    let group = if changed.is_ok() { definition.borrow_and_update().clone() } else { return };
                    let Some(group) = group else { return self.end() };
                    let interval = self.interval();
                    self.become_group(group);
                    if self.interval() != interval {
                        next_ns = self.first_time();
                    }
                    continue;
                }
            }
            let evaluator = self.evaluator.clone();
            let evaluated = async {
                let place = evaluator.places.acquire().await;
                self.replay(next_ns).await;
                self.evaluate(next_ns).await;
                drop(place);
            };
            tokio::select! {
                () = evaluated => {}
                () = stop.cancelled() => return,
            }
            next_ns = self.following(next_ns);
        }
    }

    fn interval(&self) -> Duration {
        self.evaluator.interval_of(&self.group)
    }

    fn interval_ns(&self) -> i64 {
        nanos(self.interval()).max(1)
    }

    /// Groups of one interval are spread over it, each at the same place for ever, in whole milliseconds as samples have
    /// them, so that series have even steps even if another ruler goes on with the group.
    fn first_time(&self) -> i64 {
        let GroupId { tenant, namespace, name } = &self.id;
        let place = xxh64(format!("{tenant};{namespace};{name}").as_bytes(), 0) as i64;
        let (interval_ns, now_ns) = (self.interval_ns(), self.evaluator.clock.now_ns());
        let place_ns = floor_ms(place.rem_euclid(interval_ns)) * NANOS_PER_MILLI;
        let into = (now_ns - place_ns).rem_euclid(interval_ns);
        now_ns - into + interval_ns
    }

    /// The time after `at_ns` that is not over yet.
    fn following(&self, at_ns: i64) -> i64 {
        let interval_ns = self.interval_ns();
        let missed = (self.evaluator.clock.now_ns() - at_ns - 1).div_euclid(interval_ns).max(0);
        self.metrics.missed(missed as u64);
        at_ns + interval_ns * (missed + 1)
    }

    async fn until(&self, at_ns: i64) {
        let left = at_ns.saturating_sub(self.evaluator.clock.now_ns());
        tokio::time::sleep(Duration::from_nanos(u64::try_from(left).unwrap_or(0))).await;
    }

    /// Goes through the time before `at_ns` for rules for which that was not done, so that an alert fires when it would have
    /// done had this ruler run all the time: after a restart, or when it goes on with another's group. What fails is tried
    /// again at the next evaluation.
    async fn replay(&mut self, at_ns: i64) {
        let interval_ns = self.interval_ns();
        let asker = Asker { queries: &self.evaluator.queries, tenant: &self.id.tenant };
        for run in self.rules.iter_mut().filter(|run| run.to_be_replayed) {
            let timing = run.rule.timing();
            let Memory::Alerts(active) = &mut run.memory else { continue };
            let span_ns = nanos(timing.hold).saturating_add(nanos(timing.keep_firing));
            if span_ns == 0 {
                run.to_be_replayed = false;
                continue;
            }
            let step_ns = interval_ns.saturating_mul((span_ns / interval_ns / REPLAYED_STEPS_MAX) + 1);
            let count = span_ns / step_ns + 1;
            let start_ns = at_ns - count * step_ns;
            let steps = match asker.over(&run.rule, start_ns, at_ns - step_ns, step_ns).await {
                Ok(steps) => steps,
                Err(error) => {
                    let (GroupId { tenant, namespace, name }, alert) = (&self.id, &run.rule.alert);
                    tracing::warn!(%tenant, namespace, group = name, alert, error, "what was pending is not known yet");
                    continue;
                }
            };
            active.clear();
            for step in 0..count {
                let vector = steps.get(&step).cloned().unwrap_or_default();
                let Ok(found) = evaluate::alerts(&run.rule, vector, 0, &self.evaluator.around, false) else { continue };
                active.observe(found, start_ns + step * step_ns, timing);
            }
            run.to_be_replayed = false;
        }
    }

    pub async fn evaluate(&mut self, at_ns: i64) {
        let (started, mut samples) = (Instant::now(), 0);
        let valid_for = self.interval().max(self.evaluator.resend_delay) * VALID_FOR;
        for run in &mut self.rules {
            let rule_started = Instant::now();
            let asker = Asker { queries: &self.evaluator.queries, tenant: &self.id.tenant };
            let answer = asker.at(&run.rule, at_ns).await;
            let done = answer.and_then(|vector| {
                samples += vector.len();
                run.take(vector, at_ns, self.group.limit, &self.evaluator.around)
            });
            run.evaluated_ns = at_ns;
            run.evaluation_time = rule_started.elapsed();
            self.metrics.rule(run.evaluation_time, done.is_err());
            match done {
                Ok(made) => {
                    (run.health, run.last_error) = (Health::Ok, String::new());
                    self.evaluator.samples.append(&self.id.tenant, made);
                }
                Err(error) => {
                    let (GroupId { tenant, namespace, name }, rule) = (&self.id, run.rule.name());
                    tracing::warn!(%tenant, namespace, group = name, rule, error, "a rule cannot be evaluated");
                    (run.health, run.last_error) = (Health::Err, error);
                    continue;
                }
            }
            if let Memory::Alerts(active) = &mut run.memory {
                let link = evaluate::link(&self.evaluator.around, &run.rule.expr);
                let due = active.due(at_ns, self.evaluator.resend_delay, valid_for, &link);
                if !due.is_empty() {
                    self.evaluator.alerts.send(&self.id.tenant, due);
                }
            }
        }
        let took = started.elapsed();
        self.metrics.evaluated(at_ns, took, samples);
        self.show(at_ns, took);
    }

    /// The group is another now; rules that have the name and labels that they had go on.
    fn become_group(&mut self, group: Arc<Group>) {
        let mut before = std::mem::take(&mut self.rules);
        for rule in &group.rules {
            let same = |run: &RuleRun| {
                run.rule.alert == rule.alert && run.rule.record == rule.record && run.rule.labels == rule.labels
            };
            self.rules.push(match before.iter().position(same) {
                Some(at) => RuleRun { rule: rule.clone(), ..before.swap_remove(at) },
                None => RuleRun::new(rule.clone()),
            });
        }
        self.end_series(&before);
        self.group = group;
        self.describe();
    }

    fn end(&self) {
        self.end_series(&self.rules);
    }

    fn end_series(&self, rules: &[RuleRun]) {
        let timestamp_ms = self.evaluator.clock.now_ns() / 1_000_000;
        let ended = rules.iter().flat_map(|run| run.series()).map(|labels| stale(labels, timestamp_ms)).collect();
        self.evaluator.samples.append(&self.id.tenant, ended);
    }

    fn describe(&self) {
        self.metrics.defined(self.rules.len(), self.interval());
        let (evaluated_ns, evaluation_time) = {
            let shown = self.shown.lock();
            (shown.evaluated_ns, shown.evaluation_time)
        };
        self.show(evaluated_ns, evaluation_time);
    }

    fn show(&self, evaluated_ns: i64, evaluation_time: Duration) {
        let rules = self.rules.iter().map(RuleRun::state).collect();
        let state = described(&self.id, &self.group, self.interval());
        *self.shown.lock() = GroupState { rules, evaluated_ns, evaluation_time, ..state };
    }
}

/// The state of a group that nobody has evaluated yet.
pub fn not_evaluated(id: &GroupId, group: &Group, evaluator: &Evaluator) -> GroupState {
    let rules = group.rules.iter().cloned().map(|rule| RuleRun::new(rule).state()).collect();
    GroupState { rules, ..described(id, group, evaluator.interval_of(group)) }
}

fn described(id: &GroupId, group: &Group, interval: Duration) -> GroupState {
    let (namespace, name) = (id.namespace.clone(), id.name.clone());
    GroupState { namespace, name, interval, limit: group.limit, ..GroupState::default() }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

fn stale(labels: Labels, timestamp_ms: i64) -> Sample {
    Sample { labels, timestamp_ms, value: f64::from_bits(STALE) }
}

impl RuleRun {
    fn new(rule: Rule) -> Self {
        let memory = match rule.alert.is_empty() {
            true => Memory::Series(BTreeSet::new()),
            false => Memory::Alerts(ActiveAlerts::default()),
        };
        let (health, last_error) = (Health::Unknown, String::new());
        let (to_be_replayed, evaluation_time) = (!rule.alert.is_empty(), Duration::ZERO);
        RuleRun { rule, memory, to_be_replayed, health, last_error, evaluated_ns: 0, evaluation_time }
    }

    /// Remembers what an evaluation gave; the samples to be recorded come back.
    fn take(&mut self, vector: Vector, at_ns: i64, limit: u64, around: &Surroundings) -> Result<Vec<Sample>, String> {
        let timestamp_ms = at_ns / 1_000_000;
        let (mut made, before) = (Vec::new(), self.series());
        match &mut self.memory {
            Memory::Series(last) => {
                let series = evaluate::recorded(&self.rule, vector, limit)?;
                *last = series.keys().cloned().collect();
                made.extend(series.into_iter().map(|(labels, value)| Sample { labels, timestamp_ms, value }));
            }
            Memory::Alerts(active) => {
                let found = evaluate::alerts(&self.rule, vector, limit, around, true);
                let found = found.inspect_err(|_| active.clear())?;
                active.observe(found, at_ns, self.rule.timing());
                made = active.samples(at_ns);
            }
        }
        let now: BTreeSet<&Labels> = made.iter().map(|sample| &sample.labels).collect();
        let ended: Vec<Labels> = before.into_iter().filter(|labels| !now.contains(labels)).collect();
        made.extend(ended.into_iter().map(|labels| stale(labels, timestamp_ms)));
        Ok(made)
    }

    /// The series that it gave last.
    fn series(&self) -> Vec<Labels> {
        match &self.memory {
            Memory::Series(last) => last.iter().cloned().collect(),
            Memory::Alerts(active) => active.samples(0).into_iter().map(|sample| sample.labels).collect(),
        }
    }

    fn state(&self) -> RuleState {
        let texts = |texts: &std::collections::BTreeMap<String, String>| Labels::new(texts.clone());
        let alerting = match &self.memory {
            Memory::Series(_) => None,
            Memory::Alerts(active) => Some(Alerting {
                hold: self.rule.hold,
                keep_firing: self.rule.keep_firing_for,
                annotations: texts(&self.rule.annotations),
                alerts: active.states(),
            }),
        };
        RuleState {
            name: self.rule.name().to_string(),
            query: self.rule.expr.clone(),
            labels: texts(&self.rule.labels),
            alerting,
            health: self.health,
            last_error: self.last_error.clone(),
            evaluated_ns: self.evaluated_ns,
            evaluation_time: self.evaluation_time,
        }
    }
}

impl Rule {
    fn timing(&self) -> Timing {
        Timing { hold: self.hold, keep_firing: self.keep_firing_for }
    }
}

#[cfg(test)]
#[path = "group_tests.rs"]
mod tests;
