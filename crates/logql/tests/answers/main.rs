//! The recorded answers of Loki 3.7.6 to queries, replayed on the engine over the corpus' data set.
//! What a server does before (parameters, limits of range and labels) and after is no part of it.

mod compare;
mod dataset;
#[path = "../memory/mod.rs"]
mod memory;
mod request;
mod rewrites;

use memory::MemorySource;
use model::Kind;
use serde_json::Value;
use std::collections::BTreeMap;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/conformance");
/// Tenants whose data nothing was added to at ingestion.
const TENANTS: [&str; 4] = ["conf", "lim", "limreq", "novariants"];
/// Errors of parts of a server that stand before the engine.
const NOT_THE_ENGINES: [&str; 4] =
    ["the query time range exceeds", "missing required matchers", "less label matchers", "[interval] must be"];

#[derive(Default)]
struct Area {
    passed: usize,
    failures: Vec<String>,
}

/// Areas and how many of their cases must pass.
const FLOORS: [(&str, usize); 34] = [
    ("absent_over_time", 11),
    ("auto_labels", 1),
    ("bad_parameters", 8),
    ("binary_operators", 79),
    ("categorize_labels", 14),
    ("drop_keep_decolorize", 33),
    ("error_label", 31),
    ("instant_query", 17),
    ("ip_filter", 38),
    ("label_filters", 65),
    ("label_format", 29),
    ("limits", 14),
    ("line_filters", 81),
    ("line_format", 141),
    ("number_format", 21),
    ("offset", 19),
    ("parse_errors", 6),
    ("parser_json", 73),
    ("parser_logfmt", 70),
    ("parser_pattern", 21),
    ("parser_regexp", 23),
    ("parser_unpack", 18),
    ("quantile", 20),
    ("range_aggregation", 75),
    ("range_parameters", 40),
    ("selectors", 32),
    ("set_operators", 22),
    ("structured_metadata", 38),
    ("topk_sort", 17),
    ("unwrap", 65),
    ("variants", 7),
    ("vector_aggregation", 45),
    ("vector_label_replace", 28),
    ("vector_matching", 21),
];

#[test]
fn recorded_answers_are_reproduced() {
    let sources = dataset::load(&format!("{CORPUS}/dataset"));
    let mut areas: BTreeMap<String, Area> = BTreeMap::new();
    for case in cases() {
        let Some(outcome) = replay(&case, &sources) else { continue };
        let area = areas.entry(case["area"].as_str().expect("an area").into()).or_default();
        match outcome {
            Ok(()) => area.passed += 1,
            Err(difference) => area.failures.push(format!("{}: {difference}", case["name"].as_str().expect("a name"))),
        }
    }
    let mut below = Vec::new();
    let mut report = String::new();
    for (name, area) in &areas {
        report.push_str(&format!("{name}: {} passed, {} failed\n", area.passed, area.failures.len()));
        area.failures
            .iter()
            .for_each(|f| report.push_str(&format!("    {}\n", f.chars().take(400).collect::<String>())));
        let floor = FLOORS.iter().find(|(n, _)| n == name).map_or(0, |(_, floor)| *floor);
        if area.passed < floor {
            below.push(format!("{name}: {} < {floor}", area.passed));
        }
    }
    let totals = areas.values().fold((0, 0), |t, a| (t.0 + a.passed, t.1 + a.failures.len()));
    eprintln!("{report}total: {} passed, {} failed", totals.0, totals.1);
    assert!(below.is_empty(), "{below:?}");
}

fn cases() -> Vec<Value> {
    let mut cases = Vec::new();
    for file in std::fs::read_dir(format!("{CORPUS}/cases")).expect("the corpus is there") {
        let text = std::fs::read_to_string(file.expect("a file").path()).expect("a readable file");
        let document: Value = serde_json::from_str(&text).expect("a JSON document");
        cases.extend(document["cases"].as_array().expect("cases").iter().cloned());
    }
    cases
}

/// `None` if the case is not one of the engine's.
fn replay(case: &Value, sources: &BTreeMap<String, MemorySource>) -> Option<Result<(), String>> {
    let request = request::request(case)?;
    if !TENANTS.contains(&request.tenant.as_str()) || case["compare"].get("mode").is_some() {
        return None;
    }
    let expected = &case["expect"];
    let status = expected["status"].as_u64()?;
    let message = expected["body"].as_str().unwrap_or("");
    if status != 200 && NOT_THE_ENGINES.iter().any(|text| message.contains(text)) {
        return None;
    }
    let empty = MemorySource::default();
    let source = sources.get(&request.tenant).unwrap_or(&empty);
    let expr = match (logql::parse::parse(&request.query), status) {
        (Ok(expr), _) => expr,
        // How queries are refused is tested with the parser.
        (Err(_), 400) => return None,
        (Err(error), _) => return Some(Err(format!("does not parse: {error:?}"))),
    };
    let answers = [1, 3].map(|workers| {
        let limits = request::limits(&request.tenant, workers);
        logql::engine::run(&expr, &request.params, source, &limits)
    });
    Some(match (&answers[0], &answers[1]) {
        (Ok(one), Ok(three)) if format!("{:?}", one.value) != format!("{:?}", three.value) => {
            Err("workers show in the answer".into())
        }
        (Ok(one), _) if status != 200 => Err(format!("want {status} {message} got {:?}", one.value)),
        (Ok(one), _) => {
            compare::data(&expected["body"]["data"], &request::data(one, request.categorize), &case["compare"])
        }
        (Err(error), _) if status == 200 => Err(format!("want an answer got {error}")),
        (Err(error), _) => {
            let got = if error.kind == Kind::Invalid { 400 } else { 500 };
            let same_text = case["message"] != "exact" || error.message.trim_end() == message.trim_end();
            if got == status && same_text { Ok(()) } else { Err(format!("want {status} {message} got {got} {error}")) }
        }
    })
}
