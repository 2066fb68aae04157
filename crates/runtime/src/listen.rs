//! A listener: HTTP/1.1 and HTTP/2 on one port, with or without TLS, with a bound on connections, on waiting and on stopping.
//! It must not know what is served.

use crate::metrics::{Counter, Family, Gauge, Metrics};
use crate::reload::Reloaded;
use crate::tls::ServerConfig;
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
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, Sleep};
use tokio_rustls::TlsAcceptor;
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
    tls: Option<Reloaded<ServerConfig>>,
    connections: Gauge,
    handshake_failures: Counter,
}

impl Listener {
    /// `protocol` names the listener in its metrics.
    pub async fn bind(
        address: SocketAddr,
        protocol: &'static str,
        limits: ListenLimits,
        connections: &ConnectionGauges,
    ) -> std::io::Result<Self> {
        let tcp = TcpListener::bind(address).await?;
        let (connections, handshake_failures) = connections.of(protocol);
        Ok(Listener { tcp, limits, tls: None, connections, handshake_failures })
    }

    /// With TLS, where there is a configuration; each connection takes the newest.
    pub fn with_tls(self, tls: Option<Reloaded<ServerConfig>>) -> Self {
        Listener { tls, ..self }
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
            let served = Served { peer, router: router.clone(), limits: self.limits.clone(), stop: stop.clone() };
            let tls = self.tls.as_ref().map(|tls| TlsAcceptor::from(tls.get()));
            let (open, handshake_failures) = (self.connections.clone(), self.handshake_failures.clone());
            connections.spawn(async move {
                open.inc();
                match tls {
                    None => serve_plain(stream, served).await,
                    Some(tls) => serve_tls(stream, tls, served, handshake_failures).await,
                }
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

/// Who is served what, how, and until when.
struct Served {
    peer: SocketAddr,
    router: Router,
    limits: ListenLimits,
    stop: CancellationToken,
}

async fn serve_plain(stream: TcpStream, served: Served) {
    let first = tokio::select! {
        () = served.stop.cancelled() => return,
        first = tokio::time::timeout(served.limits.read_timeout, first_bytes(&stream)) => first,
    };
    if matches!(first, Ok(Ok(()))) {
        // Answers are written in one piece; waiting for the peer's acknowledgement would only add latency.
        let _ = stream.set_nodelay(true);
        serve(stream, auto::Builder::new(TokioExecutor::new()), served).await;
    }
}

async fn serve_tls(stream: TcpStream, tls: TlsAcceptor, served: Served, failures: Counter) {
    let _ = stream.set_nodelay(true);
    let opened = tokio::select! {
        () = served.stop.cancelled() => return,
        opened = tokio::time::timeout(served.limits.read_timeout, tls.accept(stream)) => opened,
    };
    let stream = match opened {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            failures.inc();
            return tracing::debug!(peer = %served.peer, %error, "a TLS handshake failed");
        }
        Err(_) => {
            failures.inc();
            return;
        }
    };
    let builder = auto::Builder::new(TokioExecutor::new());
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    serve(stream, if http2 { builder.http2_only() } else { builder.http1_only() }, served).await;
}

async fn serve<S>(stream: S, mut builder: auto::Builder<TokioExecutor>, served: Served)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Served { peer, router, limits, stop } = served;
    let body_timeout = limits.body_must_flow.then_some(limits.read_timeout);
    let service = router.map_request(move |mut request: Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.map(|body| match body_timeout {
            Some(timeout) => Body::new(FlowingBody::new(body, timeout)),
            None => Body::new(body),
        })
    });
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

/// `loki_tcp_connections` and failed handshakes by protocol.
#[derive(Clone)]
pub struct ConnectionGauges {
    open: Family<Vec<(&'static str, &'static str)>, Gauge>,
    handshake_failures: Family<Vec<(&'static str, &'static str)>, Counter>,
}

impl ConnectionGauges {
    pub fn new(metrics: &Metrics) -> Self {
        ConnectionGauges {
            open: metrics.gauges("tcp_connections", "Current number of accepted TCP connections"),
            handshake_failures: metrics.counters("tls_handshake_failures", "TLS handshakes that failed"),
        }
    }

    fn of(&self, protocol: &'static str) -> (Gauge, Counter) {
        let labels = vec![("protocol", protocol)];
        (self.open.get_or_create(&labels).clone(), self.handshake_failures.get_or_create(&labels).clone())
    }
}

#[cfg(test)]
#[path = "listen_tests.rs"]
mod tests;
