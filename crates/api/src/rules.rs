//! Loki's rules API: a tenant's rule groups as YAML, and how rules and alerts stand as Prometheus tells it: Grafana asks
//! every Loki data source for them. It must not know how rules are evaluated.

mod states;

use crate::error::ApiError;
use crate::query::params::Params;
use crate::tenant::{tenant, tenants};
use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use model::{Error, TenantId};
use rpc::rules::{GROUP_BYTES_MAX, GroupState, Rules};
use serde_json::{Value, json};
use std::sync::Arc;

/// What the handlers of rules need.
#[derive(Clone)]
pub struct RulesApi {
    pub rules: Arc<dyn Rules>,
    pub auth_enabled: bool,
}

type Answer = Result<Response, ApiError>;

pub fn router(api: RulesApi) -> Router {
    let mut routes =
        Router::new().route("/prometheus/api/v1/rules", get(rules)).route("/prometheus/api/v1/alerts", get(alerts));
    for prefix in ["/loki/api/v1/rules", "/api/prom/rules"] {
        routes = routes
            .route(prefix, get(groups))
            .route(&format!("{prefix}/{{namespace}}"), get(namespace_groups).post(set_group).delete(delete_namespace))
            .route(&format!("{prefix}/{{namespace}}/{{group}}"), get(group).delete(delete_group));
    }
    routes.with_state(api)
}

impl RulesApi {
    fn tenant(&self, headers: &HeaderMap) -> Result<TenantId, ApiError> {
        tenant(headers, self.auth_enabled).map_err(ApiError::ingest)
    }

    async fn list(&self, headers: &HeaderMap, namespace: Option<&str>) -> Answer {
        yaml(self.rules.list(&self.tenant(headers)?, namespace).await)
    }

    /// The groups of every tenant that the request names.
    async fn states(&self, headers: &HeaderMap) -> Result<Vec<GroupState>, ApiError> {
        let tenants = tenants(headers, self.auth_enabled).map_err(ApiError::ingest)?;
        let mut states = Vec::new();
        for tenant in &tenants.ids {
            states.extend(self.rules.states(tenant).await.map_err(ApiError::ingest)?);
        }
        Ok(states)
    }
}

/// The tenant's rule groups, by namespace.
async fn groups(State(api): State<RulesApi>, headers: HeaderMap) -> Answer {
    api.list(&headers, None).await
}

/// The rule groups of one namespace.
async fn namespace_groups(State(api): State<RulesApi>, Path(namespace): Path<String>, headers: HeaderMap) -> Answer {
    api.list(&headers, Some(&namespace)).await
}

/// One rule group.
async fn group(
    State(api): State<RulesApi>,
    Path((namespace, group)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    yaml(api.rules.group(&api.tenant(&headers)?, &namespace, &group).await)
}

/// Writes the rule group in the body, or replaces the one of its name.
async fn set_group(State(api): State<RulesApi>, Path(namespace): Path<String>, request: Request<Body>) -> Answer {
    let (parts, body) = request.into_parts();
    let tenant = api.tenant(&parts.headers)?;
    let too_large = |_| Error::too_large(format!("the rule group is larger than {GROUP_BYTES_MAX} bytes"));
    let body = to_bytes(body, GROUP_BYTES_MAX).await.map_err(too_large).map_err(ApiError::ingest)?;
    let group = std::str::from_utf8(&body).map_err(|e| Error::invalid(format!("the rule group is no UTF-8: {e}")));
    let group = group.map_err(ApiError::ingest)?;
    api.rules.set(&tenant, &namespace, group).await.map_err(ApiError::ingest)?;
    Ok(accepted())
}

/// Removes a rule group; one that is not there counts as removed.
async fn delete_group(
    State(api): State<RulesApi>,
    Path((namespace, group)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    api.rules.delete_group(&api.tenant(&headers)?, &namespace, &group).await.map_err(ApiError::ingest)?;
    Ok(accepted())
}

/// Removes all rule groups of a namespace.
async fn delete_namespace(State(api): State<RulesApi>, Path(namespace): Path<String>, headers: HeaderMap) -> Answer {
    api.rules.delete_namespace(&api.tenant(&headers)?, &namespace).await.map_err(ApiError::ingest)?;
    Ok(accepted())
}

/// Rules and their states, in Prometheus's form; `type`, `file[]`, `rule_group[]` and `rule_name[]` choose.
async fn rules(State(api): State<RulesApi>, request: Request<Body>) -> Answer {
    let params = Params::read(request).await.map_err(ApiError::ingest)?;
    let groups = api.states(&params.headers).await?;
    match states::Choice::of(&params) {
        Ok(choice) => Ok(success(&json!({ "groups": choice.groups(&groups) }))),
        Err(fault) => {
            let body = json!({ "status": "error", "data": null, "errorType": "bad_data", "error": fault });
            Ok((StatusCode::BAD_REQUEST, Json(body)).into_response())
        }
    }
}

/// Active alerts, in Prometheus's form.
async fn alerts(State(api): State<RulesApi>, headers: HeaderMap) -> Answer {
    Ok(success(&json!({ "alerts": states::alerts(&api.states(&headers).await?) })))
}

fn success(data: &Value) -> Response {
    Json(json!({ "status": "success", "data": data, "errorType": "", "error": "" })).into_response()
}

fn accepted() -> Response {
    (StatusCode::ACCEPTED, success(&Value::Null)).into_response()
}

fn yaml(text: model::Result<String>) -> Answer {
    let text = text.map_err(ApiError::ingest)?;
    Ok(([(header::CONTENT_TYPE, "application/yaml")], text).into_response())
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
