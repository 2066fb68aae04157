//! The reads under `/api/prom`, in the shapes of Loki's first API.

use super::ReadApi;
use super::encode::merge_categories;
use super::handlers::{Answer, json_response, label_strings, with_regexp};
use super::json::Json;
use super::params::Params;
use super::stats::write_stats;
use crate::error::ApiError;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::Request;
use logql::value::QueryValue;
use model::{Error, Result};
use rpc::queries::{QueryRequest, QueryResponse, QueryTime, Tenants};

/// A log query in the form of Loki before 1.0.
pub async fn query(State(api): State<ReadApi>, request: Request<Body>) -> Answer {
    let (tenants, params) = api.read(request).await?;
    let response = run(&api, &tenants, &params).await.map_err(ApiError::query)?;
    let mut json = Json::default();
    json.raw("{\"streams\":");
    if let QueryValue::Streams(streams) = &response.value {
        json.list('[', ']', merge_categories(streams), |json, (labels, entries)| {
            json.raw("{\"labels\":");
            json.string(&labels.to_string());
            json.raw(",\"entries\":");
            json.list('[', ']', entries, |json, e| {
                json.raw("{\"ts\":");
                json.string(&rfc3339_nano(e.ts_ns));
                json.raw(",\"line\":");
                json.line(&e.line);
                for (name, labels) in [("structuredMetadata", &e.structured_metadata), ("parsed", &e.parsed)] {
                    if !labels.is_empty() {
                        json.raw(&format!(",\"{name}\":"));
                        json.labels(labels);
                    }
                }
                json.raw("}");
            });
            json.raw("}");
        });
    }
    json.raw(",\"stats\":");
    write_stats(&mut json, &response.stats);
    json.raw("}\n");
    Ok(json_response(json.out))
}

async fn run(api: &ReadApi, tenants: &Tenants, params: &Params) -> Result<QueryResponse> {
    let range = params.ordered_range(api.clock.now_ns())?;
    let time = QueryTime::Range {
        start_ns: range.start_ns,
        end_ns: range.end_ns,
        step_ns: params.step(range)?,
        interval_ns: 0,
    };
    let request = QueryRequest {
        query: with_regexp(params),
        time,
        limit: params.limit()?,
        direction: params.direction()?,
        partial_series: false,
        no_cache: params.no_cache(),
        tags: params.tags(),
        part: None,
    };
    if let Ok(logql::ast::Expr::Metric(_)) = logql::parse::parse(&request.query) {
        return Err(Error::invalid("legacy endpoints only support streams result type"));
    }
    api.refuse_blocked(tenants, params, &request.query)?;
    api.ask(tenants, params, request).await
}

/// A time as Go prints RFC 3339 with nanoseconds: no trailing zeros.
pub fn rfc3339_nano(ts_ns: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(ts_ns)).map_or_else(|_| ts_ns.to_string(), |t| t.to_string())
}

/// Label names in the form of Loki before 1.0.
pub async fn labels(State(api): State<ReadApi>, request: Request<Body>) -> Answer {
    let (tenants, params) = api.read(request).await?;
    values_list(label_strings(&api, &tenants, &params, None).await)
}

/// Label values in the form of Loki before 1.0.
pub async fn label_values(State(api): State<ReadApi>, Path(name): Path<String>, request: Request<Body>) -> Answer {
    let (tenants, params) = api.read(request).await?;
    values_list(label_strings(&api, &tenants, &params, Some(name)).await)
}

fn values_list(strings: Result<(Vec<String>, Vec<String>)>) -> Answer {
    let (strings, _) = strings.map_err(ApiError::query)?;
    let mut json = Json::default();
    json.raw("{\"values\":");
    json.list('[', ']', &strings, |json, s| json.string(s));
    json.raw("}\n");
    Ok(json_response(json.out))
}
