//! Pushes through the whole distributor: what is kept, what is told, and who must have it before it is acknowledged.

use async_trait::async_trait;
use distributor::{Distributor, OneIngester, ReplicaView, Replicas};
use futures::stream::BoxStream;
use model::{Batch, Error, Kind, Labels, Result, TenantId};
use rpc::ingester::{
    Ingester, PatternsRequest, PushOutcome, RecentRequest, RecentStream, Rejection, StreamPatterns, StreamSize, Tailed,
};
use rpc::pusher::{Format, Pairs, PushError, PushRequest, Pusher, Sink};
use rpc::testing::ScriptedIngester;
use runtime::clock::ManualClock;
use runtime::limits::{Limits, Overrides};
use std::sync::Arc;
use std::time::Duration;

const NOW_NS: i64 = 1_768_471_200_000_000_000;
const HOUR_NS: i64 = 3_600_000_000_000;

/// Streams by label text, with entries by distance from now and line.
struct Push(Vec<(&'static str, Vec<(i64, String)>)>);

impl PushRequest for Push {
    fn walk(&self, sink: &mut dyn Sink) -> Result<()> {
        for (labels, entries) in &self.0 {
            sink.stream(labels.as_bytes())?;
            for (offset_ns, line) in entries {
                sink.entry(NOW_NS + offset_ns, line.as_bytes(), &mut Pairs::new())?;
            }
            sink.end_stream();
        }
        Ok(())
    }
    fn format(&self) -> Format {
        Format::Loki
    }
}

fn lines(labels: &'static str, lines: &[(i64, &str)]) -> (&'static str, Vec<(i64, String)>) {
    (labels, lines.iter().map(|(offset, line)| (*offset, line.to_string())).collect())
}

fn distributor(limits: Limits, replicas: Arc<dyn Replicas>) -> Distributor {
    Distributor::new(Arc::new(Overrides::new(limits)), ManualClock::at(NOW_NS), replicas, Arc::new(|| 1))
}

fn limits() -> Limits {
    Limits { discover_service_name: vec![], discover_log_levels: false, ..Limits::default() }
}

fn tenant() -> TenantId {
    TenantId::parse("t").unwrap()
}

fn kept(batch: &Batch) -> Vec<String> {
    let mut kept = vec![];
    for stream in batch.streams() {
        let stream = stream.unwrap();
        stream.for_each(|e| kept.push(format!("{} {}", stream.labels, String::from_utf8_lossy(e.line)))).unwrap();
    }
    kept
}

async fn push_one(limits: Limits, ingester: ScriptedIngester, push: Push) -> (Option<PushError>, Vec<String>) {
    let ingester = Arc::new(ingester);
    let answer = distributor(limits, Arc::new(OneIngester::new(ingester.clone()))).push(&tenant(), &push).await;
    let pushed = ingester.pushed.lock().unwrap();
    (answer.err(), pushed.iter().flat_map(|(_, batch)| kept(batch)).collect())
}

fn failed(kind: Kind, message: &str) -> Option<PushError> {
    Some(PushError::Failed(Error::new(kind, message)))
}

#[tokio::test]
async fn good_entries_are_kept_and_bad_ones_told() {
    let too_old = "entry for stream '{a=\"1\"}' has timestamp too old: 2026-01-08T09:00:00Z, oldest acceptable timestamp is: 2026-01-08T10:00:00Z";
    let too_long =
        "max entry size '5' bytes exceeded for stream '{b=\"2\"}' while adding an entry with length '6' bytes";
    let limits = Limits { max_line_size: 5, ..limits() };
    let push = Push(vec![
        lines("{a=\"1\"}", &[(-169 * HOUR_NS, "old"), (0, "good"), (-169 * HOUR_NS, "old")]),
        lines("{b=\"2\"}", &[(0, "123456"), (1, "12345")]),
        lines("{empty=\"\"}", &[(0, "x"), (1, "y")]),
        lines("{no=\"entries\"}", &[]),
    ]);
    let told = format!(
        "2 errors like: {too_old}; 1 errors like: {too_long}; 1 errors like: error at least one label pair is required per stream"
    );
    let (error, kept) = push_one(limits.clone(), ScriptedIngester::default(), push).await;
    assert_eq!((error, kept), (failed(Kind::Invalid, &told), vec!["{a=\"1\"} good".into(), "{b=\"2\"} 12345".into()]));

    let all_old: Vec<_> = (0..1000).map(|i| (-(200 + i) * HOUR_NS, "x".to_string())).collect();
    let (error, kept) = push_one(limits, ScriptedIngester::default(), Push(vec![("{a=\"1\"}", all_old)])).await;
    let Some(PushError::Failed(error)) = error else { panic!("no error") };
    assert!(error.message.ends_with("; 990 other errors") && error.message.matches("errors like").count() == 10);
    assert!(kept.is_empty());
}

#[tokio::test]
async fn a_request_that_cannot_be_read_stores_nothing() {
    let push = Push(vec![lines("{a=\"1\"}", &[(0, "good")]), lines("{a", &[(0, "bad")])]);
    let (error, kept) = push_one(limits(), ScriptedIngester::default(), push).await;
    let text = "couldn't parse labels: 1:3: parse error: unexpected end of input inside braces";
    assert_eq!((error, kept), (failed(Kind::Invalid, text), vec![]));
    let (error, _) = push_one(limits(), ScriptedIngester::default(), Push(vec![])).await;
    assert_eq!(error, failed(Kind::Empty, "error at least one valid stream is required for ingestion"));
}

#[tokio::test]
async fn rates_blocks_and_enforced_labels_are_told_as_loki_tells_them() {
    let push = || Push(vec![lines("{a=\"1\"}", &[(0, "12345"), (1, "67890")])]);
    let slow = Limits { ingestion_burst_size_mb: 5.0 / (1 << 20) as f64, ..limits() };
    let text = "ingestion rate limit exceeded for user t (limit: 4194304 bytes/sec) while attempting to ingest '2' lines totaling '10' bytes, reduce log volume or contact your Loki administrator to see if the limit can be increased";
    assert_eq!(push_one(slow, ScriptedIngester::default(), push()).await, (failed(Kind::Limited, text), vec![]));

    let blocked = Limits { block_ingestion_until: NOW_NS + HOUR_NS, ..limits() };
    let message = "ingestion blocked for user t until '2026-01-15T11:00:00Z' with status code '260'".into();
    let error = Some(PushError::Blocked { status: 260, message });
    assert_eq!(push_one(blocked, ScriptedIngester::default(), push()).await, (error, vec![]));

    let enforced = Limits { enforced_labels: vec!["ns".into(), "a".into()], ..limits() };
    let text = "missing required labels 'ns' for user 't' for stream '{a=\"1\"}' (policy: '')";
    assert_eq!(push_one(enforced, ScriptedIngester::default(), push()).await, (failed(Kind::Invalid, text), vec![]));
}

#[tokio::test]
async fn what_ingesters_refuse_is_the_answer() {
    let rejection =
        |kind, message: &str| Rejection { kind, reason: String::new(), message: message.into(), entries: 1, bytes: 1 };
    let push = || Push(vec![lines("{a=\"1\"}", &[(0, "x")])]);
    for (rejected, kind, text) in [
        (vec![rejection(Kind::Invalid, "too far behind")], Kind::Invalid, "too far behind"),
        (vec![rejection(Kind::Invalid, "a"), rejection(Kind::Limited, "b")], Kind::Limited, "a\nb"),
    ] {
        let ingester = ScriptedIngester { rejected, ..ScriptedIngester::default() };
        assert_eq!(push_one(limits(), ingester, push()).await.0, failed(kind, text));
    }
    let down = ScriptedIngester { error: Some(Error::unavailable("disk full")), ..ScriptedIngester::default() };
    assert_eq!(push_one(limits(), down, push()).await.0, failed(Kind::Unavailable, "disk full"));
}

/// A ring of ingesters: stream `token` is on the `replicas` that follow it.
struct Ring {
    ingesters: Vec<Arc<dyn Ingester>>,
    replicas: usize,
}

impl ReplicaView for Ring {
    fn ingesters(&self) -> &[Arc<dyn Ingester>] {
        &self.ingesters
    }
    fn of_token(&self, token: u32, out: &mut Vec<usize>) -> Result<()> {
        let n = self.ingesters.len();
        out.extend((0..self.replicas).map(|i| (token as usize + i) % n));
        Ok(())
    }
    fn replication(&self) -> usize {
        self.replicas
    }
}

struct Rings(Arc<Ring>);

impl Replicas for Rings {
    fn view(&self) -> Result<Arc<dyn ReplicaView>> {
        Ok(self.0.clone())
    }
}

/// Never answers.
struct Silent;

#[async_trait]
impl Ingester for Silent {
    async fn push(&self, _: &TenantId, _: Batch) -> Result<PushOutcome> {
        std::future::pending().await
    }
    async fn select(&self, _: RecentRequest) -> Result<BoxStream<'static, Result<RecentStream>>> {
        std::future::pending().await
    }
    async fn tail(&self, _: RecentRequest) -> Result<BoxStream<'static, Result<Tailed>>> {
        std::future::pending().await
    }
    async fn labels(&self, _: RecentRequest, _: Option<String>) -> Result<Vec<String>> {
        std::future::pending().await
    }
    async fn series(&self, _: RecentRequest) -> Result<Vec<Labels>> {
        std::future::pending().await
    }
    async fn sizes(&self, _: RecentRequest) -> Result<Vec<StreamSize>> {
        std::future::pending().await
    }
    async fn patterns(&self, _: PatternsRequest) -> Result<Vec<StreamPatterns>> {
        std::future::pending().await
    }
    async fn flush(&self) -> Result<()> {
        std::future::pending().await
    }
}

fn many_streams() -> Push {
    const TEXTS: [&str; 6] = ["{a=\"1\"}", "{a=\"2\"}", "{a=\"3\"}", "{a=\"4\"}", "{a=\"5\"}", "{a=\"6\"}"];
    Push(TEXTS.iter().map(|t| lines(t, &[(0, "x"), (1, "y")])).collect())
}

#[tokio::test]
async fn every_stream_reaches_all_its_replicas() {
    for (nodes, replicas) in [(5, 3), (4, 3), (3, 3), (2, 1)] {
        let scripts: Vec<Arc<ScriptedIngester>> = (0..nodes).map(|_| Arc::default()).collect();
        let ingesters = scripts.iter().map(|s| s.clone() as Arc<dyn Ingester>).collect();
        let distributor = distributor(limits(), Arc::new(Rings(Arc::new(Ring { ingesters, replicas }))));
        distributor.push(&tenant(), &many_streams()).await.unwrap();
        distributor.stop().await;
        let mut copies: Vec<String> = vec![];
        for (at, script) in scripts.iter().enumerate() {
            for (_, batch) in script.pushed.lock().unwrap().iter() {
                for stream in batch.streams() {
                    let labels = Labels::parse(stream.unwrap().labels).unwrap();
                    let distance = (at + nodes - labels.ring_token("t") as usize % nodes) % nodes;
                    assert!(distance < replicas, "{labels} is on an ingester that does not hold it");
                }
                copies.extend(kept(batch));
            }
        }
        assert_eq!(copies.len(), 6 * 2 * replicas, "{nodes} nodes");
    }
}

#[tokio::test(start_paused = true)]
async fn a_push_is_done_with_the_quorum_and_fails_without_it() {
    let healthy = || Arc::new(ScriptedIngester::default()) as Arc<dyn Ingester>;
    let broken = || {
        let error = Some(Error::unavailable("broken"));
        Arc::new(ScriptedIngester { error, ..ScriptedIngester::default() }) as Arc<dyn Ingester>
    };
    let silent = || Arc::new(Silent) as Arc<dyn Ingester>;
    for (ingesters, expected) in [
        (vec![healthy(), healthy(), healthy()], Ok(())),
        (vec![healthy(), broken(), healthy()], Ok(())),
        (vec![healthy(), silent(), healthy()], Ok(())),
        (vec![broken(), broken(), healthy()], Err(Kind::Unavailable)),
        (vec![silent(), silent(), healthy()], Err(Kind::Timeout)),
    ] {
        let replicas = ingesters.len();
        let distributor = distributor(limits(), Arc::new(Rings(Arc::new(Ring { ingesters, replicas }))));
        let answer = tokio::time::timeout(Duration::from_secs(60), distributor.push(&tenant(), &many_streams())).await;
        let kind = answer.expect("an answer").map_err(|e| match e {
            PushError::Failed(error) => error.kind,
            PushError::Blocked { .. } => Kind::Forbidden,
        });
        assert_eq!(kind, expected);
    }
}
