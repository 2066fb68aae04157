//! Patterns of real shapes of lines: those that Loki 3.7.6 was recorded with, and what bounds them.

use model::TimeRange;
use patterns::{Learned, Miner, Scratch, Settings};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

const SECOND: i64 = 1_000_000_000;
const ALL: TimeRange = TimeRange { start_ns: 0, end_ns: i64::MAX };
const MESSAGE_FIELDS: [&str; 6] = ["log", "message", "msg", "msg_", "_msg", "content"];

fn fields() -> Vec<String> {
    MESSAGE_FIELDS.map(String::from).to_vec()
}

/// Mines lines a second apart.
fn mine<'a>(settings: &Settings, lines: impl IntoIterator<Item = &'a str>) -> Miner {
    let (mut miner, mut scratch) = (Miner::default(), Scratch::default());
    for (i, line) in lines.into_iter().enumerate() {
        let at_ns = i as i64 * SECOND;
        miner.learn(&mut scratch, settings, &fields(), (at_ns, line.as_bytes(), 1), at_ns);
    }
    miner
}

fn totals(miner: &Miner) -> BTreeMap<String, u64> {
    let interval = Duration::from_secs(10);
    let mut totals = BTreeMap::new();
    for pattern in miner.patterns(ALL, interval, interval) {
        *totals.entry(pattern.text).or_default() += pattern.samples.iter().map(|s| s.lines).sum::<u64>();
    }
    totals
}

/// Loki shows patterns of at least so many lines.
const SHOWN_MIN: u64 = 30;

#[test]
fn recorded_patterns_are_found_with_their_counts() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/conformance/cases/patterns.json");
    let corpus: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let cases: Vec<&Value> =
        corpus["cases"].as_array().unwrap().iter().filter(|case| case.get("before").is_some()).collect();
    assert!(cases.len() >= 9);
    for case in cases {
        let values = &case["before"][0]["body_json"]["streams"][0]["values"];
        let lines: Vec<&str> = values.as_array().unwrap().iter().map(|v| v[1].as_str().unwrap()).collect();
        let mut found = totals(&mine(&Settings::default(), lines));
        found.retain(|_, lines| *lines >= SHOWN_MIN);
        let expected = case["expect"]["body"]["data"].as_array().unwrap().iter().map(|pattern| {
            let samples = pattern["samples"].as_array().unwrap();
            let lines: u64 = samples.iter().map(|s| s[1].as_u64().unwrap()).sum();
            (pattern["pattern"].as_str().unwrap().to_string(), lines)
        });
        assert_eq!(found, expected.collect(), "{}", case["name"]);
    }
}

#[test]
fn lines_of_one_shape_are_one_pattern() {
    let check = |lines: [&str; 2], pattern: &str| {
        assert_eq!(totals(&mine(&Settings::default(), lines)), BTreeMap::from([(pattern.to_string(), 2)]));
    };
    check(["took    5 ms for all", "took   15 ms for all"], "took<_> ms for all");
    check(["[1] 2 3 done with it", "[4] 5 6 done with it"], "[<_>] <_> done with it");
    check(["a=1 b=\"x 1\" c=d", "a=2 b=\"x 2\" c=d"], "a=<_> b=<_> c=d");
    check([r#"{"a":1,"msg":"one 1 two three"}"#, r#"{"a":2,"msg":"one 2 two three"}"#], "<_>one <_> two three<_>");
    check(["user=9; ip 10.0.0.1 → ok", "user=8; ip 10.0.0.2 → ok"], "user=<_>; ip <_> → ok");
}

#[test]
fn what_is_too_short_too_long_or_without_a_message_is_left_alone() {
    let settings = Settings { max_allowed_line_length: 40, ..Settings::default() };
    let long = "a b c d ".repeat(6);
    for line in ["", "one two three", r#"{"level":"info","code":200,"n":1}"#, long.as_str()] {
        let learned = Miner::default().learn(&mut Scratch::default(), &settings, &fields(), (0, line.as_bytes(), 1), 0);
        assert_eq!(learned, Learned::Skipped, "{line}");
    }
}

/// A word without a digit for each number.
fn word(mut n: usize) -> String {
    let mut word = String::new();
    loop {
        word.push((b'a' + (n % 26) as u8) as char);
        n /= 26;
        if n == 0 {
            return word;
        }
    }
}

#[test]
fn lines_without_patterns_cost_a_bounded_amount() {
    let settings = Settings { max_clusters: 50, ..Settings::default() };
    // Every line is of another length or has nothing in common with any other.
    let lines: Vec<String> =
        (0..20_000).map(|i| (0..4 + i % 60).map(|k| word(i * 97 + k * 7919)).collect::<Vec<_>>().join(" ")).collect();
    let miner = mine(&settings, lines.iter().map(String::as_str));
    assert!(totals(&miner).len() <= 50);
    assert!(miner.bytes() < 1 << 20, "{} bytes", miner.bytes());
}

#[test]
fn patterns_give_way_when_longest_unseen() {
    let settings = Settings { max_clusters: 8, max_eviction_ratio: 1.0, ..Settings::default() };
    let mut lines = vec![];
    for i in 0..20 {
        lines.push("always the same words here".to_string());
        lines.push(format!("{} {} {} {}", word(i), word(i + 100), word(i + 200), word(i + 300)));
    }
    let found = totals(&mine(&settings, lines.iter().map(String::as_str)));
    assert_eq!(found.get("always the same words here"), Some(&20));
    assert!(found.len() <= 8 && found.keys().any(|text| text.starts_with(&word(19))), "{found:?}");
}

#[test]
fn what_is_old_is_forgotten() {
    let mut miner = mine(&Settings::default(), ["one two three four", "five six seven eight nine"]);
    let before = miner.bytes();
    miner.forget_before(20 * SECOND, Duration::from_secs(10));
    assert!(miner.is_empty() && miner.bytes() < before);
}

#[test]
fn junk_never_panics() {
    let mut seed = 11u64;
    let (mut miner, mut scratch) = (Miner::default(), Scratch::default());
    let alphabet = b"{}[]\"\\=: ,\tab1\xff\xc3.-/<_>";
    for i in 0..50_000i64 {
        let mut line = vec![];
        for _ in 0..(seed >> 33) % 40 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            line.push(alphabet[(seed >> 33) as usize % alphabet.len()]);
        }
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        miner.learn(&mut scratch, &Settings::default(), &fields(), (i, &line, 1), i * SECOND);
    }
    miner.patterns(ALL, Duration::from_secs(10), Duration::from_secs(60));
}
