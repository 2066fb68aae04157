//! Which times are asked of the next stage, request after request.

use crate::{DAY, HOUR, MINUTE, Memory, S, Setup, range, request, tenants};
use async_trait::async_trait;
use frontend::results::generations::SETTLED_AFTER;
use logql::value::{LogEntry, LogStream, QueryValue, Sample, Series};
use model::{Error, Labels, Result};
use parking_lot::Mutex;
use rpc::call::{Call, Calls, Reply};
use rpc::queries::{Queries, QueryRequest, QueryResponse, QueryStats, QueryTime, Tenants};
use runtime::limits::Limits;
use std::sync::Arc;

/// Noon of some day; freshness is ten minutes, so until 11:50 answers are kept.
const NOW: i64 = 20_000 * DAY + 12 * HOUR;
const TEN: i64 = NOW - 2 * HOUR;
const RATE: &str = r#"rate({a="b"}[1m])"#;

/// Answers a point at every step, one series a query; lines where `lines` say.
#[derive(Default)]
struct Next {
    asked: Mutex<Vec<(i64, i64)>>,
    warnings: Mutex<Vec<String>>,
    error: Mutex<Option<Error>>,
    series: Mutex<usize>,
    lines: Mutex<Vec<i64>>,
}

#[async_trait]
impl Calls for Next {
    async fn call(&self, _: &Tenants, call: Call) -> Result<Reply> {
        let Call::Query(request) = call else { return Err(Error::internal("not asked in these tests")) };
        let (start_ns, end_ns, step_ns) = match request.time {
            QueryTime::Range { start_ns, end_ns, step_ns, .. } => (start_ns, end_ns, step_ns),
            QueryTime::Instant { time_ns } => (time_ns, time_ns, 0),
        };
        self.asked.lock().push(((start_ns - TEN) / MINUTE, (end_ns - TEN) / MINUTE));
        if let Some(error) = self.error.lock().clone() {
            return Err(error);
        }
        let labels = |i: usize| Labels::new([("i", i.to_string())]);
        let value = if step_ns == 0 {
            QueryValue::Vector(vec![Sample { labels: labels(0), time_ns: start_ns, value: 1.0 }])
        } else if request.query.starts_with('{') {
            QueryValue::Streams(self.found(start_ns, end_ns))
        } else {
            let points: Vec<_> = (start_ns..=end_ns).step_by(step_ns as usize).map(|t| (t, t as f64)).collect();
            let count = *self.series.lock() + 1;
            QueryValue::Matrix((0..count).map(|i| Series { labels: labels(i), points: points.clone() }).collect())
        };
        let stats = QueryStats { splits: 1, ..QueryStats::default() };
        Ok(Reply::Query(QueryResponse { value, warnings: self.warnings.lock().clone(), stats }))
    }
}

impl Next {
    fn found(&self, start_ns: i64, end_ns: i64) -> Vec<LogStream> {
        let line = |ts_ns: &i64| LogEntry {
            ts_ns: *ts_ns,
            line: "x".into(),
            structured_metadata: Labels::default(),
            parsed: Labels::default(),
        };
        let entries: Vec<_> = self.lines.lock().iter().filter(|t| (start_ns..end_ns).contains(*t)).map(line).collect();
        if entries.is_empty() { vec![] } else { vec![LogStream { labels: Labels::new([("a", "b")]), entries }] }
    }
}

struct Stage {
    next: Arc<Next>,
    setup: Setup,
    cache: Arc<Memory>,
    results: frontend::results::Results,
}

impl Stage {
    fn new(limits: Limits) -> Self {
        let setup = Setup::new(limits, NOW);
        let (next, cache) = (Arc::new(Next::default()), Arc::new(Memory::default()));
        let results = setup.results(next.clone(), cache.clone());
        Stage { next, setup, cache, results }
    }

    /// The minutes after ten that are asked when `request` is.
    async fn asked_by(&self, who: &str, request: QueryRequest) -> (Vec<(i64, i64)>, QueryResponse) {
        let response = self.results.query(&tenants(who), request).await.unwrap();
        (std::mem::take(&mut *self.next.asked.lock()), response)
    }

    /// The same, from and until a minute after ten.
    async fn asks(&self, query: &str, from: i64, until: i64) -> Vec<(i64, i64)> {
        let time = range(TEN + from * MINUTE, TEN + until * MINUTE, MINUTE);
        let (asked, response) = self.asked_by("a", request(query, time)).await;
        if let QueryValue::Matrix(series) = &response.value {
            let expected: Vec<i64> = (from..=until).map(|minute| TEN + minute * MINUTE).collect();
            let got: Vec<i64> = series[0].points.iter().map(|(time_ns, _)| *time_ns).collect();
            assert_eq!(got, expected, "{query} {from}..{until}");
            assert!(series[0].points.iter().all(|(time_ns, value)| *time_ns as f64 == *value));
            assert_eq!(response.stats.splits, 1);
        }
        asked
    }
}

#[tokio::test]
async fn only_what_is_missing_is_asked() {
    let stage = Stage::new(Limits::default());
    for (from, until, asked) in [
        (10, 20, vec![(10, 20)]),
        (10, 20, vec![]),
        (12, 15, vec![]),
        (5, 12, vec![(5, 9)]),
        (0, 30, vec![(0, 4), (21, 30)]),
        (40, 50, vec![(40, 50)]),
        (0, 59, vec![(31, 39), (51, 59)]),
        (0, 59, vec![]),
    ] {
        assert_eq!(stage.asks(RATE, from, until).await, asked, "{from}..{until}");
    }
    // Written otherwise it is the same query; another one is another.
    assert_eq!(stage.asks(r#"rate( {a = "b"} [60s] )"#, 0, 59).await, []);
    assert_eq!(stage.asks(r#"rate({a="c"}[1m])"#, 0, 59).await, [(0, 59)]);
    let other_step = request(RATE, range(TEN, TEN + 58 * MINUTE, 2 * MINUTE));
    assert_eq!(stage.asked_by("a", other_step).await.0, [(0, 58)]);
    assert_eq!(stage.asked_by("b", request(RATE, range(TEN, TEN + 59 * MINUTE, MINUTE))).await.0, [(0, 59)]);
}

#[tokio::test]
async fn what_is_recent_is_always_asked() {
    let stage = Stage::new(Limits::default());
    assert_eq!(stage.asks(RATE, 90, 119).await, [(90, 119)]);
    assert_eq!(stage.asks(RATE, 90, 119).await, [(111, 119)]);
    assert_eq!(stage.asks(RATE, 111, 119).await, [(111, 119)]);
    stage.setup.clock.advance(5 * MINUTE);
    assert_eq!(stage.asks(RATE, 90, 119).await, [(111, 119)]);
    assert_eq!(stage.asks(RATE, 90, 119).await, [(116, 119)]);
    // Looks five minutes ahead.
    let ahead = r#"rate({a="b"}[1m] offset -5m)"#;
    assert_eq!(stage.asks(ahead, 90, 119).await, [(90, 119)]);
    assert_eq!(stage.asks(ahead, 90, 119).await, [(111, 119)]);
    // A clock that was wrong: what it let in counts no more.
    stage.setup.clock.set(NOW - 20 * MINUTE);
    assert_eq!(stage.asks(RATE, 90, 119).await, [(91, 119)]);
}

#[tokio::test]
async fn partial_answers_and_errors_are_not_kept() {
    let stage = Stage::new(Limits::default());
    *stage.next.warnings.lock() = vec!["a chunk is gone".into()];
    assert_eq!(stage.asks(RATE, 0, 9).await, [(0, 9)]);
    stage.next.warnings.lock().clear();
    *stage.next.error.lock() = Some(Error::unavailable("later"));
    let ten_minutes = || request(RATE, range(TEN, TEN + 9 * MINUTE, MINUTE));
    assert!(stage.results.query(&tenants("a"), ten_minutes()).await.is_err());
    *stage.next.error.lock() = None;
    stage.next.asked.lock().clear();
    assert_eq!(stage.asks(RATE, 0, 9).await, [(0, 9)]);
    assert_eq!(stage.asks(RATE, 0, 9).await, []);
    // What was kept is not lost by a partial answer about the rest, and not mixed with it.
    *stage.next.warnings.lock() = vec!["a chunk is gone".into()];
    let (asked, response) = stage.asked_by("a", request(RATE, range(TEN, TEN + 12 * MINUTE, MINUTE))).await;
    assert_eq!((asked, response.warnings), (vec![(10, 12)], vec!["a chunk is gone".to_string()]));
    stage.next.warnings.lock().clear();
    assert_eq!(stage.asks(RATE, 0, 12).await, [(10, 12)]);
}

#[tokio::test]
async fn no_cache_neither_reads_nor_keeps() {
    let stage = Stage::new(Limits::default());
    let fresh = || QueryRequest { no_cache: true, ..request(RATE, range(TEN, TEN + 9 * MINUTE, MINUTE)) };
    assert_eq!(stage.asked_by("a", fresh()).await.0, [(0, 9)]);
    assert_eq!(stage.asks(RATE, 0, 9).await, [(0, 9)]);
    assert_eq!(stage.asked_by("a", fresh()).await.0, [(0, 9)]);
    for query in [r#"rate({a="b"} | line_format "{{ now }}" [1m])"#, r#"{a="b"} | label_format x="{{ now }}""#] {
        assert_eq!(stage.asks(query, 0, 9).await, [(0, 9)], "{query}");
        assert_eq!(stage.asks(query, 0, 9).await, [(0, 9)], "{query}");
    }
}

#[tokio::test]
async fn a_delete_request_hides_what_is_kept() {
    let stage = Stage::new(Limits::default());
    assert_eq!(stage.asks(RATE, 0, 9).await, [(0, 9)]);
    assert_eq!(stage.asks(RATE, 0, 9).await, []);
    *stage.setup.deletes.0.lock() = "1".into();
    // Nothing is kept until every querier knows of the request.
    assert_eq!(stage.asks(RATE, 0, 9).await, [(0, 9)]);
    assert_eq!(stage.asks(RATE, 0, 9).await, [(0, 9)]);
    stage.setup.clock.advance(SETTLED_AFTER.as_nanos() as i64);
    assert_eq!(stage.asks(RATE, 0, 9).await, [(0, 9)]);
    assert_eq!(stage.asks(RATE, 0, 9).await, []);
    // Where nobody tells the requests, nothing that is kept is shown.
    *stage.setup.deletes.0.lock() = "unknown".into();
    assert_eq!(stage.asks(RATE, 0, 9).await, [(0, 9)]);
}

#[tokio::test]
async fn a_query_that_finds_nothing_is_not_run_again() {
    let stage = Stage::new(Limits::default());
    let query = r#"{a="b"} |= "x""#;
    assert_eq!(stage.asks(query, 0, 30).await, [(0, 30)]);
    assert_eq!(stage.asks(query, 0, 30).await, []);
    assert_eq!(stage.asks(query, 10, 20).await, []);
    assert_eq!(stage.asks(query, 20, 40).await, [(30, 40)]);
    assert_eq!(stage.asks(query, 0, 40).await, []);
    *stage.next.lines.lock() = vec![TEN + 45 * MINUTE];
    let (asked, response) = stage.asked_by("a", request(query, range(TEN, TEN + 50 * MINUTE, MINUTE))).await;
    assert_eq!(asked, [(40, 50)]);
    assert!(matches!(response.value, QueryValue::Streams(streams) if streams[0].entries.len() == 1));
    assert_eq!(stage.asks(query, 0, 50).await, [(40, 50)], "what finds something is run");
    // Until 11:50 it may be kept.
    assert_eq!(stage.asks(query, 100, 119).await, [(100, 119)]);
    assert_eq!(stage.asks(query, 100, 119).await, [(110, 119)]);
    let too_many = QueryRequest { limit: 5001, ..request(query, range(TEN, TEN + 30 * MINUTE, MINUTE)) };
    assert_eq!(stage.asked_by("a", too_many).await.0, [(0, 30)], "whoever refuses it is asked");
}

#[tokio::test]
async fn moments_are_kept_each_for_itself() {
    let stage = Stage::new(Limits::default());
    let at = |minute: i64| request(RATE, QueryTime::Instant { time_ns: TEN + minute * MINUTE });
    for (minute, asked) in
        [(0, vec![(0, 0)]), (0, vec![]), (1, vec![(1, 1)]), (115, vec![(115, 115)]), (115, vec![(115, 115)])]
    {
        let (got, response) = stage.asked_by("a", at(minute)).await;
        assert_eq!(got, asked, "{minute}");
        let sample = Sample { labels: Labels::new([("i", "0")]), time_ns: TEN + minute * MINUTE, value: 1.0 };
        assert_eq!(response.value, QueryValue::Vector(vec![sample]));
    }
}

#[tokio::test]
async fn limits_are_those_of_the_whole_answer() {
    let stage = Stage::new(Limits { max_query_series: 2, ..Limits::default() });
    assert_eq!(stage.asks(RATE, 0, 9).await, [(0, 9)]);
    *stage.next.series.lock() = 2;
    let whole = || request(RATE, range(TEN, TEN + 19 * MINUTE, MINUTE));
    let error = stage.results.query(&tenants("a"), whole()).await.unwrap_err();
    assert!(error.message.starts_with("maximum number of series (2) reached"), "{error}");
    let partial = QueryRequest { partial_series: true, ..whole() };
    let (_, response) = stage.asked_by("a", partial).await;
    assert_eq!(response.warnings.len(), 1);
    let QueryValue::Matrix(series) = response.value else { panic!("a matrix") };
    assert_eq!(series.len(), 2);
}

#[tokio::test]
async fn bytes_of_others_and_damaged_bytes_are_misses() {
    let stage = Stage::new(Limits::default());
    assert_eq!(stage.asks(RATE, 0, 9).await, [(0, 9)]);
    let other = r#"rate({a="c"}[1m])"#;
    assert_eq!(stage.asks(other, 0, 9).await, [(0, 9)]);
    {
        // As if the hashes of the two keys were equal.
        let mut entries = stage.cache.0.lock();
        let values: Vec<_> = entries.values().cloned().collect();
        entries.values_mut().zip(values.into_iter().rev()).for_each(|(entry, other)| *entry = other);
    }
    assert_eq!(stage.asks(RATE, 0, 9).await, [(0, 9)]);
    for entry in stage.cache.0.lock().values_mut() {
        let middle = entry.len() / 2;
        let mut bytes = entry.to_vec();
        bytes[middle] ^= 1;
        *entry = bytes.into();
    }
    assert_eq!(stage.asks(RATE, 0, 9).await, [(0, 9)]);
    assert_eq!(stage.asks(RATE, 0, 9).await, []);
}

#[tokio::test]
async fn what_a_cache_gave_stands_in_the_statistics() {
    let stage = Stage::new(Limits::default());
    let ask = || request(RATE, range(TEN, TEN + 9 * MINUTE, MINUTE));
    let cold = stage.asked_by("a", ask()).await.1.stats.results;
    assert_eq!((cold.requests, cold.entries_requested, cold.entries_found, cold.entries_stored), (1, 1, 0, 1));
    let warm = stage.asked_by("a", ask()).await.1.stats.results;
    assert_eq!((warm.requests, warm.entries_requested, warm.entries_found, warm.entries_stored), (1, 1, 1, 0));
    assert_eq!((warm.bytes_received, warm.length_served.as_nanos() as i64), (cold.bytes_sent, 9 * 60 * S));
}
