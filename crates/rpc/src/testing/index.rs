//! The contract of [`Index`].

use crate::index::{Index, IndexRequest};
use crate::ingester::{RecentRequest, StreamSize};
use crate::queries::Answer;
use async_trait::async_trait;
use format::ChunkRef;
use format::tsdb::SeriesChunks;
use logql::source::Shard;
use model::{Error, Fingerprint, Kind, Labels, Matcher, Result, TenantId, TimeRange};
use std::sync::{Arc, Mutex};

/// An index that answers what it is told to, and remembers what it was asked.
#[derive(Default)]
pub struct ScriptedIndex {
    pub asked: Mutex<Vec<(IndexRequest, Option<String>)>>,
    pub streams: Vec<SeriesChunks>,
    pub names: Vec<String>,
    pub warnings: Vec<String>,
    /// What every call answers with, if set.
    pub error: Option<Error>,
}

impl ScriptedIndex {
    /// With answers of every shape and of more than one message.
    pub fn with_streams() -> Self {
        let chunk = |i: i64| ChunkRef {
            fingerprint: Fingerprint(i as u64),
            from_ms: -i,
            through_ms: i64::MAX - i,
            checksum: i as u32,
            kb: 1,
            entries: u32::MAX,
        };
        let stream = |n: u64, chunks: i64| SeriesChunks {
            labels: Labels::new([("app", "a"), ("n", &n.to_string())]),
            fingerprint: Fingerprint(n),
            chunks: (0..chunks).map(chunk).collect(),
        };
        let mut streams = vec![stream(0, 30_000), stream(1, 0), stream(2, 8192)];
        streams.extend((3..5000).map(|n| stream(n, 1)));
        ScriptedIndex {
            streams,
            names: (0..300).map(|i| format!("{i}{}", "x".repeat(10_000))).collect(),
            warnings: vec!["a file is\nmissing: ü".into(), "w".repeat(2 << 20)],
            ..ScriptedIndex::default()
        }
    }

    fn answer<T>(&self, request: IndexRequest, name: Option<String>, value: T) -> Result<Answer<T>> {
        self.asked.lock().expect("no test panics with it").push((request, name));
        self.error.clone().map_or(Ok(Answer { value, warnings: self.warnings.clone() }), Err)
    }

    fn sizes(&self) -> Vec<StreamSize> {
        let size = |s: &SeriesChunks| StreamSize {
            labels: s.labels.clone(),
            chunks: s.chunks.len() as u64,
            entries: 7,
            bytes: u64::MAX,
        };
        self.streams.iter().map(size).collect()
    }
}

#[async_trait]
impl Index for ScriptedIndex {
    async fn chunks(&self, request: IndexRequest) -> Result<Answer<Vec<SeriesChunks>>> {
        self.answer(request, None, self.streams.clone())
    }
    async fn series(&self, request: IndexRequest) -> Result<Answer<Vec<Labels>>> {
        self.answer(request, None, self.streams.iter().map(|s| s.labels.clone()).collect())
    }
    async fn labels(&self, request: IndexRequest, name: Option<String>) -> Result<Answer<Vec<String>>> {
        self.answer(request, name, self.names.clone())
    }
    async fn sizes(&self, request: IndexRequest) -> Result<Answer<Vec<StreamSize>>> {
        self.answer(request, None, self.sizes())
    }
}

/// Checks that `make` gives an index that is, to its caller, the scripted one it is given.
pub async fn check_index<F, I>(make: F)
where
    F: AsyncFn(Arc<ScriptedIndex>) -> I,
    I: Index,
{
    let script = Arc::new(ScriptedIndex::with_streams());
    let index = make(script.clone()).await;
    let request = RecentRequest {
        tenant: TenantId::parse("team-a").expect("a valid name"),
        matchers: vec![Matcher::equal("app", "a\"b")],
        range: TimeRange::new(i64::MIN, i64::MAX),
        shard: Some(Shard { index: 3, of: 4 }),
    };
    let warnings = &script.warnings;
    let chunks = index.chunks(request.clone()).await.expect("an answer");
    assert!(chunks.value == script.streams && chunks.warnings == *warnings, "streams come as they are");
    let series = index.series(request.clone()).await.expect("an answer");
    assert!(series.value.iter().eq(script.streams.iter().map(|s| &s.labels)) && series.warnings == *warnings);
    for name in [None, Some("n".to_string())] {
        let labels = index.labels(request.clone(), name).await.expect("an answer");
        assert!(labels.value == script.names && labels.warnings == *warnings);
    }
    let sizes = index.sizes(request.clone()).await.expect("an answer");
    assert!(sizes.value == script.sizes() && sizes.warnings == *warnings);
    let asked = std::mem::take(&mut *script.asked.lock().expect("no test panics with it"));
    let names: Vec<_> = asked.iter().map(|(_, name)| name.as_deref()).collect();
    assert_eq!(names, [None, None, None, Some("n"), None]);
    asked.iter().for_each(|(a, _)| assert_eq!(format!("{a:?}"), format!("{request:?}"), "questions arrive unchanged"));
    for kind in [Kind::Invalid, Kind::Unavailable, Kind::Corrupt, Kind::Internal, Kind::TooLarge] {
        let error = Error::new(kind, "what\nhappened: ünï");
        let index = make(Arc::new(ScriptedIndex { error: Some(error.clone()), ..ScriptedIndex::default() })).await;
        assert_eq!(index.chunks(request.clone()).await, Err(error.clone()));
        assert_eq!(index.series(request.clone()).await, Err(error.clone()));
        assert_eq!(index.labels(request.clone(), None).await, Err(error.clone()));
        assert_eq!(index.sizes(request.clone()).await, Err(error));
    }
}
