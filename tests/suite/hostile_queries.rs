//! Hostile queries get a 400 or a bounded answer, in bounded time and memory, while a neighbour's queries and pushes go
//! on being answered.

use crate::client::{Client, encode, now_ns};
use crate::process::{Node, debug_factor};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A refusal or an answer takes at most this long in a release build.
const ANSWERED_WITHIN: Duration = Duration::from_secs(3);
/// Above what was resident before, at the peak.
const GROWTH_BYTES_MAX: u64 = 256 << 20;
/// The neighbour's answers take at most this long in a release build, on a machine that the query has for itself.
const NEIGHBOUR_WITHIN: Duration = Duration::from_secs(2);
/// Statuses that a client understands as "no"; 504 is the tenant's `query_timeout`.
const REFUSALS: [u16; 6] = [400, 413, 414, 422, 429, 504];

const CONFIG: &str = "\
auth_enabled: true
common: {path_prefix: \"${DIR}/data\"}
limits_config: {ingestion_rate_mb: 1000, ingestion_burst_size_mb: 1000, per_stream_rate_limit: 1GB, per_stream_rate_limit_burst: 1GB, query_timeout: 2s}
";

/// Parameters of a query, sent as a form.
type Form = Vec<(&'static str, String)>;

struct Attack {
    name: String,
    path: &'static str,
    form: Form,
}

fn range(name: &str, query: String) -> Attack {
    Attack { name: name.into(), path: "/loki/api/v1/query_range", form: vec![("query", query)] }
}

fn instant(name: &str, query: String) -> Attack {
    Attack { name: name.into(), path: "/loki/api/v1/query", form: vec![("query", query)] }
}

fn with(mut attack: Attack, parameters: &[(&'static str, &str)]) -> Attack {
    attack.name += &format!(" {parameters:?}");
    attack.form.extend(parameters.iter().map(|(n, v)| (*n, v.to_string())));
    attack
}

fn nested(open: &str, depth: usize, inner: &str, close: &str) -> String {
    format!("{}{inner}{}", open.repeat(depth), close.repeat(depth))
}

const COUNT: &str = "count_over_time({app=\"x\"}[1h])";

/// Depth: what recurses must end before the stack does.
fn deep() -> Vec<Attack> {
    vec![
        range("parentheses around a selector", nested("(", 60_000, "{app=\"x\"}", ")")),
        instant("parentheses around a count", nested("(", 60_000, COUNT, ")")),
        range("parentheses that do not close", "(".repeat(130_000)),
        range("braces that do not close", "{".repeat(130_000)),
        instant("sums of sums", nested("sum(", 25_000, COUNT, ")")),
        instant(
            "label_replace of label_replace",
            nested("label_replace(", 2_000, COUNT, ",\"a\",\"$1\",\"b\",\"(.*)\")"),
        ),
        instant("negations", nested("-(", 40_000, "1", ")")),
        instant("minus signs", format!("{}1", "-".repeat(100_000))),
        instant("additions", vec!["1"; 60_000].join("+")),
        instant("powers", vec!["2"; 60_000].join("^")),
        instant("additions of vectors", vec!["vector(1)"; 10_000].join("+")),
        instant("counts added", vec![COUNT; 3_000].join(" + ")),
        instant("sets", vec![COUNT; 3_000].join(" or ")),
        range("label filters in parentheses", format!("{{app=\"x\"}} | {}", nested("(", 60_000, "a=\"b\"", ")"))),
        range("label filters joined", format!("{{app=\"x\"}} | {}", vec!["a=\"b\""; 15_000].join(" or "))),
        range("json paths", format!("{{app=\"x\"}} | json a=\"{}\"", vec!["b"; 50_000].join("."))),
        range(
            "template parentheses",
            format!("{{app=\"x\"}} | line_format \"{{{{ {} }}}}\"", nested("(", 50_000, "1", ")")),
        ),
        range(
            "template ifs",
            format!("{{app=\"x\"}} | line_format \"{}\"", nested("{{if .a}}", 8_000, "x", "{{end}}")),
        ),
        range("regex groups", format!("{{app=\"x\"}} |~ \"{}\"", nested("(", 60_000, "a", ")"))),
    ]
}

/// Width: long lists of anything.
fn wide() -> Vec<Attack> {
    let alternatives: Vec<String> = (0..15_000).map(|i| format!("word{i}")).collect();
    let stages = |stage: &str, count: usize| format!("{{app=\"x\"}} {}", stage.repeat(count));
    vec![
        range("stages", stages("|= \"line\" ", 10_000)),
        range("regex stages", stages("|~ \"l[a-z]+e\" ", 8_000)),
        range("parsers", stages("| logfmt ", 10_000)),
        range("json parsers", stages("| json ", 10_000)),
        range("label_format chains", stages("| label_format a=b | label_format b=a ", 3_000)),
        range("drops", format!("{{app=\"x\"}} | drop {}", vec!["a"; 40_000].join(","))),
        range("alternatives", format!("{{app=\"x\"}} |~ \"{}\"", alternatives.join("|"))),
        range("or chains", format!("{{app=\"x\"}} |= {}", vec!["\"zz\""; 15_000].join(" or "))),
        range("matchers", format!("{{{}}}", vec!["app=\"x\""; 12_000].join(","))),
        range("regex matchers", format!("{{{}}}", vec!["app=~\"x.*\""; 8_000].join(","))),
        range("a long value in a matcher", format!("{{app=\"{}\"}}", "v".repeat(120_000))),
        range("a value of a megabyte in a matcher", format!("{{app=\"{}\"}}", "v".repeat(1 << 20))),
        range("a regex of a megabyte", format!("{{app=\"x\"}} |~ \"{}\"", "(a|b)".repeat(200_000))),
        range("a regex of 120 KB", format!("{{app=\"x\"}} |~ \"{}\"", "(a|b)".repeat(24_000))),
        range("a pattern of 120 KB", format!("{{app=\"x\"}} | pattern \"{}<z>\"", "<_> ".repeat(30_000))),
        range("no text", "\u{0}".repeat(10_000)),
        Attack {
            name: "ten thousand selectors of series".into(),
            path: "/loki/api/v1/series",
            form: vec![("match[]", "{app=\"x\"}".to_string()); 10_000],
        },
    ]
}

/// Small texts with much behind them.
fn explosive() -> Vec<Attack> {
    let doubled = |stage: &str| format!("{{app=\"x\"}} {}", stage.repeat(60));
    let mut attacks = vec![
        range("a line doubled", doubled("| line_format \"{{__line__}}{{__line__}}\" ")),
        range("a label doubled", doubled("| label_format a=\"{{.a}}{{.a}}x\" ")),
        range("a label doubled from the line", format!("{{app=\"x\"}} | label_format a=\"{{{{__line__}}}}\" {}", "| label_format a=\"{{.a}}{{.a}}\" ".repeat(60))),
        range("template loops", "{app=\"x\"} | line_format \"{{ range 1000000000 }}{{ range 1000000000 }}x{{ end }}{{ end }}\"".into()),
        range("template repeats", "{app=\"x\"} | line_format \"{{ repeat 1000000000 `abc` }}\"".into()),
        range("template widths", "{app=\"x\"} | line_format \"{{ printf `%1000000000d` 1 }}{{ alignLeft 1000000000 `x` }}\"".into()),
        range("templates that call themselves", "{app=\"x\"} | line_format \"{{ define `t` }}{{ template `t` . }}{{ end }}{{ template `t` . }}\"".into()),
        instant("series of every line", "count_over_time({app=\"series\"} | logfmt [1h])".into()),
        instant("sum of every line's series", "sum by (id) (count_over_time({app=\"series\"} | logfmt [1h]))".into()),
        instant("topk of everything", "topk(1000000000000, sum by (id) (count_over_time({app=\"series\"} | logfmt [1h])))".into()),
        instant("quantile of everything", "quantile_over_time(0.99, {app=~\".+\"} | logfmt | unwrap id [30d]) by (id)".into()),
        instant("quantile of everything at once", "quantile_over_time(0.99, {app=~\".+\"} | logfmt | unwrap id | __error__=\"\" [30d]) by ()".into()),
        instant("products of series", "sum by (id) (count_over_time({app=\"series\"} | logfmt [1h])) * on (id) sum by (id) (count_over_time({app=\"series\"} | logfmt [1h]))".into()),
        instant("a range of a thousand years", "count_over_time({app=\"x\"}[1000y])".into()),
        instant("an offset of a thousand years", "count_over_time({app=\"x\"}[1m] offset 1000y)".into()),
        instant("a number beyond numbers", format!("vector({})", "9".repeat(100_000))),
    ];
    for regex in [
        "(a{1000}){1000}",
        "((a{100}){100}){100}",
        "(a*)*b",
        "(x+x+)+y",
        "(.*){1,1000}z",
        "[\\\\p{L}]{1000}",
        "(?i)(\\\\w{200}){5}",
        "(((a{2,1000}){1,2}){1,2}){1,2}",
    ] {
        attacks.push(range(&format!("regex {regex}"), format!("{{app=\"x\"}} |~ \"{regex}\"")));
        attacks.push(range(&format!("regexp {regex}"), format!("{{app=\"x\"}} | regexp \"(?P<n>{regex})\"")));
        attacks.push(range(&format!("matcher {regex}"), format!("{{app=~\"{regex}\"}}")));
    }
    attacks
}

/// Parameters out of all bounds.
fn absurd() -> Vec<Attack> {
    let lines = || range("lines", "{app=\"x\"}".into());
    let steps = || range("steps", "rate({app=\"x\"}[1m])".into());
    let mut attacks = vec![
        with(steps(), &[("start", "0"), ("end", "1000000000"), ("step", "1")]),
        with(steps(), &[("step", "0.000000001")]),
        with(steps(), &[("step", "1e300")]),
        with(steps(), &[("step", "-1")]),
        with(steps(), &[("step", "NaN")]),
        with(lines(), &[("limit", "4294967295")]),
        with(lines(), &[("limit", "99999999999999999999")]),
        with(lines(), &[("limit", "-1")]),
        with(lines(), &[("interval", "1e300")]),
        with(lines(), &[("direction", "sideways")]),
    ];
    for time in [
        "-9223372036854775808",
        "9223372036854775807",
        "1e400",
        "-1e400",
        "NaN",
        "9999-12-31T23:59:59Z",
        "0001-01-01T00:00:00Z",
    ] {
        attacks.push(with(lines(), &[("start", time)]));
        attacks.push(with(lines(), &[("end", time)]));
        attacks.push(with(steps(), &[("start", time), ("end", time)]));
        attacks.push(with(instant("count", COUNT.into()), &[("time", time)]));
        attacks.push(with(
            Attack {
                name: "volume".into(),
                path: "/loki/api/v1/index/volume_range",
                form: vec![("query", "{app=\"x\"}".into())],
            },
            &[("start", time), ("step", "0.000001"), ("limit", "1000000000")],
        ));
    }
    attacks
}

async fn load(client: &Client) {
    const BATCH: i64 = 5_000;
    for (app, lines) in [("x", 5_000), ("series", 200_000)] {
        for from in (0..lines).step_by(BATCH as usize) {
            let base = now_ns();
            let batch: Vec<(i64, String)> = (from..from + BATCH)
                .map(|i| (base + i, format!("line id={i} b=\"{{\\\"a\\\":{i}}}\" aaaaaaaaaaaa")))
                .collect();
            assert_eq!(client.push(&[("app", app)], &batch).await, Some(204));
        }
    }
}

/// Pushes a line and reads it until it is told to stop; answers how often it did and how long the slowest took.
async fn neighbour(client: Client, stop: Arc<AtomicBool>) -> (u32, Duration) {
    let (mut rounds, mut slowest) = (0, Duration::ZERO);
    while !stop.load(Ordering::SeqCst) {
        let started = Instant::now();
        let line = (now_ns(), format!("round {rounds}"));
        assert_eq!(client.push(&[("app", "neighbour")], std::slice::from_ref(&line)).await, Some(204));
        let found = client.all_lines("{app=\"neighbour\"} |= \"round\"", line.0, line.0 + 1).await;
        assert_eq!(found.len(), 1, "round {rounds}");
        (rounds, slowest) = (rounds + 1, slowest.max(started.elapsed()));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (rounds, slowest)
}

async fn attack(node: &Node, client: &Client, attack: &Attack) {
    let body: Vec<String> =
        attack.form.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    node.forget_peak();
    let (before, started) = (node.resident_bytes(), Instant::now());
    let answer = client.post(attack.path, &headers, body.join("&").into_bytes()).await;
    let (took, name) = (started.elapsed(), &attack.name);
    let Some((status, text)) = answer else { panic!("{name}: no answer\n{}", node.log()) };
    assert!(status == 200 || REFUSALS.contains(&status), "{name}: {status} {text:.300}");
    assert!(took < ANSWERED_WITHIN * debug_factor(), "{name}: {status} after {took:?}: {text:.300}");
    assert!(status == 200 || text.len() < 16 << 10, "{name}: a refusal of {} bytes", text.len());
    let growth = node.peak_bytes().saturating_sub(before);
    assert!(growth < GROWTH_BYTES_MAX, "{name}: {} MiB more at the peak", growth >> 20);
    if took > ANSWERED_WITHIN / 4 || growth > GROWTH_BYTES_MAX / 4 {
        eprintln!("{name}: {status} after {took:?}, {} MiB more", growth >> 20);
    }
}

async fn each_is_answered_beside_a_neighbour(attacks: Vec<Attack>) {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::new(dir.path()).config(CONFIG);
    node.start().await;
    let hostile = node.client().tenant("hostile");
    load(&hostile).await;
    let stop = Arc::new(AtomicBool::new(false));
    let beside = tokio::spawn(neighbour(node.client().tenant("neighbour"), stop.clone()));
    for one in &attacks {
        attack(&node, &hostile, one).await;
        assert!(!beside.is_finished(), "{}: the neighbour was not served", one.name);
    }
    stop.store(true, Ordering::SeqCst);
    let (rounds, slowest) = beside.await.expect("the neighbour was served");
    eprintln!("{} attacks, {rounds} rounds of the neighbour, the slowest {slowest:?}", attacks.len());
    assert!(rounds > 0 && slowest < NEIGHBOUR_WITHIN * debug_factor(), "{rounds} rounds, the slowest {slowest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deep_queries_are_answered() {
    each_is_answered_beside_a_neighbour(deep()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wide_queries_are_answered() {
    each_is_answered_beside_a_neighbour(wide()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explosive_queries_are_answered() {
    each_is_answered_beside_a_neighbour(explosive()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn absurd_parameters_are_answered() {
    each_is_answered_beside_a_neighbour(absurd()).await;
}
