//! How rules and alerts stand, in the form of Prometheus's API.

use crate::query::params::Params;
use model::Labels;
use rpc::rules::{AlertState, Alerting, GroupState, RuleState};
use serde_json::{Map, Value, json};

/// Which rules a request asks for. An empty list: all.
pub(super) struct Choice {
    alerting: bool,
    recording: bool,
    files: Vec<String>,
    groups: Vec<String>,
    rules: Vec<String>,
    without_alerts: bool,
}

impl Choice {
    pub(super) fn of(params: &Params) -> Result<Self, String> {
        let (alerting, recording) = match params.get("type").unwrap_or_default() {
            "" => (true, true),
            "alert" => (true, false),
            "record" => (false, true),
            other => return Err(format!("not supported value {other:?} of type: want alert or record")),
        };
        let without_alerts = match params.get("exclude_alerts").unwrap_or("false") {
            "true" | "1" => true,
            "false" | "0" => false,
            other => return Err(format!("not supported value {other:?} of exclude_alerts: want true or false")),
        };
        let all = |name: &str| [name, &format!("{name}[]")].into_iter().flat_map(|n| owned(params, n)).collect();
        let (files, groups, rules) = (all("file"), all("rule_group"), all("rule_name"));
        Ok(Choice { alerting, recording, files, groups, rules, without_alerts })
    }

    /// The groups that have rules that are asked for, with these.
    pub(super) fn groups(&self, groups: &[GroupState]) -> Vec<Value> {
        let among = |list: &[String], name: &str| list.is_empty() || list.iter().any(|own| own == name);
        let of_kind = |rule: &RuleState| if rule.alerting.is_some() { self.alerting } else { self.recording };
        let mut chosen = Vec::new();
        for group in groups {
            if !among(&self.files, &group.namespace) || !among(&self.groups, &group.name) {
                continue;
            }
            let rules = group.rules.iter().filter(|rule| of_kind(rule) && among(&self.rules, &rule.name));
            let rules: Vec<Value> = rules.map(|rule| self.rule(rule)).collect();
            if !rules.is_empty() {
                chosen.push(json!({
                    "name": group.name,
                    "file": group.namespace,
                    "rules": rules,
                    "interval": group.interval.as_secs_f64(),
                    "limit": group.limit,
                    "lastEvaluation": time(group.evaluated_ns),
                    "evaluationTime": group.evaluation_time.as_secs_f64(),
                }));
            }
        }
        chosen
    }

    fn rule(&self, rule: &RuleState) -> Value {
        let mut shown = Map::new();
        let mut put = |name: &str, value: Value| drop(shown.insert(name.to_string(), value));
        if let Some(alerting) = &rule.alerting {
            put("state", alerting.state().into());
        }
        put("name", rule.name.as_str().into());
        put("query", rule.query.as_str().into());
        if let Some(Alerting { hold, keep_firing, annotations, alerts, .. }) = &rule.alerting {
            put("duration", hold.as_secs_f64().into());
            put("keepFiringFor", keep_firing.as_secs_f64().into());
            put("annotations", labels(annotations));
            if !self.without_alerts {
                put("alerts", alerts.iter().map(alert).collect());
            }
        }
        put("labels", labels(&rule.labels));
        put("health", rule.health.name().into());
        put("lastError", rule.last_error.as_str().into());
        put("type", if rule.alerting.is_some() { "alerting" } else { "recording" }.into());
        put("lastEvaluation", time(rule.evaluated_ns));
        put("evaluationTime", rule.evaluation_time.as_secs_f64().into());
        shown.into()
    }
}

/// All alerts of the groups.
pub(super) fn alerts(groups: &[GroupState]) -> Vec<Value> {
    let rules = groups.iter().flat_map(|group| &group.rules);
    rules.filter_map(|rule| rule.alerting.as_ref()).flat_map(|alerting| &alerting.alerts).map(alert).collect()
}

fn owned<'a>(params: &'a Params, name: &'a str) -> Vec<String> {
    params.all(name).filter(|value| !value.is_empty()).map(str::to_string).collect()
}

fn alert(alert: &AlertState) -> Value {
    json!({
        "labels": labels(&alert.labels),
        "annotations": labels(&alert.annotations),
        "state": if alert.firing { "firing" } else { "pending" },
        "activeAt": time(alert.active_since_ns),
        "value": exponential(alert.value),
    })
}

fn labels(labels: &Labels) -> Value {
    labels.iter().map(|label| (label.name.to_string(), Value::from(label.value.as_str()))).collect()
}

/// RFC 3339; what has not happened is at Go's zero time.
fn time(ns: i64) -> Value {
    let at = (ns != 0).then(|| crate::query::legacy::rfc3339_nano(ns));
    at.unwrap_or_else(|| "0001-01-01T00:00:00Z".into()).into()
}

/// As Go prints a number with an exponent: `1.5e+01`.
fn exponential(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf".into() } else { "-Inf".into() };
    }
    let shown = format!("{value:e}");
    let (digits, exponent) = shown.split_once('e').unwrap_or((&shown, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
    format!("{digits}e{sign}{exponent:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_gos_exponents() {
        for (value, text) in [
            (0.0, "0e+00"),
            (15.0, "1.5e+01"),
            (-0.25, "-2.5e-01"),
            (1e100, "1e+100"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(exponential(value), text);
        }
    }
}
