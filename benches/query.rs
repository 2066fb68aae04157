//! What queries cost: the release binary is given a load, stopped and started again, so that all of it lies in chunks, and
//! asked the same questions as a dashboard would ask. `cargo bench -p lokirs --bench query [-- name ...]`.
//!
//! Environment: `LOKIRS_QUERY_MB` (512), `LOKIRS_QUERY_RUNS` (5). A query's figure is the least CPU time of its runs that
//! Linux counts for the server's process, in steps of 10 ms; chunks that the memory's cache takes are read once.

#![allow(clippy::print_stdout, reason = "a benchmark prints its result")]
#![allow(clippy::disallowed_methods, reason = "a client of a real process: real time")]

mod load;

use load::client::push_all;
use load::pushes::Load;
use load::server::Server;
use load::setting;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Every stream of the load.
const ALL: &str = r#"{format=~".+"}"#;
/// Name, query, and whether it asks for lines. `ALL` stands for the selector of every stream.
const QUERIES: [(&str, &str, Answer); 13] = [
    ("last1000", r#"{app="web-1"}"#, Answer::Lines),
    ("needle", r#"ALL |= "needle-7f3a9c""#, Answer::Lines),
    ("no_such", r#"ALL |= "nosuchtoken-zzz""#, Answer::Lines),
    ("regex", r#"ALL |~ "blk_-?[0-9]+1234[0-9]* ""#, Answer::Lines),
    ("ci_regex", r#"sum(count_over_time(ALL |~ "(?i)connection.*(reset|refused)"[5m]))"#, Answer::Samples),
    ("count_by_app", "sum by (app) (count_over_time(ALL[1m]))", Answer::Samples),
    ("filter_rate", r#"sum by (app) (rate(ALL |= "error" [1m]))"#, Answer::Samples),
    ("bytes_rate", "sum by (namespace) (bytes_rate(ALL[1m]))", Answer::Samples),
    (
        "json_status",
        r#"sum by (status) (count_over_time({format="json"} | json status="status" [1m]))"#,
        Answer::Samples,
    ),
    ("json_full", r#"sum by (status) (count_over_time({format="json"} | json | status >= 500 [1m]))"#, Answer::Samples),
    ("json_avg", r#"avg_over_time({format="json"} | json | unwrap duration_ms [1m]) by (method)"#, Answer::Samples),
    (
        "logfmt_p99",
        r#"quantile_over_time(0.99, {format="logfmt"} | logfmt | unwrap duration(duration) [1m]) by (level)"#,
        Answer::Samples,
    ),
    ("topk_path", r#"topk(10, sum by (path) (rate({format="json"} | json path="path" [5m])))"#, Answer::Samples),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Lines,
    Samples,
}

fn main() {
    let names: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    let load = Load::usual(setting("LOKIRS_QUERY_MB", 512) * 1_000_000, now.as_nanos() as u64);
    let mut server = Server::start();
    let pushed = push_all(server.http_port, &load.pushes(), 4);
    server.stop();
    println!(
        "{:.0} MB in {} lines, stored in {:.1} MB",
        pushed.line_bytes as f64 / 1e6,
        pushed.lines,
        server.stored_bytes() as f64 / 1e6
    );
    let wanted = |name: &str| names.is_empty() || names.iter().any(|n| n == name);
    for (what, flags) in [
        ("every block is decompressed", &["-store.decompressed-cache-size-mb=0"][..]),
        ("blocks that are read again stay decompressed", &[]),
    ] {
        server.restart(flags);
        println!("{what}\n{:14} {:>9} {:>9} {:>12}", "query", "CPU s", "wall s", "answer bytes");
        for (name, query, answer) in QUERIES.into_iter().filter(|(name, ..)| wanted(name)) {
            let path = path(&query.replace("ALL", ALL), answer, &load);
            let runs = (0..setting("LOKIRS_QUERY_RUNS", 5).max(1)).map(|_| run(&server, &path));
            let best = runs.min_by(|a, b| a.cpu_seconds.total_cmp(&b.cpu_seconds)).expect("at least one run");
            println!("{name:14} {:9.2} {:9.3} {:12}", best.cpu_seconds, best.wall_seconds, best.answer_bytes);
        }
        println!("memory         peak {} MiB resident", server.usage().peak_bytes >> 20);
        server.stop();
    }
}

struct Run {
    cpu_seconds: f64,
    wall_seconds: f64,
    answer_bytes: usize,
}

fn run(server: &Server, path: &str) -> Run {
    let (before, started) = (server.usage().cpu_seconds, Instant::now());
    let answer = get(server.http_port, path);
    Run {
        cpu_seconds: server.usage().cpu_seconds - before,
        wall_seconds: started.elapsed().as_secs_f64(),
        answer_bytes: answer.len(),
    }
}

fn path(query: &str, answer: Answer, load: &Load) -> String {
    let rest = match answer {
        Answer::Lines => "limit=1000",
        Answer::Samples => "step=60",
    };
    let end_ns = load.start_ns + load.span_ns;
    format!("/loki/api/v1/query_range?query={}&start={}&end={end_ns}&{rest}", encoded(query), load.start_ns)
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte.is_ascii_alphanumeric() {
            true => out.push(char::from(byte)),
            false => out.push_str(&format!("%{byte:02X}")),
        }
        out
    })
}

/// The answer's head and body. Panics unless it is a 200.
fn get(port: u16, path: &str) -> Vec<u8> {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).expect("the server reads");
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).expect("the server answers");
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{path}: {}", String::from_utf8_lossy(&answer));
    answer
}
