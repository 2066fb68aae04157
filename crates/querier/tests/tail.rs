//! The querier's tail over scripted ingesters and a scripted history: each entry once, history first.

use async_trait::async_trait;
use format::Codec;
use futures::StreamExt;
use futures::stream::BoxStream;
use logql::value::{LogEntry, LogStream, QueryValue};
use model::{BlockBuilder, Error, Kind, Labels, Layout, Result, SymbolsBuilder, TenantId};
use querier::ingesters::{Ingesters, ReadSet};
use querier::tail::Tailer;
use rpc::ingester::{DroppedEntries, Ingester, RecentBlock, RecentStream, Tailed};
use rpc::queries::{
    Answer, IndexStats, MetadataRequest, Queries, QueryRequest, QueryResponse, QueryStats, QueryTime, Tenants, Volume,
    VolumeRequest,
};
use rpc::tail::{TailFrame, TailRequest, Tails};
use rpc::testing::ScriptedIngester;
use runtime::clock::ManualClock;
use runtime::limits::{Limits, Overrides};
use std::sync::Arc;
use std::time::Duration;

const NOW: i64 = 1_768_471_200_000_000_000;

struct Members(Vec<Arc<dyn Ingester>>, usize);

impl Ingesters for Members {
    fn members(&self) -> ReadSet {
        ReadSet::of_each(self.0.clone(), self.1)
    }
}

/// Answers a log query with what it holds, newest first; knows no other question.
struct History(Vec<LogStream>);

#[async_trait]
impl Queries for History {
    async fn query(&self, _: &Tenants, request: QueryRequest) -> Result<QueryResponse> {
        let QueryTime::Range { start_ns, end_ns, .. } = request.time else { panic!("a range") };
        assert!(start_ns == NOW - 100 && end_ns > NOW, "{:?}", request.time);
        assert_eq!(request.direction, model::Direction::Backward);
        let value = QueryValue::Streams(self.0.clone());
        Ok(QueryResponse { value, warnings: vec![], stats: QueryStats::default() })
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
}

fn labels(app: &str) -> Labels {
    Labels::new([("app", app)])
}

/// Pushed entries of one stream, as times after `NOW` and lines.
fn pushed(app: &str, entries: &[(i64, &str)]) -> Tailed {
    let (mut block, mut symbols) = (BlockBuilder::new(Layout::Metadata), SymbolsBuilder::default());
    for (at, line) in entries {
        block.push(NOW + at, line.as_bytes(), [("trace", "7")].into_iter(), &mut symbols);
    }
    let (entries, min_ts_ns, max_ts_ns) = (block.entries, block.min_ts_ns, block.max_ts_ns);
    let payload: bytes::Bytes = block.into_data().into();
    let raw_bytes = payload.len() as u64;
    let symbols = Arc::new(symbols.finish());
    let (codec, layout) = (Codec::None, Layout::Metadata);
    let block = RecentBlock { codec, layout, payload, symbols, entries, min_ts_ns, max_ts_ns, raw_bytes };
    let labels = labels(app);
    Tailed::Pushed(RecentStream { fingerprint: labels.fingerprint(), labels, blocks: vec![block], flushed: vec![] })
}

/// A stream of the history; entries newest first.
fn stored(app: &str, entries: &[(i64, &str)]) -> LogStream {
    let entry = |(at, line): &(i64, &str)| LogEntry {
        ts_ns: NOW + at,
        line: line.to_string().into(),
        structured_metadata: Labels::new([("trace", "7")]),
        parsed: Labels::default(),
    };
    LogStream { labels: labels(app), entries: entries.iter().map(entry).collect() }
}

fn script(tailed: &[Tailed]) -> Arc<dyn Ingester> {
    Arc::new(ScriptedIngester { tailed: tailed.to_vec(), ..ScriptedIngester::default() })
}

fn broken(error: Error) -> Arc<dyn Ingester> {
    Arc::new(ScriptedIngester { error: Some(error), ..ScriptedIngester::default() })
}

async fn open(
    members: Members,
    history: Vec<LogStream>,
    query: &str,
    duration_max: Duration,
    delay_for: Duration,
) -> Result<BoxStream<'static, Result<TailFrame>>> {
    let tailer = Tailer {
        ingesters: Arc::new(members),
        queries: Arc::new(History(history)),
        limits: Arc::new(Overrides::new(Limits::default())),
        clock: ManualClock::at(NOW),
        duration_max,
    };
    let request = TailRequest { query: query.into(), start_ns: NOW - 100, limit: 100, delay_for };
    tailer.tail(&TenantId::anonymous(), request).await
}

/// Everything until the tail ends by its duration: `app time line` and what was dropped.
async fn shown(mut frames: BoxStream<'static, Result<TailFrame>>) -> (Vec<String>, Vec<DroppedEntries>, usize) {
    let (mut lines, mut dropped, mut count) = (vec![], vec![], 0);
    loop {
        match frames.next().await.expect("an end that says why") {
            Ok(frame) => {
                count += 1;
                assert!(frame.streams.len() <= 100);
                for stream in frame.streams {
                    let [e] = &stream.entries[..] else { panic!("one entry a stream") };
                    assert_eq!(e.structured_metadata.get("trace"), Some("7"));
                    let line = String::from_utf8_lossy(&e.line);
                    lines.push(format!("{} {} {line}", stream.labels.get("app").unwrap(), e.ts_ns - NOW));
                }
                dropped.extend(frame.dropped);
            }
            Err(error) => {
                assert_eq!(error.message, "reached tail max duration limit");
                assert!(frames.next().await.is_none());
                return (lines, dropped, count);
            }
        }
    }
}

const LONG: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn history_comes_first_and_every_entry_once() {
    let first = script(&[pushed("a", &[(-1, "three"), (1, "four")]), pushed("b", &[(2, "x"), (2, "y")])]);
    let replica =
        script(&[pushed("b", &[(2, "x"), (2, "y")]), pushed("a", &[(-1, "three"), (1, "four"), (3, "five")])]);
    let history = vec![stored("a", &[(-1, "three"), (-3, "one")]), stored("b", &[(-2, "two")])];
    let tail = open(Members(vec![first, replica], 0), history, "{app=~\".+\"}", LONG, Duration::ZERO).await.unwrap();
    let (mut lines, dropped, _) = shown(tail).await;
    assert_eq!(lines[..3], ["a -3 one", "b -2 two", "a -1 three"]);
    lines[3..].sort();
    assert_eq!(lines[3..], ["a 1 four", "a 3 five", "b 2 x", "b 2 y"]);
    assert_eq!(dropped, []);
}

#[tokio::test(start_paused = true)]
async fn pipelines_run_and_drops_are_passed_on() {
    let note = DroppedEntries { labels: labels("a"), ts_ns: 5, entries: 9 };
    let ingester = script(&[pushed("a", &[(1, "keep me"), (2, "drop me")]), Tailed::Dropped(note.clone())]);
    let query = r#"{app="a"} |= "keep" | line_format "<{{__line__}}>""#;
    let tail = open(Members(vec![ingester], 0), vec![], query, LONG, Duration::ZERO).await.unwrap();
    let (lines, dropped, _) = shown(tail).await;
    assert_eq!((lines, dropped), (vec!["a 1 <keep me>".to_string()], vec![note]));
}

#[tokio::test(start_paused = true)]
async fn a_delay_puts_entries_of_several_senders_in_order() {
    let slow = script(&[pushed("a", &[(5, "later")])]);
    let slower = script(&[pushed("b", &[(3, "sooner")]), pushed("b", &[(9, "last")])]);
    let members = Members(vec![slow, slower], 0);
    let tail = open(members, vec![], "{app=~\".+\"}", LONG, Duration::from_secs(2)).await.unwrap();
    assert_eq!(shown(tail).await.0, ["b 3 sooner", "a 5 later", "b 9 last"]);
}

#[tokio::test(start_paused = true)]
async fn frames_are_bounded() {
    let entries: Vec<(i64, String)> = (0..250).map(|i| (i, format!("line {i}"))).collect();
    let entries: Vec<(i64, &str)> = entries.iter().map(|(at, line)| (*at, line.as_str())).collect();
    let ingester = script(&[pushed("a", &entries)]);
    let tail = open(Members(vec![ingester], 0), vec![], "{app=\"a\"}", LONG, Duration::ZERO).await.unwrap();
    let (lines, _, frames) = shown(tail).await;
    assert_eq!((lines.len(), frames), (250, 3));
}

#[tokio::test(start_paused = true)]
async fn so_many_ingesters_may_fail_as_replication_covers() {
    let unavailable = || broken(Error::unavailable("gone"));
    let limited = || broken(Error::invalid("max concurrent tail requests limit exceeded, count > limit (11 > 10)"));
    let good = || script(&[pushed("a", &[(1, "x")])]);
    for (members, may_fail, expected) in [
        (vec![good(), unavailable(), good()], 1, None),
        (vec![good(), unavailable()], 0, Some(Kind::Unavailable)),
        (vec![good(), unavailable(), unavailable()], 1, Some(Kind::Unavailable)),
        (vec![good(), limited(), unavailable()], 1, Some(Kind::Invalid)),
    ] {
        let tail = open(Members(members, may_fail), vec![], "{app=\"a\"}", LONG, Duration::ZERO).await;
        assert_eq!(tail.as_ref().err().map(|e| e.kind), expected);
        if let Ok(tail) = tail {
            assert_eq!(shown(tail).await.0, ["a 1 x"]);
        }
    }
}

#[tokio::test]
async fn what_may_not_be_asked_is_refused_at_once() {
    for (query, delay_s, expected) in [
        ("{app=", 0, "parse error"),
        ("rate({app=\"a\"}[1m])", 0, "only log selector is supported"),
        ("{app=\"a\"}", 6, "delay_for can't be greater than 5"),
    ] {
        let opened = open(Members(vec![], 0), vec![], query, LONG, Duration::from_secs(delay_s)).await;
        let error = opened.err().expect("a refusal");
        assert!(error.kind == Kind::Invalid && error.message.contains(expected), "{query}: {error}");
    }
}
