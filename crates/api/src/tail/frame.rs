//! The frames of a tail as JSON. It must not know sockets.

use crate::query::encode::{merge_categories, write_categorized, write_merged};
use crate::query::json::Json;
use crate::query::legacy::rfc3339_nano;
use logql::value::LogStream;
use rpc::tail::TailFrame;

/// How a client wants its frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Parsed labels, and structured metadata if asked, stand among the stream's labels. Loki shows structured metadata
    /// only if the query has a stage.
    Merged { with_metadata: bool },
    /// Labels by where they come from, in a third element of each entry.
    Categorized,
    /// `/api/prom/tail`.
    Legacy,
}

impl Shape {
    /// `{"streams":[…],"dropped_entries"?:[…],"encodingFlags"?:[…]}`
    pub fn write(self, frame: &TailFrame) -> String {
        let mut json = Json::default();
        json.raw("{\"streams\":");
        json.list('[', ']', &frame.streams, |json, stream| match self {
            Shape::Categorized => write_categorized(json, stream),
            Shape::Merged { with_metadata: false } => {
                write_merged(json, &stream.labels, &stream.entries.iter().collect::<Vec<_>>());
            }
            Shape::Merged { with_metadata: true } => {
                let merged = merge_categories(std::slice::from_ref(stream));
                merged.iter().for_each(|(labels, entries)| write_merged(json, labels, entries));
            }
            Shape::Legacy => write_legacy(json, stream),
        });
        if !frame.dropped.is_empty() {
            json.raw(",\"dropped_entries\":");
            json.list('[', ']', &frame.dropped, |json, dropped| {
                json.raw("{\"labels\":");
                match self {
                    Shape::Legacy => json.string(&dropped.labels.to_string()),
                    _ => json.labels(&dropped.labels),
                }
                json.raw(",\"timestamp\":");
                match self {
                    Shape::Legacy => json.string(&rfc3339_nano(dropped.ts_ns)),
                    _ => json.string(&dropped.ts_ns.to_string()),
                }
                json.raw("}");
            });
        }
        if self == Shape::Categorized {
            json.raw(",\"encodingFlags\":[\"categorize-labels\"]");
        }
        json.raw("}");
        String::from_utf8_lossy(&json.out).into_owned()
    }
}

/// `{"labels":"{…}","entries":[{"ts","line"}]}`
fn write_legacy(json: &mut Json, stream: &LogStream) {
    let merged = merge_categories(std::slice::from_ref(stream));
    let labels = merged.first().map_or_else(|| stream.labels.to_string(), |(labels, _)| labels.to_string());
    json.raw("{\"labels\":");
    json.string(&labels);
    json.raw(",\"entries\":");
    json.list('[', ']', &stream.entries, |json, e| {
        json.raw("{\"ts\":");
        json.string(&rfc3339_nano(e.ts_ns));
        json.raw(",\"line\":");
        json.line(&e.line);
        json.raw("}");
    });
    json.raw("}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use logql::value::LogEntry;
    use model::Labels;
    use rpc::ingester::DroppedEntries;

    #[test]
    fn frames_in_every_shape() {
        let labels = |pairs: &[(&str, &str)]| Labels::new(pairs.iter().copied());
        let entry = |ts_ns, line: &'static str, parsed: &[(&str, &str)]| LogStream {
            labels: labels(&[("app", "a")]),
            entries: vec![LogEntry {
                ts_ns,
                line: line.into(),
                structured_metadata: labels(&[("t", "1")]),
                parsed: labels(parsed),
            }],
        };
        let frame = TailFrame {
            streams: vec![entry(2, "two", &[]), entry(1, "one", &[("p", "x")])],
            dropped: vec![DroppedEntries { labels: labels(&[("app", "b")]), ts_ns: 7, entries: 3 }],
        };
        for (shape, expected) in [
            (
                Shape::Merged { with_metadata: true },
                r#"{"streams":[{"stream":{"app":"a","t":"1"},"values":[["2","two"]]},{"stream":{"app":"a","p":"x","t":"1"},"values":[["1","one"]]}],"dropped_entries":[{"labels":{"app":"b"},"timestamp":"7"}]}"#,
            ),
            (
                Shape::Merged { with_metadata: false },
                r#"{"streams":[{"stream":{"app":"a"},"values":[["2","two"]]},{"stream":{"app":"a"},"values":[["1","one"]]}],"dropped_entries":[{"labels":{"app":"b"},"timestamp":"7"}]}"#,
            ),
            (
                Shape::Categorized,
                r#"{"streams":[{"stream":{"app":"a"},"values":[["2","two",{"structuredMetadata":{"t":"1"}}]]},{"stream":{"app":"a"},"values":[["1","one",{"structuredMetadata":{"t":"1"},"parsed":{"p":"x"}}]]}],"dropped_entries":[{"labels":{"app":"b"},"timestamp":"7"}],"encodingFlags":["categorize-labels"]}"#,
            ),
            (
                Shape::Legacy,
                r#"{"streams":[{"labels":"{app=\"a\", t=\"1\"}","entries":[{"ts":"1970-01-01T00:00:00.000000002Z","line":"two"}]},{"labels":"{app=\"a\", p=\"x\", t=\"1\"}","entries":[{"ts":"1970-01-01T00:00:00.000000001Z","line":"one"}]}],"dropped_entries":[{"labels":"{app=\"b\"}","timestamp":"1970-01-01T00:00:00.000000007Z"}]}"#,
            ),
        ] {
            assert_eq!(shape.write(&frame), expected);
        }
        assert_eq!(
            Shape::Categorized.write(&TailFrame::default()),
            r#"{"streams":[],"encodingFlags":["categorize-labels"]}"#
        );
    }
}
