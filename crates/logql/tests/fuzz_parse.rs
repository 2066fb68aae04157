//! Queries of the corpus and of random trees, mutated from a fixed seed, for `LOKIRS_FUZZ_SECONDS` (2 unless set): nothing panics, and
//! what parses prints to what parses to the same tree. A failure names the seed; `LOKIRS_FUZZ_SEED` starts there.

mod generator;

use generator::Random;
use logql::parse::parse_syntax;
use logql::print::pretty;
use std::time::{Duration, Instant};

const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/conformance/cases");
const SNIPPETS: [&str; 24] = [
    "|", "=", "!~", "(", ")", "{", "}", "[5m]", "[", "\"", "`", "\\", "#", "\n", " or ", " and ", ",", "by (", "-",
    "é", "ip(", "0x", "1e9", "unwrap",
];

fn corpus() -> Vec<String> {
    let mut queries = Vec::new();
    for file in std::fs::read_dir(CASES).expect("the corpus is there") {
        let text = std::fs::read_to_string(file.expect("a readable folder").path()).expect("a readable file");
        let area: serde_json::Value = serde_json::from_str(&text).expect("a JSON document");
        let params = area["cases"].as_array().expect("cases").iter().filter_map(|c| c["params"].as_array()).flatten();
        queries.extend(params.filter(|p| p[0] == "query").filter_map(|p| p[1].as_str()).map(String::from));
    }
    queries.sort();
    queries.dedup();
    queries.extend((0..500).map(|seed| Random(seed).expr().to_string()));
    queries
}

fn mutated(random: &mut Random, queries: &[String]) -> String {
    let mut text: Vec<char> = queries[random.below(queries.len())].chars().collect();
    for _ in 0..1 + random.below(6) {
        let at = random.below(text.len() + 1);
        match random.below(5) {
            0 if at < text.len() => {
                text.remove(at);
            }
            1 => text.truncate(at),
            2 => {
                let other: Vec<char> = queries[random.below(queries.len())].chars().collect();
                let start = random.below(other.len() + 1);
                text.splice(at..at, other[start..].iter().take(20).copied());
            }
            3 if at < text.len() => text.swap(at, at / 2),
            _ => {
                let snippet = random.pick(&SNIPPETS);
                text.splice(at..at, snippet.chars());
            }
        }
    }
    text.into_iter().collect()
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

#[test]
fn mutated_queries_neither_panic_nor_change_when_printed() {
    let queries = corpus();
    let deadline = Instant::now() + Duration::from_secs(setting("LOKIRS_FUZZ_SECONDS", 2));
    let first = setting("LOKIRS_FUZZ_SEED", 1);
    let (mut seed, mut parsed) = (first, 0u64);
    while Instant::now() < deadline {
        let query = mutated(&mut Random(seed), &queries);
        let checked = std::panic::catch_unwind(|| {
            let Ok(expr) = parse_syntax(&query) else { return false };
            for printed in [expr.to_string(), pretty(&expr)] {
                let again = parse_syntax(&printed).map(|e| e.to_string());
                assert_eq!(again, Ok(expr.to_string()), "{printed}");
            }
            true
        });
        match checked {
            Ok(is_query) => parsed += u64::from(is_query),
            Err(_) => panic!("seed {seed}: {query:?}"),
        }
        seed += 1;
    }
    eprintln!("{} queries, {parsed} of them parsed", seed - first);
    assert!(parsed > 0);
}
