//! The corpus' rules of comparison (see its README): series and streams are sets by labels, numbers may differ a little,
//! entries of one timestamp are a multiset.

use serde_json::Value;
use std::collections::BTreeMap;

const RELATIVE_TOLERANCE: f64 = 1e-9;

/// Compares `data` of two answers; `rules` are the case's exceptions.
pub fn data(want: &Value, got: &Value, rules: &Value) -> Result<(), String> {
    if want["resultType"] != got["resultType"] {
        return Err(format!("want a {} got a {}", want["resultType"], got["resultType"]));
    }
    let (w, g) = (&want["result"], &got["result"]);
    match want["resultType"].as_str() {
        Some("streams") => by_labels(w, g, "stream", entries),
        Some("matrix") => by_labels(w, g, "metric", |a, b| points(&a["values"], &b["values"], rules)),
        Some("vector") => {
            by_labels(w, g, "metric", |a, b| point(&a["value"], &b["value"], rules))?;
            match rules["order"].as_str() {
                Some("value") => {
                    list(w).iter().zip(list(g)).try_for_each(|(a, b)| value(&a["value"][1], &b["value"][1], rules))
                }
                _ => Ok(()),
            }
        }
        _ => value(&w[1], &g[1], rules),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn by_labels(
    want: &Value,
    got: &Value,
    field: &str,
    same: impl Fn(&Value, &Value) -> Result<(), String>,
) -> Result<(), String> {
    let index = |items: &Value| -> Result<BTreeMap<String, Value>, String> {
        let mut index = BTreeMap::new();
        for item in list(items) {
            // `Value` keeps object keys sorted, so equal labels have equal texts.
            if index.insert(item[field].to_string(), item.clone()).is_some() {
                return Err(format!("labels twice: {}", item[field]));
            }
        }
        Ok(index)
    };
    let (want, got) = (index(want)?, index(got)?);
    if let Some(missing) = want.keys().find(|k| !got.contains_key(*k)) {
        let unexpected = got.keys().find(|k| !want.contains_key(*k));
        return Err(format!("missing {missing}, unexpected {unexpected:?}"));
    }
    if let Some(unexpected) = got.keys().find(|k| !want.contains_key(*k)) {
        return Err(format!("unexpected {unexpected}"));
    }
    want.iter().try_for_each(|(labels, item)| same(item, &got[labels]).map_err(|e| format!("{labels}: {e}")))
}

fn entries(want: &Value, got: &Value) -> Result<(), String> {
    let (want, got) = (list(&want["values"]), list(&got["values"]));
    let times = |entries: &[Value]| entries.iter().map(|e| e[0].clone()).collect::<Vec<_>>();
    if times(want) != times(got) {
        return Err(format!("times {:?}... want {} got {}", times(want).first(), want.len(), got.len()));
    }
    let sorted = |entries: &[Value]| {
        let mut texts: Vec<String> = entries.iter().map(Value::to_string).collect();
        texts.sort();
        texts
    };
    let (want, got) = (sorted(want), sorted(got));
    match want.iter().zip(&got).find(|(a, b)| a != b) {
        Some((a, b)) => Err(format!("entry: want {a} got {b}")),
        None => Ok(()),
    }
}

fn points(want: &Value, got: &Value, rules: &Value) -> Result<(), String> {
    let (want, got) = (list(want), list(got));
    if want.len() != got.len() {
        return Err(format!("want {} points got {}", want.len(), got.len()));
    }
    want.iter().zip(got).try_for_each(|(a, b)| point(a, b, rules))
}

fn point(want: &Value, got: &Value, rules: &Value) -> Result<(), String> {
    let time = |v: &Value| v[0].as_f64().unwrap_or(f64::NAN);
    if (time(want) - time(got)).abs() > 1e-12 * time(want).abs() {
        return Err(format!("time: want {} got {}", want[0], got[0]));
    }
    value(&want[1], &got[1], rules).map_err(|e| format!("at {}: {e}", want[0]))
}

fn value(want: &Value, got: &Value, rules: &Value) -> Result<(), String> {
    let number = |v: &Value| v.as_str().and_then(|s| s.parse::<f64>().ok());
    let close = match (number(want), number(got)) {
        _ if rules["values"] == "text" => want == got,
        (Some(a), Some(b)) if a.is_nan() || b.is_nan() => a.is_nan() && b.is_nan(),
        (Some(a), Some(b)) => {
            let tolerance = rules["rel_tol"].as_f64().unwrap_or(RELATIVE_TOLERANCE);
            a == b || (a - b).abs() <= tolerance * a.abs().max(b.abs())
        }
        _ => false,
    };
    if close { Ok(()) } else { Err(format!("value: want {want} got {got}")) }
}
