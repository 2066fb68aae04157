//! Ingestion over HTTP: `POST /loki/api/v1/push`, `POST /api/prom/push` and `POST /otlp/v1/logs`. It must not know what
//! happens to a push.

mod body;
mod json;
mod json_reader;
mod otlp;
mod protobuf;
mod wire;

pub use body::BodyLimits;

use crate::error::{ApiError, text_response};
use crate::tenant::tenant;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use body::{Buffer, Encoding};
use model::{Error, Result, TenantId};
use rpc::pusher::{Format, PushError, PushRequest, Pusher, Sink};
use runtime::buffers::Buffers;
use runtime::clock::SharedClock;
use runtime::limits::Overrides;
use runtime::memory::Budget;
use std::sync::Arc;

/// What the handlers work with.
pub struct PushApi {
    pub pusher: Arc<dyn Pusher>,
    pub limits: Arc<Overrides>,
    pub budget: Arc<Budget>,
    /// For bodies.
    pub buffers: Arc<Buffers>,
    pub clock: SharedClock,
    pub auth_enabled: bool,
    pub body: BodyLimits,
}

/// The routes of ingestion.
pub fn routes(api: Arc<PushApi>) -> Router {
    Router::new()
        .route("/loki/api/v1/push", post(push))
        .route("/api/prom/push", post(push))
        .route("/otlp/v1/logs", post(push_otlp))
        // The caps are ours: see `BodyLimits`.
        .layer(DefaultBodyLimit::disable())
        .with_state(api)
}

/// A push in Loki's own encodings, JSON or snappy-compressed protobuf.
async fn push(State(api): State<Arc<PushApi>>, request: Request) -> Response {
    match api.push_loki(request).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(PushError::Failed(error)) => ApiError::ingest(error).into_response(),
        Err(PushError::Blocked { status, message }) => blocked(status, message),
    }
}

/// OTLP logs, protobuf or JSON.
async fn push_otlp(State(api): State<Arc<PushApi>>, request: Request) -> Response {
    let tenant = match tenant(request.headers(), api.auth_enabled) {
        Ok(tenant) => tenant,
        Err(error) => return ApiError::ingest(error).into_response(),
    };
    match api.push_otlp(&tenant, request).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(PushError::Failed(error)) => otlp::error_response(&error),
        Err(PushError::Blocked { status, message }) => blocked(status, message),
    }
}

/// A tenant may choose 200 for pushes that it blocks: clients are then told that all is well.
fn blocked(status: u16, message: String) -> Response {
    match StatusCode::from_u16(status) {
        Ok(StatusCode::OK) | Err(_) => StatusCode::NO_CONTENT.into_response(),
        Ok(status) => text_response(status, message + "\n"),
    }
}

impl PushApi {
    async fn push_loki(&self, request: Request) -> Result<(), PushError> {
        let tenant = tenant(request.headers(), self.auth_enabled)?;
        let said_snappy = content_encoding(request.headers())? == "snappy";
        let json = media_type(request.headers())?.eq_ignore_ascii_case("application/json");
        let encoding = outer_encoding(request.headers())?;
        let headers = request.headers().clone();
        let body = self.read(request).await?.decompress(encoding, self.body)?;
        if !json {
            let body = body.decompress(Encoding::Snappy, self.body)?;
            return self.pusher.push(&tenant, &named(&headers, &protobuf::ProtobufPush(body.data.clone()))).await;
        }
        // JSON said to be snappy may be, and Loki takes it as it is.
        let body =
            if said_snappy && !json::begins(&body.data) { body.decompress(Encoding::Snappy, self.body)? } else { body };
        self.pusher.push(&tenant, &named(&headers, &json::JsonPush(body.data.clone()))).await
    }

    async fn push_otlp(&self, tenant: &TenantId, request: Request) -> Result<(), PushError> {
        let notation = otlp::notation(request.headers())?;
        let encoding = otlp::encoding(request.headers())?;
        let headers = request.headers().clone();
        let body = self.read(request).await?.decompress(encoding, self.body)?;
        let limits = self.limits.tenant(tenant);
        let push = otlp::OtlpPush::new(body.data.clone(), notation, &limits, self.clock.now_ns())?;
        self.pusher.push(tenant, &named(&headers, &push)).await
    }

    async fn read(&self, request: Request) -> Result<Buffer> {
        let announced = request.headers().get(header::CONTENT_LENGTH);
        let announced = announced.and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
        body::read(request.into_body(), announced, self.body, &self.budget, &self.buffers).await
    }
}

/// The header that names the ingestion policy of a push.
const POLICY_HEADER: &str = "x-loki-ingestion-policy";

/// A push whose client names its policy.
struct Named<'a> {
    push: &'a dyn PushRequest,
    policy: &'a str,
}

fn named<'a>(headers: &'a HeaderMap, push: &'a dyn PushRequest) -> Named<'a> {
    let policy = headers.get(POLICY_HEADER).and_then(|v| v.to_str().ok()).unwrap_or_default();
    Named { push, policy }
}

impl PushRequest for Named<'_> {
    fn walk(&self, sink: &mut dyn Sink) -> Result<()> {
        self.push.walk(sink)
    }
    fn format(&self) -> Format {
        self.push.format()
    }
    fn policy(&self) -> &str {
        self.policy
    }
}

/// The media type without its parameters.
fn media_type(headers: &HeaderMap) -> Result<&str> {
    let value = headers.get(header::CONTENT_TYPE).map_or(Ok(""), |v| v.to_str());
    let value = value.map_err(|_| Error::invalid("mime: invalid media type"))?;
    match value.split(';').next().unwrap_or_default().trim() {
        "" => Err(Error::invalid("mime: no media type")),
        media_type => Ok(media_type),
    }
}

fn content_encoding(headers: &HeaderMap) -> Result<&str> {
    let value = headers.get(header::CONTENT_ENCODING).map_or(Ok(""), |v| v.to_str());
    value.map_err(|_| Error::invalid("Content-Encoding is no text"))
}

/// What is around the body. A protobuf body is a snappy block inside whatever is named, so "snappy" names nothing more.
fn outer_encoding(headers: &HeaderMap) -> Result<Encoding> {
    match content_encoding(headers)? {
        "" | "snappy" => Ok(Encoding::Identity),
        "gzip" => Ok(Encoding::Gzip),
        "deflate" => Ok(Encoding::Deflate),
        "zstd" => Ok(Encoding::Zstd),
        other => Err(Error::invalid(format!("Content-Encoding {other:?} not supported"))),
    }
}
