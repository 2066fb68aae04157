//! The services' contracts, held by an instance and by a client in front of a server in front of an instance.

#![allow(clippy::disallowed_methods, reason = "a test joins the tasks that it starts")]

use async_trait::async_trait;
use futures::stream::BoxStream;
use model::{Batch, Kind, Labels, Result, TenantId};
use rpc::ingester::{Ingester, PushOutcome, RecentRequest, RecentStream, StreamSize, Tailed};
use rpc::testing::{ScriptedIngester, check_deletes, check_index, check_ingester};
use rpc::wire::{
    ClusterId, Connector, DeletesClient, IndexClient, IngesterClient, deletes_server, index_server, ingester_server,
};
use std::sync::Arc;
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic::transport::{Server, server::TcpIncoming};

/// The instance itself, behind nothing.
struct Local(Arc<ScriptedIngester>);

#[async_trait]
impl Ingester for Local {
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
    let client = async |script| {
        let address = served(index_server(script), ClusterId::default()).await;
        IndexClient::connect(&Connector::default(), &address).unwrap()
    };
    check_index(client).await;
}

#[tokio::test]
async fn a_client_is_a_delete_service() {
    let client = async |script| {
        let address = served(deletes_server(script), ClusterId::default()).await;
        DeletesClient::connect(&Connector::default(), &address).unwrap()
    };
    check_deletes(client).await;
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
