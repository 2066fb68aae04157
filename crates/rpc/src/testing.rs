//! Contracts of the services: what every implementation of a trait must do, be it an instance or a client in front of
//! one. An implementation is made by the test; what it is filled with comes from the contract.

mod deletes;
mod index;
mod queries;
mod scheduler;

pub use deletes::{ScriptedDeletes, check_deletes};
pub use index::{ScriptedIndex, check_index};
pub use queries::{EveryPlace, ScriptedQueries, ScriptedTails, check_queries, check_tails};
pub use scheduler::{ScriptedScheduler, check_scheduler};

use crate::ingester::{
    DroppedEntries, Ingester, LevelPatterns, OfferedBlock, PatternsRequest, PushOutcome, RecentBlock, RecentRequest,
    RecentStream, Rejection, StreamPatterns, StreamSize, Tailed,
};
use async_trait::async_trait;
use bytes::Bytes;
use format::{ChunkRef, Codec};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use logql::source::Shard;
use model::{Batch, BatchBuilder, Error, Fingerprint, Kind, Labels, Layout, MatchOp, Matcher, Result, Symbols};
use model::{TenantId, TimeRange};
use patterns::{Pattern, Sample};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// An ingester that answers what it is told to, and remembers what it was asked.
#[derive(Default)]
pub struct ScriptedIngester {
    pub pushed: Mutex<Vec<(TenantId, Batch)>>,
    pub asked: Mutex<Vec<RecentRequest>>,
    pub offered: Mutex<Vec<OfferedBlock>>,
    pub streams: Vec<RecentStream>,
    /// What tails tell before they go quiet.
    pub tailed: Vec<Tailed>,
    /// What pushes are answered with.
    pub rejected: Vec<Rejection>,
    /// What every call answers with, if set.
    pub error: Option<Error>,
}

impl ScriptedIngester {
    /// With streams of every shape that the wire must carry.
    pub fn with_streams() -> Self {
        let shared: Arc<Symbols> = Arc::new(["level", "info"].into_iter().collect());
        let block = |payload: &'static [u8], codec, symbols: &Arc<Symbols>| RecentBlock {
            codec,
            layout: Layout::Metadata,
            payload: Bytes::from_static(payload),
            symbols: symbols.clone(),
            entries: 2,
            min_ts_ns: -5,
            max_ts_ns: i64::MAX,
            raw_bytes: 9,
        };
        let chunk =
            ChunkRef { fingerprint: Fingerprint(7), from_ms: -1, through_ms: 2, checksum: 3, kb: 4, entries: 5 };
        let stream = |n: u64, blocks, flushed| RecentStream {
            labels: Labels::new([("app", "a"), ("n", &n.to_string())]),
            fingerprint: Fingerprint(n),
            blocks,
            flushed,
        };
        let plain = RecentBlock { layout: Layout::Plain, ..block(b"", Codec::None, &Arc::default()) };
        let streams = vec![
            stream(1, vec![block(b"one", Codec::Zstd, &shared), block(b"two", Codec::Lz4_4M, &shared), plain], vec![]),
            stream(2, vec![], vec![chunk]),
            stream(u64::MAX, vec![block(b"\xff\x00", Codec::None, &shared)], vec![chunk, chunk]),
        ];
        let mut tailed: Vec<Tailed> = streams.iter().cloned().map(Tailed::Pushed).collect();
        tailed.push(Tailed::Dropped(DroppedEntries { labels: streams[0].labels.clone(), ts_ns: -1, entries: 7 }));
        ScriptedIngester { streams, tailed, rejected: vec![rejection()], ..ScriptedIngester::default() }
    }

    fn answer<T>(&self, request: Option<RecentRequest>, value: T) -> Result<T> {
        self.asked.lock().expect("no test panics with it").extend(request);
        self.error.clone().map_or(Ok(value), Err)
    }
}

/// Patterns that tell the step that they were asked with.
fn scripted_patterns(lines: u64) -> Vec<StreamPatterns> {
    let samples = vec![Sample { time_ns: -10, lines }, Sample { time_ns: 0, lines: u64::MAX }];
    let patterns =
        vec![Pattern { text: "took <_> ms: ünï".into(), samples }, Pattern { text: String::new(), samples: vec![] }];
    let level = |level: &str| LevelPatterns { level: level.into(), patterns: patterns.clone() };
    let stream = |n: u64, levels| StreamPatterns { fingerprint: Fingerprint(n), levels };
    vec![stream(1, vec![level("info"), level("unknown")]), stream(u64::MAX, vec![])]
}

fn rejection() -> Rejection {
    Rejection {
        kind: Kind::Limited,
        reason: "per_stream_rate_limit".into(),
        message: "too fast,\nsays the stream".into(),
        entries: 3,
        bytes: 40,
    }
}

#[async_trait]
impl Ingester for ScriptedIngester {
    async fn push(&self, tenant: &TenantId, batch: Batch) -> Result<PushOutcome> {
        self.pushed.lock().expect("no test panics with it").push((tenant.clone(), batch));
        self.answer(None, PushOutcome { rejected: self.rejected.clone() })
    }
    async fn select(&self, request: RecentRequest) -> Result<BoxStream<'static, Result<RecentStream>>> {
        self.answer(Some(request), stream::iter(self.streams.clone()).map(Ok).boxed())
    }
    async fn tail(&self, request: RecentRequest) -> Result<BoxStream<'static, Result<Tailed>>> {
        self.answer(Some(request), stream::iter(self.tailed.clone()).map(Ok).chain(stream::pending()).boxed())
    }
    async fn labels(&self, request: RecentRequest, name: Option<String>) -> Result<Vec<String>> {
        self.answer(Some(request), vec![name.unwrap_or_else(|| "all".into())])
    }
    async fn series(&self, request: RecentRequest) -> Result<Vec<Labels>> {
        self.answer(Some(request), self.streams.iter().map(|s| s.labels.clone()).collect())
    }
    async fn sizes(&self, request: RecentRequest) -> Result<Vec<StreamSize>> {
        let size = StreamSize { labels: Labels::default(), chunks: 1, entries: 2, bytes: u64::MAX };
        self.answer(Some(request), vec![size])
    }
    async fn patterns(&self, request: PatternsRequest) -> Result<Vec<StreamPatterns>> {
        let lines = request.step.as_secs();
        self.answer(Some(request.recent), scripted_patterns(lines))
    }
    async fn offer(&self, blocks: Vec<OfferedBlock>) -> Result<()> {
        self.offered.lock().expect("no test panics with it").extend(blocks);
        self.answer(None, ())
    }
    async fn flush(&self) -> Result<()> {
        self.answer(None, ())
    }
}

/// Checks that `make` gives an ingester that is, to its caller, the scripted one it is given.
pub async fn check_ingester<F, I>(make: F)
where
    F: AsyncFn(Arc<ScriptedIngester>) -> I,
    I: Ingester,
{
    let script = Arc::new(ScriptedIngester::with_streams());
    let ingester = make(script.clone()).await;
    let tenant = TenantId::parse("team-a").expect("a valid name");
    pushes_arrive_unchanged(&script, &ingester, &tenant).await;
    let request = RecentRequest {
        tenant,
        matchers: vec![
            Matcher::equal("app", "a\"b"),
            Matcher::new("n", MatchOp::NotRe, "x|y+").expect("a valid expression"),
        ],
        range: TimeRange::new(i64::MIN, i64::MAX),
        shard: Some(Shard { index: 3, of: 4 }),
    };
    let streams: Vec<RecentStream> =
        ingester.select(request.clone()).await.expect("an answer").try_collect().await.expect("all streams");
    assert_eq!(format!("{streams:?}"), format!("{:?}", script.streams), "streams come as they are held");
    assert!(Arc::ptr_eq(&streams[0].blocks[0].symbols, &streams[0].blocks[1].symbols), "symbols are shared");
    let tail = ingester.tail(request.clone()).await.expect("a tail");
    let tailed: Vec<Tailed> = tail.take(script.tailed.len()).try_collect().await.expect("all that is told");
    assert_eq!(format!("{tailed:?}"), format!("{:?}", script.tailed), "a tail that goes quiet has told everything");
    assert_eq!(ingester.labels(request.clone(), None).await, Ok(vec!["all".into()]));
    assert_eq!(ingester.labels(request.clone(), Some("n".into())).await, Ok(vec!["n".into()]));
    assert_eq!(ingester.series(request.clone()).await.map(|s| s.len()), Ok(3));
    assert_eq!(ingester.sizes(request.clone()).await.map(|s| s[0].bytes), Ok(u64::MAX));
    let patterns = PatternsRequest { recent: request.clone(), step: Duration::from_secs(7) };
    assert_eq!(ingester.patterns(patterns).await, Ok(scripted_patterns(7)));
    let offer = |digest, codec, payload| OfferedBlock { digest, codec, payload: Bytes::from_static(payload) };
    let offers = vec![offer(u64::MAX, Codec::Zstd, b"\x00\xff"), offer(0, Codec::None, b"")];
    assert_eq!(ingester.offer(offers.clone()).await, Ok(()));
    assert_eq!(*script.offered.lock().expect("no test panics with it"), offers);
    assert_eq!(ingester.flush().await, Ok(()));
    let asked = script.asked.lock().expect("no test panics with it").clone();
    assert_eq!(asked.len(), 7);
    asked.iter().for_each(|a| assert_eq!(format!("{a:?}"), format!("{request:?}"), "questions arrive unchanged"));
    errors_keep_their_kind(make, request).await;
}

async fn pushes_arrive_unchanged(script: &ScriptedIngester, ingester: &impl Ingester, tenant: &TenantId) {
    let mut builder = BatchBuilder::default();
    // Larger than gRPC's usual bound on messages.
    builder.entry(5, &vec![b'x'; 5 << 20], [("a", "b")].into_iter());
    builder.end_stream("{a=\"1\"}", Fingerprint(1));
    let batch = builder.finish();
    let outcome = ingester.push(tenant, batch.clone()).await;
    assert_eq!(outcome, Ok(PushOutcome { rejected: vec![rejection()] }));
    assert_eq!(*script.pushed.lock().expect("no test panics with it"), [(tenant.clone(), batch)]);
}

async fn errors_keep_their_kind<I: Ingester>(make: impl AsyncFn(Arc<ScriptedIngester>) -> I, request: RecentRequest) {
    for kind in [Kind::Invalid, Kind::Limited, Kind::Unavailable, Kind::Corrupt, Kind::Internal, Kind::TooLarge] {
        let error = Error::new(kind, "what\nhappened: ünï");
        let script = ScriptedIngester { error: Some(error.clone()), ..ScriptedIngester::default() };
        let ingester = make(Arc::new(script)).await;
        assert_eq!(ingester.push(&request.tenant, Batch::default()).await, Err(error.clone()));
        assert_eq!(ingester.select(request.clone()).await.err(), Some(error.clone()));
        assert_eq!(ingester.tail(request.clone()).await.err(), Some(error.clone()));
        assert_eq!(ingester.labels(request.clone(), None).await, Err(error.clone()));
        assert_eq!(ingester.flush().await, Err(error));
    }
}
