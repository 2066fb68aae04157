//! What a dashboard asks most, lines by level over time, is answered from stored chunks without their lines.

use crate::client::{encode, now_ns};
use crate::process::Node;
use crate::store::Store;
use std::collections::BTreeMap;

const SECOND_NS: i64 = 1_000_000_000;
const STEP_S: i64 = 300;
const LEVELS: [&str; 3] = ["info", "warn", "error"];
const LINES: i64 = 6000;

/// One line a second and a nanosecond, so that some are just behind the end of a window.
fn line(begin_ns: i64, i: i64) -> (i64, String) {
    let level = LEVELS[(i * i % 7 % 3) as usize];
    (begin_ns + i * (SECOND_NS + 1), format!("level={level} n={i} {}", "payload ".repeat(20)))
}

/// By level and step what `worth` of its lines comes to.
fn expected(begin_ns: i64, worth: impl Fn(&str) -> i64) -> BTreeMap<(String, i64), i64> {
    let mut sums = BTreeMap::new();
    for (ts_ns, line) in (0..LINES).map(|i| line(begin_ns, i)) {
        let level = line[6..].split(' ').next().unwrap().to_string();
        let step = (ts_ns - begin_ns + STEP_S * SECOND_NS - 1) / (STEP_S * SECOND_NS);
        *sums.entry((level, step)).or_default() += worth(&line);
    }
    sums
}

/// The same of an answer, and the bytes that were decompressed for it.
async fn asked(node: &Node, query: &str, begin_ns: i64) -> (BTreeMap<(String, i64), i64>, u64) {
    let end_ns = begin_ns + 7200 * SECOND_NS;
    let path = format!("/loki/api/v1/query_range?query={}&start={begin_ns}&end={end_ns}&step={STEP_S}", encode(query));
    let answer = node.client().get_json(&path).await;
    let mut sums = BTreeMap::new();
    for series in answer["data"]["result"].as_array().expect("series") {
        let level = series["metric"]["detected_level"].as_str().expect("a level");
        for point in series["values"].as_array().expect("points") {
            let step = (point[0].as_i64().unwrap() * SECOND_NS - begin_ns) / (STEP_S * SECOND_NS);
            sums.insert((level.to_string(), step), point[1].as_str().unwrap().parse().unwrap());
        }
    }
    let bytes = answer["data"]["stats"]["summary"]["totalBytesProcessed"].as_u64();
    (sums, bytes.unwrap_or_else(|| panic!("{answer}")))
}

fn query(function: &str, filter: &str) -> String {
    format!("sum by (level, detected_level) ({function}({{app=\"x\"}}{filter} | drop __error__[{STEP_S}s]))")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_are_counted_by_level_without_being_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::new(&dir.path().join("node")).config(&Store::directory(dir.path()).config(""));
    node.start().await;
    let begin_ns = now_ns() / (STEP_S * SECOND_NS) * (STEP_S * SECOND_NS) - 7200 * SECOND_NS;
    let all: Vec<(i64, String)> = (0..LINES).map(|i| line(begin_ns, i)).collect();
    let line_bytes: u64 = all.iter().map(|(_, line)| line.len() as u64).sum();
    for part in all.chunks(500) {
        assert_eq!(node.client().push(&[("app", "x")], part).await, Some(204));
    }
    let (counts, bytes) = (expected(begin_ns, |_| 1), expected(begin_ns, |line| line.len() as i64));
    let check = async |node: &Node, what: &str| {
        assert!(asked(node, &query("count_over_time", ""), begin_ns).await.0 == counts, "{what}");
        assert!(asked(node, &query("bytes_over_time", ""), begin_ns).await.0 == bytes, "{what}");
        assert!(asked(node, &query("count_over_time", " |= \"payload\""), begin_ns).await.0 == counts, "{what}");
    };
    check(&node, "held").await;
    node.stop();
    node.start().await;
    check(&node, "stored").await;
    for (function, filter, shares) in [
        ("count_over_time", "", 0.001..0.1),
        ("bytes_over_time", "", 0.001..0.1),
        ("count_over_time", " |= \"payload\"", 1.0..2.0),
    ] {
        let (_, read) = asked(&node, &query(function, filter), begin_ns).await;
        let share = read as f64 / line_bytes as f64;
        assert!(shares.contains(&share), "{function}{filter}: {share}");
    }
}
