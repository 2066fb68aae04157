//! Every query of the recorded answers of Loki 3.7.6 parses, or is refused as it was; formatting gives what Loki gave.

use logql::parse::{Breadth, parse, parse_selector, parse_syntax};
use logql::print::pretty;
use serde_json::Value;

const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/conformance/cases");

struct Case {
    name: String,
    path: String,
    query: String,
    status: u64,
    body: Value,
    is_exact: bool,
}

/// The cases that have a query, from the files that `select` names.
fn cases(select: impl Fn(&str) -> bool) -> Vec<Case> {
    let mut cases = Vec::new();
    let files = std::fs::read_dir(CASES).expect("the corpus is there");
    for file in files {
        let path = file.expect("a readable folder").path();
        if !select(&path.file_stem().expect("a file").to_string_lossy()) {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a readable file");
        let area: Value = serde_json::from_str(&text).expect("a JSON document");
        for case in area["cases"].as_array().expect("cases") {
            let params = case["params"].as_array().into_iter().flatten();
            for param in params.filter(|p| matches!(p[0].as_str(), Some("query" | "match[]" | "match"))) {
                cases.extend(query_text(&param[1]).map(|query| Case {
                    name: case["name"].as_str().expect("a name").into(),
                    path: case["path"].as_str().expect("a path").into(),
                    query,
                    status: case["expect"]["status"].as_u64().expect("a status"),
                    body: case["expect"]["body"].clone(),
                    is_exact: case["message"] == "exact",
                }));
            }
        }
    }
    assert!(!cases.is_empty());
    cases
}

/// Text, `{"$repeat": [text, n]}` or `{"$concat": [...]}`; nothing where it depends on the run.
fn query_text(value: &Value) -> Option<String> {
    if let Some(text) = value.as_str() {
        return (!text.contains("${")).then(|| text.to_string());
    }
    if let Some(parts) = value["$concat"].as_array() {
        return parts.iter().map(query_text).collect();
    }
    let repeat = value["$repeat"].as_array()?;
    Some(repeat[0].as_str()?.repeat(repeat[1].as_u64()? as usize))
}

/// The error, if any, of what the path does with the query first.
fn refusal(case: &Case) -> Option<String> {
    let selector = |breadth| parse_selector(&case.query, breadth).err().map(|e| e.message);
    match case.path.as_str() {
        p if p.contains("/series") => selector(Breadth::SelectiveOrAll),
        p if p.contains("/index/volume") => selector(Breadth::Any),
        p if p.contains("/index/stats")
            || p.contains("/label")
            || p.contains("/detected_labels")
            || p.contains("/patterns") =>
        {
            selector(Breadth::Selective)
        }
        p if p.contains("/format_query") => parse_syntax(&case.query).err().map(|e| e.message),
        _ => parse(&case.query).err().map(|e| e.message),
    }
}

/// Whether the recorded message came from parsing and not from a later step.
fn is_parse_message(body: &str) -> bool {
    body.starts_with("parse error") || body == "only label matchers are supported"
}

fn message(body: &Value) -> &str {
    body.as_str().or(body["error"].as_str()).unwrap_or_default()
}

#[test]
fn queries_are_accepted_and_refused_as_recorded() {
    let (mut accepted, mut refused, mut equal, mut exact) = (0, 0, 0, 0);
    let mut wrong = Vec::new();
    for case in cases(|_| true) {
        let expected = message(&case.body);
        let got = refusal(&case);
        if case.status < 400 || !is_parse_message(expected) {
            accepted += 1;
            wrong.extend(got.map(|got| format!("{}: {:?} refused: {got}", case.name, case.query)));
            continue;
        }
        refused += 1;
        match got {
            None => wrong.push(format!("{}: {:?} accepted, not: {expected}", case.name, case.query)),
            Some(got) if got == expected => {
                equal += 1;
                exact += u32::from(case.is_exact);
            }
            Some(got) if case.is_exact => wrong.push(format!("{}: {got}\n    not: {expected}", case.name)),
            Some(got) => eprintln!("{}: {}\n  {got}\n  {expected}", case.name, case.query),
        }
    }
    eprintln!("{accepted} accepted, {refused} refused, of these {equal} in the same words ({exact} of those must be)");
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    // Texts of the parser generator differ where several states of its tables share an error.
    assert!(equal * 100 >= refused * 95, "only {equal} of {refused} messages are Loki's");
}

#[test]
fn formatting_gives_what_loki_gave() {
    let mut wrong = Vec::new();
    for case in cases(|area| area == "format_query") {
        let got = parse_syntax(&case.query).map(|expr| pretty(&expr));
        match (got, case.body["data"].as_str()) {
            (Ok(got), Some(expected)) if got == expected => {}
            (Err(_), None) if case.status == 400 => {}
            (got, expected) => wrong.push(format!("{}: {got:?}, not {expected:?}", case.name)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn printed_queries_parse_back_to_the_same_tree() {
    for case in cases(|_| true) {
        let Ok(expr) = parse_syntax(&case.query) else { continue };
        for printed in [expr.to_string(), pretty(&expr)] {
            assert_eq!(parse_syntax(&printed).as_ref(), Ok(&expr), "{}\n{printed}", case.query);
        }
    }
}
