//! The routes that every role serves: readiness, metrics, the configuration in use, services, the log level.

use crate::log::LogLevel;
use crate::services::Services;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Form, Json, Router};
use runtime::metrics::{CLASSIC_TYPE, Metrics, OPENMETRICS_TYPE};
use runtime::settings::Tree;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

pub const VERSION: &str = env!("CARGO_PKG_VERSION");

const TEXT: [(header::HeaderName, &str); 2] =
    [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];

#[derive(Clone)]
pub struct Admin {
    pub services: Services,
    pub metrics: Metrics,
    pub log_level: LogLevel,
    /// The settings in use and the defaults, secrets masked.
    pub config: Arc<Tree>,
    pub defaults: Arc<Tree>,
}

impl Admin {
    /// What load balancers, scrapers and clients ask of every process: on every listener.
    pub fn public(self) -> Router {
        Router::new()
            .route("/", get(root))
            .route("/ready", get(ready))
            .route("/metrics", get(metrics))
            .route("/loki/api/v1/status/buildinfo", get(buildinfo))
            .with_state(self)
    }

    /// What is for operators only.
    pub fn operators(self) -> Router {
        Router::new()
            .route("/config", get(config))
            .route("/services", get(services))
            .route("/log_level", get(log_level).post(set_log_level))
            .with_state(self)
    }
}

/// Where to look.
async fn root() -> Response {
    (TEXT, format!("lokirs {VERSION}\n\n/ready\n/metrics\n/config\n/services\n/log_level\n")).into_response()
}

/// 200 while the process takes requests, else 503 and what it waits for.
async fn ready(State(admin): State<Admin>) -> Response {
    match admin.services.ready() {
        Ok(()) => (TEXT, "ready\n").into_response(),
        Err(reasons) => (StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{reasons}\n")).into_response(),
    }
}

/// The metrics below.
async fn metrics(State(admin): State<Admin>, headers: HeaderMap) -> Response {
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accepts.contains("application/openmetrics-text") {
        ([(header::CONTENT_TYPE, OPENMETRICS_TYPE)], admin.metrics.print_openmetrics()).into_response()
    } else {
        ([(header::CONTENT_TYPE, CLASSIC_TYPE)], admin.metrics.print_classic()).into_response()
    }
}

#[derive(Deserialize)]
struct ConfigQuery {
    #[serde(default)]
    mode: String,
}

/// The configuration in use; `mode=diff` only what differs from the defaults, `mode=defaults` these.
async fn config(State(admin): State<Admin>, Query(query): Query<ConfigQuery>) -> Response {
    let yaml = match query.mode.as_str() {
        "defaults" => admin.defaults.print(),
        "diff" | "diffs" => admin.config.difference(&admin.defaults).unwrap_or_default().print(),
        _ => admin.config.print(),
    };
    (TEXT, yaml).into_response()
}

/// The roles of the process and their states.
async fn services(State(admin): State<Admin>) -> Response {
    (TEXT, admin.services.list()).into_response()
}

/// The log level in use.
async fn log_level(State(admin): State<Admin>) -> Response {
    Json(json!({ "message": format!("Current log level is {}", admin.log_level.name()) })).into_response()
}

#[derive(Deserialize)]
struct LogLevelForm {
    #[serde(default)]
    log_level: String,
}

/// Changes the log level to `log_level`, until the process ends.
async fn set_log_level(State(admin): State<Admin>, Form(form): Form<LogLevelForm>) -> Response {
    if admin.log_level.set(&form.log_level) {
        let message = format!("Log level set to {}", form.log_level);
        return Json(json!({ "status": "success", "message": message })).into_response();
    }
    let message = format!("unrecognized log level {:?}", form.log_level);
    (StatusCode::BAD_REQUEST, Json(json!({ "status": "failed", "message": message }))).into_response()
}

/// Version and build, as Grafana asks for them.
async fn buildinfo() -> Response {
    Json(json!({
        "version": VERSION, "revision": "", "branch": "", "buildUser": "", "buildDate": "", "goVersion": "",
    }))
    .into_response()
}
