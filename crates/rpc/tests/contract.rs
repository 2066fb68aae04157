//! The services' contracts, held by an instance and by a client in front of a server in front of an instance.

#![allow(clippy::disallowed_methods, reason = "a test joins the tasks that it starts")]

use async_trait::async_trait;
use futures::stream::BoxStream;
use model::{Batch, Kind, Labels, Result, TenantId};
use rpc::ingester::{Ingester, PushOutcome, RecentRequest, RecentStream, StreamSize, Tailed};
use rpc::testing::{ScriptedIngester, check_deletes, check_index, check_ingester};
use rpc::wire::{DeletesClient, IndexClient, IngesterClient, deletes_server, index_server, ingester_server};
use std::sync::Arc;
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint, Server, server::TcpIncoming};

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

/// A channel to a server of `routes`.
async fn served(routes: Routes) -> Channel {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(Server::builder().add_routes(routes).serve_with_incoming(TcpIncoming::from(listener)));
    Endpoint::try_from(format!("http://{address}")).unwrap().connect_lazy()
}

async fn over_grpc(inner: Arc<ScriptedIngester>) -> IngesterClient {
    IngesterClient::new(served(ingester_server(inner)).await)
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
    check_index(async |script| IndexClient::new(served(index_server(script)).await)).await;
}

#[tokio::test]
async fn a_client_is_a_delete_service() {
    check_deletes(async |script| DeletesClient::new(served(deletes_server(script)).await)).await;
}

#[tokio::test]
async fn an_ingester_that_is_not_there_is_unavailable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let client = IngesterClient::new(Endpoint::try_from(format!("http://{address}")).unwrap().connect_lazy());
    let tenant = TenantId::parse("a").unwrap();
    assert_eq!(client.push(&tenant, Batch::default()).await.unwrap_err().kind, Kind::Unavailable);
}
