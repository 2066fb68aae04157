//! Queries with the answers that Loki's documentation gives them (`tests/logql/*.txt`, whose format `tests/logql/README.md`
//! describes), over a source in memory.

mod memory;

use logql::engine::{EngineLimits, Params, Time, run};
use logql::parse::parse;
use logql::value::QueryValue;
use memory::MemorySource;
use model::Direction;
use std::path::Path;

const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/logql");
const S: i64 = 1_000_000_000;

/// A question and its answer, as a file holds them.
#[derive(Debug)]
struct Case {
    /// File and line of the question.
    place: String,
    question: String,
    answer: Vec<String>,
}

struct Entry {
    second: i64,
    line: String,
    metadata: Vec<(String, String)>,
}

/// Streams with their entries, and the cases over them.
fn read(path: &Path) -> (Vec<(String, Vec<Entry>)>, Vec<Case>) {
    let (mut streams, mut cases) = (Vec::<(String, Vec<Entry>)>::new(), Vec::<Case>::new());
    let text = std::fs::read_to_string(path).unwrap();
    for (number, line) in text.lines().enumerate() {
        if line.is_empty() || line == "data" || line.starts_with('#') {
            continue;
        } else if let Some(answer) = line.strip_prefix("> ").or_else(|| line.starts_with('!').then_some(line)) {
            cases.last_mut().expect("a question before an answer").answer.push(answer.to_string());
        } else if line.starts_with('?') {
            let place = format!("{}:{}", path.file_name().unwrap().display(), number + 1);
            cases.push(Case { place, question: line.to_string(), answer: vec![] });
        } else if line.starts_with('{') {
            streams.push((line.to_string(), vec![]));
        } else {
            streams.last_mut().expect("a stream before a line").1.push(entry(line));
        }
    }
    (streams, cases)
}

fn entry(line: &str) -> Entry {
    let (second, rest) = line.split_once(' ').expect("a time before a line");
    let (line, metadata) = rest.split_once(" ;; ").unwrap_or((rest, ""));
    let pair = |pair: &str| pair.split_once('=').map(|(n, v)| (n.to_string(), v.to_string())).expect("name=value");
    let metadata = metadata.split_whitespace().map(pair).collect();
    Entry { second: second.parse().expect("seconds"), line: line.to_string(), metadata }
}

fn source(streams: &[(String, Vec<Entry>)]) -> MemorySource {
    let mut source = MemorySource::default();
    for (labels, entries) in streams {
        let metadata: Vec<Vec<(&str, &str)>> =
            entries.iter().map(|e| e.metadata.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect()).collect();
        source.block(labels, entries.iter().zip(&metadata).map(|(e, m)| (e.second * S, e.line.as_str(), m.as_slice())));
    }
    source
}

/// What a question asks: the query, when, and whether labels are part of the answer.
fn question(text: &str) -> (&str, Time, bool) {
    let seconds = |text: &str| text.parse::<i64>().expect("seconds") * S;
    let all = Time::Range { start_ns: 0, end_ns: 1000 * S, step_ns: S };
    let (head, query) = text.split_once(' ').expect("a query");
    match &head[1..] {
        "" => (query, all, false),
        "?" => (query, all, true),
        time if time.starts_with('@') => (query, Time::Instant { time_ns: seconds(&time[1..]) }, true),
        range => {
            let (start, rest) = range.split_once("..").expect("start..end/step");
            let (end, step) = rest.split_once('/').expect("start..end/step");
            let time = Time::Range { start_ns: seconds(start), end_ns: seconds(end), step_ns: seconds(step) };
            (query, time, true)
        }
    }
}

fn answer(source: &MemorySource, text: &str) -> Vec<String> {
    let (query, time, with_labels) = question(text);
    let params = Params {
        time,
        align_to_step: false,
        limit: 1000,
        direction: Direction::Forward,
        interval_ns: 0,
        now_ns: 0,
        shard: None,
    };
    let asked = parse(query).map_err(|e| e.to_string());
    let asked = asked.and_then(|expr| run(&expr, &params, source, &EngineLimits::default()).map_err(|e| e.message));
    match asked {
        Ok(outcome) => {
            assert_eq!(outcome.warnings, [""; 0], "{query}");
            shown(&outcome.value, with_labels, query)
        }
        Err(message) => vec![format!("! {message}")],
    }
}

fn shown(value: &QueryValue, with_labels: bool, query: &str) -> Vec<String> {
    match value {
        QueryValue::Streams(streams) => {
            let mut lines: Vec<(i64, String)> = vec![];
            for stream in streams {
                for e in &stream.entries {
                    let line = format!("{} {}", e.ts_ns / S, String::from_utf8_lossy(&e.line));
                    let mut labels: Vec<_> = [&stream.labels, &e.structured_metadata, &e.parsed]
                        .into_iter()
                        .flat_map(|l| l.iter())
                        .collect();
                    labels.sort_by(|a, b| a.name.cmp(&b.name));
                    let labels = labels.iter().map(|l| format!("{}={}", l.name, model::quote::quote(&l.value)));
                    let labels = labels.collect::<Vec<_>>().join(", ");
                    lines.push((e.ts_ns, if with_labels { format!("{line} {{{labels}}}") } else { line }));
                }
            }
            lines.sort();
            lines.into_iter().map(|(_, line)| line).collect()
        }
        QueryValue::Vector(samples) => {
            let lines = samples.iter().map(|s| format!("{} {}", s.labels, s.value)).collect();
            if query.starts_with("sort") { lines } else { sorted(lines) }
        }
        QueryValue::Matrix(series) => {
            let points =
                |points: &[(i64, f64)]| points.iter().map(|(t, v)| format!(" {}={v}", t / S)).collect::<String>();
            sorted(series.iter().map(|s| format!("{}{}", s.labels, points(&s.points))).collect())
        }
        QueryValue::Scalar { value, .. } => vec![value.to_string()],
    }
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

fn agrees(got: &[String], expected: &[String]) -> bool {
    match expected {
        [error] if error.starts_with('!') => {
            got.len() == 1 && got[0].starts_with('!') && got[0].contains(error[1..].trim())
        }
        _ => got == expected,
    }
}

#[test]
fn documented_queries_have_the_documented_answers() {
    let mut files: Vec<_> = std::fs::read_dir(DIR).unwrap().map(|f| f.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "txt"));
    files.sort();
    let (mut asked, mut wrong) = (0, vec![]);
    for path in files {
        let (streams, cases) = read(&path);
        let source = source(&streams);
        for case in cases {
            asked += 1;
            let got = answer(&source, &case.question);
            if !agrees(&got, &case.answer) {
                wrong.push(format!("{}: {}\n  got  {got:#?}\n  want {:#?}", case.place, case.question, case.answer));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {asked} are answered otherwise:\n{}", wrong.len(), wrong.join("\n"));
    assert!(asked >= 150, "{asked} queries: files are missing");
}
