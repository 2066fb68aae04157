//! `index/volume` and `index/volume_range`: bytes per group of labels, from the index and what is in memory.

use super::ReadApi;
use super::encode::{write_point, write_warnings};
use super::handlers::{Answer, json_response};
use super::json::Json;
use super::params::{Params, check_steps};
use crate::error::ApiError;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use logql::parse::{Breadth, parse_selector};
use model::time::NANOS_PER_MILLI;
use model::{Error, Kind, Labels, Result, TimeRange};
use rpc::queries::{Tenants, VolumeRequest};
use runtime::limits::Limits;
use std::collections::HashMap;
use std::sync::Arc;

/// Bytes per group of labels, from the index.
pub async fn volume(State(api): State<ReadApi>, request: Request<Body>) -> Answer {
    let (tenants, params) = api.read(request).await?;
    let answer = async {
        let request = volume_request(&api, &tenants, &params)?;
        let end_ns = request.range.end_ns;
        Ok((end_ns, api.queries.volume(&tenants, request).await?))
    };
    let (end_ns, answer) = answer.await.map_err(ApiError::query)?;
    let mut json = start("vector", &answer.warnings);
    json.list('[', ']', &answer.value, |json, v| {
        json.raw("{\"metric\":");
        json.labels(&v.labels);
        json.raw(",\"value\":");
        write_point(json, end_ns, v.bytes as f64);
        json.raw("}");
    });
    Ok(finish(json))
}

/// Bytes per group of labels and step, from the index.
pub async fn volume_range(State(api): State<ReadApi>, request: Request<Body>) -> Answer {
    let (tenants, params) = api.read(request).await?;
    let (series, warnings) = windows(&api, &tenants, &params).await.map_err(ApiError::query)?;
    let mut json = start("matrix", &warnings);
    json.list('[', ']', series, |json, (labels, points)| {
        json.raw("{\"metric\":");
        json.labels(&labels);
        json.raw(",\"values\":");
        json.list('[', ']', points, |json, (time_ns, bytes)| write_point(json, time_ns, bytes as f64));
        json.raw("}");
    });
    Ok(finish(json))
}

type Points = Vec<(i64, u64)>;

/// The volumes of the windows between multiples of the step, each named by its last millisecond; groups by size.
async fn windows(api: &ReadApi, tenants: &Tenants, params: &Params) -> Result<(Vec<(Labels, Points)>, Vec<String>)> {
    let whole = volume_request(api, tenants, params)?;
    let step = params.step(whole.range)?;
    check_steps(whole.range, step)?;
    let mut groups: HashMap<Labels, Points> = HashMap::new();
    let mut warnings = vec![];
    let mut start_ns = whole.range.start_ns;
    while start_ns < whole.range.end_ns {
        let boundary = (start_ns.div_euclid(step) + 1).saturating_mul(step);
        let last = boundary >= whole.range.end_ns;
        let end_ns = if last { whole.range.end_ns } else { boundary };
        let range = TimeRange { start_ns, end_ns };
        let answer = api.queries.volume(tenants, VolumeRequest { range, ..whole.clone() }).await?;
        let time_ns = if last { end_ns } else { end_ns.saturating_sub(NANOS_PER_MILLI) };
        for v in answer.value {
            groups.entry(v.labels).or_default().push((time_ns, v.bytes));
        }
        for w in answer.warnings {
            if !warnings.contains(&w) {
                warnings.push(w);
            }
        }
        start_ns = end_ns;
    }
    let mut sorted: Vec<_> = groups.into_iter().collect();
    sorted.sort_by_cached_key(|(labels, points)| {
        (std::cmp::Reverse(points.iter().map(|(_, bytes)| bytes).sum::<u64>()), labels.to_string())
    });
    sorted.truncate(whole.limit as usize);
    Ok((sorted, warnings))
}

fn volume_request(api: &ReadApi, tenants: &Tenants, params: &Params) -> Result<VolumeRequest> {
    let limits: Vec<_> = tenants.ids.iter().map(|t| api.limits.tenant(t)).collect();
    if limits.iter().any(|l| !l.volume_enabled) {
        return Err(Error::new(Kind::NotFound, "not found"));
    }
    let range = params.ordered_range(api.clock.now_ns())?;
    let by_label_name = match params.get("aggregateBy") {
        None | Some("series") => false,
        Some("labels") => true,
        Some(_) => return Err(Error::invalid("invalid aggregation option")),
    };
    let target_labels = params.get("targetLabels").map_or(vec![], |csv| csv.split(',').map(str::to_string).collect());
    Ok(VolumeRequest {
        matchers: parse_selector(params.query(), Breadth::Any)?,
        range,
        limit: params.limit()?.min(most_series(&limits)),
        target_labels,
        by_label_name,
        no_cache: params.no_cache(),
    })
}

/// The strictest `volume_max_series`; 0 is none.
fn most_series(limits: &[Arc<Limits>]) -> u32 {
    let strictest = limits.iter().map(|l| l.volume_max_series).filter(|max| *max > 0).min();
    strictest.map_or(u32::MAX, |max| u32::try_from(max).unwrap_or(u32::MAX))
}

fn start(kind: &str, warnings: &[String]) -> Json {
    let mut json = Json::default();
    json.raw("{\"status\":\"success\",");
    write_warnings(&mut json, warnings);
    json.raw(&format!("\"data\":{{\"resultType\":\"{kind}\",\"result\":"));
    json
}

fn finish(mut json: Json) -> axum::response::Response {
    json.raw(",\"stats\":");
    super::stats::write_stats(&mut json, &Default::default());
    json.raw("}}\n");
    json_response(json.out)
}
