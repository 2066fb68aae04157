//! One rule's expression asked, and its answer made into alerts or series. It must not know when or why.

use crate::active::Found;
use crate::rule::Rule;
use crate::template::{self, Data};
use logql::value::QueryValue;
use model::labels::METRIC_NAME;
use model::{Direction, Labels, TenantId};
use rpc::queries::{Queries, QueryRequest, QueryTime};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Loki's text for an expression that asks for lines.
const NO_SAMPLES: &str = "rule result is not a vector or scalar";

/// What links and templates are filled with.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Of Grafana, where a rule's expression can be looked at.
    pub external_url: String,
    pub datasource_uid: String,
    pub external_labels: BTreeMap<String, String>,
}

/// The samples of a moment.
pub type Vector = Vec<(Labels, f64)>;

/// A tenant's queries.
pub struct Asker<'a> {
    pub queries: &'a Arc<dyn Queries>,
    pub tenant: &'a TenantId,
}

impl Asker<'_> {
    pub async fn at(&self, rule: &Rule, time_ns: i64) -> Result<Vector, String> {
        match self.ask(rule, QueryTime::Instant { time_ns }).await? {
            QueryValue::Vector(samples) => Ok(samples.into_iter().map(|s| (s.labels, s.value)).collect()),
            QueryValue::Scalar { value, .. } => Ok(vec![(Labels::default(), value)]),
            QueryValue::Streams(_) | QueryValue::Matrix(_) => Err(NO_SAMPLES.into()),
        }
    }

    /// The samples of each step, by its number. A tenant may have its steps aligned: each counts as the nearest of ours.
    pub async fn over(&self, rule: &Rule, start_ns: i64, end_ns: i64, step_ns: i64) -> Result<Steps, String> {
        let mut steps = Steps::new();
        match self.ask(rule, QueryTime::Range { start_ns, end_ns, step_ns, interval_ns: 0 }).await? {
            QueryValue::Matrix(series) => {
                for series in series {
                    for (time_ns, value) in series.points {
                        let step = (time_ns - start_ns + step_ns / 2).div_euclid(step_ns);
                        steps.entry(step).or_default().push((series.labels.clone(), value));
                    }
                }
                Ok(steps)
            }
            QueryValue::Scalar { .. } | QueryValue::Streams(_) | QueryValue::Vector(_) => Err(NO_SAMPLES.into()),
        }
    }

    /// An answer from which something is missing is none: alerts must not be resolved by it.
    async fn ask(&self, rule: &Rule, time: QueryTime) -> Result<QueryValue, String> {
        if !rule.is_metric() {
            return Err(NO_SAMPLES.into());
        }
        let request = QueryRequest {
            query: rule.expr.clone(),
            time,
            limit: 0,
            direction: Direction::Forward,
            part: None,
            partial_series: false,
            no_cache: true,
            tags: vec![("source".into(), "ruler".into())],
        };
        let response = self.queries.query(&self.tenant.clone().into(), request).await.map_err(|e| e.message)?;
        match response.warnings.as_slice() {
            [] => Ok(response.value),
            warnings => Err(format!("the answer is not complete: {}", warnings.join("; "))),
        }
    }
}

pub type Steps = BTreeMap<i64, Vector>;

/// The series of a recording rule.
pub fn recorded(rule: &Rule, vector: Vector, limit: u64) -> Result<BTreeMap<Labels, f64>, String> {
    let own = [(METRIC_NAME, rule.record.as_str())];
    let own: Vec<(&str, &str)> = own.into_iter().chain(texts(&rule.labels)).collect();
    let mut series = BTreeMap::new();
    for (labels, value) in vector {
        if series.insert(overlaid(&labels, own.iter().copied()), value).is_some() {
            return Err("vector contains metrics with the same labelset after applying rule labels".into());
        }
    }
    within(limit, series.len(), "series")?;
    Ok(series)
}

/// The alerts of an alerting rule by their labels. `whole`: with annotations, which nobody sees of the past.
pub fn alerts(
    rule: &Rule,
    vector: Vector,
    limit: u64,
    around: &Surroundings,
    whole: bool,
) -> Result<BTreeMap<Labels, Found>, String> {
    let mut alerts = BTreeMap::new();
    for (labels, value) in vector {
        let data = Data {
            labels: &labels,
            value,
            external_url: &around.external_url,
            external_labels: &around.external_labels,
        };
        let expand = |(name, text): (&str, &str)| (name.to_string(), template::expand(text, &data));
        let own: Vec<(String, String)> = texts(&rule.labels).map(expand).collect();
        let own = own.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        let identity = overlaid(&labels, own.chain([("alertname", rule.alert.as_str())]));
        let annotations = if whole { Labels::new(texts(&rule.annotations).map(expand)) } else { Labels::default() };
        if alerts.insert(identity, Found { annotations, value }).is_some() {
            return Err("vector contains metrics with the same labelset after applying alert labels".into());
        }
    }
    within(limit, alerts.len(), "alerts")?;
    Ok(alerts)
}

fn within(limit: u64, count: usize, what: &str) -> Result<(), String> {
    match limit > 0 && count as u64 > limit {
        true => Err(format!("exceeded limit of {limit} with {count} {what} (setting: the group's limit)")),
        false => Ok(()),
    }
}

fn texts(texts: &BTreeMap<String, String>) -> impl Iterator<Item = (&str, &str)> {
    texts.iter().map(|(name, text)| (name.as_str(), text.as_str()))
}

/// The labels without a metric's name, with others over them; an empty one is none.
fn overlaid<'a>(labels: &'a Labels, over: impl Iterator<Item = (&'a str, &'a str)>) -> Labels {
    let own = labels.iter().filter(|label| label.name != METRIC_NAME);
    let mut all: BTreeMap<&str, &str> = own.map(|label| (label.name.as_str(), label.value.as_str())).collect();
    all.extend(over);
    Labels::new(all.into_iter().filter(|(_, value)| !value.is_empty()))
}

/// Where Grafana shows an expression: its Explore page with the query filled in.
pub fn link(around: &Surroundings, expr: &str) -> String {
    if around.external_url.is_empty() {
        return String::new();
    }
    let datasource = serde_json::json!({ "type": "loki", "uid": around.datasource_uid });
    let left = serde_json::json!({
        "datasource": around.datasource_uid,
        "queries": [{ "refId": "A", "datasource": datasource, "expr": expr, "queryType": "range" }],
        "range": { "from": "now-1h", "to": "now" },
    });
    let mut link = format!("{}/explore?left=", around.external_url.trim_end_matches('/'));
    for byte in left.to_string().bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => link.push(byte as char),
            _ => link.push_str(&format!("%{byte:02X}")),
        }
    }
    link
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(yaml: &str) -> Rule {
        crate::rule::Group::parse(&format!("name: g\nrules: [{{{yaml}}}]")).unwrap().rules.remove(0)
    }

    fn vector(samples: &[(&[(&str, &str)], f64)]) -> Vector {
        samples.iter().map(|(labels, value)| (Labels::new(labels.iter().copied()), *value)).collect()
    }

    #[test]
    fn series_get_the_rules_name_and_labels() {
        let rule = rule("record: a:b, expr: vector(1), labels: {team: x, gone: ''}");
        let samples = vector(&[(&[("app", "1"), ("team", "y"), ("gone", "z"), (METRIC_NAME, "n")], 2.0)]);
        let series = recorded(&rule, samples, 1).unwrap();
        let shown: Vec<String> = series.iter().map(|(labels, value)| format!("{labels} {value}")).collect();
        assert_eq!(shown, [r#"{__name__="a:b", app="1", team="x"} 2"#]);
        let two = vector(&[(&[("app", "1")], 2.0), (&[("app", "2")], 2.0)]);
        assert!(recorded(&rule, two, 1).unwrap_err().starts_with("exceeded limit of 1 with 2 series"));
        let same = vector(&[(&[("team", "1")], 2.0), (&[("team", "2")], 2.0)]);
        assert!(recorded(&rule, same, 0).unwrap_err().contains("same labelset after applying rule labels"));
    }

    #[test]
    fn alerts_get_labels_and_annotations_of_their_sample() {
        let rule = rule(
            "alert: A, expr: vector(1), labels: {severity: '{{ if gt $value 10.0 }}high{{ end }}'}, \
             annotations: {text: '{{ $labels.app }} {{ $value }} {{ $externalLabels.cluster }}'}",
        );
        let around = Surroundings {
            external_labels: BTreeMap::from([("cluster".to_string(), "c1".to_string())]),
            ..Surroundings::default()
        };
        let two = vector(&[(&[("app", "1")], 20.0), (&[("app", "2")], 2.0)]);
        let alerts_of = |limit, whole| alerts(&rule, two.clone(), limit, &around, whole);
        let found = alerts_of(2, true).unwrap();
        let shown: Vec<String> = found.iter().map(|(labels, f)| format!("{labels} {}", f.annotations)).collect();
        assert_eq!(
            shown,
            [
                r#"{alertname="A", app="1", severity="high"} {text="1 20 c1"}"#,
                r#"{alertname="A", app="2"} {text="2 2 c1"}"#
            ]
        );
        assert!(alerts_of(0, false).unwrap().values().all(|found| found.annotations.is_empty()));
        assert!(alerts_of(1, true).unwrap_err().starts_with("exceeded limit of 1 with 2 alerts"));
    }

    #[test]
    fn a_link_opens_the_expression() {
        let around =
            Surroundings { external_url: "http://g/".into(), datasource_uid: "u".into(), ..Surroundings::default() };
        let link = link(&around, "{a=\"b\"}");
        assert!(link.starts_with("http://g/explore?left=%7B%22datasource%22%3A%22u%22"), "{link}");
        assert!(link.contains("%7Ba%3D%5C%22b%5C%22%7D"), "{link}");
        assert_eq!(super::link(&Surroundings::default(), "x"), "");
    }
}
