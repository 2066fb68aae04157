//! The query service over gRPC, both sides. Answers travel in messages of bounded size.

use super::convert_calls::{broken, call_of_wire, call_to_wire};
use super::convert_replies::{add_items, reply_of_head, reply_to_wire};
use super::error::{kind_name, kind_of_name, status_of};
use super::progress::{begin, next, report};
use super::proto::queries_client::QueriesClient as Generated;
use super::proto::queries_server as generated;
use super::proto::reply_part::Part;
use super::server::Parts;
use super::{Channel, Connector, MESSAGE_BYTES_MAX, proto};
use crate::call::{Call, Calls, Reply, ask};
use crate::queries::{Queries, Tenants};
use crate::scheduler::Offered;
use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt};
use model::{Error, Kind, Result};
use prost::Message;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};
use tracing::{Instrument, Span};

/// The metadata that names the place which a call was given.
pub const TICKET_METADATA: &str = "x-lokirs-ticket";
/// The largest answer that is taken from another process, in bytes.
pub const ANSWER_BYTES_MAX: usize = 1 << 30;

/// The query service of another process.
#[derive(Clone)]
pub struct QueriesClient {
    inner: Generated<Channel>,
    ticket: Option<u64>,
    lost: Arc<AtomicBool>,
}

impl QueriesClient {
    /// To `host:port`; connects when it is first used. `Invalid` when that is no address.
    pub fn connect(connector: &Connector, address: &str) -> Result<Self> {
        let inner = Generated::new(connector.channel(address)?).max_decoding_message_size(MESSAGE_BYTES_MAX);
        Ok(QueriesClient { inner, ticket: None, lost: Arc::default() })
    }

    /// The same, for one call that has the place of this ticket.
    pub fn with_ticket(&self, ticket: u64) -> Self {
        QueriesClient { inner: self.inner.clone(), ticket: Some(ticket), lost: Arc::default() }
    }

    /// Whether a call failed because the other process is gone or hangs or has no such place: the error says nothing about
    /// the call.
    pub fn lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    fn note<T>(&self, answer: Result<T>) -> Result<T> {
        let gone = |e: &Error| matches!(e.kind, Kind::Unavailable | Kind::Timeout | Kind::Cancelled | Kind::Internal);
        if answer.as_ref().is_err_and(gone) {
            self.lost.store(true, Ordering::Relaxed);
        }
        answer
    }
}

#[async_trait]
impl Calls for QueriesClient {
    async fn call(&self, tenants: &Tenants, call: Call) -> Result<Reply> {
        let mut request = Request::new(call_to_wire(tenants, call));
        if let Some(ticket) = self.ticket {
            request.metadata_mut().insert(TICKET_METADATA, ticket.into());
        }
        let mut parts = self.note(begin(self.inner.clone().ask(request)).await)?;
        let head = match self.next(&mut parts).await? {
            Part::Head(head) => head,
            Part::Error(error) => return Err(error_of_part(error)),
            _ => return Err(broken("no head")),
        };
        let (mut reply, mut bytes) = (reply_of_head(head)?, 0);
        loop {
            match self.next(&mut parts).await? {
                Part::Items(items) => {
                    bytes += items.encoded_len();
                    if bytes > ANSWER_BYTES_MAX {
                        return Err(too_large());
                    }
                    add_items(&mut reply, items)?;
                }
                Part::End(_) => return Ok(reply),
                _ => return Err(broken("an unknown part")),
            }
        }
    }
}

impl QueriesClient {
    /// The next part that says something. An answer that breaks off is lost.
    async fn next(&self, parts: &mut Streaming<proto::ReplyPart>) -> Result<Part> {
        loop {
            let part = self.note(next(parts).await)?;
            let ended = || Error::unavailable("the answer of another node broke off");
            match self.note(part.ok_or_else(ended))?.part {
                Some(Part::Working(_)) => {}
                Some(part) => return Ok(part),
                None => return Err(broken("an unknown part")),
            }
        }
    }
}

fn too_large() -> Error {
    let limit = ANSWER_BYTES_MAX >> 20;
    Error::too_large(format!("the answer is larger than {limit} MiB; reduce the query's limit or its time range"))
}

/// The routes of a query service. Calls that name a ticket need a place among `offered`.
pub fn queries_server(inner: Arc<dyn Queries>, offered: Arc<dyn Offered>) -> Routes {
    let server = Server { inner, offered };
    Routes::new(generated::QueriesServer::new(server).max_encoding_message_size(MESSAGE_BYTES_MAX))
}

struct Server {
    inner: Arc<dyn Queries>,
    offered: Arc<dyn Offered>,
}

#[tonic::async_trait]
impl generated::Queries for Server {
    type AskStream = Parts<proto::ReplyPart>;
    async fn ask(&self, request: Request<proto::QueriesCall>) -> Result<Response<Self::AskStream>, Status> {
        let (metadata, _, message) = request.into_parts();
        let (tenants, call) = call_of_wire(message).map_err(status_of)?;
        let ticket = metadata.get(TICKET_METADATA).and_then(|value| value.to_str().ok());
        let place = match ticket {
            None => None,
            Some(ticket) => {
                let ticket = ticket.parse().map_err(|_| status_of(broken("a ticket that is none")))?;
                Some(self.offered.take(ticket, &tenants).map_err(status_of)?)
            }
        };
        let inner = self.inner.clone();
        let work = async move {
            let reply = ask(&*inner, &tenants, call).await;
            // The place is free as soon as the work is done: sending costs the querier little.
            drop(place);
            Ok(parts(reply))
        };
        let working = || part(Part::Working(proto::Working {}));
        Ok(Response::new(report(working, Box::pin(work.instrument(Span::current())))))
    }
}

fn part(part: Part) -> proto::ReplyPart {
    proto::ReplyPart { part: Some(part) }
}

fn parts(reply: Result<Reply>) -> BoxStream<'static, proto::ReplyPart> {
    match reply {
        Ok(reply) => {
            let (head, items) = reply_to_wire(reply);
            let items = items.map(Part::Items).chain([Part::End(proto::ReplyEnd {})]);
            stream::iter(std::iter::once(Part::Head(head)).chain(items).map(part)).boxed()
        }
        Err(Error { kind, message }) => {
            let error = proto::CallError { kind: kind_name(kind).into(), message };
            stream::iter([part(Part::Error(error))]).boxed()
        }
    }
}

fn error_of_part(error: proto::CallError) -> Error {
    Error::new(kind_of_name(&error.kind).unwrap_or(Kind::Internal), error.message)
}
