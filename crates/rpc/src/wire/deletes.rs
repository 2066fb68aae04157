//! The delete service over gRPC, both sides. What a filter keeps travels as the text of its query.

use super::client::{answer, of_tenant};
use super::error::status_of;
use super::proto::deletes_client::DeletesClient as Generated;
use super::proto::deletes_server as generated;
use super::server::tenant;
use super::{Channel, Connector, MESSAGE_BYTES_MAX, proto};
use crate::deletes::{DeleteFilter, DeleteRequest, DeleteStatus, Deletes, NewDelete};
use async_trait::async_trait;
use logql::ast::LogExpr;
use logql::parse::parse_log;
use model::{Error, Result, TenantId, TimeRange};
use std::sync::Arc;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

/// The delete service of another process.
#[derive(Clone)]
pub struct DeletesClient {
    inner: Generated<Channel>,
}

impl DeletesClient {
    /// To `host:port`; connects when it is first used. `Invalid` when that is no address.
    pub fn connect(connector: &Connector, address: &str) -> Result<Self> {
        Ok(DeletesClient {
            inner: Generated::new(connector.channel(address)?).max_decoding_message_size(MESSAGE_BYTES_MAX),
        })
    }
}

#[async_trait]
impl Deletes for DeletesClient {
    async fn create(&self, tenant: &TenantId, request: NewDelete) -> Result<String> {
        let (query, start_ms, end_ms) = (request.query().to_string(), request.start_ms(), request.end_ms());
        let request = of_tenant(tenant, proto::NewDelete { query, start_ms, end_ms })?;
        answer(self.inner.clone().create(request)).await.map(|created| created.id)
    }

    async fn list(&self, tenant: &TenantId) -> Result<Vec<DeleteRequest>> {
        let listed = answer(self.inner.clone().list(of_tenant(tenant, proto::ListDeletes {})?)).await?;
        Ok(listed.requests.into_iter().map(request_of_wire).collect())
    }

    async fn cancel(&self, tenant: &TenantId, id: &str, force: bool) -> Result<()> {
        let request = of_tenant(tenant, proto::CancelDelete { id: id.into(), force })?;
        answer(self.inner.clone().cancel(request)).await.map(drop)
    }

    async fn filters(&self, tenant: &TenantId, range: TimeRange) -> Result<Vec<DeleteFilter>> {
        let range = proto::DeleteRange { start_ns: range.start_ns, end_ns: range.end_ns };
        let answer = answer(self.inner.clone().filters(of_tenant(tenant, range)?)).await?;
        answer.filters.into_iter().map(filter_of_wire).collect()
    }

    async fn generation(&self, tenant: &TenantId) -> Result<String> {
        let request = of_tenant(tenant, proto::GenerationOf {})?;
        answer(self.inner.clone().generation(request)).await.map(|answer| answer.generation)
    }
}

/// The routes of a delete service, for a listener that may serve others too.
pub fn deletes_server(inner: Arc<dyn Deletes>) -> Routes {
    let service = generated::DeletesServer::new(Server { inner }).max_encoding_message_size(MESSAGE_BYTES_MAX);
    Routes::new(service)
}

struct Server {
    inner: Arc<dyn Deletes>,
}

#[tonic::async_trait]
impl generated::Deletes for Server {
    async fn create(&self, request: Request<proto::NewDelete>) -> Result<Response<proto::DeleteId>, Status> {
        let tenant = tenant(request.metadata())?;
        let proto::NewDelete { query, start_ms, end_ms } = request.into_inner();
        // The other side has compared it with its clock; ours may be behind.
        let new = NewDelete::parse(&query, start_ms, end_ms, end_ms).map_err(status_of)?;
        let id = self.inner.create(&tenant, new).await.map_err(status_of)?;
        Ok(Response::new(proto::DeleteId { id }))
    }

    async fn list(&self, request: Request<proto::ListDeletes>) -> Result<Response<proto::DeleteList>, Status> {
        let listed = self.inner.list(&tenant(request.metadata())?).await.map_err(status_of)?;
        Ok(Response::new(proto::DeleteList { requests: listed.into_iter().map(request_to_wire).collect() }))
    }

    async fn cancel(&self, request: Request<proto::CancelDelete>) -> Result<Response<proto::Cancelled>, Status> {
        let tenant = tenant(request.metadata())?;
        let proto::CancelDelete { id, force } = request.into_inner();
        self.inner.cancel(&tenant, &id, force).await.map_err(status_of)?;
        Ok(Response::new(proto::Cancelled {}))
    }

    async fn filters(&self, request: Request<proto::DeleteRange>) -> Result<Response<proto::DeleteFilters>, Status> {
        let tenant = tenant(request.metadata())?;
        let proto::DeleteRange { start_ns, end_ns } = request.into_inner();
        let filters = self.inner.filters(&tenant, TimeRange::new(start_ns, end_ns)).await.map_err(status_of)?;
        Ok(Response::new(proto::DeleteFilters { filters: filters.into_iter().map(filter_to_wire).collect() }))
    }

    async fn generation(&self, request: Request<proto::GenerationOf>) -> Result<Response<proto::Generation>, Status> {
        let generation = self.inner.generation(&tenant(request.metadata())?).await.map_err(status_of)?;
        Ok(Response::new(proto::Generation { generation }))
    }
}

fn request_to_wire(request: DeleteRequest) -> proto::DeleteRequest {
    let DeleteRequest { id, query, start_ms, end_ms, created_ms, status } = request;
    proto::DeleteRequest { id, query, start_ms, end_ms, created_ms, processed: status == DeleteStatus::Processed }
}

fn request_of_wire(request: proto::DeleteRequest) -> DeleteRequest {
    let proto::DeleteRequest { id, query, start_ms, end_ms, created_ms, processed } = request;
    let status = if processed { DeleteStatus::Processed } else { DeleteStatus::Received };
    DeleteRequest { id, query, start_ms, end_ms, created_ms, status }
}

fn filter_to_wire(filter: DeleteFilter) -> proto::DeleteFilter {
    let DeleteFilter { matchers, stages, start_ns, end_ns } = filter;
    proto::DeleteFilter { query: LogExpr { matchers, stages }.to_string(), start_ns, end_ns }
}

fn filter_of_wire(filter: proto::DeleteFilter) -> Result<DeleteFilter> {
    let broken = |e: Error| Error::corrupt(format!("the delete filter {:?} of another node: {e}", filter.query));
    let LogExpr { matchers, stages } = parse_log(&filter.query).map_err(broken)?;
    Ok(DeleteFilter { matchers, stages, start_ns: filter.start_ns, end_ns: filter.end_ns })
}
