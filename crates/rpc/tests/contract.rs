//! The services' contracts, held by an instance and by a client in front of a server in front of an instance.

#![allow(clippy::disallowed_methods, reason = "a test joins the tasks that it starts")]

use async_trait::async_trait;
use futures::stream::BoxStream;
use model::{Batch, Error, Kind, Labels, Result, TenantId, TimeRange};
use rpc::call::{Call, Calls, Reply};
use rpc::ingester::{
    Ingester, OfferedBlock, PatternsRequest, PushOutcome, RecentRequest, RecentStream, StreamPatterns, StreamSize,
    Tailed,
};
use rpc::queries::{Answer, MetadataRequest, Tenants};
use rpc::rules::{AlertState, Alerting, GroupState, Health, RuleState, RuleStates};
use rpc::scheduler::{Offer, Offered, Place, PlaceRequest, Scheduler, Taken};
use rpc::tail::{TailFrame, TailRequest, Tails};
use rpc::testing::{
    EveryPlace, ScriptedIngester, ScriptedQueries, ScriptedScheduler, ScriptedTails, check_deletes, check_index,
    check_ingester, check_queries, check_scheduler, check_tails,
};
use rpc::wire::{
    ClusterId, Connector, DeletesClient, IndexClient, IngesterClient, QueriesClient, RuleStatesClient, SchedulerClient,
    TailsClient, deletes_server, index_server, ingester_server, queries_server, reply_bytes, reply_of_bytes,
    rule_states_server, scheduler_server, tails_server,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic::transport::{Server, server::TcpIncoming};

/// The instance itself, behind nothing.
struct Local<T>(Arc<T>);

#[async_trait]
impl Calls for Local<ScriptedQueries> {
    async fn call(&self, tenants: &Tenants, call: Call) -> Result<Reply> {
        self.0.call(tenants, call).await
    }
}

/// Answers that were kept as bytes.
struct Kept(Arc<ScriptedQueries>);

#[async_trait]
impl Calls for Kept {
    async fn call(&self, tenants: &Tenants, call: Call) -> Result<Reply> {
        let bytes = reply_bytes(self.0.call(tenants, call).await?);
        assert!(bytes.len() < 2 || reply_of_bytes(&bytes[..bytes.len() - 1]).is_err(), "what is torn is no answer");
        reply_of_bytes(&bytes)
    }
}

#[async_trait]
impl Tails for Local<ScriptedTails> {
    async fn tail(&self, tenant: &TenantId, request: TailRequest) -> Result<BoxStream<'static, Result<TailFrame>>> {
        self.0.tail(tenant, request).await
    }
}

#[async_trait]
impl Scheduler for Local<ScriptedScheduler> {
    async fn wait(&self, request: PlaceRequest) -> Result<Place> {
        self.0.wait(request).await
    }
    async fn offer(&self, offer: Offer) -> Result<Option<Taken>> {
        self.0.offer(offer).await
    }
}

#[async_trait]
impl Ingester for Local<ScriptedIngester> {
    async fn push(&self, tenant: &TenantId, batch: Batch) -> Result<PushOutcome> {
        self.0.push(tenant, batch).await
    }
    async fn select(&self, request: RecentRequest) -> Result<BoxStream<'static, Result<RecentStream>>> {
        self.0.select(request).await
    }
    async fn tail(&self, request: RecentRequest) -> Result<BoxStream<'static, Result<Tailed>>> {
        self.0.tail(request).await
    }
    async fn labels(&self, request: RecentRequest, name: Option<String>) -> Result<Vec<String>> {
        self.0.labels(request, name).await
    }
    async fn series(&self, request: RecentRequest) -> Result<Vec<Labels>> {
        self.0.series(request).await
    }
    async fn sizes(&self, request: RecentRequest) -> Result<Vec<StreamSize>> {
        self.0.sizes(request).await
    }
    async fn patterns(&self, request: PatternsRequest) -> Result<Vec<StreamPatterns>> {
        self.0.patterns(request).await
    }
    async fn offer(&self, blocks: Vec<OfferedBlock>) -> Result<()> {
        self.0.offer(blocks).await
    }
    async fn flush(&self) -> Result<()> {
        self.0.flush().await
    }
}

/// The address of a server of `routes` that belongs to a cluster, or to none.
async fn served(routes: Routes, server: ClusterId) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serve = Server::builder().layer(server.guard()).add_routes(routes);
    tokio::spawn(serve.serve_with_incoming(TcpIncoming::from(listener)));
    address
}

/// A client of one cluster in front of a server of another, or of none.
async fn between(inner: Arc<ScriptedIngester>, client: ClusterId, server: ClusterId) -> IngesterClient {
    let address = served(ingester_server(inner), server).await;
    IngesterClient::connect(&Connector::default().of_cluster(client), &address).unwrap()
}

fn cluster(name: &str) -> ClusterId {
    ClusterId::new(name).unwrap()
}

async fn over_grpc(inner: Arc<ScriptedIngester>) -> IngesterClient {
    between(inner, cluster("one"), cluster("one")).await
}

#[tokio::test]
async fn an_instance_is_an_ingester() {
    check_ingester(async |script| Local(script)).await;
}

#[tokio::test]
async fn a_client_is_an_ingester() {
    check_ingester(over_grpc).await;
}

#[tokio::test]
async fn a_client_is_an_index() {
    check_index(async |script| {
        let address = served(index_server(script), ClusterId::default()).await;
        IndexClient::connect(&Connector::default(), &address).unwrap()
    })
    .await;
}

#[tokio::test]
async fn a_client_is_a_delete_service() {
    check_deletes(async |script| {
        let address = served(deletes_server(script), ClusterId::default()).await;
        DeletesClient::connect(&Connector::default(), &address).unwrap()
    })
    .await;
}

async fn queries_over_grpc(script: Arc<ScriptedQueries>) -> QueriesClient {
    let address = served(queries_server(script, Arc::new(EveryPlace::default())), ClusterId::default()).await;
    QueriesClient::connect(&Connector::default(), &address).unwrap()
}

#[tokio::test]
async fn an_instance_is_a_query_service() {
    check_queries(async |script| Local(script)).await;
}

#[tokio::test]
async fn a_client_is_a_query_service() {
    check_queries(queries_over_grpc).await;
}

#[tokio::test]
async fn answers_that_were_kept_are_as_they_were() {
    check_queries(async |script| Kept(script)).await;
}

#[tokio::test]
async fn an_instance_is_a_tail_service() {
    check_tails(async |script| Local(script)).await;
}

#[tokio::test]
async fn a_client_is_a_tail_service() {
    check_tails(async |script| {
        let address = served(tails_server(script), ClusterId::default()).await;
        TailsClient::connect(&Connector::default(), &address).unwrap()
    })
    .await;
}

#[tokio::test]
async fn an_instance_is_a_scheduler() {
    check_scheduler(async |script| Local(script)).await;
}

#[tokio::test]
async fn a_client_is_a_scheduler() {
    check_scheduler(async |script| {
        let address = served(scheduler_server(script), ClusterId::default()).await;
        SchedulerClient::connect(&Connector::default(), &address).unwrap()
    })
    .await;
}

/// One group with an alert of each of some values.
struct OneGroup;

fn group() -> GroupState {
    let alert = |value| AlertState { labels: Labels::new([("a", "b")]), value, ..AlertState::default() };
    let alerts = [0.0, -0.0, 0.5, f64::NAN, f64::NEG_INFINITY].map(alert).to_vec();
    let alerting = Some(Alerting { hold: Duration::from_secs(1), alerts, ..Alerting::default() });
    let rule = RuleState { name: "Many".into(), alerting, health: Health::Err, ..RuleState::default() };
    GroupState { namespace: "n".into(), name: "g".into(), rules: vec![rule], ..GroupState::default() }
}

#[async_trait]
impl RuleStates for OneGroup {
    async fn own_states(&self, _: &TenantId) -> Result<Vec<GroupState>> {
        Ok(vec![group()])
    }
}

#[tokio::test]
async fn a_client_tells_the_states_of_rules() {
    let address = served(rule_states_server(Arc::new(OneGroup)), ClusterId::default()).await;
    let client = RuleStatesClient::connect(&Connector::default(), &address).unwrap();
    let states = client.own_states(&TenantId::parse("a").unwrap()).await.unwrap();
    assert_eq!(format!("{states:?}"), format!("{:?}", [group()]));
}

/// Whether a call counts as lost that ends like this.
async fn check_lost(client: QueriesClient, call: Call, kind: Kind, lost: bool) {
    let error = client.call(&TenantId::parse("a").unwrap().into(), call).await.unwrap_err();
    assert_eq!((error.kind, client.lost()), (kind, lost), "{error}");
}

/// Knows no ticket.
struct NoPlace;

impl Offered for NoPlace {
    fn take(&self, _: u64, _: &Tenants) -> Result<Box<dyn Send>> {
        Err(Error::unavailable("no such place"))
    }
}

#[tokio::test]
async fn a_call_that_fails_is_told_from_a_querier_that_is_gone() {
    let call = || Call::Series(MetadataRequest { selectors: vec![], range: TimeRange::new(0, 1) });
    let script = Arc::new(ScriptedQueries::default());
    script.replies.lock().unwrap().push(Err(Error::unavailable("too many ingesters failed")));
    check_lost(queries_over_grpc(script).await, call(), Kind::Unavailable, false).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = listener.local_addr().unwrap().to_string();
    drop(listener);
    let client = QueriesClient::connect(&Connector::default(), &nobody).unwrap();
    check_lost(client, call(), Kind::Unavailable, true).await;
    let address =
        served(queries_server(Arc::new(ScriptedQueries::default()), Arc::new(NoPlace)), ClusterId::default()).await;
    let client = QueriesClient::connect(&Connector::default(), &address).unwrap().with_ticket(7);
    check_lost(client, call(), Kind::Unavailable, true).await;
}

#[tokio::test]
async fn a_ticket_takes_a_place_and_a_call_without_one_needs_none() {
    let (script, places) = (Arc::new(ScriptedQueries::default()), Arc::new(EveryPlace::default()));
    let address = served(queries_server(script.clone(), places.clone()), ClusterId::default()).await;
    let client = QueriesClient::connect(&Connector::default(), &address).unwrap();
    let call = || Call::Series(MetadataRequest { selectors: vec![], range: TimeRange::new(0, 1) });
    for client in [client.with_ticket(u64::MAX), client] {
        script.replies.lock().unwrap().push(Ok(Reply::Series(Answer::default())));
        client.call(&TenantId::parse("a").unwrap().into(), call()).await.unwrap();
    }
    assert_eq!(*places.taken.lock().unwrap(), [u64::MAX]);
}

#[tokio::test]
async fn an_ingester_that_is_not_there_is_unavailable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let client = IngesterClient::connect(&Connector::default(), &address.to_string()).unwrap();
    let tenant = TenantId::parse("a").unwrap();
    assert_eq!(client.push(&tenant, Batch::default()).await.unwrap_err().kind, Kind::Unavailable);
}

#[tokio::test]
async fn a_call_of_another_cluster_is_refused_and_both_are_named() {
    let none = ClusterId::default();
    for (client, server, refused) in [
        (cluster("one"), cluster("one"), false),
        (cluster("one"), cluster("two"), true),
        (none.clone(), cluster("two"), false),
        (cluster("one"), none, false),
    ] {
        let script = Arc::new(ScriptedIngester::default());
        let client = between(script.clone(), client, server).await;
        let answer = client.push(&TenantId::parse("a").unwrap(), Batch::default()).await;
        assert_eq!(script.pushed.lock().unwrap().len(), usize::from(!refused), "what is refused arrives nowhere");
        match answer {
            Ok(_) => assert!(!refused),
            Err(error) => {
                assert_eq!(error.kind, Kind::Unavailable);
                assert!(refused && error.message.contains("\"two\" and was called by one of \"one\""), "{error:?}");
            }
        }
    }
    assert_eq!(ClusterId::new("line\nbreak").err().map(|e| e.kind), Some(Kind::Invalid));
}
