//! Exports over a scripted query service: every line once and in order, whatever the pages and however often it goes on.

use super::*;
use async_trait::async_trait;
use axum::body::to_bytes;
use axum::http::StatusCode;
use rpc::queries::{
    Answer, IndexStats, MetadataRequest, PatternSeries, PatternsQuery, QueryResponse, QueryStats, Volume, VolumeRequest,
};
use runtime::clock::ManualClock;
use runtime::limits::{Limits, Overrides};
use serde_json::Value;
use std::sync::atomic::{AtomicUsize, Ordering};
use tower::ServiceExt;

/// Entries by time, stream and line; fails after so many answers.
struct Script {
    entries: Vec<(i64, &'static str, String)>,
    answers: AtomicUsize,
    answers_max: usize,
}

#[async_trait]
impl Queries for Script {
    /// Which entries of a moment that is cut come is arbitrary: those of the last stream here.
    async fn query(&self, _: &Tenants, request: QueryRequest) -> Result<QueryResponse> {
        if self.answers.fetch_add(1, Ordering::SeqCst) >= self.answers_max {
            return Err(Error::unavailable("an ingester went away"));
        }
        let QueryTime::Range { start_ns, end_ns, .. } = request.time else { panic!("a range") };
        let mut found: Vec<_> = self.entries.iter().filter(|(ts, ..)| (start_ns..end_ns).contains(ts)).collect();
        found.sort_by_key(|(ts, app, _)| (*ts, std::cmp::Reverse(*app)));
        if request.direction == Direction::Backward {
            found.reverse();
        }
        found.truncate(request.limit as usize);
        let mut streams: Vec<LogStream> = vec![];
        for (ts_ns, app, line) in found {
            let labels = Labels::new([("app", *app)]);
            let entry = LogEntry {
                ts_ns: *ts_ns,
                line: line.clone().into(),
                structured_metadata: Labels::default(),
                parsed: Labels::default(),
            };
            match streams.iter_mut().find(|s| s.labels == labels) {
                Some(stream) => stream.entries.push(entry),
                None => streams.push(LogStream { labels, entries: vec![entry] }),
            }
        }
        let value = QueryValue::Streams(streams);
        Ok(QueryResponse { value, warnings: vec!["a chunk is unreadable".into()], stats: QueryStats::default() })
    }
    async fn labels(&self, _: &Tenants, _: MetadataRequest, _: Option<String>) -> Result<Answer<Vec<String>>> {
        Err(Error::internal("not asked"))
    }
    async fn series(&self, _: &Tenants, _: MetadataRequest) -> Result<Answer<Vec<Labels>>> {
        Err(Error::internal("not asked"))
    }
    async fn stats(&self, _: &Tenants, _: MetadataRequest) -> Result<Answer<IndexStats>> {
        Err(Error::internal("not asked"))
    }
    async fn volume(&self, _: &Tenants, _: VolumeRequest) -> Result<Answer<Vec<Volume>>> {
        Err(Error::internal("not asked"))
    }
    async fn patterns(&self, _: &Tenants, _: PatternsQuery) -> Result<Answer<Vec<PatternSeries>>> {
        Err(Error::internal("not asked"))
    }
}

/// 1,000 moments with one to seven entries each, in three streams.
fn entries() -> Vec<(i64, &'static str, String)> {
    let moment = |ts: i64| {
        (0..=(ts * 31) % 7).map(move |n| (ts, ["a", "b", "c"][(ts + n) as usize % 3], format!("line {n} at {ts}")))
    };
    (0..1000).flat_map(moment).collect()
}

async fn get(
    entries: Vec<(i64, &'static str, String)>,
    answers_max: usize,
    page: u64,
    params: &str,
) -> (StatusCode, String) {
    let api = ReadApi {
        queries: Arc::new(Script { entries, answers: AtomicUsize::new(0), answers_max }),
        limits: Arc::new(Overrides::new(Limits { max_entries_limit_per_query: page, ..Limits::default() })),
        auth_enabled: false,
        per_request_limits_enabled: false,
        clock: ManualClock::at(5000),
    };
    let uri = format!("/lokirs/api/v1/export?query=%7Bapp%3D~%22.%2B%22%7D&start=00000000000&end=00000001000&{params}");
    let request = Request::get(uri).body(Body::empty()).unwrap();
    let response = super::super::router(api).oneshot(request).await.unwrap();
    let status = response.status();
    (status, String::from_utf8(to_bytes(response.into_body(), 64 << 20).await.unwrap().to_vec()).unwrap())
}

/// The entries of an answer as time and line, and its last line.
fn read(body: &str) -> (Vec<(i64, String)>, Value) {
    let lines: Vec<Value> = body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let entries = lines.iter().filter(|line| line.get("timestamp").is_some());
    let entries =
        entries.map(|e| (e["timestamp"].as_str().unwrap().parse().unwrap(), e["line"].as_str().unwrap().to_string()));
    (entries.collect(), lines.last().unwrap().clone())
}

#[tokio::test]
async fn every_line_comes_once_in_order_whatever_the_page() {
    let mut all: Vec<(i64, String)> = entries().into_iter().map(|(ts, _, line)| (ts, line)).collect();
    all.sort();
    for page in [8, 9, 50, 1000, 5000] {
        for direction in ["forward", "backward"] {
            let (status, body) = get(entries(), usize::MAX, page, &format!("direction={direction}")).await;
            let (mut told, end) = read(&body);
            assert_eq!((status, &end["end"]["complete"]), (StatusCode::OK, &Value::Bool(true)));
            let sorted = told.is_sorted_by(|a, b| if direction == "forward" { a.0 <= b.0 } else { a.0 >= b.0 });
            assert!(sorted, "page {page}");
            told.sort();
            assert_eq!(told, all, "page {page} {direction}");
            assert_eq!(body.matches("a chunk is unreadable").count(), 1);
        }
    }
}

#[tokio::test]
async fn an_export_goes_on_from_its_cursor() {
    for (limit, by) in [(1, "limit=1"), (10, "limit=10"), (333, "limit=333"), (usize::MAX, "max_bytes=5000")] {
        let all = entries().into_iter().filter(|(ts, ..)| *ts < 60).collect::<Vec<_>>();
        let (mut told, mut cursor) = (vec![], String::new());
        loop {
            let (_, body) = get(all.clone(), usize::MAX, 50, &format!("{by}{cursor}")).await;
            let (some, end) = read(&body);
            assert!(some.len() <= limit);
            told.extend(some);
            let next = [&end["end"]["cursor"], &end["error"]["cursor"]].into_iter().find_map(Value::as_str);
            match next {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert!(told.is_sorted_by_key(|(ts, _)| *ts));
        told.sort();
        let mut all: Vec<_> = all.into_iter().map(|(ts, _, line)| (ts, line)).collect();
        all.sort();
        assert_eq!(told, all, "{by}");
    }
}

#[tokio::test]
async fn what_cannot_go_on_says_so() {
    let (status, body) = get(entries(), 3, 50, "").await;
    let (told, end) = read(&body);
    assert_eq!((status, end["error"]["message"].as_str()), (StatusCode::OK, Some("an ingester went away")));
    assert_eq!(end["error"]["entries"].as_u64(), Some(told.len() as u64));
    let (status, body) = get(entries(), 0, 50, "").await;
    assert_eq!((status, body.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "an ingester went away"));
    let moment: Vec<_> = (0..20).map(|n| (5, "a", n.to_string())).collect();
    let (_, body) = get(moment, usize::MAX, 10, "").await;
    let text = "more than 10 entries have the timestamp 5 (setting: max_entries_limit_per_query)";
    assert_eq!(body, text);
    for (params, text) in [
        ("cursor=x", "invalid cursor 'x'"),
        ("direction=up", "invalid direction 'up'"),
        ("limit=0", "limit must be a positive value"),
    ] {
        assert_eq!(get(entries(), 9, 50, params).await, (StatusCode::BAD_REQUEST, text.to_string()));
    }
}
