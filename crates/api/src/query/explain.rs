//! Explain: what a query would read and how, without reading it. Sizes are the index's and the ingesters', the stages are
//! those that run, and the limits are held against the whole query.

use super::ReadApi;
use super::handlers::{Answer, json_response};
use super::params::Params;
use crate::error::ApiError;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use logql::ast::{LineOp, LogExpr, Stage};
use logql::pipeline::Prefilter;
use model::{Matcher, Result};
use rpc::queries::{IndexStats, QueryRequest, QueryTime, Tenants};
use rpc::read_limits::{self, ReadLimits};
use rpc::selections::{self, Selection};
use runtime::limits::Limits;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Selectors of one query that are explained: each is a question to the index.
const SELECTIONS_MAX: usize = 100;

/// What a query would read and how, without reading it; no API of Loki's.
pub async fn explain(State(api): State<ReadApi>, request: Request<Body>) -> Answer {
    let (tenants, params) = api.read(request).await?;
    let answer = answer(&api, &tenants, &params).await.map_err(ApiError::query)?;
    Ok(json_response(format!("{answer}\n").into_bytes()))
}

async fn answer(api: &ReadApi, tenants: &Tenants, params: &Params) -> Result<Value> {
    let range = params.ordered_range(api.clock.now_ns())?;
    let time = match params.get("time") {
        Some(_) => params.instant(api.clock.now_ns())?,
        None => QueryTime::Range {
            start_ns: range.start_ns,
            end_ns: range.end_ns,
            step_ns: params.step(range)?,
            interval_ns: 0,
        },
    };
    let mut request = QueryRequest {
        query: params.query().to_string(),
        time,
        limit: params.limit()?,
        direction: params.direction()?,
        partial_series: false,
        no_cache: false,
        tags: vec![],
        part: None,
    };
    let expr = logql::parse::parse(&request.query)?;
    let mut limits: Vec<Arc<Limits>> = tenants.ids.iter().map(|tenant| api.limits.tenant(tenant)).collect();
    limits.extend(api.request_limits(params)?.map(|own| own.limits().clone()));
    // What is asked for is checked before a look-back is cut, as when it runs.
    let asked = api.refuse_blocked(tenants, params, &request.query);
    let asked = asked.and_then(|()| read_limits::check(&expr, &request, &limits));
    read_limits::clamp_lookback(&mut request, &limits);
    let (mut parts, mut total, mut warnings) = (vec![], IndexStats::default(), BTreeSet::new());
    let all = selections::selections(&expr, &request);
    for selection in all.iter().take(SELECTIONS_MAX) {
        let size = selections::size(&*api.queries, tenants, selection, &mut warnings).await?;
        add(&mut total, &size);
        parts.push(part(selection, &size));
    }
    let read = ReadLimits::strictest(&limits);
    let refused = asked.and_then(|()| read.check(total.streams, total.chunks, total.bytes, matchers(&all)));
    Ok(json!({
        "status": "success",
        "warnings": warnings,
        "data": {
            "query": expr.to_string(),
            "selections": parts,
            "selections_left_out": all.len().saturating_sub(SELECTIONS_MAX),
            "total": size_json(&total),
            // Chunks count with the part of their time that is asked for.
            "sizes_of": ["index", "ingesters"],
            "limits": limits_json(&read, &total),
            "refused": refused.err().map(|e| e.message),
        }
    }))
}

fn matchers<'e>(all: &'e [Selection<'e>]) -> &'e [Matcher] {
    all.first().map_or(&[], |selection| &selection.log.matchers)
}

fn add(total: &mut IndexStats, size: &IndexStats) {
    total.streams += size.streams;
    total.chunks += size.chunks;
    total.bytes = total.bytes.saturating_add(size.bytes);
    total.entries = total.entries.saturating_add(size.entries);
}

fn size_json(size: &IndexStats) -> Value {
    json!({ "streams": size.streams, "chunks": size.chunks, "bytes": size.bytes, "entries": size.entries })
}

fn part(selection: &Selection<'_>, size: &IndexStats) -> Value {
    let LogExpr { matchers, stages } = selection.log;
    let prefilter = Prefilter::new(stages);
    let literal = prefilter.literal().map(String::from_utf8_lossy);
    json!({
        "matchers": matchers.iter().map(Matcher::to_string).collect::<Vec<_>>(),
        "start": selection.range.start_ns.to_string(),
        "end": selection.range.end_ns.to_string(),
        "read": size_json(size),
        // What whole decompressed blocks are searched for before they are split into lines.
        "block_search": { "literal": literal, "expression": prefilter.expression() },
        "stages": stages.iter().map(stage).collect::<Vec<_>>(),
    })
}

fn stage(stage: &Stage) -> Value {
    let work = match stage {
        Stage::LineFilter(filter) => match filter.op {
            LineOp::Contains | LineOp::NotContains => "search the line for text",
            LineOp::Matches | LineOp::NotMatches => "search the line for an expression",
            LineOp::Pattern | LineOp::NotPattern => "match the line with a pattern",
        },
        Stage::Json(_) | Stage::Logfmt { .. } | Stage::Regexp(_) | Stage::Pattern(_) | Stage::Unpack => {
            "parse the line"
        }
        Stage::LabelFilter(_) => "filter by labels",
        Stage::LineFormat(_) | Stage::Decolorize => "rewrite the line",
        Stage::LabelFormat(_) | Stage::Drop(_) | Stage::Keep(_) => "rewrite labels",
    };
    json!({ "stage": stage.to_string(), "work": work })
}

/// Each limit on what is read, with what the query comes to; 0 is no limit. `max_querier_bytes_read` is for what one
/// querier is given, which is less where a frontend splits.
fn limits_json(limits: &ReadLimits, total: &IndexStats) -> Value {
    let one = |setting: &str, limit: u64, value: u64| json!({ "setting": setting, "limit": limit, "value": value, "allowed": limit == 0 || value <= limit });
    json!([
        one("max_query_bytes_read", limits.max_query_bytes_read, total.bytes),
        one("max_querier_bytes_read", limits.max_querier_bytes_read, total.bytes),
        one("max_chunks_per_query", limits.max_chunks_per_query, total.chunks),
        one("cardinality_limit", limits.cardinality_limit, total.streams),
    ])
}
