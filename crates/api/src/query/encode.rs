//! The answer of a query as JSON. The member order is part of the contract: Grafana reads it as a stream, so
//! `encodingFlags` stands before `result`, `stats` after it, and `stream` before `values`.

use super::json::Json;
use super::stats::write_stats;
use logql::value::{LogEntry, LogStream, QueryValue, Sample, Series};
use model::Labels;
use rpc::queries::QueryResponse;
use std::collections::HashMap;

/// The encoding flag of a client that wants structured metadata and parsed labels apart from the stream's; other spellings
/// are other flags.
pub const CATEGORIZE_LABELS: &str = "categorize-labels";

/// `{"status","warnings"?,"data":{"resultType","encodingFlags"?,"result","stats"}}` and a newline.
pub fn query_response(response: &QueryResponse, flags: &[&str]) -> Vec<u8> {
    let mut json = Json::default();
    json.raw("{\"status\":\"success\",");
    write_warnings(&mut json, &response.warnings);
    json.raw("\"data\":{\"resultType\":\"");
    match &response.value {
        QueryValue::Streams(streams) => {
            json.raw("streams\",");
            write_flags(&mut json, flags);
            json.raw("\"result\":");
            if flags.contains(&CATEGORIZE_LABELS) {
                json.list('[', ']', streams, write_categorized);
            } else {
                json.list('[', ']', merge_categories(streams), |json, (labels, entries)| {
                    write_merged(json, &labels, &entries)
                });
            }
        }
        QueryValue::Matrix(series) => {
            json.raw("matrix\",\"result\":");
            json.list('[', ']', series, write_series);
        }
        QueryValue::Vector(samples) => {
            json.raw("vector\",\"result\":");
            json.list('[', ']', samples, write_sample);
        }
        QueryValue::Scalar { time_ns, value } => {
            json.raw("scalar\",\"result\":");
            write_point(&mut json, *time_ns, *value);
        }
    }
    json.raw(",\"stats\":");
    write_stats(&mut json, &response.stats);
    json.raw("}}\n");
    json.out
}

/// `"encodingFlags":[...],` when there are any: the flags that the client asked with, known or not.
fn write_flags(json: &mut Json, flags: &[&str]) {
    if !flags.is_empty() {
        json.raw("\"encodingFlags\":");
        json.list('[', ']', flags, |json, flag| json.string(flag));
        json.raw(",");
    }
}

/// `"warnings":[...],` when there are any.
pub fn write_warnings(json: &mut Json, warnings: &[String]) {
    if !warnings.is_empty() {
        json.raw("\"warnings\":");
        json.list('[', ']', warnings, |json, w| json.string(w));
        json.raw(",");
    }
}

/// A stream with labels by category.
pub fn write_categorized(json: &mut Json, stream: &LogStream) {
    json.raw("{\"stream\":");
    json.labels(&stream.labels);
    json.raw(",\"values\":");
    json.list('[', ']', &stream.entries, |json, e| {
        write_entry_start(json, e);
        json.raw(",{");
        let mut separator = "";
        for (name, labels) in [("structuredMetadata", &e.structured_metadata), ("parsed", &e.parsed)] {
            if !labels.is_empty() {
                json.raw(separator);
                json.string(name);
                json.raw(":");
                json.labels(labels);
                separator = ",";
            }
        }
        json.raw("}]");
    });
    json.raw("}");
}

/// Entries under the labels that they share.
pub fn write_merged(json: &mut Json, labels: &Labels, entries: &[&LogEntry]) {
    json.raw("{\"stream\":");
    json.labels(labels);
    json.raw(",\"values\":");
    json.list('[', ']', entries, |json, e| {
        write_entry_start(json, e);
        json.raw("]");
    });
    json.raw("}");
}

fn write_entry_start(json: &mut Json, e: &LogEntry) {
    json.raw("[\"");
    json.number(e.ts_ns);
    json.raw("\",");
    json.line(&e.line);
}

/// Streams by all of their entries' labels together, in the order of the label text: one stored stream may become many.
pub fn merge_categories(streams: &[LogStream]) -> Vec<(Labels, Vec<&LogEntry>)> {
    let mut merged: HashMap<Labels, Vec<&LogEntry>> = HashMap::new();
    for stream in streams {
        let mut groups: HashMap<(&Labels, &Labels), Vec<&LogEntry>> = HashMap::new();
        for e in &stream.entries {
            groups.entry((&e.structured_metadata, &e.parsed)).or_default().push(e);
        }
        for ((metadata, parsed), entries) in groups {
            let all = stream.labels.iter().chain(metadata).chain(parsed);
            let labels = Labels::new(all.map(|l| (l.name.clone(), l.value.clone())));
            merged.entry(labels).or_default().extend(entries);
        }
    }
    let mut sorted: Vec<_> = merged.into_iter().collect();
    sorted.sort_by_cached_key(|(labels, _)| labels.to_string());
    sorted
}

fn write_series(json: &mut Json, series: &Series) {
    json.raw("{\"metric\":");
    json.labels(&series.labels);
    json.raw(",\"values\":");
    json.list('[', ']', &series.points, |json, (time_ns, value)| write_point(json, *time_ns, *value));
    json.raw("}");
}

fn write_sample(json: &mut Json, sample: &Sample) {
    json.raw("{\"metric\":");
    json.labels(&sample.labels);
    json.raw(",\"value\":");
    write_point(json, sample.time_ns, sample.value);
    json.raw("}");
}

/// `[<seconds>,"<value>"]`
pub fn write_point(json: &mut Json, time_ns: i64, value: f64) {
    json.raw("[");
    let ms = time_ns.div_euclid(1_000_000);
    match (ms.div_euclid(1000), ms.rem_euclid(1000)) {
        (seconds, 0) => json.number(seconds),
        (seconds, ms) => json.raw(format!("{seconds}.{ms:03}").trim_end_matches('0')),
    }
    json.raw(",\"");
    match value {
        v if v.is_nan() => json.raw("NaN"),
        v if v.is_infinite() => json.raw(if v > 0.0 { "+Inf" } else { "-Inf" }),
        v => json.number(v),
    }
    json.raw("\"]");
}

#[cfg(test)]
mod tests {
    use super::*;
    use rpc::queries::QueryStats;

    fn body(value: QueryValue, warnings: &[&str], flags: &[&str]) -> String {
        let warnings = warnings.iter().map(|w| w.to_string()).collect();
        let response = QueryResponse { value, warnings, stats: QueryStats::default() };
        let text = String::from_utf8(query_response(&response, flags)).unwrap();
        text.split(",\"stats\"").next().unwrap().to_string()
    }

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        Labels::new(pairs.iter().copied())
    }

    #[test]
    fn streams_are_written_with_and_without_categories() {
        let entry = |ts_ns, line: &str, sm: &[(&str, &str)], parsed: &[(&str, &str)]| LogEntry {
            ts_ns,
            line: line.to_string().into(),
            structured_metadata: labels(sm),
            parsed: labels(parsed),
        };
        let streams = vec![LogStream {
            labels: labels(&[("app", "a")]),
            entries: vec![entry(2, "two", &[("t", "1")], &[]), entry(1, "one<", &[], &[("p", "x")])],
        }];
        assert_eq!(
            body(QueryValue::Streams(streams.clone()), &["w"], &["categorize-labels"]),
            r#"{"status":"success","warnings":["w"],"data":{"resultType":"streams","encodingFlags":["categorize-labels"],"result":[{"stream":{"app":"a"},"values":[["2","two",{"structuredMetadata":{"t":"1"}}],["1","one\u003c",{"parsed":{"p":"x"}}]]}]"#
        );
        assert_eq!(
            body(QueryValue::Streams(vec![]), &[], &["Categorize-Labels"]),
            r#"{"status":"success","data":{"resultType":"streams","encodingFlags":["Categorize-Labels"],"result":[]"#
        );
        assert_eq!(
            body(QueryValue::Streams(streams), &[], &[]),
            r#"{"status":"success","data":{"resultType":"streams","result":[{"stream":{"app":"a","p":"x"},"values":[["1","one\u003c"]]},{"stream":{"app":"a","t":"1"},"values":[["2","two"]]}]"#
        );
    }

    #[test]
    fn points_are_seconds_and_strings() {
        for (time_ns, value, expected) in [
            (1_768_471_200_000_000_000, 2.0, r#"[1768471200,"2"]"#),
            (1_768_471_200_506_000_000, 0.1, r#"[1768471200.506,"0.1"]"#),
            (1_500_000_000, f64::NAN, r#"[1.5,"NaN"]"#),
            (0, f64::NEG_INFINITY, r#"[0,"-Inf"]"#),
            (0, 1e21, r#"[0,"1000000000000000000000"]"#),
        ] {
            let mut json = Json::default();
            write_point(&mut json, time_ns, value);
            assert_eq!(String::from_utf8(json.out).unwrap(), expected);
        }
    }
}
