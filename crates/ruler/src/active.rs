//! The alerts of one rule over time: pending, firing, resolved, as Prometheus has it. It must not know how they are
//! found or sent.

use crate::alert::Alert;
use crate::sample::Sample;
use model::Labels;
use rpc::rules::AlertState;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a resolved alert is remembered, and said again, in case an Alertmanager missed it.
const RESOLVED_KEPT: Duration = Duration::from_secs(15 * 60);

/// How long what holds must have been so.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timing {
    /// Before an alert fires.
    pub hold: Duration,
    /// Before one that fires is resolved.
    pub keep_firing: Duration,
}

/// What an evaluation found of one alert.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    pub annotations: Labels,
    pub value: f64,
}

/// The alerts of a rule, by their labels.
#[derive(Default)]
pub struct ActiveAlerts(BTreeMap<Labels, Active>);

struct Active {
    found: Found,
    state: State,
    since_ns: i64,
    fired_ns: i64,
    resolved_ns: i64,
    /// Since when it fires only because it is kept.
    kept_since_ns: Option<i64>,
    sent_ns: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Pending,
    Firing,
    Resolved,
}

impl ActiveAlerts {
    /// Takes what an evaluation at `at_ns` found.
    pub fn observe(&mut self, found: BTreeMap<Labels, Found>, at_ns: i64, timing: Timing) {
        self.0.retain(|labels, alert| found.contains_key(labels) || alert.missed(at_ns, timing));
        for (labels, found) in found {
            match self.0.get_mut(&labels).filter(|alert| alert.state != State::Resolved) {
                Some(alert) => (alert.found, alert.kept_since_ns) = (found, None),
                None => drop(self.0.insert(labels, Active::new(found, at_ns))),
            }
        }
        for alert in self.0.values_mut().filter(|alert| alert.state == State::Pending) {
            if at_ns - alert.since_ns >= nanos(timing.hold) {
                (alert.state, alert.fired_ns) = (State::Firing, at_ns);
            }
        }
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Alerts to be sent now: new ones, resolved ones, and what was sent longer than `resend_delay` ago. One that fires
    /// is said to end after `valid_for`, unless it is sent again.
    pub fn due(&mut self, at_ns: i64, resend_delay: Duration, valid_for: Duration, generator_url: &str) -> Vec<Alert> {
        let mut due = Vec::new();
        for (labels, alert) in &mut self.0 {
            let changed_ns = if alert.state == State::Resolved { alert.resolved_ns } else { alert.fired_ns };
            let is_due = alert.sent_ns.is_none_or(|sent| changed_ns > sent || sent + nanos(resend_delay) <= at_ns);
            if alert.state == State::Pending || !is_due {
                continue;
            }
            alert.sent_ns = Some(at_ns);
            due.push(Alert {
                labels: labels.clone(),
                annotations: alert.found.annotations.clone(),
                starts_at_ns: alert.fired_ns,
                ends_at_ns: if alert.state == State::Resolved { alert.resolved_ns } else { at_ns + nanos(valid_for) },
                generator_url: generator_url.to_string(),
            });
        }
        due
    }

    /// Pending and firing ones.
    pub fn states(&self) -> Vec<AlertState> {
        let state = |(labels, alert): (&Labels, &Active)| AlertState {
            labels: labels.clone(),
            annotations: alert.found.annotations.clone(),
            firing: alert.state == State::Firing,
            active_since_ns: alert.since_ns,
            value: alert.found.value,
        };
        self.0.iter().filter(|(_, alert)| alert.state != State::Resolved).map(state).collect()
    }

    /// The series by which Prometheus tells of alerts: `ALERTS`, 1 while one is in a state, and `ALERTS_FOR_STATE`, since
    /// when.
    pub fn samples(&self, at_ns: i64) -> Vec<Sample> {
        let timestamp_ms = at_ns / 1_000_000;
        let made = |labels: &Labels, added: &[(&str, &str)], value: f64| {
            let own = labels.iter().map(|label| (label.name.as_str(), label.value.as_str()));
            Sample { labels: Labels::new(own.chain(added.iter().copied())), timestamp_ms, value }
        };
        let of_alert = |state: AlertState| {
            let name = if state.firing { "firing" } else { "pending" };
            let since = (state.active_since_ns / 1_000_000_000) as f64;
            [
                made(&state.labels, &[("__name__", "ALERTS"), ("alertstate", name)], 1.0),
                made(&state.labels, &[("__name__", "ALERTS_FOR_STATE")], since),
            ]
        };
        self.states().into_iter().flat_map(of_alert).collect()
    }
}

impl Active {
    fn new(found: Found, at_ns: i64) -> Self {
        Active {
            found,
            state: State::Pending,
            since_ns: at_ns,
            fired_ns: 0,
            resolved_ns: 0,
            kept_since_ns: None,
            sent_ns: None,
        }
    }

    /// It was not found at `at_ns`; false: it is to be forgotten.
    fn missed(&mut self, at_ns: i64, timing: Timing) -> bool {
        match self.state {
            State::Pending => return false,
            State::Resolved => return at_ns - self.resolved_ns <= nanos(RESOLVED_KEPT),
            State::Firing => {}
        }
        let kept_since_ns = *self.kept_since_ns.get_or_insert(at_ns);
        if at_ns - kept_since_ns >= nanos(timing.keep_firing) {
            (self.state, self.resolved_ns) = (State::Resolved, at_ns);
        }
        true
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn labels(name: &str) -> Labels {
        Labels::new([("alertname", name)])
    }

    fn found(names: &str) -> BTreeMap<Labels, Found> {
        let each = names.split_terminator(' ').map(|name| (labels(name), Found { value: 2.0, ..Found::default() }));
        each.collect()
    }

    /// `a+` pending, `a!` firing.
    fn shown(alerts: &ActiveAlerts) -> String {
        let state =
            |s: AlertState| format!("{}{}", s.labels.get("alertname").unwrap(), if s.firing { '!' } else { '+' });
        alerts.states().into_iter().map(state).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn an_alert_is_pending_fires_is_kept_and_is_resolved() {
        for (timing, rows) in [
            (Timing::default(), vec![(0, "a", "a!"), (10, "a b", "a! b!"), (20, "b", "b!"), (30, "a b", "a! b!")]),
            (
                Timing { hold: seconds(20), keep_firing: seconds(0) },
                vec![
                    (0, "a", "a+"),
                    (10, "a", "a+"),
                    (20, "a b", "a! b+"),
                    (30, "a", "a!"),
                    (40, "", ""),
                    (50, "a", "a+"),
                ],
            ),
            (
                Timing { hold: seconds(10), keep_firing: seconds(20) },
                vec![
                    (0, "a", "a+"),
                    (10, "a", "a!"),
                    (20, "", "a!"),
                    (30, "a", "a!"),
                    (40, "", "a!"),
                    (50, "", "a!"),
                    (60, "", ""),
                ],
            ),
        ] {
            let mut alerts = ActiveAlerts::default();
            for (at, names, expected) in rows {
                alerts.observe(found(names), at * SECOND, timing);
                assert_eq!(shown(&alerts), expected, "{timing:?} at {at}");
            }
        }
    }

    #[test]
    fn what_fires_or_is_resolved_is_sent_and_sent_again() {
        let mut alerts = ActiveAlerts::default();
        let timing = Timing { hold: seconds(10), keep_firing: seconds(0) };
        let mut at = |at: i64, names: &str| {
            alerts.observe(found(names), at * SECOND, timing);
            let due = alerts.due(at * SECOND, seconds(60), seconds(240), "http://g");
            due.iter().map(|a| (a.starts_at_ns / SECOND, a.ends_at_ns / SECOND)).collect::<Vec<_>>()
        };
        assert_eq!(at(0, "a"), [], "pending");
        assert_eq!(at(10, "a"), [(10, 250)]);
        assert_eq!(at(69, "a"), []);
        assert_eq!(at(70, "a"), [(10, 310)], "again");
        assert_eq!(at(80, ""), [(10, 80)], "resolved, at once");
        assert_eq!(at(90, ""), []);
        assert_eq!(at(140, ""), [(10, 80)], "and again");
        assert_eq!(at(80 + 901, ""), [], "until it is forgotten");
        assert_eq!((at(2000, "a"), at(2010, "a")), (vec![], vec![(2010, 2250)]));
    }

    #[test]
    fn one_that_comes_back_while_it_is_resolved_begins_anew() {
        let mut alerts = ActiveAlerts::default();
        let timing = Timing { hold: seconds(10), keep_firing: seconds(0) };
        for (at, names) in [(0, "a"), (10, "a"), (20, ""), (30, "a")] {
            alerts.observe(found(names), at * SECOND, timing);
        }
        let state = &alerts.states()[0];
        assert_eq!((state.firing, state.active_since_ns / SECOND, state.value), (false, 30, 2.0));
    }

    #[test]
    fn prometheus_sees_the_alerts_as_series() {
        let mut alerts = ActiveAlerts::default();
        alerts.observe(found("a"), 5 * SECOND, Timing { hold: seconds(10), keep_firing: seconds(0) });
        let shown: Vec<String> =
            alerts.samples(7 * SECOND).iter().map(|s| format!("{} {}", s.labels, s.value)).collect();
        assert_eq!(
            shown,
            [
                r#"{__name__="ALERTS", alertname="a", alertstate="pending"} 1"#,
                r#"{__name__="ALERTS_FOR_STATE", alertname="a"} 5"#
            ]
        );
    }
}
