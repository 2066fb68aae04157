//! Kept answers as a cache that lies gives them back: damaged ones are a miss, forged ones with a right checksum are taken or
//! a miss, and neither is an error or a panic.

#[path = "../../../tests/fuzz/mod.rs"]
mod fuzz;

use async_trait::async_trait;
use bytes::Bytes;
use cache::Cache;
use frontend::results::Results;
use frontend::results::generations::Generations;
use frontend::results::metadata::MetadataResults;
use frontend::results::shelf::{Shelf, ShelfMetrics};
use fuzz::fuzz;
use logql::value::{QueryValue, Sample, Series};
use model::{Direction, Labels, Matcher, Result, TenantId, TimeRange};
use parking_lot::Mutex;
use rpc::call::{Call, Calls, Reply};
use rpc::queries::{
    Answer, IndexStats, MetadataRequest, QueryRequest, QueryResponse, QueryStats, QueryTime, Tenants, Volume,
    VolumeRequest,
};
use rpc::wire::{reply_bytes, reply_of_bytes};
use runtime::clock::ManualClock;
use runtime::limits::{Limits, Overrides};
use runtime::memory::Budget;
use runtime::metrics::Metrics;
use std::collections::HashMap;
use std::sync::Arc;
use xxhash_rust::xxh64::xxh64;

const MINUTE: i64 = 60_000_000_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const NOW: i64 = 20_000 * DAY + 12 * HOUR;
const TEN: i64 = NOW - 2 * HOUR;

/// Answers every call, and counts.
#[derive(Default)]
struct Next(Mutex<usize>);

#[async_trait]
impl Calls for Next {
    async fn call(&self, _: &Tenants, call: Call) -> Result<Reply> {
        *self.0.lock() += 1;
        let labels = || Labels::new([("a", "b")]);
        let warnings = vec![];
        Ok(match call {
            Call::Query(request) => {
                let value = match request.time {
                    _ if request.query.starts_with('{') => QueryValue::Streams(vec![]),
                    QueryTime::Instant { time_ns } => {
                        QueryValue::Vector(vec![Sample { labels: labels(), time_ns, value: -0.0 }])
                    }
                    QueryTime::Range { start_ns, end_ns, step_ns, .. } => {
                        let points = (start_ns..=end_ns).step_by(step_ns as usize).map(|t| (t, t as f64)).collect();
                        QueryValue::Matrix(vec![Series { labels: labels(), points }])
                    }
                };
                Reply::Query(QueryResponse { value, warnings, stats: QueryStats::default() })
            }
            Call::Labels(..) => Reply::Labels(Answer { value: vec!["x".into(), "y".into()], warnings }),
            Call::Series(_) => Reply::Series(Answer { value: vec![labels()], warnings }),
            Call::Stats(_) => Reply::Stats(Answer { value: IndexStats::default(), warnings }),
            Call::Volume(_) => Reply::Volume(Answer { value: vec![Volume { labels: labels(), bytes: 5 }], warnings }),
            Call::Patterns(_) => Reply::Patterns(Answer::default()),
        })
    }
}

/// A cache that keeps everything, and takes nothing while it lies.
#[derive(Default)]
struct Memory {
    entries: Mutex<HashMap<String, Bytes>>,
    lies: Mutex<Option<Bytes>>,
}

#[async_trait]
impl Cache for Memory {
    async fn fetch(&self, keys: &[String]) -> Vec<Option<Bytes>> {
        let (entries, lies) = (self.entries.lock(), self.lies.lock());
        keys.iter().map(|key| lies.clone().or_else(|| entries.get(key).cloned())).collect()
    }
    fn store(&self, entries: Vec<(String, Bytes)>) {
        if self.lies.lock().is_none() {
            self.entries.lock().extend(entries);
        }
    }
}

fn stages(next: Arc<Next>, cache: Arc<Memory>) -> (Results, MetadataResults) {
    let limits = Arc::new(Overrides::new(Limits::default()));
    let clock = ManualClock::at(NOW);
    let generations = Arc::new(Generations::new(None, clock.clone()));
    let metrics = ShelfMetrics::new(&Metrics::default());
    let shelf = |kind| Some(Shelf::new(kind, cache.clone(), metrics.clone()));
    let results = Results {
        next: next.clone(),
        range: shelf("result"),
        instant: shelf("instant"),
        generations: generations.clone(),
        limits: limits.clone(),
        budget: Budget::new(1 << 30),
        clock: clock.clone(),
    };
    let (stats, volume, series, labels) = (shelf("stats"), shelf("volume"), shelf("series"), shelf("labels"));
    (results, MetadataResults { next, stats, volume, series, labels, generations, limits, clock })
}

fn calls() -> Vec<Call> {
    let query = |query: &str, time| {
        let (query, direction) = (query.to_string(), Direction::Backward);
        let request = QueryRequest {
            query,
            time,
            limit: 100,
            direction,
            part: None,
            partial_series: false,
            no_cache: false,
            tags: vec![],
        };
        Call::Query(request)
    };
    let rate = r#"rate({a="b"}[1m])"#;
    let over = |step_ns| QueryTime::Range { start_ns: TEN, end_ns: TEN + HOUR, step_ns, interval_ns: 0 };
    let matchers = vec![Matcher::equal("a", "b")];
    let of = MetadataRequest { selectors: vec![matchers.clone()], range: TimeRange::new(NOW - 3 * DAY, NOW - DAY) };
    let volume = VolumeRequest {
        matchers,
        range: of.range,
        limit: 3,
        target_labels: vec![],
        by_label_name: false,
        no_cache: false,
    };
    vec![
        query(rate, over(MINUTE)),
        query(r#"{a="b"} |= "x""#, over(0)),
        query(rate, QueryTime::Instant { time_ns: TEN }),
        Call::Labels(of.clone(), None),
        Call::Series(of.clone()),
        Call::Stats(of),
        Call::Volume(volume),
    ]
}

/// What is kept for one call: the bytes that say which, and the extents.
fn taken_apart(bytes: &Bytes) -> (Vec<u8>, Vec<u8>) {
    let key = u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize;
    (bytes[..8 + key].to_vec(), bytes[8 + key..bytes.len() - 8].to_vec())
}

#[test]
fn kept_answers_are_taken_or_a_miss() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (next, cache) = (Arc::new(Next::default()), Arc::new(Memory::default()));
    let (results, metadata) = stages(next.clone(), cache.clone());
    let tenants: Tenants = TenantId::parse("a").unwrap().into();
    let ask = |call: &Call| {
        let before = *next.0.lock();
        let stage: &dyn Calls = if matches!(call, Call::Query(_)) { &results } else { &metadata };
        let reply = runtime.block_on(stage.call(&tenants, call.clone())).expect("an answer");
        (reply, *next.0.lock() - before)
    };
    let kept: Vec<(Call, Vec<u8>, Vec<u8>, String)> = calls()
        .into_iter()
        .flat_map(|call| {
            let fresh = format!("{:?}", value_of(ask(&call).0));
            let entries: Vec<Bytes> = cache.entries.lock().drain().map(|(_, bytes)| bytes).collect();
            assert!(!entries.is_empty(), "{call:?} is kept");
            entries.into_iter().map(move |bytes| {
                let (key, extents) = taken_apart(&bytes);
                (call.clone(), key, extents, fresh.clone())
            })
        })
        .collect();
    let seeds: Vec<Vec<u8>> = kept.iter().map(|(_, _, extents, _)| extents.clone()).collect();
    let times = [TEN, TEN + MINUTE, TEN + HOUR, i64::MIN, i64::MAX].map(i64::to_le_bytes);
    let pieces: Vec<&[u8]> = times.iter().map(|time| &time[..]).collect();
    fuzz(&seeds, &pieces, |input, random| {
        let (call, key, extents, fresh) = &kept[random.below(kept.len())];
        let mut forged = [key.as_slice(), input].concat();
        let is_forged = random.below(4) > 0;
        let checksum = if is_forged { xxh64(&forged, 0) } else { random.next() };
        forged.extend(checksum.to_le_bytes());
        *cache.lies.lock() = Some(forged.into());
        let (reply, asked) = ask(call);
        *cache.lies.lock() = None;
        if !is_forged || input == extents {
            assert_eq!(&format!("{:?}", value_of(reply)), fresh);
        }
        asked == 0
    });
}

/// The answer without what it cost.
fn value_of(reply: Reply) -> Reply {
    match reply {
        Reply::Query(response) => Reply::Query(QueryResponse { stats: QueryStats::default(), ..response }),
        other => other,
    }
}

#[test]
fn answers_as_bytes_are_read_or_refused() {
    let seeds: Vec<Vec<u8>> = {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let tenants: Tenants = TenantId::parse("a").unwrap().into();
        let reply = |call| runtime.block_on(Next::default().call(&tenants, call)).unwrap();
        calls().into_iter().map(|call| reply_bytes(reply(call))).collect()
    };
    fuzz(&seeds, &[b"\xff\xff\xff\xff\x0f", b"\x80\x80\x80", &[0; 8], b"\x08\x01"], |input, _| {
        let Ok(reply) = reply_of_bytes(input) else { return false };
        let again = reply_of_bytes(&reply_bytes(reply.clone())).unwrap();
        assert_eq!(format!("{again:?}"), format!("{reply:?}"));
        true
    });
}
