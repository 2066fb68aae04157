//! A recorded request as parameters of the engine, and the engine's answer as Loki writes it.

use logql::engine::{EngineLimits, Outcome, Params, Time};
use logql::value::{LogEntry, LogStream, QueryValue};
use model::{Direction, Labels};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What `now` answers: any time after the recorded data, as when the answers were recorded (2026-11-20).
const RECORDED_NS: i64 = 1_795_132_800_000_000_000;

pub struct Request {
    pub query: String,
    pub params: Params,
    pub tenant: String,
    pub categorize: bool,
}

/// `None` for requests that another part of a server refuses or completes (bad parameters, times relative to now).
pub fn request(case: &Value) -> Option<Request> {
    if case.get("raw_query").is_some() || case.get("before").is_some() || case.get("body_form").is_some() {
        return None;
    }
    let mut params: BTreeMap<&str, &str> = BTreeMap::new();
    for param in case["params"].as_array()? {
        params.entry(param[0].as_str()?).or_insert(param[1].as_str()?);
    }
    let headers = &case["headers"];
    let time = match case["path"].as_str()? {
        "/loki/api/v1/query" => Time::Instant { time_ns: time_ns(params.get("time")?)? },
        "/loki/api/v1/query_range" => range(&params)?,
        _ => return None,
    };
    let direction = match params.get("direction").map(|d| d.to_lowercase()).as_deref() {
        None | Some("backward") => Direction::Backward,
        Some("forward") => Direction::Forward,
        _ => return None,
    };
    Some(Request {
        query: params.get("query")?.to_string(),
        params: Params {
            time,
            align_to_step: true,
            limit: params.get("limit").map_or(Some(100), |l| l.parse().ok().filter(|l| *l > 0))?,
            direction,
            interval_ns: params.get("interval").map_or(Some(0), |i| span_ns(i))?,
            now_ns: RECORDED_NS,
            shard: None,
        },
        tenant: headers["X-Scope-OrgID"].as_str()?.to_string(),
        categorize: headers["X-Loki-Response-Encoding-Flags"] == "categorize-labels",
    })
}

fn range(params: &BTreeMap<&str, &str>) -> Option<Time> {
    let end_ns = time_ns(params.get("end")?)?;
    let start_ns = match (params.get("start"), params.get("since")) {
        (Some(start), _) => time_ns(start)?,
        (None, since) => end_ns - span_ns(since.unwrap_or(&"1h"))?,
    };
    let step_ns = match params.get("step") {
        Some(step) => span_ns(step)?,
        None => ((end_ns - start_ns) / 1_000_000_000 / 250).max(1) * 1_000_000_000,
    };
    Some(Time::Range { start_ns, end_ns, step_ns })
}

fn time_ns(text: &str) -> Option<i64> {
    if let Ok(number) = text.parse::<i64>() {
        return Some(if text.len() <= 10 { number * 1_000_000_000 } else { number });
    }
    if let Ok(seconds) = text.parse::<f64>() {
        if !seconds.is_finite() {
            return None;
        }
        return Some((seconds.trunc() as i64) * 1_000_000_000 + (seconds.fract() * 1000.0).round() as i64 * 1_000_000);
    }
    text.parse::<jiff::Timestamp>().ok().and_then(|t| i64::try_from(t.as_nanosecond()).ok())
}

fn span_ns(text: &str) -> Option<i64> {
    match text.parse::<f64>() {
        Ok(seconds) => Some((seconds * 1e9).round()).filter(|ns| ns.abs() < 9e18).map(|ns| ns as i64),
        Err(_) => model::duration::parse_prometheus(text).ok(),
    }
}

/// The limits of the recorded server's tenants.
pub fn limits(tenant: &str, workers: usize) -> EngineLimits {
    let defaults =
        EngineLimits { approx_topk: true, variants: tenant != "novariants", workers, ..EngineLimits::default() };
    match tenant {
        "lim" => EngineLimits { max_series: 3, max_entries: 20, max_window_ns: 1_800_000_000_000, ..defaults },
        _ => defaults,
    }
}

/// `data` of Loki's answer.
pub fn data(outcome: &Outcome, categorize: bool) -> Value {
    let (kind, result) = match &outcome.value {
        QueryValue::Streams(streams) => ("streams", if categorize { categorized(streams) } else { merged(streams) }),
        QueryValue::Matrix(series) => ("matrix", {
            let values =
                |points: &[(i64, f64)]| points.iter().map(|(t, v)| json!([seconds(*t), number(*v)])).collect::<Value>();
            series.iter().map(|s| json!({"metric": object(&s.labels), "values": values(&s.points)})).collect()
        }),
        QueryValue::Vector(samples) => ("vector", {
            let value = |t, v| json!([seconds(t), number(v)]);
            samples.iter().map(|s| json!({"metric": object(&s.labels), "value": value(s.time_ns, s.value)})).collect()
        }),
        QueryValue::Scalar { time_ns, value } => ("scalar", json!([seconds(*time_ns), number(*value)])),
    };
    json!({"resultType": kind, "result": result})
}

fn seconds(time_ns: i64) -> f64 {
    time_ns.div_euclid(1_000_000) as f64 / 1000.0
}

fn number(value: f64) -> String {
    match value {
        v if v.is_nan() => "NaN".into(),
        v if v.is_infinite() => if v > 0.0 { "+Inf" } else { "-Inf" }.into(),
        v => v.to_string(),
    }
}

fn object(labels: &Labels) -> Value {
    Value::Object(labels.iter().map(|l| (l.name.to_string(), l.value.as_str().into())).collect())
}

fn line(entry: &LogEntry) -> String {
    String::from_utf8_lossy(&entry.line).into_owned()
}

fn categorized(streams: &[LogStream]) -> Value {
    let extra = |entry: &LogEntry| {
        let mut extra = Map::new();
        if !entry.structured_metadata.is_empty() {
            extra.insert("structuredMetadata".into(), object(&entry.structured_metadata));
        }
        if !entry.parsed.is_empty() {
            extra.insert("parsed".into(), object(&entry.parsed));
        }
        extra
    };
    let values = |entries: &[LogEntry]| {
        entries.iter().map(|e| json!([e.ts_ns.to_string(), line(e), extra(e)])).collect::<Value>()
    };
    streams.iter().map(|s| json!({"stream": object(&s.labels), "values": values(&s.entries)})).collect()
}

/// All labels of an entry name its stream.
fn merged(streams: &[LogStream]) -> Value {
    let mut by_labels: BTreeMap<Labels, Vec<(i64, usize, String)>> = BTreeMap::new();
    for stream in streams {
        for (i, entry) in stream.entries.iter().enumerate() {
            let all = stream.labels.iter().chain(&entry.structured_metadata).chain(&entry.parsed);
            let labels = Labels::new(all.map(|l| (l.name.clone(), l.value.clone())));
            by_labels.entry(labels).or_default().push((entry.ts_ns, i, line(entry)));
        }
    }
    let values =
        |entries: &[(i64, usize, String)]| entries.iter().map(|e| json!([e.0.to_string(), e.2])).collect::<Value>();
    by_labels.iter().map(|(labels, entries)| json!({"stream": object(labels), "values": values(entries)})).collect()
}
