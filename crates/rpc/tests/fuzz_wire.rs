//! Mutated messages between clients and servers of every service, in either direction: each call is answered or an error, never
//! a panic.

#![allow(clippy::disallowed_methods, reason = "a test joins the tasks that it starts")]

#[path = "../../../tests/fuzz/mod.rs"]
mod fuzz;

use async_trait::async_trait;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use bytes::Bytes;
use format::ChunkRef;
use format::tsdb::SeriesChunks;
use futures::{StreamExt, future};
use fuzz::{Random, fuzz};
use http_body_util::{BodyExt, Full};
use logql::value::{LogEntry, LogStream, QueryValue, Sample, Series};
use model::{Batch, Direction, Fingerprint, Labels, Matcher, Result, TenantId, TimeRange};
use rpc::call::{Call, Calls, Reply};
use rpc::deletes::{Deletes, NewDelete};
use rpc::index::Index;
use rpc::ingester::{Ingester, PatternsRequest, RecentRequest};
use rpc::queries::{
    Answer, IndexStats, MetadataRequest, PatternSeries, PatternsQuery, QueryRequest, QueryResponse, QueryStats,
    QueryTime, Tenants, Volume, VolumeRequest,
};
use rpc::rules::{AlertState, Alerting, GroupState, RuleState, RuleStates};
use rpc::scheduler::{Offer, Place, PlaceRequest, Scheduler, Spent, Taken};
use rpc::tail::{TailFrame, TailRequest, Tails};
use rpc::testing::{EveryPlace, ScriptedDeletes, ScriptedIndex, ScriptedIngester, ScriptedScheduler, ScriptedTails};
use rpc::wire::{
    Connector, DeletesClient, IndexClient, IngesterClient, QueriesClient, RuleStatesClient, SchedulerClient,
    TailsClient, deletes_server, index_server, ingester_server, queries_server, rule_states_server, scheduler_server,
    tails_server,
};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tonic::service::Routes;
use tonic::transport::{Server, server::TcpIncoming};

/// How long a call may take.
const CALL_MAX: Duration = Duration::from_secs(5);

/// What happens to calls on their way.
#[derive(Default)]
struct Way {
    /// The messages of either side, while they are noted.
    noted: Mutex<Option<Vec<Vec<u8>>>>,
    /// Instead of what the client sends.
    request: Mutex<Option<Vec<u8>>>,
    /// Instead of what the server answers.
    answer: Mutex<Option<Vec<u8>>>,
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&[0], &(message.len() as u32).to_be_bytes()[..], message].concat()
}

/// The messages of a body that ends or goes quiet.
async fn messages(body: &mut Body) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut bytes = vec![];
    while let Ok(Some(Ok(frame))) = timeout(Duration::from_millis(200), body.frame()).await {
        bytes.extend(frame.into_data().unwrap_or_default());
    }
    let (mut rest, mut found) = (bytes.as_slice(), vec![]);
    while rest.len() >= 5 {
        let length = u32::from_be_bytes(rest[1..5].try_into().unwrap()) as usize;
        found.push(rest[5..5 + length].to_vec());
        rest = &rest[5 + length..];
    }
    (bytes, found)
}

fn answered(bytes: Vec<u8>) -> Response {
    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
    let body = Full::new(Bytes::from(bytes)).with_trailers(future::ready(Some(Ok(trailers))));
    Response::builder().header("content-type", "application/grpc").body(Body::new(body)).unwrap()
}

async fn pass(State(way): State<Arc<Way>>, request: Request, next: Next) -> Response {
    let answer = way.answer.lock().unwrap().clone();
    if let Some(answer) = answer {
        return answered(answer);
    }
    let (parts, mut body) = request.into_parts();
    let instead = way.request.lock().unwrap().clone();
    if let Some(bytes) = instead {
        return next.run(Request::from_parts(parts, Body::from(bytes))).await;
    }
    let (bytes, asked) = messages(&mut body).await;
    let response = next.run(Request::from_parts(parts, Body::from(bytes))).await;
    let (bytes, told) = messages(&mut response.into_body()).await;
    if let Some(noted) = way.noted.lock().unwrap().as_mut() {
        noted.extend(asked.into_iter().chain(told));
    }
    answered(bytes)
}

/// Answers every call.
struct Answers;

fn labels() -> Labels {
    Labels::new([("app", "a"), ("n", "ü")])
}

fn value(query: &str) -> QueryValue {
    let entry = LogEntry { ts_ns: -5, line: "x".into(), structured_metadata: labels(), parsed: labels() };
    match query {
        "streams" => QueryValue::Streams(vec![LogStream { labels: labels(), entries: vec![entry.clone(), entry] }]),
        "matrix" => QueryValue::Matrix(vec![Series { labels: labels(), points: vec![(1, -0.0), (2, f64::NAN)] }]),
        "vector" => QueryValue::Vector(vec![Sample { labels: labels(), time_ns: 1, value: -0.0 }]),
        _ => QueryValue::Scalar { time_ns: 1, value: -0.0 },
    }
}

#[async_trait]
impl Calls for Answers {
    async fn call(&self, _: &Tenants, call: Call) -> Result<Reply> {
        let warnings = vec!["one is away".to_string()];
        Ok(match call {
            Call::Query(QueryRequest { query, .. }) => {
                Reply::Query(QueryResponse { value: value(&query), warnings, stats: QueryStats::default() })
            }
            Call::Labels(..) => Reply::Labels(Answer { value: vec!["a".into()], warnings }),
            Call::Series(_) => Reply::Series(Answer { value: vec![labels()], warnings }),
            Call::Stats(_) => Reply::Stats(Answer { value: IndexStats::default(), warnings }),
            Call::Volume(_) => Reply::Volume(Answer { value: vec![Volume { labels: labels(), bytes: 5 }], warnings }),
            Call::Patterns(_) => {
                let samples = vec![patterns::Sample { time_ns: -1, lines: 7 }];
                let series = PatternSeries { pattern: "<_>".into(), level: "info".into(), samples };
                Reply::Patterns(Answer { value: vec![series], warnings })
            }
        })
    }
}

#[async_trait]
impl RuleStates for Answers {
    async fn own_states(&self, _: &TenantId) -> Result<Vec<GroupState>> {
        let alert = AlertState { labels: labels(), value: -0.0, firing: true, ..AlertState::default() };
        let alerting = Some(Alerting { alerts: vec![alert], annotations: labels(), ..Alerting::default() });
        let rule = RuleState { name: "r".into(), alerting, ..RuleState::default() };
        Ok(vec![GroupState { name: "g".into(), rules: vec![rule], ..GroupState::default() }])
    }
}

/// Clients of all services, each in front of its server.
struct Clients {
    ingester: IngesterClient,
    index: IndexClient,
    deletes: DeletesClient,
    queries: QueriesClient,
    tails: TailsClient,
    scheduler: SchedulerClient,
    rules: RuleStatesClient,
    scripts: Scripts,
}

/// What remembers its calls.
struct Scripts {
    ingester: Arc<ScriptedIngester>,
    index: Arc<ScriptedIndex>,
    deletes: Arc<ScriptedDeletes>,
    tails: Arc<ScriptedTails>,
    scheduler: Arc<ScriptedScheduler>,
}

impl Scripts {
    fn new() -> Self {
        let chunk =
            ChunkRef { fingerprint: Fingerprint(1), from_ms: -1, through_ms: 2, checksum: 3, kb: 4, entries: 5 };
        let stream = SeriesChunks { labels: labels(), fingerprint: Fingerprint(1), chunks: vec![chunk] };
        let QueryValue::Streams(streams) = value("streams") else { unreachable!("streams") };
        let place = Some(Place { querier: "h:1".into(), ticket: 7 });
        let taken = Some(Taken { charged: Duration::from_micros(7) });
        Scripts {
            ingester: Arc::new(ScriptedIngester::with_streams()),
            index: Arc::new(ScriptedIndex {
                streams: vec![stream],
                names: vec!["a".into()],
                ..ScriptedIndex::default()
            }),
            deletes: Arc::new(ScriptedDeletes::with_requests()),
            tails: Arc::new(ScriptedTails {
                frames: vec![Ok(TailFrame { streams, dropped: vec![] })],
                ..ScriptedTails::default()
            }),
            scheduler: Arc::new(ScriptedScheduler { place, taken, ..ScriptedScheduler::default() }),
        }
    }

    fn forget(&self) {
        self.ingester.pushed.lock().unwrap().clear();
        self.ingester.asked.lock().unwrap().clear();
        self.index.asked.lock().unwrap().clear();
        self.deletes.calls.lock().unwrap().clear();
        self.tails.asked.lock().unwrap().clear();
        self.scheduler.waited.lock().unwrap().clear();
        self.scheduler.offered.lock().unwrap().clear();
    }
}

async fn served(routes: Routes, way: &Arc<Way>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let routes = Routes::from(routes.into_axum_router().layer(from_fn_with_state(way.clone(), pass)));
    tokio::spawn(Server::builder().add_routes(routes).serve_with_incoming(TcpIncoming::from(listener)));
    address
}

impl Clients {
    async fn new(way: &Arc<Way>) -> Self {
        let (scripts, to) = (Scripts::new(), Connector::default());
        let queries = queries_server(Arc::new(Answers), Arc::new(EveryPlace::default()));
        Clients {
            ingester: IngesterClient::connect(&to, &served(ingester_server(scripts.ingester.clone()), way).await)
                .unwrap(),
            index: IndexClient::connect(&to, &served(index_server(scripts.index.clone()), way).await).unwrap(),
            deletes: DeletesClient::connect(&to, &served(deletes_server(scripts.deletes.clone()), way).await).unwrap(),
            queries: QueriesClient::connect(&to, &served(queries, way).await).unwrap(),
            tails: TailsClient::connect(&to, &served(tails_server(scripts.tails.clone()), way).await).unwrap(),
            scheduler: SchedulerClient::connect(&to, &served(scheduler_server(scripts.scheduler.clone()), way).await)
                .unwrap(),
            rules: RuleStatesClient::connect(&to, &served(rule_states_server(Arc::new(Answers)), way).await).unwrap(),
            scripts,
        }
    }

    /// One of [`CALLS`], and whether it was answered.
    async fn call(&self, number: usize) -> bool {
        let tenant = TenantId::parse("a").unwrap();
        let range = TimeRange::new(-5, 5);
        let recent = || RecentRequest {
            tenant: tenant.clone(),
            matchers: vec![Matcher::equal("app", "a")],
            range,
            shard: Some(logql::source::Shard { index: 1, of: 2 }),
        };
        let patterns = PatternsRequest { recent: recent(), step: Duration::from_secs(1) };
        let new = NewDelete::parse("{a=\"b\"} |= \"x\"", 1, 2, 3).unwrap();
        match number {
            0 => self.ingester.push(&tenant, Batch { data: Bytes::from_static(b"batch") }).await.is_ok(),
            1 => match self.ingester.select(recent()).await {
                Ok(streams) => streams.collect::<Vec<_>>().await.iter().all(Result::is_ok),
                Err(_) => false,
            },
            2 => match self.ingester.tail(recent()).await {
                // It goes on for as long as it is listened to.
                Ok(told) => {
                    told.take(self.scripts.ingester.tailed.len()).collect::<Vec<_>>().await.iter().all(Result::is_ok)
                }
                Err(_) => false,
            },
            3 => self.ingester.labels(recent(), Some("app".into())).await.is_ok(),
            4 => self.ingester.series(recent()).await.is_ok(),
            5 => self.ingester.sizes(recent()).await.is_ok(),
            6 => self.ingester.patterns(patterns).await.is_ok(),
            7 => self.index.chunks(recent()).await.is_ok(),
            8 => self.index.series(recent()).await.is_ok(),
            9 => self.index.labels(recent(), None).await.is_ok(),
            10 => self.index.sizes(recent()).await.is_ok(),
            11 => self.deletes.create(&tenant, new).await.is_ok(),
            12 => self.deletes.list(&tenant).await.is_ok(),
            13 => self.deletes.cancel(&tenant, "1", true).await.is_ok(),
            14 => self.deletes.filters(&tenant, range).await.is_ok(),
            15 => self.deletes.generation(&tenant).await.is_ok(),
            16 => self.rules.own_states(&tenant).await.is_ok(),
            17 => self.scheduler.wait(PlaceRequest { tenant: "a".into(), failed: vec!["h:1".into()] }).await.is_ok(),
            18 => {
                let spent = Some(Spent { tenant: "a".into(), charged: Duration::ZERO, spent: Duration::from_secs(1) });
                self.scheduler.offer(Offer { querier: "h:1".into(), ticket: 7, spent }).await.is_ok()
            }
            19 => {
                let request = TailRequest { query: "q".into(), start_ns: -1, limit: 3, delay_for: Duration::ZERO };
                match self.tails.tail(&tenant, request).await {
                    Ok(frames) => frames.collect::<Vec<_>>().await.iter().all(Result::is_ok),
                    Err(_) => false,
                }
            }
            number => self.queries.call(&tenant.into(), query_call(number - 20, range)).await.is_ok(),
        }
    }
}

/// Numbers of calls.
const CALLS: usize = 29;

fn query_call(number: usize, range: TimeRange) -> Call {
    let (matchers, of) = (vec![Matcher::equal("a", "b")], |selectors| MetadataRequest { selectors, range });
    let query = |query: &str, time| {
        let query = query.to_string();
        let part = Some(rpc::queries::Part { shard: None });
        let (direction, no_cache, tags) = (Direction::Forward, false, vec![]);
        Call::Query(QueryRequest { query, time, limit: 5, direction, part, partial_series: true, no_cache, tags })
    };
    let over = QueryTime::Range { start_ns: -1, end_ns: 9, step_ns: 3, interval_ns: 1 };
    match number {
        0 => query("streams", over),
        1 => query("matrix", over),
        2 => query("vector", QueryTime::Instant { time_ns: -5 }),
        3 => query("scalar", QueryTime::Instant { time_ns: 0 }),
        4 => Call::Labels(of(vec![matchers]), Some("n".into())),
        5 => Call::Series(of(vec![matchers, vec![]])),
        6 => Call::Stats(of(vec![matchers])),
        7 => {
            let target_labels = vec!["a".into()];
            Call::Volume(VolumeRequest {
                matchers,
                range,
                limit: 3,
                target_labels,
                by_label_name: true,
                no_cache: false,
            })
        }
        _ => Call::Patterns(PatternsQuery { matchers, range, step: Duration::from_secs(1) }),
    }
}

/// A body of mutated messages, or of one after others that are whole.
fn body(input: &[u8], seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..random.below(3)).flat_map(|_| framed(&seeds[random.below(seeds.len())])).collect();
    bytes.extend(framed(input));
    if random.below(16) == 0 {
        let at = random.below(bytes.len());
        bytes[at] ^= 1 << random.below(8);
    }
    bytes
}

#[test]
fn messages_are_taken_or_refused() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let way = Arc::new(Way::default());
    let clients = runtime.block_on(Clients::new(&way));
    let seeds: Vec<Vec<Vec<u8>>> = (0..CALLS)
        .map(|number| {
            *way.noted.lock().unwrap() = Some(vec![]);
            assert!(runtime.block_on(clients.call(number)), "call {number} is answered");
            way.noted.lock().unwrap().take().unwrap()
        })
        .collect();
    let all: Vec<Vec<u8>> = seeds.concat();
    let pieces: [&[u8]; 5] =
        [b"\xff\xff\xff\xff\x0f", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", &[0; 8], b"\x08\x01", b"=~"];
    fuzz(&all, &pieces, |input, random| {
        // More often than not to a call that knows such messages.
        let fits = |number: &usize| seeds[*number].iter().any(|seed| input.starts_with(&seed[..seed.len().min(2)]));
        let fitting: Vec<usize> = (0..CALLS).filter(fits).collect();
        let number = match fitting.len() {
            0 => random.below(CALLS),
            fitting_calls => fitting[random.below(fitting_calls)],
        };
        let (request, answer) = match random.below(3) {
            0 => (Some(framed(input)), None),
            _ => (None, Some(body(input, &seeds[number], random))),
        };
        (*way.request.lock().unwrap(), *way.answer.lock().unwrap()) = (request, answer);
        clients.scripts.forget();
        runtime.block_on(async { timeout(CALL_MAX, clients.call(number)).await.expect("an answer in time") })
    });
}
