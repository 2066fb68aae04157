//! What the engine does with blocks: overlaps, duplicates, unreadable parts, limits, and how little it reads.

mod memory;

use logql::engine::{EngineLimits, Outcome, Params, Time, run};
use logql::parse::parse;
use logql::value::QueryValue;
use memory::{Entry, MemorySource};
use model::{Direction, Error, Kind, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const S: i64 = 1_000_000_000;

fn logs(limit: u32, direction: Direction) -> Params {
    Params {
        time: Time::Range { start_ns: 0, end_ns: 1000 * S, step_ns: S },
        align_to_step: false,
        limit,
        direction,
        interval_ns: 0,
        now_ns: 0,
        shard: None,
    }
}

fn instant(time_s: i64) -> Params {
    Params { time: Time::Instant { time_ns: time_s * S }, ..logs(100, Direction::Backward) }
}

fn ask(source: &MemorySource, query: &str, params: &Params, limits: &EngineLimits) -> Result<Outcome> {
    run(&parse(query).unwrap_or_else(|e| panic!("{query}: {e:?}")), params, source, limits)
}

/// The answer as text: `ts line` by stream, or `labels=value`.
fn text(outcome: &Outcome) -> String {
    let lines: Vec<String> = match &outcome.value {
        QueryValue::Streams(streams) => streams
            .iter()
            .flat_map(|s| s.entries.iter())
            .map(|e| format!("{}:{}", e.ts_ns / S, String::from_utf8_lossy(&e.line)))
            .collect(),
        QueryValue::Vector(samples) => samples.iter().map(|s| format!("{}={}", s.labels, s.value)).collect(),
        other => vec![format!("{other:?}")],
    };
    lines.join(" ")
}

fn check(source: &MemorySource, query: &str, params: &Params, expected: &str) -> Outcome {
    let outcomes = [1, 2, 4].map(|workers| {
        let limits = EngineLimits { workers, ..EngineLimits::default() };
        ask(source, query, params, &limits).unwrap_or_else(|e| panic!("{query}: {e}"))
    });
    for outcome in &outcomes {
        assert_eq!(text(outcome), expected, "{query}");
    }
    let [first, ..] = outcomes;
    first
}

fn at<'a>(second: i64, line: &'a str) -> Entry<'a> {
    (second * S, line, &[])
}

#[test]
fn an_entry_in_several_blocks_counts_once_in_either_direction() {
    let mut source = MemorySource::default();
    source
        .block(r#"{a="1"}"#, [at(1, "x"), at(2, "y"), at(3, "p"), at(3, "q")])
        .block(r#"{a="1"}"#, [at(2, "y"), at(3, "q"), at(3, "r"), at(4, "z")])
        .block(r#"{a="1"}"#, [at(4, "z"), at(4, "zz"), at(9, "end")])
        .block(r#"{a="1"}"#, [at(20, "alone")]);
    let forward = "1:x 2:y 3:p 3:q 3:r 4:z 4:zz 9:end 20:alone";
    let outcome = check(&source, r#"{a="1"}"#, &logs(100, Direction::Forward), forward);
    assert_eq!((outcome.scan.duplicates, outcome.scan.blocks, outcome.scan.streams), (3, 4, 1));
    let backward = "20:alone 9:end 4:zz 4:z 3:r 3:q 3:p 2:y 1:x";
    check(&source, r#"{a="1"}"#, &logs(100, Direction::Backward), backward);
    check(&source, r#"{a="1"} |~ "x|q|z" "#, &logs(100, Direction::Forward), "1:x 3:q 4:z 4:zz");
    check(&source, r#"count_over_time({a="1"}[1m])"#, &instant(30), r#"{a="1"}=9"#);
    check(&source, r#"bytes_over_time({a="1"} |= "z" [1m])"#, &instant(30), r#"{a="1"}=3"#);
}

#[test]
fn entries_alike_in_two_frames_of_a_block_are_two_and_in_two_blocks_one() {
    let mut source = MemorySource::default();
    source
        .framed_block(r#"{a="1"}"#, &[&[at(1, "x"), at(2, "y")], &[at(2, "y"), at(3, "z")], &[at(7, "v"), at(9, "w")]])
        .framed_block(r#"{a="1"}"#, &[&[at(2, "y")], &[at(3, "z"), at(8, "u")]]);
    let outcome = check(&source, r#"{a="1"}"#, &logs(100, Direction::Forward), "1:x 2:y 2:y 3:z 7:v 8:u 9:w");
    assert_eq!((outcome.scan.duplicates, outcome.scan.blocks), (2, 5));
    check(&source, r#"{a="1"}"#, &logs(100, Direction::Backward), "9:w 8:u 7:v 3:z 2:y 2:y 1:x");
    check(&source, r#"count_over_time({a="1"}[1m])"#, &instant(30), r#"{a="1"}=7"#);
    let before = source.loads();
    let newest = logs(2, Direction::Backward);
    assert_eq!(text(&ask(&source, r#"{a="1"}"#, &newest, &EngineLimits::default()).unwrap()), "9:w 8:u");
    assert_eq!(source.loads() - before, 2, "the newest frame of each block");
    let mut alone = MemorySource::default();
    alone.framed_block(r#"{a="1"}"#, &[&[at(1, "x"), at(2, "y")], &[at(2, "y"), at(3, "z")], &[at(70, "late")]]);
    let outcome = check(&alone, r#"count_over_time({a="1"}[1m])"#, &instant(30), r#"{a="1"}=4"#);
    assert_eq!(outcome.scan.blocks, 2, "a frame outside of the window is not loaded");
}

#[test]
fn frames_of_which_only_the_number_of_entries_counts_are_not_loaded() {
    let mut source = MemorySource::default();
    let level: &[(&str, &str)] = &[("level", "info")];
    source.framed_block(
        r#"{a="1"}"#,
        &[
            &[at(1, "x"), at(2, "y")],
            &[at(2, "y"), (20 * S, "z", level)],
            &[at(50, "v"), at(61, "w")],
            &[at(62, "late")],
        ],
    );
    // The third frame reaches into the next window.
    for (query, expected, loads) in [
        (r#"sum(count_over_time({a="1"}[1m]))"#, "{}=5", 1),
        (r#"sum by (a) (count_over_time({a="1"}[1m]))"#, r#"{a="1"}=5"#, 1),
        (r#"sum(rate({a="1"}[50s]))"#, "{}=0.04", 2),
        (r#"absent_over_time({a="1"}[1m])"#, "", 1),
        (r#"count_over_time({a="1"}[1m])"#, r#"{a="1"}=4 {a="1", level="info"}=1"#, 3),
        (r#"sum by (level) (count_over_time({a="1"}[1m]))"#, r#"{}=4 {level="info"}=1"#, 3),
        (r#"sum(bytes_over_time({a="1"}[1m]))"#, "{}=5", 3),
        (r#"sum(count_over_time({a="1"} |= "y" [1m]))"#, "{}=2", 3),
    ] {
        let before = source.loads();
        let outcome = ask(&source, query, &instant(60), &EngineLimits::default()).unwrap();
        assert_eq!(text(&outcome), expected, "{query}");
        assert_eq!(source.loads() - before, loads, "{query}");
    }
    // Another block at the same time may hold the same entries.
    source.block(r#"{a="1"}"#, [at(2, "y"), at(3, "n")]);
    check(&source, r#"sum(count_over_time({a="1"}[1m]))"#, &instant(60), "{}=6");
}

#[test]
fn entries_that_differ_in_metadata_are_two() {
    let mut source = MemorySource::default();
    source
        .block(r#"{a="1"}"#, [(S, "x", &[("k", "1")][..]), (S, "x", &[("k", "2")][..])])
        .block(r#"{a="1"}"#, [(S, "x", &[("k", "2")][..]), (S, "x", &[("k", "3")][..])]);
    check(&source, r#"sum(count_over_time({a="1"}[1m]))"#, &instant(30), "{}=3");
    check(
        &source,
        r#"count_over_time({a="1"}[1m])"#,
        &instant(30),
        r#"{a="1", k="1"}=1 {a="1", k="2"}=1 {a="1", k="3"}=1"#,
    );
    check(&source, r#"sum by (k) (count_over_time({a="1"}[1m]))"#, &instant(30), r#"{k="1"}=1 {k="2"}=1 {k="3"}=1"#);
}

#[test]
fn limits_take_the_first_entries_over_all_streams_and_ties_are_reversed_backward() {
    let mut source = MemorySource::default();
    source
        .block(r#"{a="2"}"#, [at(5, "b1"), at(5, "b2"), at(7, "b3")])
        .block(r#"{a="1"}"#, [at(1, "a0"), at(5, "a1"), at(5, "a2")]);
    for (limit, direction, expected) in [
        (3, Direction::Forward, "1:a0 5:a1 5:a2"),
        (4, Direction::Forward, "1:a0 5:a1 5:a2 5:b1"),
        (2, Direction::Backward, "7:b3 5:b2"),
        (4, Direction::Backward, "5:a2 7:b3 5:b2 5:b1"),
        (0, Direction::Backward, ""),
    ] {
        check(&source, r#"{a=~".+"}"#, &logs(limit, direction), expected);
    }
}

#[test]
fn the_interval_thins_over_all_streams() {
    let mut source = MemorySource::default();
    source
        .block(r#"{a="1"}"#, (0..10).map(|i| at(i * 2, "even")))
        .block(r#"{a="2"}"#, (0..10).map(|i| at(i * 2 + 1, "odd")));
    let thinned = |direction| Params { interval_ns: 5 * S, ..logs(3, direction) };
    check(&source, r#"{a=~".+"}"#, &thinned(Direction::Forward), "0:even 10:even 5:odd");
    check(&source, r#"{a=~".+"}"#, &thinned(Direction::Backward), "14:even 19:odd 9:odd");
}

#[test]
fn a_limited_query_loads_only_the_blocks_that_can_matter() {
    let mut source = MemorySource::default();
    for block in 0..50 {
        source.block(r#"{a="1"}"#, (0..10).map(|i| at(block * 10 + i, "x")));
        source.block(r#"{a="2"}"#, (0..10).map(|i| at(block * 10 + i, "x")));
    }
    let limits = EngineLimits::default();
    for direction in [Direction::Forward, Direction::Backward] {
        let before = source.loads();
        let outcome = ask(&source, r#"{a=~".+"}"#, &logs(15, direction), &limits).unwrap();
        assert!(source.loads() - before <= 3, "{} blocks for 15 of the {direction:?} entries", source.loads() - before);
        assert_eq!(outcome.scan.blocks, source.loads() - before);
    }
    let outcome = ask(&source, r#"{a=~".+"} |= "absent""#, &logs(15, Direction::Backward), &limits).unwrap();
    assert_eq!((outcome.scan.blocks, outcome.scan.blocks_without_match, outcome.scan.lines), (100, 100, 0));
}

#[test]
fn unreadable_blocks_are_warnings_and_other_failures_are_errors() {
    for (kind, goes_on) in
        [(Kind::Corrupt, true), (Kind::NotFound, true), (Kind::Unavailable, false), (Kind::Timeout, false)]
    {
        let mut source = MemorySource::default();
        source
            .block(r#"{a="1"}"#, [at(1, "x"), at(3, "y")])
            .unreadable_block(r#"{a="1"}"#, &[at(2, "lost")], Error::new(kind, "chunk 17: bad checksum"))
            .block(r#"{a="1"}"#, [at(5, "z")]);
        for (query, params, expected) in [
            (r#"{a="1"}"#, logs(100, Direction::Forward), "1:x 3:y 5:z"),
            (r#"sum(count_over_time({a="1"}[1m]))"#, instant(30), "{}=3"),
        ] {
            match ask(&source, query, &params, &EngineLimits { workers: 2, ..EngineLimits::default() }) {
                Ok(outcome) if goes_on => {
                    assert_eq!(text(&outcome), expected);
                    assert_eq!(outcome.warnings, ["chunk 17: bad checksum"]);
                }
                Err(error) if !goes_on => assert_eq!(error.kind, kind),
                other => panic!("{kind:?} {query}: {other:?}"),
            }
        }
    }
}

#[test]
fn hooks_stop_a_query_and_bound_its_memory() {
    let mut source = MemorySource::default();
    for block in 0..200 {
        let entries: Vec<(i64, String)> =
            (0..50).map(|i| ((block * 50 + i) * S / 20, format!("id={}", block * 50 + i))).collect();
        source.block(r#"{a="1"}"#, entries.iter().map(|(ts, line)| (*ts, line.as_str(), &[][..])));
    }
    let unlimited = EngineLimits { workers: 2, ..EngineLimits::default() };
    let stop = EngineLimits { stop: Arc::new(|| Some(Error::new(Kind::Timeout, "too late"))), ..unlimited.clone() };
    let budget = |bytes: u64| {
        let used = AtomicU64::new(0);
        let memory = Arc::new(move |more: u64| match used.fetch_add(more, Ordering::Relaxed) + more > bytes {
            true => Err(Error::unavailable("no memory left")),
            false => Ok(()),
        });
        EngineLimits { memory, max_series: 0, ..unlimited.clone() }
    };
    for (query, params) in [
        (r#"{a="1"}"#, logs(5000, Direction::Forward)),
        (r#"count_over_time({a="1"} | logfmt [1h])"#, instant(600)),
        (r#"quantile_over_time(0.5, {a="1"} | logfmt | unwrap id [1h]) by ()"#, instant(600)),
    ] {
        assert_eq!(ask(&source, query, &params, &stop).unwrap_err().kind, Kind::Timeout, "{query}");
        assert!(ask(&source, query, &params, &budget(16 << 20)).is_ok(), "{query}");
        assert_eq!(ask(&source, query, &params, &budget(70 << 10)).unwrap_err().kind, Kind::Unavailable, "{query}");
    }
}

#[test]
fn too_many_series_are_an_error_or_a_part_with_a_warning() {
    let mut source = MemorySource::default();
    for i in 0..5 {
        source.block(&format!("{{a=\"{i}\"}}"), [at(1, "x")]);
    }
    let limits = EngineLimits { max_series: 3, ..EngineLimits::default() };
    let query = r#"count_over_time({a=~".+"}[1m])"#;
    let error = ask(&source, query, &instant(30), &limits).unwrap_err();
    assert!(
        error.kind == Kind::Invalid && error.message.starts_with("maximum number of series (3) reached"),
        "{error}"
    );
    let partial = EngineLimits { partial_series: true, ..limits.clone() };
    let outcome = ask(&source, query, &instant(30), &partial).unwrap();
    assert_eq!(text(&outcome), r#"{a="0"}=1 {a="1"}=1 {a="2"}=1"#);
    assert_eq!(
        outcome.warnings,
        ["maximum number of series (3) reached for a single query; returning partial results"]
    );
    assert!(ask(&source, &format!("sum({query})"), &instant(30), &limits).is_ok());
}

#[test]
fn features_that_are_off_are_refused_in_loki_s_words() {
    let source = MemorySource::default();
    let limits = EngineLimits { max_entries: 10, ..EngineLimits::default() };
    for (query, params, message) in [
        (
            r#"approx_topk(1, count_over_time({a="1"}[1m]))"#,
            instant(1),
            "approx_topk is not enabled. See -limits.shard_aggregations",
        ),
        (
            r#"variants(sum(count_over_time({a="1"}[1m]))) of ({a="1"}[1m])"#,
            instant(1),
            "multi variant queries are disabled for this instance",
        ),
        (
            r#"{a="1"}"#,
            instant(1),
            "log queries are not supported as an instant query type, please change your query to a range query type",
        ),
        (
            r#"{a="1"}"#,
            logs(11, Direction::Forward),
            "max entries limit per query exceeded, limit > max_entries_limit_per_query (11 > 10)",
        ),
    ] {
        let error = ask(&source, query, &params, &limits).unwrap_err();
        assert_eq!((error.kind, error.message.as_str()), (Kind::Invalid, message));
    }
}
