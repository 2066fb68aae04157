//! The index's service over gRPC, both sides. Answers travel in messages of bounded size.

use super::client::{CALL_TIMEOUT, answer, of_tenant, within};
use super::convert::{
    chunk_of_wire, chunk_to_wire, labels_of_wire, labels_to_wire, recent_of_wire, recent_to_wire, size_of_wire,
    size_to_wire,
};
use super::error::status_of;
use super::proto::index_client::IndexClient as Generated;
use super::proto::index_server as generated;
use super::server::{Parts, tenant};
use super::{Channel, Connector, MESSAGE_BYTES_MAX, proto};
use crate::index::{Index, IndexRequest};
use crate::ingester::StreamSize;
use crate::queries::Answer;
use async_trait::async_trait;
use format::tsdb::SeriesChunks;
use futures::StreamExt;
use futures::stream;
use model::{Error, Fingerprint, Labels, Result};
use prost::Message;
use std::sync::Arc;
use tonic::metadata::MetadataMap;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

/// What a message holds, but for one item that is larger.
const PART_BYTES: usize = 1 << 20;
/// Chunks of one item: some 300 KB.
const CHUNKS_PER_ITEM: usize = 8192;

/// The index of another process.
#[derive(Clone)]
pub struct IndexClient {
    inner: Generated<Channel>,
}

impl IndexClient {
    /// To `host:port`; connects when it is first used. `Invalid` when that is no address.
    pub fn connect(connector: &Connector, address: &str) -> Result<Self> {
        Ok(IndexClient {
            inner: Generated::new(connector.channel(address)?).max_decoding_message_size(MESSAGE_BYTES_MAX),
        })
    }
}

#[async_trait]
impl Index for IndexClient {
    async fn chunks(&self, request: IndexRequest) -> Result<Answer<Vec<SeriesChunks>>> {
        let request = of_tenant(&request.tenant, recent_to_wire(&request))?;
        let parts = answer(self.inner.clone().chunks(request)).await?;
        collect(parts, |part, all: &mut Vec<SeriesChunks>| {
            part.streams.into_iter().try_for_each(|stream| add_stream(stream, all))
        })
        .await
    }

    async fn series(&self, request: IndexRequest) -> Result<Answer<Vec<Labels>>> {
        let request = of_tenant(&request.tenant, recent_to_wire(&request))?;
        let parts = answer(self.inner.clone().series(request)).await?;
        collect(parts, |part, all: &mut Vec<Labels>| {
            all.extend(part.streams.into_iter().map(|stream| labels_of_wire(stream.labels)));
            Ok(())
        })
        .await
    }

    async fn labels(&self, request: IndexRequest, name: Option<String>) -> Result<Answer<Vec<String>>> {
        let message = proto::RecentLabels { recent: Some(recent_to_wire(&request)), name };
        let parts = answer(self.inner.clone().labels(of_tenant(&request.tenant, message)?)).await?;
        collect(parts, |part, all: &mut Vec<String>| {
            all.extend(part.names);
            Ok(())
        })
        .await
    }

    async fn sizes(&self, request: IndexRequest) -> Result<Answer<Vec<StreamSize>>> {
        let request = of_tenant(&request.tenant, recent_to_wire(&request))?;
        let parts = answer(self.inner.clone().sizes(request)).await?;
        collect(parts, |part, all: &mut Vec<StreamSize>| {
            all.extend(part.sizes.into_iter().map(size_of_wire));
            Ok(())
        })
        .await
    }
}

/// An answer out of its parts. Its size is bounded by the side that made it.
async fn collect<T>(
    mut parts: Streaming<proto::IndexPart>,
    add: impl Fn(proto::IndexPart, &mut Vec<T>) -> Result<()>,
) -> Result<Answer<Vec<T>>> {
    let (mut value, mut warnings) = (Vec::new(), Vec::new());
    while let Some(mut part) = within(CALL_TIMEOUT, parts.message()).await? {
        warnings.append(&mut part.warnings);
        add(part, &mut value)?;
    }
    Ok(Answer { value, warnings })
}

fn add_stream(stream: proto::IndexedStream, all: &mut Vec<SeriesChunks>) -> Result<()> {
    let chunks = stream.chunks.into_iter().map(chunk_of_wire);
    if stream.continued {
        let before = all.last_mut().ok_or_else(|| Error::corrupt("chunks came before their stream"))?;
        before.chunks.extend(chunks);
        return Ok(());
    }
    let fingerprint = Fingerprint(stream.fingerprint);
    all.push(SeriesChunks { labels: labels_of_wire(stream.labels), fingerprint, chunks: chunks.collect() });
    Ok(())
}

/// The routes of an index, for a listener that may serve others too.
pub fn index_server(inner: Arc<dyn Index>) -> Routes {
    let service = generated::IndexServer::new(Server { inner }).max_encoding_message_size(MESSAGE_BYTES_MAX);
    Routes::new(service)
}

struct Server {
    inner: Arc<dyn Index>,
}

#[tonic::async_trait]
impl generated::Index for Server {
    type ChunksStream = Parts<proto::IndexPart>;
    async fn chunks(&self, request: Request<proto::Recent>) -> Result<Response<Self::ChunksStream>, Status> {
        let request = read(request)?;
        let Answer { value, warnings } = self.inner.chunks(request).await.map_err(status_of)?;
        let items = value.into_iter().flat_map(items_of_series);
        let streams = |streams| proto::IndexPart { streams, ..proto::IndexPart::default() };
        Ok(respond(warnings, parts(items, proto::IndexedStream::encoded_len, streams)))
    }

    type SeriesStream = Parts<proto::IndexPart>;
    async fn series(&self, request: Request<proto::Recent>) -> Result<Response<Self::SeriesStream>, Status> {
        let request = read(request)?;
        let Answer { value, warnings } = self.inner.series(request).await.map_err(status_of)?;
        let items = value
            .into_iter()
            .map(|labels| proto::IndexedStream { labels: labels_to_wire(&labels), ..proto::IndexedStream::default() });
        let streams = |streams| proto::IndexPart { streams, ..proto::IndexPart::default() };
        Ok(respond(warnings, parts(items, proto::IndexedStream::encoded_len, streams)))
    }

    type LabelsStream = Parts<proto::IndexPart>;
    async fn labels(&self, request: Request<proto::RecentLabels>) -> Result<Response<Self::LabelsStream>, Status> {
        let (metadata, _, proto::RecentLabels { recent, name }) = request.into_parts();
        let request = parse(&metadata, recent.unwrap_or_default())?;
        let Answer { value, warnings } = self.inner.labels(request, name).await.map_err(status_of)?;
        let names = |names| proto::IndexPart { names, ..proto::IndexPart::default() };
        Ok(respond(warnings, parts(value.into_iter(), String::len, names)))
    }

    type SizesStream = Parts<proto::IndexPart>;
    async fn sizes(&self, request: Request<proto::Recent>) -> Result<Response<Self::SizesStream>, Status> {
        let request = read(request)?;
        let Answer { value, warnings } = self.inner.sizes(request).await.map_err(status_of)?;
        let sizes = |sizes| proto::IndexPart { sizes, ..proto::IndexPart::default() };
        let items = value.into_iter().map(size_to_wire);
        Ok(respond(warnings, parts(items, proto::StreamSize::encoded_len, sizes)))
    }
}

fn read(request: Request<proto::Recent>) -> Result<IndexRequest, Status> {
    let (metadata, _, recent) = request.into_parts();
    parse(&metadata, recent)
}

fn parse(metadata: &MetadataMap, recent: proto::Recent) -> Result<IndexRequest, Status> {
    recent_of_wire(tenant(metadata)?, recent).map_err(status_of)
}

/// A stream as items of bounded size; one without chunks is an item too.
fn items_of_series(series: SeriesChunks) -> impl Iterator<Item = proto::IndexedStream> {
    let SeriesChunks { labels, fingerprint, chunks } = series;
    (0..chunks.len().div_ceil(CHUNKS_PER_ITEM).max(1)).map(move |i| {
        let end = chunks.len().min((i + 1) * CHUNKS_PER_ITEM);
        proto::IndexedStream {
            labels: if i == 0 { labels_to_wire(&labels) } else { vec![] },
            fingerprint: fingerprint.0,
            chunks: chunks[i * CHUNKS_PER_ITEM..end].iter().map(chunk_to_wire).collect(),
            continued: i > 0,
        }
    })
}

/// Items in messages of about [`PART_BYTES`], made when they are sent.
fn parts<T>(
    items: impl Iterator<Item = T>,
    bytes_of: impl Fn(&T) -> usize,
    part: impl Fn(Vec<T>) -> proto::IndexPart,
) -> impl Iterator<Item = proto::IndexPart> {
    let mut items = items.peekable();
    std::iter::from_fn(move || {
        let (mut taken, mut bytes) = (vec![items.next()?], 0);
        bytes += bytes_of(&taken[0]);
        while let Some(item) = items.next_if(|item| bytes + bytes_of(item) <= PART_BYTES) {
            bytes += bytes_of(&item);
            taken.push(item);
        }
        Some(part(taken))
    })
}

/// Warnings first: who sees the end of the answer has seen them.
fn respond(
    warnings: Vec<String>,
    parts_of_value: impl Iterator<Item = proto::IndexPart> + Send + 'static,
) -> Response<Parts<proto::IndexPart>> {
    let of_warnings = parts(warnings.into_iter(), String::len, |warnings| proto::IndexPart {
        warnings,
        ..proto::IndexPart::default()
    });
    Response::new(stream::iter(of_warnings.chain(parts_of_value)).map(Ok).boxed())
}
