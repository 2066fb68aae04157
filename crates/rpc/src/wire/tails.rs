//! The tail service over gRPC, both sides.

use super::client::{answer, without_deadline};
use super::convert::{labels_of_wire, labels_to_wire};
use super::convert_calls::{tail_of_wire, tail_to_wire};
use super::convert_replies::{log_stream_of_wire, log_stream_to_wire};
use super::error::{error_of, status_of};
use super::proto::tails_client::TailsClient as Generated;
use super::proto::tails_server as generated;
use super::server::{Parts, tenant};
use super::{Channel, Connector, MESSAGE_BYTES_MAX, proto};
use crate::ingester::DroppedEntries;
use crate::tail::{TailFrame, TailRequest, Tails};
use async_trait::async_trait;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use model::{Result, TenantId};
use std::sync::Arc;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

/// The tail service of another process.
#[derive(Clone)]
pub struct TailsClient {
    inner: Generated<Channel>,
}

impl TailsClient {
    /// To `host:port`; connects when it is first used. `Invalid` when that is no address.
    pub fn connect(connector: &Connector, address: &str) -> Result<Self> {
        let inner = Generated::new(connector.channel(address)?).max_decoding_message_size(MESSAGE_BYTES_MAX);
        Ok(TailsClient { inner })
    }
}

#[async_trait]
impl Tails for TailsClient {
    async fn tail(&self, tenant: &TenantId, request: TailRequest) -> Result<BoxStream<'static, Result<TailFrame>>> {
        let request = without_deadline(tenant, tail_to_wire(request))?;
        let frames = answer(self.inner.clone().tail(request)).await?;
        Ok(frames.map_ok(frame_of_wire).map_err(|status| error_of(&status)).boxed())
    }
}

/// The routes of a tail service, for a listener that may serve others too.
pub fn tails_server(inner: Arc<dyn Tails>) -> Routes {
    Routes::new(generated::TailsServer::new(Server { inner }).max_encoding_message_size(MESSAGE_BYTES_MAX))
}

struct Server {
    inner: Arc<dyn Tails>,
}

#[tonic::async_trait]
impl generated::Tails for Server {
    type TailStream = Parts<proto::TailFrame>;
    async fn tail(&self, request: Request<proto::TailCall>) -> Result<Response<Self::TailStream>, Status> {
        let tenant = tenant(request.metadata())?;
        let frames = self.inner.tail(&tenant, tail_of_wire(request.into_inner())).await.map_err(status_of)?;
        Ok(Response::new(frames.map_ok(frame_to_wire).map_err(status_of).boxed()))
    }
}

fn frame_to_wire(frame: TailFrame) -> proto::TailFrame {
    let dropped = |DroppedEntries { labels, ts_ns, entries }: DroppedEntries| proto::DroppedEntries {
        labels: labels_to_wire(&labels),
        ts_ns,
        entries,
    };
    proto::TailFrame {
        streams: frame.streams.into_iter().map(log_stream_to_wire).collect(),
        dropped: frame.dropped.into_iter().map(dropped).collect(),
    }
}

fn frame_of_wire(frame: proto::TailFrame) -> TailFrame {
    let dropped = |proto::DroppedEntries { labels, ts_ns, entries }: proto::DroppedEntries| DroppedEntries {
        labels: labels_of_wire(labels),
        ts_ns,
        entries,
    };
    TailFrame {
        streams: frame.streams.into_iter().map(log_stream_of_wire).collect(),
        dropped: frame.dropped.into_iter().map(dropped).collect(),
    }
}
