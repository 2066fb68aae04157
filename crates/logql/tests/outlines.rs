//! Blocks with outlines give the answers of blocks without, and where lines do not count none is read.

mod memory;

use logql::engine::{EngineLimits, Outcome, Params, Time, run};
use logql::parse::parse;
use memory::{Entry, MemorySource};
use model::Direction;

const MS: i64 = 1_000_000;
const LINES: [&str; 4] = ["", "level=error a line", "{\"status\": 200}", "\u{1b}[31mred\u{1b}[0m"];
const METADATA: [&[(&str, &str)]; 4] =
    [&[], &[("detected_level", "info")], &[("detected_level", "error"), ("bytes", "12KB")], &[("trace", "7")]];

/// Numbers from a fixed linear generator.
fn random() -> impl FnMut(usize) -> usize {
    let mut seed = 11u64;
    move |below| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    }
}

/// Streams whose entries come at a few nanoseconds around whole milliseconds, many at one time. Those of the last have a
/// trace each: too many to be told apart.
fn fill(source: &mut MemorySource) {
    let mut next = random();
    let traces: Vec<String> = (0..600).map(|i| i.to_string()).collect();
    let traced: Vec<[(&str, &str); 2]> =
        traces.iter().map(|t| [("detected_level", ["info", "error"][t.len() % 2]), ("trace", t)]).collect();
    for stream in ["{app=\"a\", format=\"x\"}", "{app=\"b\", format=\"x\"}", "{format=\"x\"}", "{format=\"t\"}"] {
        let (mut ts_ns, mut frames) = (1000 * MS, Vec::<Vec<Entry<'_>>>::new());
        for (i, traced) in traced.iter().enumerate() {
            if i % 150 == 0 {
                frames.push(vec![]);
            }
            ts_ns += [0, 1, MS - 1, MS, 5 * MS + 3][next(5)];
            let metadata = if stream.contains("\"t\"") { &traced[..] } else { METADATA[next(4)] };
            frames.last_mut().unwrap().push((ts_ns, LINES[next(4)], metadata));
        }
        let frames: Vec<&[Entry<'_>]> = frames.iter().map(Vec::as_slice).collect();
        source.framed_block(stream, &frames);
    }
}

fn ask(source: &MemorySource, query: &str, time: Time, workers: usize) -> Outcome {
    let limits = EngineLimits { workers, max_series: 10_000, ..EngineLimits::default() };
    let params = Params {
        time,
        align_to_step: false,
        limit: 100,
        direction: Direction::Backward,
        interval_ns: 0,
        now_ns: 0,
        shard: None,
    };
    run(&parse(query).unwrap(), &params, source, &limits).unwrap_or_else(|e| panic!("{query}: {e}"))
}

/// The answer, in which NaN equals NaN.
fn text(outcome: &Outcome) -> String {
    format!("{:?}", outcome.value)
}

/// Queries, and whether their answer can be had without lines.
const QUERIES: [(&str, bool); 31] = [
    (r#"sum by (app) (count_over_time({format="x"}[100ms]))"#, true),
    (r#"count_over_time({format="x"}[100ms])"#, true),
    (r#"rate({app="a"}[50ms] offset 7ms)"#, true),
    (r#"sum(bytes_over_time({format="x"}[30ms]))"#, true),
    (r#"bytes_rate({format="x"}[250ms])"#, true),
    (r#"sum by (detected_level) (count_over_time({format="x"}[100ms]))"#, true),
    (r#"sum without (app) (bytes_over_time({format="x"}[100ms]))"#, true),
    (r#"sum by (level, detected_level) (count_over_time({format="x"} | drop __error__[100ms]))"#, true),
    (r#"count_over_time({format="x"} | detected_level="error"[100ms])"#, true),
    (r#"sum by (trace) (bytes_over_time({format="x"} | bytes > 10KB or trace="7"[100ms]))"#, true),
    (r#"sum by (l) (count_over_time({format="x"} | label_format l=detected_level [100ms]))"#, true),
    (r#"count_over_time({format="x"} | keep trace [100ms])"#, true),
    (r#"absent_over_time({format="x"} | trace="8"[100ms])"#, true),
    (r#"sum(count_over_time({format="x"} | decolorize | line_format "{{.app}}"[100ms]))"#, true),
    (r#"sum(bytes_over_time({format="x"} | decolorize [100ms]))"#, false),
    (r#"sum(bytes_over_time({format="x"} | line_format "{{.app}}"[100ms]))"#, false),
    (r#"sum(count_over_time({format="x"} |= "error"[100ms]))"#, false),
    (r#"sum by (status) (count_over_time({format="x"} | json | __error__=""[100ms]))"#, false),
    (r#"sum by (l) (count_over_time({format="x"} | label_format l="{{__line__}}" [100ms]))"#, false),
    (r#"sum_over_time({format="x"} | unwrap bytes(bytes) | __error__="" [100ms])"#, false),
    (r#"rate_counter({format="x"} | unwrap trace | __error__="" [100ms])"#, false),
    (r#"first_over_time({format="x"} | unwrap trace | __error__="" [100ms])"#, false),
    (r#"sum(count_over_time({format="t"}[100ms]))"#, true),
    (r#"sum by (level, detected_level) (count_over_time({format="t"} | drop __error__[100ms]))"#, true),
    (r#"sum by (format) (rate({format="t"} | detected_level="error" | keep format[100ms]))"#, true),
    (r#"sum by (l) (bytes_over_time({format="t"} | label_format l=detected_level [100ms]))"#, true),
    (r#"count_over_time({format="t"}[100ms])"#, false),
    (r#"sum by (trace) (count_over_time({format="t"}[100ms]))"#, false),
    (r#"sum by (trace_extracted) (count_over_time({format="t"}[100ms]))"#, false),
    (r#"sum by (format) (count_over_time({format="t"} | trace="17"[100ms]))"#, false),
    (r#"sum by (l) (count_over_time({format="t"} | label_format l=trace [100ms]))"#, false),
];

#[test]
fn outlines_change_no_answer() {
    let (mut plain, mut outlined) = (MemorySource::default(), MemorySource::outlined());
    fill(&mut plain);
    fill(&mut outlined);
    for (query, without_lines) in QUERIES {
        // Windows that begin and end with a millisecond, and some that do not.
        for (start_ns, step_ns) in
            [(900 * MS, 20 * MS), (1100 * MS, 70 * MS), (900 * MS + 1, 20 * MS), (1011 * MS - 1, 7 * MS + 5)]
        {
            let time = Time::Range { start_ns, end_ns: 2200 * MS, step_ns };
            let expected = ask(&plain, query, time, 1);
            for workers in [1, 3] {
                let before = outlined.loads();
                let answer = ask(&outlined, query, time, workers);
                assert!(text(&answer) == text(&expected), "{query} from {start_ns} by {step_ns}");
                assert_eq!(answer.scan.post_filter_lines, expected.scan.post_filter_lines, "{query}");
                let whole_ms = start_ns % MS == 0 && step_ns % MS == 0;
                let loads = outlined.loads() - before;
                assert!(!without_lines || !whole_ms || loads == 0, "{query} from {start_ns}: {loads} frames read");
                assert!(without_lines || loads > 0, "{query}");
            }
        }
        let time = Time::Instant { time_ns: 1500 * MS + 1 };
        assert!(text(&ask(&outlined, query, time, 1)) == text(&ask(&plain, query, time, 1)), "{query}");
    }
}
