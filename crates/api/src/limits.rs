//! The limits that a tenant may know of itself: as JSON for Logs Drilldown, as YAML for people. Both work without a tenant
//! header where authentication is off. It must not know who enforces a limit.

use crate::error::ApiError;
use crate::tenant::tenants;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use model::duration::prometheus_string;
use model::{Error, Result};
use runtime::limits::{Limits, Overrides};
use runtime::settings::{Tree, Value as Node};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// What the handlers of published limits need.
#[derive(Clone)]
pub struct LimitsApi {
    pub limits: Arc<Overrides>,
    pub auth_enabled: bool,
    /// Whether patterns are found; Logs Drilldown hides its tab where they are not.
    pub pattern_ingester_enabled: bool,
    pub version: &'static str,
}

pub fn router(api: LimitsApi) -> Router {
    Router::new()
        .route("/loki/api/v1/drilldown-limits", get(drilldown))
        .route("/config/tenant/v1/limits", get(tenant_limits))
        .with_state(api)
}

impl LimitsApi {
    /// The published limits of the first tenant that a request names.
    fn published(&self, headers: &HeaderMap) -> Result<Value> {
        let tenants = tenants(headers, self.auth_enabled)?;
        let first = tenants.ids.first().ok_or_else(|| Error::internal("a read without a tenant"))?;
        Ok(published(&self.limits.tenant(first)))
    }
}

/// What Logs Drilldown asks for: the tenant's limits and what is enabled.
async fn drilldown(State(api): State<LimitsApi>, headers: HeaderMap) -> std::result::Result<Response, ApiError> {
    let limits = api.published(&headers).map_err(ApiError::ingest)?;
    let enabled = api.pattern_ingester_enabled;
    let answer = json!({ "limits": limits, "pattern_ingester_enabled": enabled, "version": api.version });
    Ok(Json(answer).into_response())
}

/// The tenant's limits, overrides included, as YAML.
async fn tenant_limits(State(api): State<LimitsApi>, headers: HeaderMap) -> std::result::Result<Response, ApiError> {
    let limits = api.published(&headers).map_err(ApiError::ingest)?;
    let yaml = tree(&limits).print();
    Ok((StatusCode::OK, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], yaml).into_response())
}

/// The limits that Loki publishes by default; durations as Prometheus writes them. Lines are neither aggregated to metrics
/// nor patterns kept by this store.
fn published(limits: &Limits) -> Value {
    let duration = |d: Duration| prometheus_string(i64::try_from(d.as_nanos()).unwrap_or(i64::MAX));
    json!({
        "discover_log_levels": limits.discover_log_levels,
        "discover_service_name": limits.discover_service_name,
        "log_level_fields": limits.log_level_fields,
        "max_entries_limit_per_query": limits.max_entries_limit_per_query,
        "max_line_size_truncate": limits.max_line_size_truncate,
        "max_query_bytes_read": limits.max_query_bytes_read,
        "max_query_length": duration(limits.max_query_length),
        "max_query_lookback": duration(limits.max_query_lookback),
        "max_query_range": duration(limits.max_query_range),
        "max_query_series": limits.max_query_series,
        "metric_aggregation_enabled": false,
        "pattern_persistence_enabled": false,
        "query_timeout": duration(limits.query_timeout),
        "retention_period": duration(limits.retention_period),
        "volume_enabled": limits.volume_enabled,
        "volume_max_series": limits.volume_max_series,
    })
}

fn tree(value: &Value) -> Tree {
    match value {
        Value::Null => Tree::from(Node::Null),
        Value::Bool(b) => Tree::scalar(b.to_string()),
        Value::Number(n) => Tree::scalar(n.to_string()),
        Value::String(text) => Tree::scalar(text.clone()),
        Value::Array(items) => Tree::from(Node::List(items.iter().map(tree).collect())),
        Value::Object(members) => {
            Tree::from(Node::Map(members.iter().map(|(name, value)| (name.clone(), tree(value))).collect()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use std::collections::HashMap;
    use tower::ServiceExt;

    async fn answer(auth_enabled: bool, path: &str, tenant: Option<&str>) -> (u16, String) {
        let own = Limits {
            max_entries_limit_per_query: 7,
            retention_period: Duration::from_secs(86_400),
            ..Limits::default()
        };
        let tenants = HashMap::from([("own".to_string(), Arc::new(own))]);
        let limits = Arc::new(Overrides::with_tenants(Limits::default(), tenants));
        let routes = router(LimitsApi { limits, auth_enabled, pattern_ingester_enabled: true, version: "1.2.3" });
        let request = Request::get(path);
        let request = tenant.into_iter().fold(request, |request, tenant| request.header("X-Scope-OrgID", tenant));
        let response = routes.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        (status, String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_tenant_reads_its_own_limits() {
        for (auth, path, tenant, status, part) in [
            (true, "/loki/api/v1/drilldown-limits", Some("own"), 200, "\"max_entries_limit_per_query\":7"),
            (true, "/loki/api/v1/drilldown-limits", Some("other"), 200, "\"max_entries_limit_per_query\":5000"),
            (
                false,
                "/loki/api/v1/drilldown-limits",
                None,
                200,
                "\"pattern_ingester_enabled\":true,\"version\":\"1.2.3\"",
            ),
            (true, "/loki/api/v1/drilldown-limits", None, 401, "no org id\n"),
            (true, "/config/tenant/v1/limits", Some("own"), 200, "retention_period: 1d\n"),
            (false, "/config/tenant/v1/limits", None, 200, "query_timeout: 1m\n"),
        ] {
            let (got, body) = answer(auth, path, tenant).await;
            assert!(got == status && body.contains(part), "{path} {tenant:?}: {got} {body}");
        }
    }
}
