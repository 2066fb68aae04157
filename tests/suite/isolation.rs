//! Many requests with random tenants, headers and states of caches: no answer holds a byte of a tenant that was not asked
//! for. `LOKIRS_ISOLATION_REQUESTS=1000000` is the long run.

use crate::client::{encode, now_ns};
use crate::process::Node;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Ids that are prefixes of one another, differ by case alone, or hold every sign that an id may hold.
const TENANTS: [&str; 10] = ["a", "A", "aa", "a.a", "tenant-1", "tenant-10", "tenant_1", "!-_.*'()", "fake", "b"];
const CLIENTS: u64 = 6;
const REQUESTS: u64 = 12_000;
/// In so many parts; between two of them the process is killed or its memory is flushed.
const ROUNDS: u64 = 3;
const LINES: i64 = 40;

/// What only one tenant has: in lines, labels, metadata and delete requests.
fn token(tenant: usize) -> String {
    let secret = (tenant as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("zz{tenant:03}q{secret:016x}zz")
}

/// The tenants whose tokens stand in `text`.
fn owners(text: &str) -> BTreeSet<usize> {
    let marks = text.match_indices("zz").filter_map(|(at, _)| {
        let rest = text.get(at + 2..at + 6)?;
        let number = rest.strip_suffix('q')?.parse().ok()?;
        text[at..].starts_with(&token(number)).then_some(number)
    });
    marks.collect()
}

/// Numbers that a seed decides (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.roll(choices.len())]
    }
}

/// Values of `X-Scope-OrgID`, each a header, and the tenants that they name.
fn header(dice: &mut Dice) -> (Vec<String>, BTreeSet<usize>) {
    let mut named = BTreeSet::new();
    let mut tenant = |dice: &mut Dice| {
        let number = dice.roll(TENANTS.len());
        named.insert(number);
        TENANTS[number].to_string()
    };
    let values = match dice.roll(20) {
        0 => vec![],
        1 => vec![String::new()],
        2 => vec![dice.one_of(&["nobody", "..", "a/b", "a|", "|", "a b", "tenant", "../a", "a%2Fb"]).to_string()],
        3 => vec![tenant(dice), tenant(dice)],
        4..=7 => vec![format!("{}|{}", tenant(dice), tenant(dice))],
        8 => vec![format!("{}|{}|{}", tenant(dice), tenant(dice), "nobody")],
        9 => vec![format!(" {}", tenant(dice))],
        _ => vec![tenant(dice)],
    };
    if values == ["a|"] || values == ["a b"] {
        named.insert(0);
    }
    (values, named)
}

const SELECTORS: [&str; 6] = [
    "{app=\"api\"}",
    "{app=~\"a.+\"}",
    "{owner=~\".+\"}",
    "{app=\"api\"} |= \"zz\"",
    "{app=\"api\", __tenant_id__=~\".*\"}",
    "{app=\"api\"} | json | trace_id=~\"zz.*\"",
];
const METRICS: [&str; 4] = [
    "sum by (owner) (count_over_time({owner=~\".+\"}[1h]))",
    "topk(20, sum by (trace_id) (rate({app=\"api\"}[1h])))",
    "count_over_time({app=\"api\"} | label_format all=\"{{__line__}}\" [1h])",
    "max by (__tenant_id__, who) (max_over_time({app=\"api\"} | logfmt | unwrap n [1h]))",
];

/// A request's name, path and query.
fn request(dice: &mut Dice, end_ns: i64) -> (&'static str, String) {
    let (start, end) = (end_ns - 3_600_000_000_000, end_ns + dice.roll(3) as i64 * 1_000_000_000);
    let range = format!("start={start}&end={end}");
    let selector = encode(dice.one_of(&SELECTORS));
    let stream = encode(dice.one_of(&SELECTORS[..3]));
    let metric = encode(dice.one_of(&METRICS));
    let limit = dice.one_of(&[1, 10, 1000]);
    let direction = dice.one_of(&["forward", "backward"]);
    let all: [(&str, String); 19] = [
        ("lines", format!("/loki/api/v1/query_range?query={selector}&{range}&limit={limit}&direction={direction}")),
        ("lines at once", format!("/loki/api/v1/query?query={selector}&time={end}&limit={limit}")),
        ("series over time", format!("/loki/api/v1/query_range?query={metric}&{range}&step=600")),
        ("series at once", format!("/loki/api/v1/query?query={metric}&time={end}")),
        ("label names", format!("/loki/api/v1/labels?{range}")),
        ("label values", format!("/loki/api/v1/label/owner/values?{range}")),
        ("label values of", format!("/loki/api/v1/label/owner/values?{range}&query={stream}")),
        ("streams", format!("/loki/api/v1/series?{range}&match[]={stream}")),
        ("stats", format!("/loki/api/v1/index/stats?{range}&query={stream}")),
        ("volume", format!("/loki/api/v1/index/volume?{range}&query={stream}&targetLabels=owner")),
        ("volume over time", format!("/loki/api/v1/index/volume_range?{range}&query={stream}&step=600")),
        ("patterns", format!("/loki/api/v1/patterns?{range}&query={stream}&step=60s")),
        ("detected labels", format!("/loki/api/v1/detected_labels?{range}&query={stream}")),
        ("detected fields", format!("/loki/api/v1/detected_fields?{range}&query={stream}")),
        ("detected values", format!("/loki/api/v1/detected_field/who/values?{range}&query={stream}")),
        ("export", format!("/lokirs/api/v1/export?query={selector}&{range}")),
        ("old lines", format!("/api/prom/query?query={selector}&{range}&limit={limit}")),
        ("deletes", "/loki/api/v1/delete".to_string()),
        ("limits", "/config/tenant/v1/limits".to_string()),
    ];
    all[dice.roll(all.len())].clone()
}

async fn push(node: &Node, from_ns: i64) {
    for (number, tenant) in TENANTS.iter().enumerate() {
        let token = token(number);
        let values: Vec<_> = (0..LINES)
            .map(|i| json!([(from_ns + i).to_string(), format!("who={token} n={i} {token}"), {"trace_id": token}]))
            .collect();
        let alike = json!({"stream": {"app": "api"}, "values": values});
        let own = json!({"stream": {"app": "own", "owner": token}, "values": values});
        let body = json!({"streams": [alike, own]}).to_string().into_bytes();
        let client = node.client().tenant(tenant);
        let answer = client.post("/loki/api/v1/push", &[("Content-Type", "application/json")], body).await.unwrap();
        assert_eq!(answer.0, 204, "{}", answer.1);
    }
}

/// Of every other tenant: nothing is kept of the answers of those who have just asked.
async fn request_deletes(node: &Node, end_ns: i64) {
    for (number, tenant) in TENANTS.iter().enumerate().step_by(2) {
        let query = encode(&format!("{{app=\"none\"}} |= \"{}\"", token(number)));
        let end_s = end_ns / 1_000_000_000;
        let path = format!("/loki/api/v1/delete?query={query}&start={}&end={end_s}", end_s - 60);
        let (status, body) = node.client().tenant(tenant).post(&path, &[], vec![]).await.unwrap();
        assert_eq!(status, 204, "{body}");
    }
}

/// How many requests of a name were answered with tokens.
type Told = Arc<parking_lot::Mutex<BTreeMap<&'static str, u64>>>;

/// Asks until there are no requests left, and panics at the first foreign token.
async fn ask(base: String, seed: u64, left: Arc<AtomicU64>, end_ns: i64, told: Told) {
    let http = reqwest::Client::new();
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
        let ((values, named), (name, path)) = (header(&mut dice), request(&mut dice, end_ns));
        let mut request = http.get(format!("{base}{path}"));
        for value in &values {
            request = request.header("X-Scope-OrgID", value);
        }
        if dice.roll(4) == 0 {
            request = request.header("Cache-Control", "no-cache");
        }
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status(), format!("{:?}", answer.headers()));
        let body = answer.text().await.unwrap();
        let found: BTreeSet<usize> = owners(&body).union(&owners(&headers)).copied().collect();
        let foreign: Vec<&str> = found.difference(&named).map(|number| TENANTS[*number]).collect();
        assert!(foreign.is_empty(), "seed {seed}: {values:?} {path}: {status} tells of {foreign:?}: {body}");
        assert_ne!(status.as_u16(), 500, "{values:?} {path}: {body}");
        if !found.is_empty() {
            *told.lock().entry(name).or_default() += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_tells_of_a_tenant_that_was_not_asked_for() {
    let requests = std::env::var("LOKIRS_ISOLATION_REQUESTS").map_or(REQUESTS, |n| n.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let config = "common: {path_prefix: '${DIR}/data'}\nquerier: {multi_tenant_queries_enabled: true}\n\
        pattern_ingester: {enabled: true}\nquery_range: {cache_results: true, cache_instant_metric_results: true}\n\
        limits_config: {volume_enabled: true, max_cache_freshness_per_query: 0s, max_stats_cache_freshness: 0s, \
        max_metadata_cache_freshness: 0s}\n\
        chunk_store_config: {chunk_cache_config: {embedded_cache: {enabled: true, max_size_mb: 1}}}\n\
        compactor: {retention_enabled: true, delete_request_store: filesystem}\n";
    let mut node = Node::new(dir.path()).config(config);
    let told = Told::default();
    let mut kept = 0.0;
    for round in 0..ROUNDS {
        node.start().await;
        let end_ns = now_ns();
        push(&node, end_ns - 60_000_000_000 + round as i64 * 1_000_000).await;
        request_deletes(&node, end_ns).await;
        let left = Arc::new(AtomicU64::new(requests / ROUNDS));
        let mut clients = tokio::task::JoinSet::new();
        for client in 0..CLIENTS {
            let base = format!("http://127.0.0.1:{}", node.http_port);
            clients.spawn(ask(base, 1 + round * CLIENTS + client, left.clone(), end_ns, told.clone()));
        }
        while let Some(done) = clients.join_next().await {
            done.unwrap();
        }
        kept += node.client().metric("loki_query_frontend_results_cache_hits_total", "").await;
        match round {
            0 => node.kill(),
            _ => drop(tokio::task::block_in_place(|| node.stop())),
        }
    }
    // What never tells a token could not have told a foreign one.
    let told = told.lock();
    eprintln!("{requests} requests, {kept} answered with what was kept; answers that told of their tenants: {told:?}");
    assert!(kept > 0.0);
    for name in ["lines", "series over time", "label values", "streams", "volume", "export", "deletes"] {
        assert!(told.get(name) > Some(&0), "{name}: {told:?}");
    }
}
