//! Log queries of the recorded answers of Loki 3.7.6, run by a pipeline over the recorded data: same lines, same labels.

use logql::ast::Expr;
use logql::parse::parse;
use logql::pipeline::labels::go_text;
use logql::pipeline::{Hints, Pipeline};
use model::block::{BlockBuilder, Layout, RawBlock};
use model::{Labels, SymbolsBuilder};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/conformance");
/// What `now` answers: the recording was made later than the data.
const NOW_NS: i64 = 1_768_500_000_000_000_000;

/// Areas and how many of their cases have streams to compare.
const AREAS: [(&str, usize); 15] = [
    ("line_filters", 77),
    ("parser_json", 66),
    ("parser_logfmt", 62),
    ("parser_regexp", 20),
    ("parser_pattern", 18),
    ("parser_unpack", 17),
    ("label_filters", 62),
    ("label_format", 25),
    ("line_format", 142),
    ("drop_keep_decolorize", 30),
    ("error_label", 16),
    ("ip_filter", 36),
    ("structured_metadata", 34),
    ("categorize_labels", 13),
    ("selectors", 32),
];

/// Where Loki's answer is a defect that this project does not repeat.
const DEVIATIONS: [(&str, &str); 2] = [
    ("label_filters/units-size-gte-kib", "Loki rounds a literal of 1KiB to 1kB before it compares"),
    ("label_filters/units-size-5kib", "the same with 5KiB"),
];

/// Time, line, structured metadata.
type Entry = (i64, String, Vec<(String, String)>);

struct Stream {
    tenant: String,
    labels: Labels,
    block: RawBlock,
}

fn read(path: &str) -> Value {
    let text = std::fs::read_to_string(format!("{CORPUS}/{path}")).expect("the corpus is there");
    serde_json::from_str(&text).expect("a JSON document")
}

/// The data that were pushed, metadata names as the server stores them.
fn dataset() -> Vec<Stream> {
    let mut streams: BTreeMap<(String, Labels), Vec<Entry>> = BTreeMap::new();
    let folder = std::fs::read_dir(format!("{CORPUS}/dataset")).expect("the corpus is there");
    let mut files: Vec<String> =
        folder.map(|f| f.expect("a file").file_name().to_string_lossy().into_owned()).collect();
    files.sort();
    for file in files {
        let document = read(&format!("dataset/{file}"));
        if document["kind"] != "push" {
            continue;
        }
        let tenant = document["tenant"].as_str().expect("a tenant").to_string();
        for stream in document["requests"]
            .as_array()
            .expect("requests")
            .iter()
            .flat_map(|r| r["streams"].as_array().expect("streams"))
        {
            let labels = object(&stream["stream"]);
            let entries = streams.entry((tenant.clone(), Labels::new(labels))).or_default();
            for value in stream["values"].as_array().expect("values") {
                let ts = value[0].as_str().expect("a time").parse().expect("a number");
                let metadata =
                    object(&value[2]).into_iter().map(|(n, v)| (stored_name(&n), v)).filter(|(_, v)| !v.is_empty());
                let mut metadata: Vec<_> = metadata.collect();
                metadata.sort();
                let entry = (ts, value[1].as_str().expect("a line").to_string(), metadata);
                if !entries.contains(&entry) {
                    entries.push(entry);
                }
            }
        }
    }
    streams.into_iter().map(|((tenant, labels), entries)| Stream { tenant, labels, block: block(entries) }).collect()
}

fn block(mut entries: Vec<Entry>) -> RawBlock {
    entries.sort_by_key(|e| e.0);
    let mut symbols = SymbolsBuilder::default();
    let mut block = BlockBuilder::new(Layout::Metadata);
    for (ts, line, metadata) in &entries {
        block.push(*ts, line.as_bytes(), metadata.iter().map(|(n, v)| (n.as_str(), v.as_str())), &mut symbols);
    }
    RawBlock { data: block.into_data().into(), layout: Layout::Metadata, symbols: Arc::new(symbols.finish()) }
}

fn object(value: &Value) -> Vec<(String, String)> {
    let pairs = value.as_object().into_iter().flatten();
    pairs.map(|(n, v)| (n.clone(), v.as_str().unwrap_or_default().to_string())).collect()
}

fn stored_name(name: &str) -> String {
    let mut sanitized: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if !name.contains("__") {
        sanitized = sanitized.replace("__", "_");
    }
    if sanitized.starts_with(|c: char| c.is_ascii_digit()) { format!("key_{sanitized}") } else { sanitized }
}

type Pairs = Vec<(String, String)>;
/// Time, line, structured metadata and parsed labels.
type Answer = BTreeMap<Pairs, Vec<(i64, String, Pairs, Pairs)>>;

fn pairs(labels: &Labels) -> Pairs {
    labels.iter().map(|l| (l.name.to_string(), l.value.to_string())).collect()
}

fn expected(body: &Value) -> Answer {
    let mut answer = Answer::new();
    for stream in body["data"]["result"].as_array().expect("streams") {
        let mut key = object(&stream["stream"]);
        key.sort();
        let entries = answer.entry(key).or_default();
        for value in stream["values"].as_array().expect("values") {
            let mut categories = [object(&value[2]["structuredMetadata"]), object(&value[2]["parsed"])];
            categories.iter_mut().for_each(|c| c.sort());
            let [metadata, parsed] = categories;
            let ts = value[0].as_str().expect("a time").parse().expect("a number");
            entries.push((ts, value[1].as_str().expect("a line").to_string(), metadata, parsed));
        }
        entries.sort();
    }
    answer
}

struct Request {
    query: String,
    tenant: String,
    start: i64,
    end: i64,
    limit: usize,
    forward: bool,
    categorize: bool,
}

fn request(case: &Value) -> Option<Request> {
    let param = |name: &str| {
        let params = case["params"].as_array()?;
        params.iter().find(|p| p[0] == name).and_then(|p| p[1].as_str().map(str::to_string))
    };
    let header = |name: &str| case["headers"][name].as_str().unwrap_or_default().to_string();
    if param("interval").is_some() || param("step").is_some() {
        return None;
    }
    Some(Request {
        query: param("query")?,
        tenant: header("X-Scope-OrgID"),
        start: param("start")?.parse().ok()?,
        end: param("end")?.parse().ok()?,
        limit: param("limit").map_or(Some(100), |l| l.parse().ok())?,
        forward: param("direction").is_some_and(|d| d.eq_ignore_ascii_case("forward")),
        categorize: header("X-Loki-Response-Encoding-Flags").contains("categorize-labels"),
    })
}

fn answer(request: &Request, data: &[Stream]) -> Result<Answer, String> {
    let Expr::Log(log) = parse(&request.query).map_err(|e| e.message)? else { return Err("no log query".into()) };
    let hints = Hints { now_ns: NOW_NS, ..Hints::default() };
    let pipeline = Pipeline::compile(&log.stages, &hints).map_err(|e| e.message)?;
    let mut found = Vec::new();
    for stream in
        data.iter().filter(|s| s.tenant == request.tenant && model::matcher::all_match(&log.matchers, &s.labels))
    {
        let mut lines = pipeline.stream(&stream.labels);
        let mut entries = stream.block.entries();
        let mut kept = 0;
        while let Some(entry) = entries.try_next().expect("a well-formed block") {
            if entry.ts_ns < request.start
                || entry.ts_ns >= request.end
                || !lines.process(entry.ts_ns, entry.line, entry.metadata)
            {
                continue;
            }
            kept += 1;
            let merged = pairs(&lines.labels());
            let (stream, metadata, parsed) = lines.categorized();
            let mut united = [pairs(&stream), pairs(&metadata), pairs(&parsed)].concat();
            united.sort();
            assert_eq!(united, merged, "the categories are a partition");
            let line = go_text(lines.line()).into_owned();
            let (key, metadata, parsed) = match request.categorize {
                true => (pairs(&stream), pairs(&metadata), pairs(&parsed)),
                false => (merged, Pairs::new(), Pairs::new()),
            };
            found.push((entry.ts_ns, key, line, metadata, parsed));
        }
        assert!(kept == 0 || pipeline.prefilter().may_match(&stream.block.data), "{}", request.query);
    }
    found.sort_by_key(|e| if request.forward { e.0 } else { -e.0 });
    let mut answer = Answer::new();
    for (ts, key, line, metadata, parsed) in found.into_iter().take(request.limit) {
        answer.entry(key).or_default().push((ts, line, metadata, parsed));
    }
    answer.values_mut().for_each(|entries| entries.sort());
    Ok(answer)
}

#[test]
fn log_queries_answer_what_loki_answered() {
    let data = dataset();
    let mut wrong = Vec::new();
    for (area, count) in AREAS {
        let (mut passed, mut failed, mut deviating) = (0, 0, 0);
        for case in read(&format!("cases/{area}.json"))["cases"].as_array().expect("cases") {
            if case["expect"]["body"]["data"]["resultType"] != "streams" {
                continue;
            }
            let Some(request) = request(case) else { continue };
            if DEVIATIONS.iter().any(|(name, _)| case["name"] == *name) {
                deviating += 1;
                continue;
            }
            let (got, expected) = (answer(&request, &data), expected(&case["expect"]["body"]));
            if got.as_ref() == Ok(&expected) {
                passed += 1;
                continue;
            }
            failed += 1;
            let quirk = case["quirk"].as_str().unwrap_or_default();
            wrong.push(format!("{}: {} {quirk}\n{}", case["name"], request.query, difference(got, &expected)));
        }
        eprintln!("{area}: {passed} passed, {failed} failed, {deviating} deviate");
        assert_eq!(passed + failed + deviating, count, "{area}");
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

fn difference(got: Result<Answer, String>, expected: &Answer) -> String {
    let got = match got {
        Ok(got) => got,
        Err(text) => return format!("    error: {text}"),
    };
    let mut lines = Vec::new();
    for (key, entries) in &got {
        if expected.get(key) != Some(entries) {
            lines.push(format!("    got      {key:?} {:?}", entries.iter().take(2).collect::<Vec<_>>()));
        }
    }
    for (key, entries) in expected {
        if got.get(key) != Some(entries) {
            lines.push(format!("    expected {key:?} {:?}", entries.iter().take(2).collect::<Vec<_>>()));
        }
    }
    lines.truncate(6);
    lines.join("\n")
}
