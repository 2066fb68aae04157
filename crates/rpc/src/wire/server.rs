//! The server's side: an instance of a service behind gRPC.

use super::convert::{
    block_to_wire, head_to_wire, labels_to_wire, offered_of_wire, outcome_to_wire, recent_of_wire, size_to_wire,
    tailed_to_wire,
};
use super::convert_patterns::{patterns_of_wire, stream_patterns_to_wire};
use super::error::status_of;
use super::proto::ingester_server as generated;
use super::{MESSAGE_BYTES_MAX, TENANT_METADATA, proto};
use crate::ingester::{Ingester, RecentStream};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use model::{Batch, Error, Kind, Result, Symbols, TenantId};
use std::sync::Arc;
use tonic::metadata::MetadataMap;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

/// Label sets in one message: some hundred kilobytes.
const SERIES_PER_PART: usize = 1000;

pub(super) type Parts<T> = BoxStream<'static, Result<T, Status>>;

/// The routes of an ingester, for a listener that may serve others too.
pub fn ingester_server(inner: Arc<dyn Ingester>) -> Routes {
    let service = generated::IngesterServer::new(Server { inner })
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    Routes::new(service)
}

struct Server {
    inner: Arc<dyn Ingester>,
}

pub(super) fn tenant(metadata: &MetadataMap) -> Result<TenantId, Status> {
    let named = metadata.get(TENANT_METADATA).and_then(|v| v.to_str().ok());
    let named = named.ok_or_else(|| status_of(Error::new(Kind::Unauthenticated, "no org id")))?;
    TenantId::parse(named).map_err(status_of)
}

#[tonic::async_trait]
impl generated::Ingester for Server {
    async fn push(&self, request: Request<proto::PushBatch>) -> Result<Response<proto::PushAnswer>, Status> {
        let tenant = tenant(request.metadata())?;
        let Some(data) = request.into_inner().batch else {
            let what = "a push without a batch in a call between nodes: do their versions differ?";
            return Err(status_of(Error::unavailable(what)));
        };
        let outcome = self.inner.push(&tenant, Batch { data }).await.map_err(status_of)?;
        Ok(Response::new(outcome_to_wire(outcome)))
    }

    type SelectStream = Parts<proto::SelectPart>;
    async fn select(&self, request: Request<proto::Recent>) -> Result<Response<Self::SelectStream>, Status> {
        let tenant = tenant(request.metadata())?;
        let request = recent_of_wire(tenant, request.into_inner()).map_err(status_of)?;
        let streams = self.inner.select(request).await.map_err(status_of)?;
        let parts = streams.map_ok(|s| stream::iter(parts(s)).map(Ok)).try_flatten();
        Ok(Response::new(parts.map_err(status_of).boxed()))
    }

    type TailStream = Parts<proto::TailPart>;
    async fn tail(&self, request: Request<proto::Recent>) -> Result<Response<Self::TailStream>, Status> {
        let tenant = tenant(request.metadata())?;
        let request = recent_of_wire(tenant, request.into_inner()).map_err(status_of)?;
        let tailed = self.inner.tail(request).await.map_err(status_of)?;
        Ok(Response::new(tailed.map_ok(tailed_to_wire).map_err(status_of).boxed()))
    }

    async fn labels(&self, request: Request<proto::RecentLabels>) -> Result<Response<proto::LabelNames>, Status> {
        let tenant = tenant(request.metadata())?;
        let proto::RecentLabels { recent, name } = request.into_inner();
        let request = recent_of_wire(tenant, recent.unwrap_or_default()).map_err(status_of)?;
        let names = self.inner.labels(request, name).await.map_err(status_of)?;
        Ok(Response::new(proto::LabelNames { names }))
    }

    type SeriesStream = Parts<proto::SeriesPart>;
    async fn series(&self, request: Request<proto::Recent>) -> Result<Response<Self::SeriesStream>, Status> {
        let tenant = tenant(request.metadata())?;
        let request = recent_of_wire(tenant, request.into_inner()).map_err(status_of)?;
        let series = self.inner.series(request).await.map_err(status_of)?;
        let parts = stream::iter(series).chunks(SERIES_PER_PART).map(|part| {
            let series = part.iter().map(|l| proto::LabelSet { labels: labels_to_wire(l) }).collect();
            Ok(proto::SeriesPart { series })
        });
        Ok(Response::new(parts.boxed()))
    }

    type SizesStream = Parts<proto::SizesPart>;
    async fn sizes(&self, request: Request<proto::Recent>) -> Result<Response<Self::SizesStream>, Status> {
        let tenant = tenant(request.metadata())?;
        let request = recent_of_wire(tenant, request.into_inner()).map_err(status_of)?;
        let sizes = self.inner.sizes(request).await.map_err(status_of)?;
        let parts = stream::iter(sizes)
            .chunks(SERIES_PER_PART)
            .map(|part| Ok(proto::SizesPart { sizes: part.into_iter().map(size_to_wire).collect() }));
        Ok(Response::new(parts.boxed()))
    }

    type PatternsStream = Parts<proto::PatternsPart>;
    async fn patterns(
        &self,
        request: Request<proto::RecentPatterns>,
    ) -> Result<Response<Self::PatternsStream>, Status> {
        let tenant = tenant(request.metadata())?;
        let request = patterns_of_wire(tenant, request.into_inner()).map_err(status_of)?;
        let streams = self.inner.patterns(request).await.map_err(status_of)?;
        // A stream's patterns are bounded: one a message, so that no message is much larger than the others.
        let parts =
            stream::iter(streams).map(|s| Ok(proto::PatternsPart { streams: vec![stream_patterns_to_wire(s)] }));
        Ok(Response::new(parts.boxed()))
    }

    async fn offer(&self, request: Request<proto::OfferedBlocks>) -> Result<Response<proto::OfferTaken>, Status> {
        let offered = request.into_inner().blocks.into_iter().map(offered_of_wire);
        let blocks = offered.collect::<model::Result<Vec<_>>>().map_err(status_of)?;
        self.inner.offer(blocks).await.map_err(status_of)?;
        Ok(Response::new(proto::OfferTaken {}))
    }

    async fn flush(&self, _: Request<proto::FlushAll>) -> Result<Response<proto::Flushed>, Status> {
        self.inner.flush().await.map_err(status_of)?;
        Ok(Response::new(proto::Flushed {}))
    }
}

/// A stream as its head and its blocks.
fn parts(stream: RecentStream) -> impl Iterator<Item = proto::SelectPart> + Send {
    use proto::select_part::Part;
    let head = head_to_wire(&stream);
    let mut symbols: Option<Arc<Symbols>> = None;
    let blocks = stream.blocks.into_iter().map(move |b| Part::Block(block_to_wire(b, &mut symbols)));
    std::iter::once(Part::Head(head)).chain(blocks).map(|part| proto::SelectPart { part: Some(part) })
}
