//! What every HTTP request goes through, whatever its route: measuring, tracing, refusals by method and path, the gate for
//! writes; and what every gRPC call goes through.

use crate::services::Services;
use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use runtime::metrics::{Counter, Family, Gauge, Histogram, Metrics};
use runtime::trace::{self, TRACEPARENT};
use std::panic::AssertUnwindSafe;
use std::time::Instant;
use tracing::{Instrument, Span};

/// Names a request in its answer, in the log and in its trace.
const REQUEST_ID: &str = "x-request-id";
const REQUEST_ID_BYTES_MAX: usize = 128;

/// gRPC's status of a method that is not there.
const UNIMPLEMENTED: &str = "12";

type RequestLabels = Vec<(&'static str, String)>;

/// `loki_request_duration_seconds`, which every dashboard reads, and what is under way.
#[derive(Clone)]
pub struct Requests {
    seconds: Family<RequestLabels, Histogram, fn() -> Histogram>,
    inflight: Family<RequestLabels, Gauge>,
    panics: Counter,
}

impl Requests {
    /// A panic in a handler counts in `panics`, and is a 500.
    pub fn new(metrics: &Metrics, panics: Counter) -> Self {
        Requests {
            panics,
            seconds: metrics.request_seconds("request_duration_seconds", "Time (in seconds) spent serving requests"),
            inflight: metrics.gauges("inflight_requests", "Current number of inflight requests"),
        }
    }
}

/// Routes become a server: unknown paths and methods are refused as Loki refuses them, all is measured.
pub fn server(routes: Router, requests: Requests) -> Router {
    let routes = routes.fallback(not_found);
    routes.layer(middleware::from_fn_with_state(requests, measure)).layer(middleware::from_fn(refuse_head))
}

/// The calls of other processes, measured under their full method as Loki measures them.
pub fn grpc_server(routes: Router, requests: Requests) -> Router {
    routes.layer(middleware::from_fn_with_state(requests, measure_grpc))
}

/// Routes that take data: closed while the process stops.
pub fn gated(routes: Router, services: Services) -> Router {
    routes.layer(middleware::from_fn_with_state(services, refuse_when_stopping))
}

async fn not_found() -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (StatusCode::NOT_FOUND, headers, "404 page not found\n").into_response()
}

/// Loki's routes take GET and not HEAD; axum would answer both.
async fn refuse_head(request: Request, next: Next) -> Response {
    if request.method() == Method::HEAD {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    next.run(request).await
}

async fn refuse_when_stopping(State(services): State<Services>, request: Request, next: Next) -> Response {
    if services.is_stopping() {
        return (StatusCode::SERVICE_UNAVAILABLE, "Application is stopping\n").into_response();
    }
    next.run(request).await
}

async fn measure(State(requests): State<Requests>, request: Request, next: Next) -> Response {
    let route = route_label(request.extensions().get::<MatchedPath>().map(MatchedPath::as_str));
    let method = method_label(request.method()).to_string();
    let websocket = request.headers().contains_key(header::SEC_WEBSOCKET_KEY);
    let inflight = Inflight::new(&requests, vec![("method", method.clone()), ("route", route.clone())]);
    let span = request_span(&method, &route, request.headers());
    let id = request_id(request.headers(), &span);
    let start = Instant::now();
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind().instrument(span.clone()).await;
    let mut response = answered.unwrap_or_else(|_| {
        requests.panics.inc();
        span.in_scope(|| tracing::error!(route, "a request's handler panicked"));
        (StatusCode::INTERNAL_SERVER_ERROR, "internal error\n").into_response()
    });
    let seconds = start.elapsed().as_secs_f64();
    drop(inflight);
    let status = response.status().as_u16();
    span.record("http.response.status_code", status);
    span.in_scope(|| tracing::debug!(method, route, status, seconds, "request answered"));
    if let Some(id) = id {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    let labels =
        vec![("method", method), ("route", route), ("status_code", status.to_string()), ("ws", websocket.to_string())];
    requests.seconds.get_or_create(&labels).observe(seconds);
    response
}

/// Until the head of the answer: what streams on is the caller's time.
async fn measure_grpc(State(requests): State<Requests>, request: Request, next: Next) -> Response {
    let mut route = request.uri().path().to_string();
    let span = request_span("gRPC", &route, request.headers());
    let start = Instant::now();
    let response = next.run(request).instrument(span.clone()).await;
    let status = response.headers().get("grpc-status").map_or("0", |status| status.to_str().unwrap_or_default());
    if status == UNIMPLEMENTED || !response.status().is_success() {
        // What a caller makes up must not become a label.
        route = "other".into();
    }
    let status = if status == "0" && response.status().is_success() { "success" } else { "error" };
    let labels = vec![
        ("method", "gRPC".to_string()),
        ("route", route),
        ("status_code", status.to_string()),
        ("ws", "false".to_string()),
    ];
    requests.seconds.get_or_create(&labels).observe(start.elapsed().as_secs_f64());
    response
}

/// Neither path nor parameters: they may hold what is nobody's business.
fn request_span(method: &str, route: &str, headers: &HeaderMap) -> Span {
    let caller = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    tracing::info_span!(
        "http",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        traceparent = caller,
        http.request.method = method,
        http.route = route,
        http.response.status_code = tracing::field::Empty,
        request_id = tracing::field::Empty,
    )
}

/// The caller's, if it is one, else the trace's: what to look for in the log.
fn request_id(headers: &HeaderMap, span: &Span) -> Option<HeaderValue> {
    let plain = |value: &&HeaderValue| {
        let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"-_.:".contains(b);
        (1..=REQUEST_ID_BYTES_MAX).contains(&value.len()) && value.as_bytes().iter().all(allowed)
    };
    let given = headers.get(REQUEST_ID).filter(plain).cloned();
    if let Some(id) = given.as_ref().and_then(|id| id.to_str().ok()) {
        span.record("request_id", id);
    }
    given.or_else(|| HeaderValue::from_str(&trace::of(span)?.trace_id()).ok())
}

/// Counts down also when the client goes away and the request is dropped.
struct Inflight(Gauge);

impl Inflight {
    fn new(requests: &Requests, labels: RequestLabels) -> Self {
        let gauge = requests.inflight.get_or_create(&labels).clone();
        gauge.inc();
        Inflight(gauge)
    }
}

impl Drop for Inflight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The route as Loki labels it: `/loki/api/v1/label/{name}/values` is `loki_api_v1_label_name_values`.
fn route_label(path: Option<&str>) -> String {
    match path {
        None => "other".into(),
        Some("/") => "root".into(),
        Some(path) => path.trim_matches('/').replace(['{', '}', '*'], "").replace(['/', '-', '.'], "_"),
    }
}

/// A method that is a label must be one of few.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_answer() {
        let panics = Counter::default();
        async fn broken() {
            panic!("a bug")
        }
        let routes = Router::new().route("/broken", axum::routing::get(broken));
        let server = server(routes, Requests::new(&Metrics::default(), panics.clone()));
        let request = Request::builder().uri("/broken").body(axum::body::Body::empty()).unwrap();
        let response = tower::ServiceExt::oneshot(server, request).await.unwrap();
        assert_eq!((response.status(), panics.get()), (StatusCode::INTERNAL_SERVER_ERROR, 1));
    }

    #[test]
    fn routes_have_lokis_labels() {
        for (path, label) in [
            (Some("/loki/api/v1/label/{name}/values"), "loki_api_v1_label_name_values"),
            (Some("/"), "root"),
            (Some("/otlp/v1/logs"), "otlp_v1_logs"),
            (None, "other"),
        ] {
            assert_eq!(route_label(path), label);
        }
    }
}
