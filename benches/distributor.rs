//! What a push costs the distributor: megabytes of lines per second and core, and where the time goes.
//! `cargo bench -p distributor`. The decoder of the wire format has its own bench beside it, in `api`.

#![allow(clippy::print_stdout, reason = "a benchmark prints its result")]

use distributor::intake::{Intake, Origin};
use distributor::level::LevelDetector;
use distributor::stream::Streams;
use model::varint::{put_str, put_uvarint, uvarint};
use model::{Result, TenantId};
use rpc::pusher::{Pairs, Sink};
use runtime::buffers::Buffers;
use runtime::limits::Limits;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

const NOW_NS: i64 = 1_768_471_200_000_000_000;
const BATCH_BYTES: usize = 1 << 20;
const STREAMS: usize = 20;
const MEASURE: Duration = Duration::from_millis(1500);

/// Lines as services write them, by kind.
fn line(kind: usize, i: usize) -> String {
    let (ms, user) = (i * 7919 % 1000, i * 104_729 % 100_000);
    match kind {
        0 => format!(
            r#"{{"ts":"2026-01-15T10:00:00.{ms:03}Z","level":"{}","caller":"handler.go:{}","msg":"request served","user":"u{user}","status":{},"duration_ms":{ms}}}"#,
            ["info", "warn", "debug", "error"][i % 4],
            i % 900,
            200 + i % 300
        ),
        1 => format!(
            r#"ts=2026-01-15T10:00:00.{ms:03}Z caller=metrics.go:{} level={} org_id={user} msg="query finished" latency=fast duration={ms}ms bytes={}"#,
            i % 900,
            ["info", "warn", "debug", "error"][i % 4],
            i * 31 % 1_000_000
        ),
        _ => format!(
            r#"10.0.{}.{} - u{user} [15/Jan/2026:10:00:00 +0000] "GET /api/v1/items/{user}?page={} HTTP/1.1" {} {} "-" "Mozilla/5.0 (X11; Linux x86_64)""#,
            i % 250,
            i % 240,
            i % 50,
            200 + i % 300,
            i * 31 % 100_000
        ),
    }
}

/// One push: streams of one kind of lines each, as `str labels, uvarint entries, entries x (str line)`.
struct Push {
    data: Vec<u8>,
    line_bytes: usize,
    lines: Vec<String>,
}

fn push(kinds: &[usize]) -> Push {
    let mut push = Push { data: vec![], line_bytes: 0, lines: vec![] };
    for stream in 0..STREAMS {
        let labels =
            format!(r#"{{app="app-{stream}", env="prod", namespace="ns-{}", pod="app-{stream}-7d9f"}}"#, stream % 3);
        put_str(&mut push.data, labels.as_bytes());
        let kind = kinds[stream % kinds.len()];
        let mut lines = vec![];
        let mut bytes = 0;
        while bytes < BATCH_BYTES / STREAMS {
            lines.push(line(kind, stream * 1000 + lines.len()));
            bytes += lines[lines.len() - 1].len();
        }
        put_uvarint(&mut push.data, lines.len() as u64);
        lines.iter().for_each(|l| put_str(&mut push.data, l.as_bytes()));
        push.line_bytes += bytes;
        push.lines.extend(lines);
    }
    push
}

fn walk(mut data: &[u8], sink: &mut dyn Sink) -> Result<()> {
    let mut metadata = Pairs::new();
    while !data.is_empty() {
        sink.stream(model::varint::bytes(&mut data).expect("our own bytes"))?;
        for i in 0..uvarint(&mut data).expect("our own bytes") {
            metadata.clear();
            sink.entry(NOW_NS + i as i64, model::varint::bytes(&mut data).expect("our own bytes"), &mut metadata)?;
        }
        sink.end_stream();
    }
    Ok(())
}

/// Nanoseconds of `f`, the best of its runs.
fn best_ns(mut f: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut best = f64::MAX;
    while start.elapsed() < MEASURE {
        let run = Instant::now();
        f();
        best = best.min(run.elapsed().as_nanos() as f64);
    }
    best
}

fn main() {
    let tenant = TenantId::parse("bench").expect("a valid name");
    for (name, kinds) in [("json", vec![0]), ("logfmt", vec![1]), ("text", vec![2]), ("mixed", vec![0, 1, 2])] {
        let push = push(&kinds);
        let streams = Streams::default();
        let buffers = Arc::new(Buffers::default());
        let intake_ns = |limits: Limits| {
            let limits = Arc::new(limits);
            let levels = LevelDetector::new(&limits.log_level_fields, limits.log_level_from_json_max_depth);
            best_ns(|| {
                let origin = Origin { tenant: &tenant, policy: "", distributors: 1 };
                let mut intake = Intake::new(origin, &limits, &streams, &levels, &buffers, NOW_NS);
                walk(&push.data, &mut intake).expect("a valid push");
                black_box(intake.finish());
            })
        };
        let whole = intake_ns(Limits::default());
        let without_levels = intake_ns(Limits { discover_log_levels: false, ..Limits::default() });
        let limits = Limits::default();
        let levels = LevelDetector::new(&limits.log_level_fields, limits.log_level_from_json_max_depth);
        let level = best_ns(|| {
            for line in &push.lines {
                black_box(levels.of_line(line.as_bytes()));
            }
        });
        let lines = push.lines.len() as f64;
        println!(
            "{name:7} {:.0} bytes/line: validate+level+batch {:.0} MB/s/core, {:.2} CPU s/GB, {:.0} ns/line; \
             without levels {:.0} ns/line; level alone {:.0} ns/line",
            push.line_bytes as f64 / lines,
            push.line_bytes as f64 / whole * 1e3,
            whole / push.line_bytes as f64,
            whole / lines,
            without_levels / lines,
            level / lines,
        );
    }
}
