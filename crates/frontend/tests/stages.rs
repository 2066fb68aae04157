//! What each stage asks of the next one, and what it makes of the answers. The next one is a list of what was asked.

use async_trait::async_trait;
use frontend::limit::Limit;
use frontend::shard::Shard;
use frontend::split::Split;
use logql::value::{LogEntry, LogStream, QueryValue, Series};
use model::{Direction, Error, Labels, Result, TenantId};
use parking_lot::Mutex;
use rpc::call::{Call, Calls, Reply};
use rpc::queries::{Answer, IndexStats, Queries, QueryRequest, QueryResponse, QueryStats, QueryTime, Tenants};
use runtime::clock::ManualClock;
use runtime::limits::{Limits, Overrides};
use runtime::memory::Budget;
use std::sync::Arc;
use std::time::Duration;

const S: i64 = 1_000_000_000;
const HOUR: i64 = 3600 * S;

/// Answers every query with `series` series of one point, or one entry a part, and says that the index knows of `bytes`.
#[derive(Default)]
struct Asked {
    queries: Mutex<Vec<QueryRequest>>,
    bytes: u64,
    series: usize,
    warning: Option<String>,
}

#[async_trait]
impl Calls for Asked {
    async fn call(&self, _: &Tenants, call: Call) -> Result<Reply> {
        match call {
            Call::Query(request) => {
                let value = self.value(&request);
                self.queries.lock().push(request);
                let stats = QueryStats { lines_processed: 10, splits: 1, ..QueryStats::default() };
                Ok(Reply::Query(QueryResponse { value, warnings: self.warning.clone().into_iter().collect(), stats }))
            }
            Call::Stats(_) => {
                let value = IndexStats { bytes: self.bytes, ..IndexStats::default() };
                Ok(Reply::Stats(Answer { value, warnings: vec![] }))
            }
            _ => Err(Error::internal("not asked in these tests")),
        }
    }
}

impl Asked {
    fn value(&self, request: &QueryRequest) -> QueryValue {
        let QueryTime::Range { start_ns, .. } = request.time else { return QueryValue::Vector(vec![]) };
        if !request.query.starts_with('{') {
            let shard = request.part.and_then(|part| part.shard).map_or(0, |shard| shard.index);
            let labels = |i: usize| Labels::new([("i", format!("{shard}-{i}"))]);
            let series = |i| Series { labels: labels(i), points: vec![(start_ns, 1.0)] };
            return QueryValue::Matrix((0..self.series).map(series).collect());
        }
        let entry = LogEntry {
            ts_ns: start_ns,
            line: "x".into(),
            structured_metadata: Labels::default(),
            parsed: Labels::default(),
        };
        QueryValue::Streams(vec![LogStream { labels: Labels::new([("a", "b")]), entries: vec![entry] }])
    }

    /// Start, end and limit of what was asked, times in seconds.
    fn ranges(&self) -> Vec<(i64, i64, u32)> {
        let of = |request: &QueryRequest| match request.time {
            QueryTime::Range { start_ns, end_ns, .. } => (start_ns / S, end_ns / S, request.limit),
            QueryTime::Instant { time_ns } => (time_ns / S, time_ns / S, request.limit),
        };
        self.queries.lock().iter().map(of).collect()
    }
}

fn request(query: &str, start_ns: i64, end_ns: i64, limit: u32) -> QueryRequest {
    let time = QueryTime::Range { start_ns, end_ns, step_ns: 600 * S, interval_ns: 0 };
    let (query, direction) = (query.to_string(), Direction::Backward);
    QueryRequest { query, time, limit, direction, part: None, partial_series: false, no_cache: false, tags: vec![] }
}

fn overrides(limits: Limits) -> Arc<Overrides> {
    Arc::new(Overrides::new(limits))
}

/// All stages over `asked`.
async fn ask(asked: &Arc<Asked>, limits: Limits, request: QueryRequest) -> Result<QueryResponse> {
    let (limits, budget, clock) = (overrides(limits), Budget::new(1 << 30), ManualClock::at(0));
    let shard = Shard { next: asked.clone(), limits: limits.clone(), budget: budget.clone(), clock: clock.clone() };
    let split = Split { next: Arc::new(shard), limits: limits.clone(), budget, clock };
    let stages = Limit { next: Arc::new(split), limits };
    stages.query(&TenantId::parse("t").unwrap().into(), request).await
}

#[tokio::test]
async fn a_log_query_reads_as_many_parts_as_its_limit_needs() {
    for (limit, expected) in [
        // The newest first, then two at once, each for what was left when it was asked.
        (2, vec![(7200, 9000, 2), (3600, 7200, 1), (0, 3600, 1)]),
        (1, vec![(7200, 9000, 1)]),
    ] {
        let asked = Arc::new(Asked::default());
        let answer = ask(&asked, Limits::default(), request(r#"{a="b"}"#, 0, 9000 * S, limit)).await.unwrap();
        assert_eq!(asked.ranges(), expected);
        assert_eq!(answer.stats.entries_returned, u64::from(limit));
        assert!(asked.queries.lock().iter().all(|request| request.part.is_some()));
    }
}

#[tokio::test]
async fn what_loses_its_labels_is_asked_part_after_part() {
    let asked = Arc::new(Asked::default());
    ask(&asked, Limits::default(), request(r#"{a="b"} | keep c"#, 0, 9000 * S, 2)).await.unwrap();
    assert_eq!(asked.ranges(), [(7200, 9000, 2), (3600, 7200, 1)]);
}

#[tokio::test]
async fn a_metric_query_is_asked_step_by_step_once() {
    let asked = Arc::new(Asked { series: 1, warning: Some("a chunk is gone".into()), ..Asked::default() });
    let answer = ask(&asked, Limits::default(), request(r#"rate({a="b"}[1m])"#, 0, 2 * HOUR, 100)).await.unwrap();
    assert_eq!(asked.ranges(), [(0, 3000, 100), (3600, 6600, 100), (7200, 7200, 100)]);
    let QueryValue::Matrix(series) = answer.value else { panic!("a matrix") };
    assert_eq!(series.len(), 1);
    assert_eq!(series[0].points, [(0, 1.0), (HOUR, 1.0), (2 * HOUR, 1.0)]);
    assert_eq!((answer.stats.lines_processed, answer.stats.splits), (30, 3));
    assert_eq!(answer.warnings, ["a chunk is gone"]);
}

#[tokio::test]
async fn shards_follow_the_bytes() {
    let limits = Limits { tsdb_max_bytes_per_shard: 100, ..Limits::default() };
    let asked = Arc::new(Asked { series: 2, bytes: 350, ..Asked::default() });
    let answer = ask(&asked, limits.clone(), request(r#"sum by (i) (rate({a="b"}[1m]))"#, 0, 0, 100)).await.unwrap();
    let queries = asked.queries.lock().clone();
    let shards: Vec<_> = queries.iter().map(|r| r.part.unwrap().shard.map(|s| (s.index, s.of))).collect();
    assert_eq!(shards, [Some((0, 4)), Some((1, 4)), Some((2, 4)), Some((3, 4))]);
    assert!(queries.iter().all(|r| r.query == r#"sum by (i)(count_over_time({a="b"}[1m]))"#), "{:?}", queries[0]);
    let QueryValue::Matrix(series) = answer.value else { panic!("a matrix") };
    assert_eq!((series.len(), series[0].points[0].1), (8, 1.0 / 60.0));
    assert_eq!((answer.stats.shards, answer.stats.splits), (4, 1));

    let asked = Arc::new(Asked { bytes: 350, ..Asked::default() });
    ask(&asked, limits, request(r#"quantile_over_time(0.5, {a="b"} | unwrap c [1m])"#, 0, 0, 100)).await.unwrap();
    assert_eq!(asked.queries.lock().iter().map(|r| r.part).collect::<Vec<_>>(), [None]);
}

#[tokio::test]
async fn the_limits_are_the_whole_querys() {
    let hours = |n: u64| Duration::from_secs(3600 * n);
    let count = r#"count_over_time({a="b"}[1m])"#;
    let shards = |max_query_series| Limits { tsdb_max_bytes_per_shard: 100, max_query_series, ..Limits::default() };
    for (limits, query, length_ns, expected) in [
        (
            Limits { max_query_length: hours(2), ..Limits::default() },
            count,
            3 * HOUR,
            "the query time range exceeds the limit (query length: 3h0m0s, limit: 2h)",
        ),
        (
            Limits { max_query_bytes_read: 349, ..Limits::default() },
            count,
            3 * HOUR,
            "the query would read too many bytes (query: 350 B, limit: 349 B); consider adding more specific stream selectors or reduce the time range of the query",
        ),
        (
            shards(7),
            count,
            0,
            "maximum number of series (7) reached for a single query; consider reducing query cardinality by adding more specific stream selectors, reducing the time range, or aggregating results with functions like sum(), count() or topk()",
        ),
    ] {
        let asked = Arc::new(Asked { series: 2, bytes: 350, ..Asked::default() });
        let error = ask(&asked, limits, request(query, 0, length_ns, 100)).await.unwrap_err();
        assert_eq!(error.message, expected);
    }
    let asked = Arc::new(Asked { series: 2, bytes: 350, ..Asked::default() });
    let partial = QueryRequest { partial_series: true, ..request(count, 0, 0, 100) };
    let answer = ask(&asked, shards(7), partial).await.unwrap();
    assert_eq!((answer.stats.entries_returned, answer.warnings.len()), (7, 1));
}
