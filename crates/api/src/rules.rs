//! What clients that look for rules get from a store that holds none: Grafana asks every Loki data source, and shows an
//! error for any other answer. It must not know rules.

use crate::error::{ApiError, text_response};
use crate::tenant::tenants;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

/// What the handlers of rules need.
#[derive(Clone)]
pub struct RulesApi {
    pub auth_enabled: bool,
}

type Answer = Result<Response, ApiError>;

pub fn router(api: RulesApi) -> Router {
    let mut routes =
        Router::new().route("/prometheus/api/v1/rules", get(rules)).route("/prometheus/api/v1/alerts", get(alerts));
    for prefix in ["/loki/api/v1/rules", "/api/prom/rules"] {
        routes = routes
            .route(prefix, get(no_groups))
            .route(&format!("{prefix}/{{namespace}}"), get(no_groups))
            .route(&format!("{prefix}/{{namespace}}/{{group}}"), get(no_group));
    }
    routes.with_state(api)
}

impl RulesApi {
    fn check_tenant(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        tenants(headers, self.auth_enabled).map(|_| ()).map_err(ApiError::ingest)
    }

    fn success(&self, headers: &HeaderMap, data: &Value) -> Answer {
        self.check_tenant(headers)?;
        Ok(Json(json!({ "status": "success", "data": data, "errorType": "", "error": "" })).into_response())
    }

    fn not_found(&self, headers: &HeaderMap, text: &str) -> Answer {
        self.check_tenant(headers)?;
        Ok(text_response(StatusCode::NOT_FOUND, text.to_string()))
    }
}

/// Rules and their states, in Prometheus's form.
async fn rules(State(api): State<RulesApi>, headers: HeaderMap) -> Answer {
    api.success(&headers, &json!({ "groups": [] }))
}

/// Active alerts, in Prometheus's form.
async fn alerts(State(api): State<RulesApi>, headers: HeaderMap) -> Answer {
    api.success(&headers, &json!({ "alerts": [] }))
}

/// The tenant's rule groups.
async fn no_groups(State(api): State<RulesApi>, headers: HeaderMap) -> Answer {
    api.not_found(&headers, "no rule groups found\n")
}

/// One rule group.
async fn no_group(State(api): State<RulesApi>, headers: HeaderMap) -> Answer {
    api.not_found(&headers, "group does not exist\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt;

    #[tokio::test]
    async fn clients_find_no_rules() {
        for (auth_enabled, method, path, status, part) in [
            (false, "GET", "/prometheus/api/v1/rules", 200, "\"data\":{\"groups\":[]}"),
            (false, "GET", "/prometheus/api/v1/alerts", 200, "\"data\":{\"alerts\":[]}"),
            (false, "GET", "/api/prom/rules", 404, "no rule groups found\n"),
            (false, "GET", "/loki/api/v1/rules/a%2Fb", 404, "no rule groups found\n"),
            (false, "GET", "/api/prom/rules/test/test", 404, "group does not exist\n"),
            (false, "POST", "/loki/api/v1/rules/test", 405, ""),
            (true, "GET", "/prometheus/api/v1/rules", 401, "no org id\n"),
        ] {
            let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
            let response = router(RulesApi { auth_enabled }).oneshot(request).await.unwrap();
            let got = response.status().as_u16();
            let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
            let body = String::from_utf8_lossy(&body);
            assert!(got == status && body.contains(part), "{path}: {got} {body}");
        }
    }
}
