//! Loki's rules API: a tenant's rule groups as YAML, and how rules and alerts stand as Prometheus tells it. Where no rules are
//! kept, clients that look for them find none: Grafana asks every Loki data source, and shows an error for any other
//! answer. It must not know how rules are evaluated.

mod states;

use crate::error::ApiError;
use crate::query::params::Params;
use crate::tenant::{tenant, tenants};
use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use axum::{Json, Router};
use model::{Error, Kind, TenantId};
use rpc::rules::{GROUP_BYTES_MAX, GroupState, Rules};
use serde_json::{Value, json};
use std::sync::Arc;

/// What the handlers of rules need.
#[derive(Clone)]
pub struct RulesApi {
    /// `None`: no rules are kept.
    pub rules: Option<Arc<dyn Rules>>,
    pub auth_enabled: bool,
}

type Answer = Result<Response, ApiError>;

pub fn router(api: RulesApi) -> Router {
    let mut routes =
        Router::new().route("/prometheus/api/v1/rules", get(rules)).route("/prometheus/api/v1/alerts", get(alerts));
    for prefix in ["/loki/api/v1/rules", "/api/prom/rules"] {
        let (namespace, group) = (get(namespace_groups), get(group));
        let writes = api.rules.is_some();
        let namespace = if writes { namespace.post(set_group).merge(delete(delete_namespace)) } else { namespace };
        let group = if writes { group.merge(delete(delete_group)) } else { group };
        routes = routes
            .route(prefix, get(groups))
            .route(&format!("{prefix}/{{namespace}}"), namespace)
            .route(&format!("{prefix}/{{namespace}}/{{group}}"), group);
    }
    routes.with_state(api)
}

impl RulesApi {
    /// The tenant, and its rules; `none` is the error where none are kept.
    fn rules(&self, headers: &HeaderMap, none: &str) -> Result<(TenantId, &Arc<dyn Rules>), ApiError> {
        let tenant = tenant(headers, self.auth_enabled).map_err(ApiError::ingest)?;
        let rules = self.rules.as_ref().ok_or_else(|| ApiError::ingest(Error::new(Kind::NotFound, none)))?;
        Ok((tenant, rules))
    }

    async fn list(&self, headers: &HeaderMap, namespace: Option<&str>) -> Answer {
        let (tenant, rules) = self.rules(headers, "no rule groups found")?;
        yaml(rules.list(&tenant, namespace).await)
    }

    /// The groups of every tenant that the request names.
    async fn states(&self, headers: &HeaderMap) -> Result<Vec<GroupState>, ApiError> {
        let tenants = tenants(headers, self.auth_enabled).map_err(ApiError::ingest)?;
        let mut states = Vec::new();
        if let Some(rules) = &self.rules {
            for tenant in &tenants.ids {
                states.extend(rules.states(tenant).await.map_err(ApiError::ingest)?);
            }
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
    let (tenant, rules) = api.rules(&headers, "group does not exist")?;
    yaml(rules.group(&tenant, &namespace, &group).await)
}

/// Writes the rule group in the body, or replaces the one of its name.
async fn set_group(State(api): State<RulesApi>, Path(namespace): Path<String>, request: Request<Body>) -> Answer {
    let (parts, body) = request.into_parts();
    let (tenant, rules) = api.rules(&parts.headers, "no rule groups found")?;
    let too_large = |_| Error::too_large(format!("the rule group is larger than {GROUP_BYTES_MAX} bytes"));
    let body = to_bytes(body, GROUP_BYTES_MAX).await.map_err(too_large).map_err(ApiError::ingest)?;
    let group = std::str::from_utf8(&body).map_err(|e| Error::invalid(format!("the rule group is no UTF-8: {e}")));
    let group = group.map_err(ApiError::ingest)?;
    rules.set(&tenant, &namespace, group).await.map_err(ApiError::ingest)?;
    Ok(accepted())
}

/// Removes a rule group; one that is not there counts as removed.
async fn delete_group(
    State(api): State<RulesApi>,
    Path((namespace, group)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let (tenant, rules) = api.rules(&headers, "group does not exist")?;
    rules.delete_group(&tenant, &namespace, &group).await.map_err(ApiError::ingest)?;
    Ok(accepted())
}

/// Removes all rule groups of a namespace.
async fn delete_namespace(State(api): State<RulesApi>, Path(namespace): Path<String>, headers: HeaderMap) -> Answer {
    let (tenant, rules) = api.rules(&headers, "group namespace does not exist")?;
    rules.delete_namespace(&tenant, &namespace).await.map_err(ApiError::ingest)?;
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
