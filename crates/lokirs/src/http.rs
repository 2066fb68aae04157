//! What every HTTP request goes through, whatever its route: measuring, refusals by method and path, the gate for writes.

use crate::services::Services;
use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use runtime::metrics::{Counter, Family, Gauge, Histogram, Metrics};
use std::panic::AssertUnwindSafe;
use std::time::Instant;

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
    let start = Instant::now();
    let response = AssertUnwindSafe(next.run(request)).catch_unwind().await.unwrap_or_else(|_| {
        requests.panics.inc();
        tracing::error!(route, "a request's handler panicked");
        (StatusCode::INTERNAL_SERVER_ERROR, "internal error\n").into_response()
    });
    let seconds = start.elapsed().as_secs_f64();
    drop(inflight);
    let labels = vec![
        ("method", method),
        ("route", route),
        ("status_code", response.status().as_u16().to_string()),
        ("ws", websocket.to_string()),
    ];
    requests.seconds.get_or_create(&labels).observe(seconds);
    response
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
