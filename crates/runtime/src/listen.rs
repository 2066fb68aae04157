//! A listener: HTTP/1.1 and HTTP/2 without TLS on one port, with a bound on connections, on waiting and on stopping.
//! It must not know what is served.

use crate::metrics::{Gauge, Metrics};
use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// How HTTP/2 opens; what begins otherwise is HTTP/1.
const HTTP2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long to wait when the kernel has no descriptor for a connection that it holds ready.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// How often a connection that has sent a part of the preface is looked at again.
const PREFACE_POLL: Duration = Duration::from_millis(5);

#[derive(Clone, Debug)]
pub struct ListenLimits {
    /// Connections at one time; further ones wait in the kernel's backlog.
    pub connections_max: usize,
    /// From the accept to the first byte, and between two parts of a body.
    pub read_timeout: Duration,
    /// A kept-alive HTTP/1 connection may wait this long for the whole head of its next request.
    pub idle_timeout: Duration,
    /// Streams of one HTTP/2 connection.
    pub http2_streams_max: u32,
    /// Quiet HTTP/2 connections are pinged, and closed when the peer is gone.
    pub http2_ping: Option<Duration>,
    /// Whether the body of a request must keep flowing: off where streams live long.
    pub body_must_flow: bool,
}

impl Default for ListenLimits {
    fn default() -> Self {
        ListenLimits {
            connections_max: 10_000,
            read_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(120),
            http2_streams_max: 250,
            http2_ping: None,
            body_must_flow: true,
        }
    }
}

/// A bound port that nobody is served on yet.
pub struct Listener {
    tcp: TcpListener,
    limits: ListenLimits,
    connections: Gauge,
}

impl Listener {
    /// `protocol` names the listener in `loki_tcp_connections`.
    pub async fn bind(
        address: SocketAddr,
        protocol: &'static str,
        limits: ListenLimits,
        connections: &ConnectionGauges,
    ) -> std::io::Result<Self> {
        let tcp = TcpListener::bind(address).await?;
        Ok(Listener { tcp, limits, connections: connections.of(protocol) })
    }

    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Serves until `stop`; then takes no connection and returns when the running requests are answered. Whoever waits
    /// for it bounds that wait.
    pub async fn serve(self, router: Router, stop: CancellationToken) {
        let slots = Arc::new(Semaphore::new(self.limits.connections_max));
        let connections = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = accept(&self.tcp, &slots) => accepted,
            };
            let (stream, peer, slot) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                    continue;
                }
            };
            let (router, limits, stop) = (router.clone(), self.limits.clone(), stop.clone());
            let open = self.connections.clone();
            connections.spawn(async move {
                open.inc();
                serve_connection(stream, peer, router, limits, stop).await;
                open.dec();
                drop(slot);
            });
        }
        drop(self.tcp);
        connections.close();
        connections.wait().await;
    }
}

async fn accept(
    tcp: &TcpListener,
    slots: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let slot = slots.clone().acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, peer) = tcp.accept().await?;
    Ok((stream, peer, slot))
}

async fn serve_connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    limits: ListenLimits,
    stop: CancellationToken,
) {
    let first = tokio::select! {
        () = stop.cancelled() => return,
        first = tokio::time::timeout(limits.read_timeout, first_bytes(&stream)) => first,
    };
    if !matches!(first, Ok(Ok(()))) {
        return;
    }
    // Answers are written in one piece; waiting for the peer's acknowledgement would only add latency.
    let _ = stream.set_nodelay(true);
    let body_timeout = limits.body_must_flow.then_some(limits.read_timeout);
    let service = router.map_request(move |mut request: Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.map(|body| match body_timeout {
            Some(timeout) => Body::new(FlowingBody::new(body, timeout)),
            None => Body::new(body),
        })
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.idle_timeout);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.http2_streams_max)
        .keep_alive_interval(limits.http2_ping);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(service));
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// Waits until the protocol can be told: a peer that sends nothing must not hold a connection.
async fn first_bytes(stream: &TcpStream) -> std::io::Result<()> {
    let mut head = [0u8; HTTP2_PREFACE.len()];
    loop {
        let count = stream.peek(&mut head).await?;
        if count == 0 || count == head.len() || !HTTP2_PREFACE.starts_with(&head[..count]) {
            return Ok(());
        }
        tokio::time::sleep(PREFACE_POLL).await;
    }
}

/// A request body that fails when it stands still.
struct FlowingBody<B> {
    body: B,
    timeout: Duration,
    deadline: Pin<Box<Sleep>>,
}

impl<B> FlowingBody<B> {
    fn new(body: B, timeout: Duration) -> Self {
        FlowingBody { body, timeout, deadline: Box::pin(tokio::time::sleep(timeout)) }
    }
}

impl<B> HttpBody for FlowingBody<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<axum::BoxError>,
{
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                this.deadline.as_mut().reset(Instant::now() + this.timeout);
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => match this.deadline.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(Some(Err("the request's body stood still for too long".into()))),
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}

/// `loki_tcp_connections` by protocol.
#[derive(Clone)]
pub struct ConnectionGauges(crate::metrics::Family<Vec<(&'static str, &'static str)>, Gauge>);

impl ConnectionGauges {
    pub fn new(metrics: &Metrics) -> Self {
        ConnectionGauges(metrics.gauges("tcp_connections", "Current number of accepted TCP connections"))
    }
    fn of(&self, protocol: &'static str) -> Gauge {
        self.0.get_or_create(&vec![("protocol", protocol)]).clone()
    }
}

#[cfg(test)]
#[path = "listen_tests.rs"]
mod tests;
