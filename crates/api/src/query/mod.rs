//! The read side of Loki's HTTP API: parameters in, `dyn Queries` asked, JSON out. It must not know how an answer comes
//! about.

mod detected;
mod detected_fields;
pub(crate) mod encode;
mod explain;
mod export;
mod handlers;
pub(crate) mod json;
pub(crate) mod legacy;
pub(crate) mod params;
mod patterns;
mod request_limits;
mod stats;
pub(crate) mod tags;
mod units;
mod volume;

use axum::Router;
use axum::routing::get;
use rpc::queries::Queries;
use runtime::clock::SharedClock;
use runtime::limits::Overrides;
use std::sync::Arc;

/// What the read handlers need.
#[derive(Clone)]
pub struct ReadApi {
    pub queries: Arc<dyn Queries>,
    pub limits: Arc<Overrides>,
    pub auth_enabled: bool,
    /// Whether a request may tighten its limits (setting: `querier.per_request_limits_enabled`).
    pub per_request_limits_enabled: bool,
    pub clock: SharedClock,
}

/// The read routes. Every one takes GET and POST, parameters in the query string, in a form body, or in both.
pub fn router(api: ReadApi) -> Router {
    Router::new()
        .route("/loki/api/v1/query_range", get(handlers::query_range).post(handlers::query_range))
        .route("/loki/api/v1/query", get(handlers::query).post(handlers::query))
        .route("/loki/api/v1/labels", get(handlers::labels).post(handlers::labels))
        .route("/loki/api/v1/label", get(handlers::labels).post(handlers::labels))
        .route("/loki/api/v1/label/{name}/values", get(handlers::label_values).post(handlers::label_values))
        .route("/loki/api/v1/series", get(handlers::series).post(handlers::series))
        .route("/loki/api/v1/index/stats", get(handlers::stats).post(handlers::stats))
        .route("/loki/api/v1/index/volume", get(volume::volume).post(volume::volume))
        .route("/loki/api/v1/index/volume_range", get(volume::volume_range).post(volume::volume_range))
        .route("/loki/api/v1/patterns", get(patterns::patterns).post(patterns::patterns))
        .route("/loki/api/v1/format_query", get(handlers::format_query).post(handlers::format_query))
        .route("/loki/api/v1/explain", get(explain::explain).post(explain::explain))
        .route("/lokirs/api/v1/export", get(export::export).post(export::export))
        .route("/api/prom/query", get(legacy::query).post(legacy::query))
        .route("/api/prom/label", get(legacy::labels).post(legacy::labels))
        .route("/api/prom/label/{name}/values", get(legacy::label_values).post(legacy::label_values))
        .route("/api/prom/series", get(handlers::series).post(handlers::series))
        .route("/loki/api/v1/detected_labels", get(detected::detected_labels).post(detected::detected_labels))
        .route("/loki/api/v1/detected_fields", get(detected::detected_fields).post(detected::detected_fields))
        .route(
            "/loki/api/v1/detected_field/{name}/values",
            get(detected::detected_field_values).post(detected::detected_field_values),
        )
        .with_state(api)
}
