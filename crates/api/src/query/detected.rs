//! Detected labels and fields: what Logs Drilldown offers to break logs down by.

use super::ReadApi;
use super::detected_fields::{Fields, detect};
use super::handlers::{Answer, json_response, matchers};
use super::json::Json;
use super::params::Params;
use crate::error::ApiError;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::Request;
use axum::response::Response;
use logql::ast::Expr;
use logql::value::QueryValue;
use model::{Direction, Error, Labels, Result};
use rpc::queries::{MetadataRequest, QueryRequest, QueryTime, Tenants};
use std::collections::{BTreeMap, BTreeSet};

/// Labels worth showing even when all their values look like identifiers.
const ALWAYS_SHOWN: [&str; 4] = ["cluster", "namespace", "instance", "pod"];
/// Fields listed, and values of one field, unless `limit` says otherwise.
const FIELDS_DEFAULT: u32 = 1000;
/// Lines looked at, unless `line_limit` says otherwise.
const LINES_DEFAULT: u32 = 100;

/// Labels of streams and their cardinality.
pub async fn detected_labels(State(api): State<ReadApi>, request: Request<Body>) -> Answer {
    let (tenants, params) = api.read(request).await?;
    let answer = async {
        let range = params.ordered_range(api.clock.now_ns())?;
        let selectors = params.get("query").map(matchers).transpose()?.into_iter().collect();
        api.queries.series(&tenants, MetadataRequest { selectors, range }).await
    };
    let answer = answer.await.map_err(ApiError::query)?;
    let mut json = Json::default();
    let shown = cardinalities(&answer.value);
    json.raw("{");
    if !shown.is_empty() {
        json.raw("\"detectedLabels\":");
        json.list('[', ']', shown, |json, (label, cardinality)| {
            json.raw("{\"label\":");
            json.string(label);
            json.raw(&format!(",\"cardinality\":{cardinality}}}"));
        });
    }
    json.raw("}\n");
    Ok(json_response(json.out))
}

/// The number of values of each label, without labels whose values are all numbers or UUIDs.
fn cardinalities(series: &[Labels]) -> Vec<(&str, usize)> {
    let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for label in series.iter().flatten().filter(|l| l.name != "__tenant_id__") {
        values.entry(&label.name).or_default().insert(&label.value);
    }
    let worth = |name: &str, values: &BTreeSet<&str>| ALWAYS_SHOWN.contains(&name) || !values.iter().all(|v| is_id(v));
    values.into_iter().filter(|(name, values)| worth(name, values)).map(|(name, values)| (name, values.len())).collect()
}

fn is_id(value: &str) -> bool {
    value.parse::<f64>().is_ok() || is_uuid(value)
}

fn is_uuid(value: &str) -> bool {
    value.len() == 36
        && value.bytes().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

/// Fields that lines or structured metadata hold, with their types and cardinality, from a sample.
pub async fn detected_fields(State(api): State<ReadApi>, request: Request<Body>) -> Answer {
    let (tenants, params) = api.read(request).await?;
    let (fields, limit) = fields(&api, &tenants, &params).await.map_err(ApiError::query)?;
    if fields.is_empty() {
        return Ok(empty());
    }
    let mut json = Json::default();
    json.raw("{\"fields\":");
    json.list('[', ']', fields.into_iter().take(limit as usize), |json, (name, field)| {
        json.raw("{\"label\":");
        json.string(&name);
        json.raw(&format!(",\"type\":\"{}\",\"cardinality\":{},\"parsers\":", field.kind.name(), field.values.len()));
        match field.parsers.is_empty() {
            true => json.raw("null"),
            false => json.list('[', ']', &field.parsers, |json, parser| json.string(parser)),
        }
        if !field.json_path.is_empty() {
            json.raw(",\"jsonPath\":");
            json.list('[', ']', &field.json_path, |json, key| json.string(key));
        }
        json.raw("}");
    });
    json.raw(&format!(",\"limit\":{limit}}}\n"));
    Ok(json_response(json.out))
}

/// The values of a field that lines or structured metadata hold.
pub async fn detected_field_values(
    State(api): State<ReadApi>,
    Path(name): Path<String>,
    request: Request<Body>,
) -> Answer {
    let (tenants, params) = api.read(request).await?;
    let (mut fields, limit) = fields(&api, &tenants, &params).await.map_err(ApiError::query)?;
    let Some(field) = fields.remove(&name) else { return Ok(empty()) };
    let mut json = Json::default();
    json.raw("{\"values\":");
    json.list('[', ']', field.values.iter().take(limit as usize), |json, value| json.string(value));
    json.raw(&format!(",\"limit\":{limit}}}\n"));
    Ok(json_response(json.out))
}

fn empty() -> Response {
    json_response(b"{}\n".to_vec())
}

/// The fields of the newest lines of the query, and how many the client wants.
async fn fields(api: &ReadApi, tenants: &Tenants, params: &Params) -> Result<(Fields, u32)> {
    let range = params.ordered_range(api.clock.now_ns())?;
    let limit =
        params.positive(if params.get("field_limit").is_some() { "field_limit" } else { "limit" }, FIELDS_DEFAULT)?;
    let lines = params.positive("line_limit", LINES_DEFAULT)?;
    if let Expr::Metric(_) = logql::parse::parse(params.query())? {
        return Err(Error::invalid("only log selector is supported"));
    }
    let request = QueryRequest {
        query: params.query().to_string(),
        time: QueryTime::Range {
            start_ns: range.start_ns,
            end_ns: range.end_ns,
            step_ns: params.step(range)?,
            interval_ns: 0,
        },
        limit: lines,
        direction: Direction::Backward,
        partial_series: false,
        no_cache: params.no_cache(),
        tags: params.tags(),
        part: None,
    };
    api.refuse_blocked(tenants, params, &request.query)?;
    let response = api.ask(tenants, params, request).await?;
    match &response.value {
        QueryValue::Streams(streams) => Ok((detect(streams)?, limit)),
        _ => Ok((Fields::new(), limit)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_identifiers_are_not_shown() {
        let series = [
            Labels::new([("app", "a"), ("n", "1"), ("id", "7c0a0a58-9d2c-4f6c-8d0c-1a2b3c4d5e6f"), ("pod", "1")]),
            Labels::new([("app", "b"), ("n", "2")]),
        ];
        assert_eq!(cardinalities(&series), [("app", 2), ("pod", 1)]);
    }
}
