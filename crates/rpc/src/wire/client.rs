//! The client's side: a service that lives in another process.

use super::convert::{
    block_of_wire, labels_of_wire, offered_to_wire, outcome_of_wire, recent_to_wire, size_of_wire, stream_of_wire,
    tailed_of_wire,
};
use super::convert_patterns::{patterns_to_wire, stream_patterns_of_wire};
use super::error::error_of;
use super::proto::ingester_client as generated;
use super::proto::select_part::Part;
use super::{Channel, Connector, MESSAGE_BYTES_MAX, TENANT_METADATA, proto};
use crate::ingester::{
    Ingester, OfferedBlock, PatternsRequest, PushOutcome, RecentRequest, RecentStream, StreamPatterns, StreamSize,
    Tailed,
};
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use model::{Batch, Error, Kind, Labels, Result, Symbols, TenantId};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tonic::{Request, Response, Status, Streaming};

/// How long a call, or the next part of its answer, may take.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long storing everything may take.
pub const FLUSH_TIMEOUT: Duration = Duration::from_secs(600);

#[derive(Clone)]
pub struct IngesterClient {
    inner: generated::IngesterClient<Channel>,
}

impl IngesterClient {
    /// To `host:port`; connects when it is first used. `Invalid` when that is no address.
    pub fn connect(connector: &Connector, address: &str) -> Result<Self> {
        let inner = generated::IngesterClient::new(connector.channel(address)?)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        Ok(IngesterClient { inner })
    }
}

/// A request of a tenant, with the deadline that the other side sees.
pub(super) fn of_tenant<T>(tenant: &TenantId, message: T) -> Result<Request<T>> {
    let mut request = without_deadline(tenant, message)?;
    request.set_timeout(CALL_TIMEOUT);
    Ok(request)
}

pub(super) fn without_deadline<T>(tenant: &TenantId, message: T) -> Result<Request<T>> {
    let mut request = Request::new(message);
    let name = tenant.as_str().parse().map_err(|_| Error::internal("a tenant's name is no header value"))?;
    request.metadata_mut().insert(TENANT_METADATA, name);
    Ok(request)
}

pub(super) async fn within<T>(timeout: Duration, call: impl Future<Output = Result<T, Status>>) -> Result<T> {
    match tokio::time::timeout(timeout, call).await {
        Ok(answer) => answer.map_err(|status| error_of(&status)),
        Err(_) => Err(Error::new(Kind::Timeout, "another node did not answer in time")),
    }
}

pub(super) async fn answer<T>(call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T> {
    within(CALL_TIMEOUT, call).await.map(Response::into_inner)
}

/// All parts of a streamed answer.
async fn collect<P, T>(mut parts: Streaming<P>, items: impl Fn(P) -> Vec<T>) -> Result<Vec<T>> {
    let mut all = Vec::new();
    while let Some(part) = within(CALL_TIMEOUT, parts.message()).await? {
        all.extend(items(part));
    }
    Ok(all)
}

#[async_trait]
impl Ingester for IngesterClient {
    async fn push(&self, tenant: &TenantId, batch: Batch) -> Result<PushOutcome> {
        let request = of_tenant(tenant, proto::PushBatch { batch: Some(batch.data) })?;
        answer(self.inner.clone().push(request)).await.map(outcome_of_wire)
    }

    async fn select(&self, request: RecentRequest) -> Result<BoxStream<'static, Result<RecentStream>>> {
        let request = of_tenant(&request.tenant, recent_to_wire(&request))?;
        let parts = answer(self.inner.clone().select(request)).await?;
        let reader = PartReader { parts, head: None };
        let streams = stream::unfold(Some(reader), |reader| async {
            let mut reader = reader?;
            match reader.next().await {
                Ok(Some(stream)) => Some((Ok(stream), Some(reader))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(streams.boxed())
    }

    async fn tail(&self, request: RecentRequest) -> Result<BoxStream<'static, Result<Tailed>>> {
        let request = without_deadline(&request.tenant, recent_to_wire(&request))?;
        let parts = answer(self.inner.clone().tail(request)).await?;
        Ok(parts.map(|part| part.map_err(|status| error_of(&status)).and_then(tailed_of_wire)).boxed())
    }

    async fn labels(&self, request: RecentRequest, name: Option<String>) -> Result<Vec<String>> {
        let message = proto::RecentLabels { recent: Some(recent_to_wire(&request)), name };
        let request = of_tenant(&request.tenant, message)?;
        answer(self.inner.clone().labels(request)).await.map(|a| a.names)
    }

    async fn series(&self, request: RecentRequest) -> Result<Vec<Labels>> {
        let request = of_tenant(&request.tenant, recent_to_wire(&request))?;
        let parts = answer(self.inner.clone().series(request)).await?;
        collect(parts, |p| p.series.into_iter().map(|s| labels_of_wire(s.labels)).collect()).await
    }

    async fn sizes(&self, request: RecentRequest) -> Result<Vec<StreamSize>> {
        let request = of_tenant(&request.tenant, recent_to_wire(&request))?;
        let parts = answer(self.inner.clone().sizes(request)).await?;
        collect(parts, |p| p.sizes.into_iter().map(size_of_wire).collect()).await
    }

    async fn patterns(&self, request: PatternsRequest) -> Result<Vec<StreamPatterns>> {
        let request = of_tenant(&request.recent.tenant, patterns_to_wire(&request))?;
        let parts = answer(self.inner.clone().patterns(request)).await?;
        collect(parts, |p| p.streams.into_iter().map(stream_patterns_of_wire).collect()).await
    }

    async fn offer(&self, blocks: Vec<OfferedBlock>) -> Result<()> {
        let mut request =
            Request::new(proto::OfferedBlocks { blocks: blocks.into_iter().map(offered_to_wire).collect() });
        request.set_timeout(CALL_TIMEOUT);
        answer(self.inner.clone().offer(request)).await.map(drop)
    }

    async fn flush(&self) -> Result<()> {
        let mut client = self.inner.clone();
        within(FLUSH_TIMEOUT, client.flush(Request::new(proto::FlushAll {}))).await.map(drop)
    }
}

/// Puts streams together again from their parts, one at a time.
struct PartReader {
    parts: Streaming<proto::SelectPart>,
    /// The head that ended the stream before.
    head: Option<proto::StreamHead>,
}

impl PartReader {
    async fn next(&mut self) -> Result<Option<RecentStream>> {
        let head = match self.head.take() {
            Some(head) => head,
            None => match self.part().await? {
                None => return Ok(None),
                Some(Part::Head(head)) => head,
                Some(Part::Block(_)) => return Err(Error::corrupt("a block came before its stream")),
            },
        };
        let mut blocks = Vec::new();
        let mut symbols: Option<Arc<Symbols>> = None;
        while let Some(part) = self.part().await? {
            match part {
                Part::Block(block) => blocks.push(block_of_wire(block, &mut symbols)?),
                Part::Head(head) => {
                    self.head = Some(head);
                    break;
                }
            }
        }
        Ok(Some(stream_of_wire(head, blocks)))
    }

    async fn part(&mut self) -> Result<Option<Part>> {
        match within(CALL_TIMEOUT, self.parts.message()).await? {
            None => Ok(None),
            Some(proto::SelectPart { part: Some(part) }) => Ok(Some(part)),
            Some(_) => Err(Error::internal("an unknown part in a call between nodes: do their versions differ?")),
        }
    }
}
