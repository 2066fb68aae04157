//! Live tail over a websocket: parameters are refused with a status before the upgrade, frames are text, pings keep
//! proxies awake, and a reader that does not read is let go. It must not know where lines come from.

mod frame;

use crate::blocked;
use crate::error::ApiError;
use crate::query::encode::CATEGORIZE_LABELS;
use crate::query::params::Params;
use crate::tenant::tenant;
use axum::Router;
use axum::body::Body;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{FromRequestParts, State};
use axum::http::Request;
use axum::response::Response;
use axum::routing::get;
use frame::Shape;
use futures::stream::{BoxStream, StreamExt};
use logql::ast::Expr;
use model::{Error, Result};
use rpc::tail::{TailFrame, TailRequest, Tails};
use runtime::clock::SharedClock;
use runtime::limits::Overrides;
use runtime::tasks::Tasks;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, interval, timeout};
use tokio_util::sync::CancellationToken;

const HOUR_NS: i64 = 3_600_000_000_000;
/// As in Loki.
const PING_INTERVAL: Duration = Duration::from_secs(1);
/// A reader that takes longer for one frame is let go.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// A peer that says nothing for so long, not even pongs, is gone.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// How long the closing handshake may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Clients have nothing to say but pongs and a close frame.
const RECEIVED_BYTES_MAX: usize = 4 << 10;
/// `delay_for` in seconds, as in Loki.
const DELAY_MAX_S: u64 = 5;

/// What the tail handlers need.
#[derive(Clone)]
pub struct TailApi {
    pub tails: Arc<dyn Tails>,
    pub limits: Arc<Overrides>,
    pub auth_enabled: bool,
    pub clock: SharedClock,
    /// Open tails run here; told to stop, they take their leave.
    pub tasks: Tasks,
}

/// The tail routes.
pub fn router(api: TailApi) -> Router {
    Router::new().route("/loki/api/v1/tail", get(tail)).route("/api/prom/tail", get(legacy_tail)).with_state(api)
}

/// New lines of a log query as they come, over a websocket.
async fn tail(State(api): State<TailApi>, request: Request<Body>) -> Result<Response, ApiError> {
    open(api, request, false).await
}

/// A live tail in the form of Loki before 1.0, over a websocket.
async fn legacy_tail(State(api): State<TailApi>, request: Request<Body>) -> Result<Response, ApiError> {
    open(api, request, true).await
}

async fn open(api: TailApi, request: Request<Body>, legacy: bool) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &()).await;
    let tenant = tenant(&parts.headers, api.auth_enabled).map_err(ApiError::ingest)?;
    let params = Params::read(Request::from_parts(parts, body)).await.map_err(ApiError::query)?;
    let request = tail_request(&params, api.clock.now_ns()).map_err(ApiError::query)?;
    blocked::check(&request.query, &params.headers, &[api.limits.tenant(&tenant)]).map_err(ApiError::query)?;
    let expr = logql::parse::parse(&request.query).map_err(|e| ApiError::query(e.into()))?;
    let upgrade = upgrade.map_err(|_| ApiError::ingest(Error::invalid("Bad Request")))?;
    let upgrade = upgrade.max_message_size(RECEIVED_BYTES_MAX).max_frame_size(RECEIVED_BYTES_MAX);
    let stopping = api.tasks.stopping();
    let Expr::Log(log) = expr else {
        let refuse = async |socket| close(socket, close_code::ERROR, "only log selector is supported").await;
        return Ok(upgrade.on_upgrade(move |socket| run_on(api.tasks, async move { refuse(socket).await })));
    };
    let shape = match legacy {
        true => Shape::Legacy,
        false if params.encoding_flags().contains(&CATEGORIZE_LABELS) => Shape::Categorized,
        false => Shape::Merged { with_metadata: !log.stages.is_empty() },
    };
    let frames = api.tails.tail(&tenant, request).await.map_err(ApiError::query)?;
    Ok(upgrade.on_upgrade(move |socket| run_on(api.tasks, serve(socket, frames, shape, stopping))))
}

/// An upgraded connection belongs to nobody; from here on it is a task of the tails.
async fn run_on(tasks: Tasks, task: impl Future<Output = ()> + Send + 'static) {
    tasks.spawn("live tail", task);
}

/// `query`, `limit`, `start` (an hour ago by default), `delay_for` (seconds).
fn tail_request(params: &Params, now_ns: i64) -> Result<TailRequest> {
    let delay_s: u64 = match params.get("delay_for") {
        None => 0,
        Some(text) => text
            .parse()
            .map_err(|_| Error::invalid(format!("strconv.ParseUint: parsing \"{text}\": invalid syntax")))?,
    };
    if delay_s > DELAY_MAX_S {
        return Err(Error::invalid(format!("delay_for can't be greater than {DELAY_MAX_S}")));
    }
    let start_ns = params.start(now_ns.saturating_sub(HOUR_NS))?;
    let (query, limit) = (params.query().to_string(), params.limit()?);
    Ok(TailRequest { query, start_ns, limit, delay_for: Duration::from_secs(delay_s) })
}

/// Sends frames until either side has had enough.
async fn serve(
    mut socket: WebSocket,
    mut frames: BoxStream<'static, Result<TailFrame>>,
    shape: Shape,
    stopping: CancellationToken,
) {
    let mut ping = interval(PING_INTERVAL);
    let mut heard = Instant::now();
    loop {
        let message = tokio::select! {
            () = stopping.cancelled() => return close(socket, close_code::AWAY, "the server is stopping").await,
            received = socket.recv() => match received {
                Some(Ok(Message::Close(_))) => return drain(socket).await,
                Some(Ok(_)) => {
                    heard = Instant::now();
                    continue;
                }
                Some(Err(_)) | None => return,
            },
            frame = frames.next() => match frame {
                Some(Ok(frame)) => Message::Text(shape.write(&frame).into()),
                Some(Err(error)) => return close(socket, close_code::ERROR, &error.message).await,
                None => return close(socket, close_code::ERROR, "the tail has ended").await,
            },
            _ = ping.tick() => Message::Ping(Default::default()),
        };
        let sent = timeout(WRITE_TIMEOUT, socket.send(message)).await;
        if !matches!(sent, Ok(Ok(()))) || heard.elapsed() > SILENCE_MAX {
            return;
        }
    }
}

/// A close frame's reason has at most this many bytes.
const REASON_BYTES_MAX: usize = 123;

/// Says why, and waits a moment for the peer to agree.
async fn close(mut socket: WebSocket, code: u16, reason: &str) {
    let reason = &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)];
    let frame = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
    if let Ok(Ok(())) = timeout(CLOSE_TIMEOUT, socket.send(frame)).await {
        drain(socket).await;
    }
}

/// Reads to the end of the closing handshake: the answer to the peer's close frame goes out on the way.
async fn drain(mut socket: WebSocket) {
    let _ = timeout(CLOSE_TIMEOUT, async { while let Some(Ok(_)) = socket.recv().await {} }).await;
}
