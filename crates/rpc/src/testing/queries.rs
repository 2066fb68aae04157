//! The contracts of [`Queries`] and of [`Tails`].

use crate::call::{Call, Calls, Reply, ask};
use crate::ingester::DroppedEntries;
use crate::queries::{
    Answer, IndexStats, MetadataRequest, PatternSeries, PatternsQuery, Queries, QueryRequest, QueryResponse,
    QueryStats, QueryTime, Tenants, Volume, VolumeRequest,
};
use crate::scheduler::Offered;
use crate::tail::{TailFrame, TailRequest, Tails};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use logql::source::Shard;
use logql::value::{LogEntry, LogStream, QueryValue, Sample, Series};
use model::{Direction, Error, Kind, Labels, MatchOp, Matcher, Result, TenantId, TimeRange};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A query service that gives one answer after the other, and remembers what it was asked.
#[derive(Default)]
pub struct ScriptedQueries {
    pub asked: Mutex<Vec<(Tenants, Call)>>,
    /// The next answer last.
    pub replies: Mutex<Vec<Result<Reply>>>,
}

#[async_trait]
impl Calls for ScriptedQueries {
    async fn call(&self, tenants: &Tenants, call: Call) -> Result<Reply> {
        self.asked.lock().expect("no test panics with it").push((tenants.clone(), call));
        self.replies.lock().expect("no test panics with it").pop().expect("an answer for every call")
    }
}

/// Has every place, and counts who took one.
#[derive(Default)]
pub struct EveryPlace {
    pub taken: Mutex<Vec<u64>>,
}

impl Offered for EveryPlace {
    fn take(&self, ticket: u64, _: &Tenants) -> Result<Box<dyn Send>> {
        self.taken.lock().expect("no test panics with it").push(ticket);
        Ok(Box::new(()))
    }
}

/// Checks that `make` gives a query service that is, to its caller, the scripted one it is given.
pub async fn check_queries<F, Q>(make: F)
where
    F: AsyncFn(Arc<ScriptedQueries>) -> Q,
    Q: Queries,
{
    let script = Arc::new(ScriptedQueries::default());
    let queries = make(script.clone()).await;
    let tenant = |name: &str| TenantId::parse(name).expect("a valid name");
    let several = Tenants { ids: vec![tenant("team-a"), tenant("team-b")], labelled: true };
    for tenants in [several, tenant("team-a").into()] {
        for (call, reply) in exchanges() {
            script.replies.lock().expect("no test panics with it").push(Ok(reply.clone()));
            let got = ask(&queries, &tenants, call.clone()).await.expect("an answer");
            assert_eq!(format!("{got:?}"), format!("{reply:?}"), "answers arrive as they are");
            let asked = script.asked.lock().expect("no test panics with it").pop();
            assert_eq!(format!("{asked:?}"), format!("{:?}", Some((&tenants, &call))), "calls arrive as they are");
        }
    }
    for kind in [Kind::Invalid, Kind::Limited, Kind::Timeout, Kind::Unavailable, Kind::NotFound, Kind::Cancelled] {
        let error = Error::new(kind, format!("what\nhappened: {}", "ü".repeat(20_000)));
        for (call, _) in exchanges() {
            script.replies.lock().expect("no test panics with it").push(Err(error.clone()));
            assert_eq!(ask(&queries, &tenant("a").into(), call).await.err(), Some(error.clone()));
        }
    }
}

/// Calls of every shape with answers of every shape, some of more than one message.
fn exchanges() -> Vec<(Call, Reply)> {
    let range = TimeRange::new(i64::MIN, i64::MAX);
    let regex = Matcher::new("b", MatchOp::NotRe, "x|y\n").expect("a valid pattern");
    let matchers = vec![Matcher::equal("app", "a\"b"), regex];
    let about = |selectors| MetadataRequest { selectors, range };
    let warnings = || vec!["an ingester\nis missing: ü".to_string(), "w".repeat(2 << 20)];
    let query = |time, direction, partial_series| QueryRequest {
        query: "{a=\"b\"} |= \"ü\"".into(),
        time,
        limit: u32::MAX,
        direction,
        partial_series,
        no_cache: false,
        tags: vec![],
        part: partial_series.then_some(crate::queries::Part { shard: Some(Shard { index: 1, of: 2 }) }),
    };
    let over = QueryTime::Range { start_ns: -1, end_ns: i64::MAX, step_ns: 5, interval_ns: 7 };
    let at = QueryTime::Instant { time_ns: -5 };
    let mut all: Vec<(Call, Reply)> = values()
        .into_iter()
        .flat_map(|value| {
            let reply = Reply::Query(QueryResponse { value, warnings: warnings(), stats: stats() });
            [(query(over, Direction::Forward, true), reply.clone()), (query(at, Direction::Backward, false), reply)]
        })
        .map(|(request, reply)| (Call::Query(request), reply))
        .collect();
    let names: Vec<String> = (0..300).map(|i| format!("{i}{}", "x".repeat(10_000))).collect();
    let names = Reply::Labels(Answer { value: names, warnings: warnings() });
    let volume = |n: u64| Volume { labels: labels(n), bytes: u64::MAX - n };
    let patterns = |n: i64| PatternSeries {
        pattern: format!("<_> {n}"),
        level: "info".into(),
        samples: vec![patterns::Sample { time_ns: -n, lines: 7 }],
    };
    let stats = IndexStats { streams: 1, chunks: 2, bytes: u64::MAX, entries: 4 };
    let volumes = VolumeRequest {
        matchers: matchers.clone(),
        range,
        limit: 3,
        target_labels: vec!["a".into(), "b".into()],
        by_label_name: true,
        no_cache: false,
    };
    let of_patterns = PatternsQuery { matchers: matchers.clone(), range, step: Duration::from_secs(9) };
    all.extend([
        (Call::Labels(about(vec![]), None), names.clone()),
        (Call::Labels(about(vec![matchers.clone(), vec![]]), Some("n".into())), names),
        (
            Call::Series(about(vec![matchers.clone()])),
            Reply::Series(Answer { value: (0..40_000).map(labels).collect(), warnings: vec![] }),
        ),
        (Call::Stats(about(vec![matchers])), Reply::Stats(Answer { value: stats, warnings: warnings() })),
        (
            Call::Volume(volumes),
            Reply::Volume(Answer { value: (0..40_000).map(volume).collect(), warnings: warnings() }),
        ),
        (
            Call::Patterns(of_patterns),
            Reply::Patterns(Answer { value: (0..9000).map(patterns).collect(), warnings: vec![] }),
        ),
    ]);
    all
}

fn labels(n: u64) -> Labels {
    Labels::new([("app", "a"), ("n", &n.to_string())])
}

fn values() -> Vec<QueryValue> {
    let entry = |ts_ns: i64, bytes: usize| LogEntry {
        ts_ns,
        line: Bytes::from(vec![0xff; bytes]),
        structured_metadata: Labels::new([("trace", "1\n")]),
        parsed: labels(9),
    };
    let stream = |n, entries| LogStream { labels: labels(n), entries };
    let series = |n, points: i64| Series {
        labels: labels(n),
        points: (0..points).map(|i| (-i, if i == 3 { f64::NAN } else { i as f64 / -3.0 })).collect(),
    };
    vec![
        QueryValue::Streams(vec![]),
        QueryValue::Streams(vec![
            stream(0, (0..50_000).map(|i| entry(i64::MAX - i, 70)).collect()),
            stream(1, vec![]),
            stream(2, vec![entry(i64::MIN, 3 << 20), entry(0, 0), entry(1, 3 << 20)]),
        ]),
        QueryValue::Matrix(vec![series(0, 100_000), series(1, 0), series(2, 8192)]),
        QueryValue::Matrix(vec![Series { labels: labels(0), points: vec![(0, -0.0)] }]),
        QueryValue::Vector((0..30_000).map(|n| Sample { labels: labels(n), time_ns: -1, value: 0.5 }).collect()),
        QueryValue::Vector([0.0, -0.0].map(|value| Sample { labels: labels(0), time_ns: 0, value }).to_vec()),
        QueryValue::Scalar { time_ns: i64::MIN, value: f64::NEG_INFINITY },
        QueryValue::Scalar { time_ns: 0, value: -0.0 },
    ]
}

/// Each number another one.
fn stats() -> QueryStats {
    QueryStats {
        exec_time: Duration::from_nanos(1),
        queue_time: Duration::from_secs(2),
        bytes_processed: 3,
        lines_processed: 4,
        entries_returned: 5,
        post_filter_lines: 6,
        structured_metadata_bytes: 7,
        splits: 8,
        shards: 9,
        chunks_referenced: 10,
        chunks_downloaded: 11,
        chunks_download_time: Duration::from_millis(12),
        chunk_refs_time: Duration::from_millis(13),
        compressed_bytes: 14,
        decompressed_bytes: 15,
        decompressed_lines: 16,
        duplicates: 17,
        ingesters_reached: 18,
        ingester_streams: 19,
        ingester_blocks: 20,
        ingester_bytes: 21,
        ingester_lines: u64::MAX,
        ..QueryStats::default()
    }
}

/// A tail service that tells what it was filled with.
#[derive(Default)]
pub struct ScriptedTails {
    pub asked: Mutex<Vec<(TenantId, TailRequest)>>,
    pub frames: Vec<Result<TailFrame>>,
    /// What refuses a tail, if set.
    pub refused: Option<Error>,
}

#[async_trait]
impl Tails for ScriptedTails {
    async fn tail(&self, tenant: &TenantId, request: TailRequest) -> Result<BoxStream<'static, Result<TailFrame>>> {
        self.asked.lock().expect("no test panics with it").push((tenant.clone(), request));
        match &self.refused {
            Some(error) => Err(error.clone()),
            None => Ok(stream::iter(self.frames.clone()).boxed()),
        }
    }
}

/// Checks that `make` gives a tail service that is, to its caller, the scripted one it is given.
pub async fn check_tails<F, T>(make: F)
where
    F: AsyncFn(Arc<ScriptedTails>) -> T,
    T: Tails,
{
    let tenant = TenantId::parse("team-a").expect("a valid name");
    let request =
        TailRequest { query: "{a=\"b\"}".into(), start_ns: i64::MIN, limit: 7, delay_for: Duration::from_secs(5) };
    let QueryValue::Streams(streams) = values().remove(1) else { panic!("streams") };
    let dropped = vec![DroppedEntries { labels: labels(1), ts_ns: -1, entries: u64::MAX }];
    let ended = Error::new(Kind::Timeout, "reached tail max duration limit");
    let frames = vec![
        Ok(TailFrame { streams: streams[1..].to_vec(), dropped: dropped.clone() }),
        Ok(TailFrame { streams: vec![], dropped }),
        Err(ended),
    ];
    let script = Arc::new(ScriptedTails { frames: frames.clone(), ..ScriptedTails::default() });
    let told = make(script.clone()).await.tail(&tenant, request.clone()).await.expect("a tail");
    assert_eq!(told.collect::<Vec<_>>().await, frames);
    assert_eq!(*script.asked.lock().expect("no test panics with it"), [(tenant.clone(), request.clone())]);
    let error = Error::invalid("no such\ntail: ü");
    let script = Arc::new(ScriptedTails { refused: Some(error.clone()), ..ScriptedTails::default() });
    assert_eq!(make(script).await.tail(&tenant, request).await.err(), Some(error));
}
