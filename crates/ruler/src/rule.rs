//! Rules and their groups in the form of Prometheus's rule files: read strictly, checked, and written.

use logql::ast::Expr;
use model::duration::{parse_prometheus, prometheus_string};
use model::labels::is_label_name;
use model::{Error, Result};
use rpc::rules::GROUP_BYTES_MAX;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::time::Duration;

/// Rules of one group, whatever the tenant's limit.
pub const RULES_MAX: usize = 10_000;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    #[serde(default)]
    pub name: String,
    /// Zero: `ruler.evaluation_interval`.
    #[serde(default, with = "duration", skip_serializing_if = "Duration::is_zero")]
    pub interval: Duration,
    /// Alerts or series that one rule may give; 0: any number.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub limit: u64,
    #[serde(default)]
    pub rules: Vec<Rule>,
}

/// An alerting rule or a recording one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub record: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub alert: String,
    #[serde(default)]
    pub expr: String,
    /// How long an alert is pending before it fires.
    #[serde(default, rename = "for", with = "duration", skip_serializing_if = "Duration::is_zero")]
    pub hold: Duration,
    /// How long it goes on to fire when its expression has no value any more.
    #[serde(default, with = "duration", skip_serializing_if = "Duration::is_zero")]
    pub keep_firing_for: Duration,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A rule file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    groups: Vec<Group>,
}

impl Rule {
    /// Of the alert or of the recorded metric.
    pub fn name(&self) -> &str {
        if self.alert.is_empty() { &self.record } else { &self.alert }
    }

    fn check(&self) -> std::result::Result<(), String> {
        match (self.record.is_empty(), self.alert.is_empty()) {
            (true, true) => return Err("one of 'record' or 'alert' must be set".into()),
            (false, false) => return Err("only one of 'record' and 'alert' must be set".into()),
            _ => {}
        }
        if self.expr.is_empty() {
            return Err("field 'expr' must be set in rule".into());
        }
        logql::parse::parse(&self.expr).map_err(|e| format!("could not parse expression: {e}"))?;
        if !self.record.is_empty() {
            if !self.annotations.is_empty() {
                return Err("invalid field 'annotations' in recording rule".into());
            }
            if !self.hold.is_zero() || !self.keep_firing_for.is_zero() {
                let name = if self.hold.is_zero() { "keep_firing_for" } else { "for" };
                return Err(format!("invalid field '{name}' in recording rule"));
            }
            if !is_metric_name(&self.record) {
                return Err(format!("invalid recording rule name: {}", self.record));
            }
        }
        for name in self.labels.keys() {
            if !is_label_name(name) || name == "__name__" {
                return Err(format!("invalid label name: {name}"));
            }
        }
        if let Some(name) = self.annotations.keys().find(|name| !is_label_name(name)) {
            return Err(format!("invalid annotation name: {name}"));
        }
        if self.alert.is_empty() {
            return Ok(());
        }
        let texts = self.labels.iter().map(|text| ("label", text));
        for (kind, (name, text)) in texts.chain(self.annotations.iter().map(|text| ("annotation", text))) {
            crate::template::check(text).map_err(|e| format!("{kind} \"{name}\": {e}"))?;
        }
        Ok(())
    }

    /// Whether the expression can have samples; a log query fails at each evaluation, as in Loki.
    pub fn is_metric(&self) -> bool {
        matches!(logql::parse::parse(&self.expr), Ok(Expr::Metric(_)))
    }
}

impl Group {
    /// Reads one group. The error is the user's.
    pub fn parse(yaml: &str) -> Result<Self> {
        if yaml.len() > GROUP_BYTES_MAX {
            return Err(Error::too_large(format!("the rule group has {} bytes of {GROUP_BYTES_MAX}", yaml.len())));
        }
        let group: Group = match yaml.trim().is_empty() {
            true => Group::default(),
            false => {
                serde_saphyr::from_str(yaml).map_err(|e| Error::invalid(format!("unable to decode rule group: {e}")))?
            }
        };
        group.check()?;
        Ok(group)
    }

    pub fn check(&self) -> Result<()> {
        if self.name.is_empty() {
            return Err(Error::invalid("group 0: Groupname must not be empty"));
        }
        if self.rules.is_empty() {
            return Err(Error::invalid(format!("invalid rules config: rule group '{}' has no rules", self.name)));
        }
        if self.rules.len() > RULES_MAX {
            let rules = self.rules.len();
            return Err(Error::invalid(format!("group {:?} has {rules} rules of {RULES_MAX}", self.name)));
        }
        for (i, rule) in self.rules.iter().enumerate() {
            let at = |e| Error::invalid(format!("group {:?}, rule {i}, {:?}: {e}", self.name, rule.name()));
            rule.check().map_err(at)?;
        }
        Ok(())
    }

    pub fn print(&self) -> Result<String> {
        serde_saphyr::to_string(self).map_err(|e| Error::internal(format!("the rule group {:?}: {e}", self.name)))
    }
}

/// The groups of a rule file, whose names must differ.
pub fn parse_file(yaml: &str) -> Result<Vec<Group>> {
    if yaml.trim().is_empty() {
        return Ok(vec![]);
    }
    let file: File =
        serde_saphyr::from_str(yaml).map_err(|e| Error::invalid(format!("unable to decode rules: {e}")))?;
    for (i, group) in file.groups.iter().enumerate() {
        group.check()?;
        if file.groups[..i].iter().any(|other| other.name == group.name) {
            return Err(Error::invalid(format!("groupname: \"{}\" is repeated in the same namespace", group.name)));
        }
    }
    Ok(file.groups)
}

/// A rule file of these groups.
pub fn print_file(groups: &[Group]) -> Result<String> {
    let file = File { groups: groups.to_vec() };
    serde_saphyr::to_string(&file).map_err(|e| Error::internal(format!("rule file: {e}")))
}

/// Groups by namespace, as the API lists them.
pub fn print_all(namespaces: &BTreeMap<String, Vec<Group>>) -> Result<String> {
    serde_saphyr::to_string(namespaces).map_err(|e| Error::internal(format!("rule groups: {e}")))
}

fn is_metric_name(name: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit())
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// Durations in Prometheus's form.
mod duration {
    use super::*;

    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&prometheus_string(duration.as_nanos().min(i64::MAX as u128) as i64))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        let nanos = parse_prometheus(&text).map_err(serde::de::Error::custom)?;
        Ok(Duration::from_nanos(nanos.unsigned_abs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = r#"
name: g
interval: 1m
limit: 5
rules:
  - record: app:errors:rate1m
    expr: sum by (app) (rate({app=~".+"} |= "error" [1m]))
    labels: {team: a}
  - alert: ManyErrors
    expr: sum by (app) (rate({app=~".+"} |= "error" [1m])) > 10
    for: 5m
    keep_firing_for: 1h30m
    labels: {severity: "{{ if gt $value 100.0 }}critical{{ else }}warning{{ end }}"}
    annotations: {summary: "{{ $labels.app }}: {{ $value | humanize }}"}
"#;

    #[test]
    fn what_is_read_is_written_and_read_again() {
        let group = Group::parse(FULL).unwrap();
        assert_eq!((group.interval, group.limit, group.rules.len()), (Duration::from_secs(60), 5, 2));
        assert_eq!(group.rules[1].keep_firing_for, Duration::from_secs(5400));
        let written = group.print().unwrap();
        assert_eq!(Group::parse(&written).unwrap(), group, "{written}");
        assert!(!written.contains("annotations: {}"), "{written}");
        assert_eq!(parse_file(&format!("groups:\n- {}", FULL.trim().replace('\n', "\n  "))).unwrap(), [group]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let one = |rule: &str| format!("name: g\nrules:\n- {{{rule}}}");
        for (yaml, part) in [
            ("", "group 0: Groupname must not be empty"),
            ("rules: []", "Groupname must not be empty"),
            ("name: g", "rule group 'g' has no rules"),
            ("name: g\nextra: 1", "extra"),
            (&one("expr: vector(1)"), "one of 'record' or 'alert' must be set"),
            (&one("alert: A, record: b, expr: vector(1)"), "only one of 'record' and 'alert' must be set"),
            (&one("alert: A"), "field 'expr' must be set"),
            (&one("alert: A, expr: 'rate('"), "could not parse expression"),
            (&one("record: a-b, expr: vector(1)"), "invalid recording rule name: a-b"),
            (&one("record: a, expr: vector(1), for: 1m"), "invalid field 'for' in recording rule"),
            (&one("record: a, expr: vector(1), annotations: {a: b}"), "invalid field 'annotations'"),
            (&one("alert: A, expr: vector(1), labels: {a-b: c}"), "invalid label name: a-b"),
            (&one("alert: A, expr: vector(1), annotations: {a-b: c}"), "invalid annotation name: a-b"),
            (&one("alert: A, expr: vector(1), annotations: {a: '{{ .x '}"), "annotation \"a\""),
            (&one("alert: A, expr: vector(1), for: soon"), "not a valid duration string"),
        ] {
            let error = Group::parse(yaml).unwrap_err();
            assert!(error.message.contains(part), "{yaml}: {error}");
        }
        let twice = "groups:\n- {name: g, rules: [{record: a, expr: vector(1)}]}\n".to_string();
        let twice = format!("{twice}{}", twice.lines().last().unwrap());
        assert!(parse_file(&twice).unwrap_err().message.contains("\"g\" is repeated"));
        // As in Loki: that a log query has no samples is found out by the evaluation.
        assert!(!Group::parse(&one("alert: A, expr: '{app=\"a\"}'")).unwrap().rules[0].is_metric());
    }
}
