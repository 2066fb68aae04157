//! Whoever asks cannot tell whether an answer was kept: random requests, one after the other while time goes on and
//! entries come late, answered through a cache that forgets and damages, and beside it by the engine alone.

use crate::memory::MemorySource;
use crate::{HOUR, MINUTE, Memory, S, Setup, request, tenants};
use async_trait::async_trait;
use bytes::Bytes;
use cache::Cache;
use frontend::limit::Limit;
use frontend::single::Single;
use frontend::split::Split;
use logql::engine::{EngineLimits, run};
use logql::value::QueryValue;
use model::{Direction, Error, Result};
use parking_lot::Mutex;
use rpc::call::{Call, Calls, Reply};
use rpc::queries::{Queries, QueryRequest, QueryResponse, QueryStats, QueryTime, Tenants};
use rpc::read_limits;
use runtime::clock::{Clock, ManualClock};
use runtime::limits::{Limits, Overrides};
use runtime::memory::Budget;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

const BEGIN: i64 = 1_770_000_000 * S;
const REQUESTS: usize = 800;
/// Of what is added in another order.
const RELATIVE_ERROR_MAX: f64 = 1e-9;

const QUERIES: [&str; 28] = [
    r#"rate({app="x"}[1m])"#,
    r#"sum by (s) (count_over_time({app="x"} |= "even" [2m]))"#,
    r#"topk(2, rate({app="x"}[1m]))"#,
    r#"bottomk by (app) (1, sum by (s, app) (bytes_over_time({app="x"}[3m])))"#,
    r#"sort_desc(sum by (s) (rate({app="x"}[1m])))"#,
    r#"quantile_over_time(0.9, {app="x"} | logfmt | unwrap n [5m]) by (s)"#,
    r#"stddev_over_time({app="x"} | logfmt | unwrap n [2m]) by (s)"#,
    r#"first_over_time({app="x"} | logfmt | unwrap n [2m])"#,
    r#"rate_counter({app="x"} | logfmt | unwrap n [5m]) by (s)"#,
    r#"sum(count_over_time({app="x"}[1m] offset 7m))"#,
    r#"sum(count_over_time({app="x"}[1m] offset -7m))"#,
    r#"absent_over_time({app="x", s="2"} |= "rare" [1m])"#,
    r#"absent_over_time({app="nobody"}[1m])"#,
    r#"count_over_time({app="x"}[1m]) > 2"#,
    r#"count_over_time({app="x"}[1m]) > bool 2"#,
    r#"sum by (s) (rate({app="x"} |= "odd" [1m])) / sum by (s) (rate({app="x"}[1m]))"#,
    r#"rate({app="x", s="1"}[1m]) or rate({app="x", s="2"} |= "rare" [1m])"#,
    r#"sum by (s) (rate({app="x"}[1m])) unless sum by (s) (rate({app="x"} |= "rare" [1m]))"#,
    r#"label_replace(rate({app="x"}[1m]), "t", "stream-$1", "s", "(.*)")"#,
    r#"sum by (kind) (count_over_time({app="x"} | logfmt | kind != "" [1m]))"#,
    r#"count_over_time({app="x"} |= "never" [1m])"#,
    r#"vector(3) + sum(rate({app="x"}[1m]))"#,
    r#"approx_topk(2, rate({app="x"}[1m]))"#,
    r#"sum(rate({app="x"} | line_format "{{ now }}" [1m]))"#,
    r#"{app="x"} |= "never""#,
    r#"{app="x"} |= "rare""#,
    r#"{app="x"} | logfmt | kind = "odd" | keep s"#,
    r#"{app="x"}"#,
];

struct Random(u64);

impl Random {
    fn below(&mut self, n: i64) -> i64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) % n as u64) as i64
    }
}

/// An entry is there some minutes after its time.
struct Entry {
    stream: usize,
    ts_ns: i64,
    arrives_ns: i64,
    line: String,
}

fn entries(random: &mut Random) -> Vec<Entry> {
    let mut all = vec![];
    for stream in 0..4 {
        let mut ts_ns = BEGIN - 7 * HOUR;
        while ts_ns < BEGIN + 3 * HOUR {
            ts_ns += (1 + random.below(40)) * S + random.below(S);
            let n = random.below(100);
            let kind = if n % 2 == 0 { "even" } else { "odd" };
            let rare = if random.below(50) == 0 { " rare" } else { "" };
            // Holes, so that some windows find nothing.
            if (ts_ns / (20 * MINUTE)) % 3 != stream as i64 % 3 {
                let arrives_ns = ts_ns + random.below(9 * MINUTE);
                all.push(Entry { stream, ts_ns, arrives_ns, line: format!("kind={kind} n={n}{rare}") });
            }
        }
    }
    all
}

/// The engine over what has arrived.
struct Engine {
    entries: Vec<Entry>,
    clock: Arc<ManualClock>,
    limits: Arc<Overrides>,
    /// Time that queries were about.
    asked_ns: AtomicI64,
}

#[async_trait]
impl Calls for Engine {
    async fn call(&self, tenants: &Tenants, call: Call) -> Result<Reply> {
        let Call::Query(request) = call else { return Err(Error::internal("not asked in these tests")) };
        if let QueryTime::Range { start_ns, end_ns, .. } = request.time {
            self.asked_ns.fetch_add(end_ns - start_ns, Ordering::Relaxed);
        }
        let limits: Vec<_> = tenants.ids.iter().map(|tenant| self.limits.tenant(tenant)).collect();
        let now_ns = self.clock.now_ns();
        let mut source = MemorySource::default();
        for stream in 0..4 {
            let there = self.entries.iter().filter(|e| e.stream == stream && e.arrives_ns <= now_ns);
            let labels = format!(r#"{{app="x", s="{stream}"}}"#);
            source.block(&labels, there.map(|e| (e.ts_ns, e.line.as_str(), &[] as &[(&str, &str)])));
        }
        let params = request.params(read_limits::aligns_to_step(&limits), now_ns);
        let engine_limits: EngineLimits = read_limits::engine_limits(&request, &limits);
        let outcome = run(&logql::parse::parse(&request.query)?, &params, &source, &engine_limits)?;
        let (value, warnings) = (outcome.value, outcome.warnings);
        Ok(Reply::Query(QueryResponse { value, warnings, stats: QueryStats::default() }))
    }
}

/// Forgets a part of what it is asked for, and damages another.
struct Unreliable {
    cache: Memory,
    random: Mutex<Random>,
}

#[async_trait]
impl Cache for Unreliable {
    async fn fetch(&self, keys: &[String]) -> Vec<Option<Bytes>> {
        let mut found = self.cache.fetch(keys).await;
        let mut random = self.random.lock();
        for value in &mut found {
            match (random.below(12), &value) {
                (0, _) => *value = None,
                (1, Some(bytes)) if !bytes.is_empty() => {
                    let mut damaged = bytes.to_vec();
                    let at = random.below(damaged.len() as i64) as usize;
                    damaged[at] ^= 1 << random.below(8);
                    *value = Some(damaged.into());
                }
                _ => {}
            }
        }
        found
    }
    fn store(&self, entries: Vec<(String, Bytes)>) {
        self.cache.store(entries);
    }
}

fn is_same(a: &QueryValue, b: &QueryValue) -> bool {
    let near = |a: f64, b: f64| {
        a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= RELATIVE_ERROR_MAX * a.abs().max(b.abs()).max(1e-3)
    };
    match (a, b) {
        (QueryValue::Matrix(a), QueryValue::Matrix(b)) => {
            a.len() == b.len()
                && a.iter().zip(b).all(|(a, b)| {
                    a.labels == b.labels
                        && a.points.len() == b.points.len()
                        && a.points.iter().zip(&b.points).all(|(a, b)| a.0 == b.0 && near(a.1, b.1))
                })
        }
        (QueryValue::Vector(a), QueryValue::Vector(b)) => {
            a.len() == b.len()
                && a.iter()
                    .zip(b)
                    .all(|(a, b)| (&a.labels, a.time_ns) == (&b.labels, b.time_ns) && near(a.value, b.value))
        }
        (a, b) => a == b,
    }
}

fn random_request(random: &mut Random, now_ns: i64) -> QueryRequest {
    let query = QUERIES[random.below(QUERIES.len() as i64) as usize];
    // Of few starts and ends, so that ranges meet.
    let end_ns = now_ns - random.below(20) * 7 * MINUTE - random.below(3);
    let start_ns = end_ns - random.below(12) * 13 * MINUTE - random.below(MINUTE);
    let start_ns = if random.below(3) == 0 { start_ns } else { start_ns / (7 * MINUTE) * 7 * MINUTE };
    let step_ns = [30 * S, MINUTE, 7 * MINUTE][random.below(3) as usize];
    let time = match random.below(8) {
        0 if !query.starts_with('{') => QueryTime::Instant { time_ns: (end_ns / MINUTE) * MINUTE },
        _ => QueryTime::Range { start_ns, end_ns, step_ns, interval_ns: [0, 0, MINUTE][random.below(3) as usize] },
    };
    let direction = if random.below(2) == 0 { Direction::Forward } else { Direction::Backward };
    QueryRequest {
        limit: 1 + random.below(200) as u32,
        direction,
        partial_series: random.below(3) == 0,
        no_cache: random.below(15) == 0,
        tags: vec![],
        ..request(query, time)
    }
}

async fn answers_are_the_same(seed: u64, limits: Limits) {
    let mut random = Random(seed);
    let setup = Setup::new(limits, BEGIN);
    let engine = || {
        let (clock, limits) = (setup.clock.clone(), setup.limits.clone());
        Arc::new(Engine { entries: entries(&mut Random(seed)), clock, limits, asked_ns: AtomicI64::new(0) })
    };
    let (behind, alone) = (engine(), engine());
    let stages = |next: Arc<dyn Queries>| {
        let (limits, budget, clock) = (setup.limits.clone(), Budget::new(1 << 30), setup.clock.clone());
        let split = Split { next, limits: limits.clone(), budget, clock };
        Limit { next: Arc::new(split), limits }
    };
    let cache = Arc::new(Unreliable { cache: Memory::default(), random: Mutex::new(Random(seed + 1)) });
    let results = Arc::new(setup.results(behind.clone(), cache));
    let single = Single::new(results, setup.limits.clone(), setup.clock.clone(), &setup.metrics);
    let (kept, fresh) = (stages(Arc::new(single)), stages(alone.clone()));
    for number in 0..REQUESTS {
        setup.clock.advance(random.below(30) * S);
        let asked = random_request(&mut random, setup.clock.now_ns());
        let (a, b) = (kept.query(&tenants("a"), asked.clone()).await, fresh.query(&tenants("a"), asked.clone()).await);
        match (a, b) {
            (Ok(a), Ok(b)) => {
                assert!(is_same(&a.value, &b.value), "{seed} {number} {asked:?}:\n{:?}\n{:?}", a.value, b.value);
                assert_eq!(a.warnings, b.warnings, "{seed} {number} {asked:?}");
            }
            (a, b) => assert_eq!(a.err(), b.err(), "{seed} {number} {asked:?}"),
        }
    }
    let (with, without) = (behind.asked_ns.load(Ordering::Relaxed), alone.asked_ns.load(Ordering::Relaxed));
    assert!(with < without * 85 / 100, "{with} of {without} were asked");
}

#[tokio::test]
async fn kept_answers_are_those_of_the_engine() {
    answers_are_the_same(7, Limits::default()).await;
}

#[tokio::test]
async fn kept_answers_obey_small_limits() {
    let shard_aggregations = vec!["approx_topk".to_string()];
    answers_are_the_same(8, Limits { max_query_series: 3, shard_aggregations, ..Limits::default() }).await;
}

#[tokio::test]
async fn kept_answers_are_right_where_queries_are_not_split() {
    let split_queries_by_interval = std::time::Duration::ZERO;
    answers_are_the_same(9, Limits { split_queries_by_interval, ..Limits::default() }).await;
}
