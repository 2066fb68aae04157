//! Calls of the query service between the nouns and their messages.

use super::convert::{matcher_of_wire, matcher_to_wire, shard_of_wire, shard_to_wire, unknown};
use super::proto;
use super::proto::queries_call::Call as Wire;
use crate::call::Call;
use crate::queries::{MetadataRequest, Part, PatternsQuery, QueryRequest, QueryTime, Tenants, VolumeRequest};
use crate::tail::TailRequest;
use model::{Direction, Error, Matcher, Result, TenantId, TimeRange};
use std::time::Duration;

pub fn call_to_wire(tenants: &Tenants, call: Call) -> proto::QueriesCall {
    let call = match call {
        Call::Query(request) => Wire::Query(query_to_wire(request)),
        Call::Labels(request, name) => Wire::Labels(proto::LabelsCall { of: Some(metadata_to_wire(&request)), name }),
        Call::Series(request) => Wire::Series(metadata_to_wire(&request)),
        Call::Stats(request) => Wire::Stats(metadata_to_wire(&request)),
        Call::Volume(request) => Wire::Volume(proto::VolumeCall {
            selector: Some(selector_to_wire(&request.matchers)),
            start_ns: request.range.start_ns,
            end_ns: request.range.end_ns,
            limit: request.limit,
            target_labels: request.target_labels,
            by_label_name: request.by_label_name,
        }),
        Call::Patterns(query) => Wire::Patterns(proto::PatternsCall {
            selector: Some(selector_to_wire(&query.matchers)),
            start_ns: query.range.start_ns,
            end_ns: query.range.end_ns,
            step_ns: nanos(query.step),
        }),
    };
    proto::QueriesCall {
        tenants: tenants.ids.iter().map(|tenant| tenant.as_str().to_string()).collect(),
        labelled: tenants.labelled,
        call: Some(call),
    }
}

pub fn call_of_wire(message: proto::QueriesCall) -> Result<(Tenants, Call)> {
    let ids = message.tenants.iter().map(|name| TenantId::parse(name)).collect::<Result<Vec<_>>>()?;
    if ids.is_empty() || !ids.is_sorted_by(|a, b| a < b) {
        return Err(unknown("list of tenants", message.tenants.join("|")));
    }
    let call = match message.call.ok_or_else(|| unknown("call", ""))? {
        Wire::Query(query) => Call::Query(query_of_wire(query)?),
        Wire::Labels(labels) => Call::Labels(metadata_of_wire(labels.of.unwrap_or_default())?, labels.name),
        Wire::Series(request) => Call::Series(metadata_of_wire(request)?),
        Wire::Stats(request) => Call::Stats(metadata_of_wire(request)?),
        Wire::Volume(request) => Call::Volume(VolumeRequest {
            matchers: selector_of_wire(request.selector.unwrap_or_default())?,
            range: TimeRange::new(request.start_ns, request.end_ns),
            limit: request.limit,
            target_labels: request.target_labels,
            by_label_name: request.by_label_name,
            no_cache: false,
        }),
        Wire::Patterns(query) => Call::Patterns(PatternsQuery {
            matchers: selector_of_wire(query.selector.unwrap_or_default())?,
            range: TimeRange::new(query.start_ns, query.end_ns),
            step: Duration::from_nanos(query.step_ns),
        }),
    };
    Ok((Tenants { ids, labelled: message.labelled }, call))
}

fn query_to_wire(request: QueryRequest) -> proto::QueryCall {
    let QueryRequest { query, time, limit, direction, part, partial_series, no_cache: _, tags: _ } = request;
    let (instant_ns, range) = match time {
        QueryTime::Instant { time_ns } => (Some(time_ns), None),
        QueryTime::Range { start_ns, end_ns, step_ns, interval_ns } => {
            (None, Some(proto::QueryRange { start_ns, end_ns, step_ns, interval_ns }))
        }
    };
    let forward = direction == Direction::Forward;
    let part = part.map(|part| proto::QueryPart { shard: shard_to_wire(part.shard) });
    proto::QueryCall { query, instant_ns, range, limit, forward, partial_series, part }
}

fn query_of_wire(message: proto::QueryCall) -> Result<QueryRequest> {
    let proto::QueryCall { query, instant_ns, range, limit, forward, partial_series, part } = message;
    let time = match (instant_ns, range) {
        (Some(time_ns), None) => QueryTime::Instant { time_ns },
        (None, Some(proto::QueryRange { start_ns, end_ns, step_ns, interval_ns })) => {
            QueryTime::Range { start_ns, end_ns, step_ns, interval_ns }
        }
        _ => return Err(unknown("time of a query", "")),
    };
    let direction = if forward { Direction::Forward } else { Direction::Backward };
    let part = part.map(|part| shard_of_wire(part.shard)).transpose()?.map(|shard| Part { shard });
    Ok(QueryRequest { query, time, limit, direction, part, partial_series, no_cache: false, tags: vec![] })
}

fn metadata_to_wire(request: &MetadataRequest) -> proto::MetadataCall {
    proto::MetadataCall {
        selectors: request.selectors.iter().map(|matchers| selector_to_wire(matchers)).collect(),
        start_ns: request.range.start_ns,
        end_ns: request.range.end_ns,
    }
}

fn metadata_of_wire(message: proto::MetadataCall) -> Result<MetadataRequest> {
    let selectors = message.selectors.into_iter().map(selector_of_wire).collect::<Result<_>>()?;
    Ok(MetadataRequest { selectors, range: TimeRange::new(message.start_ns, message.end_ns) })
}

fn selector_to_wire(matchers: &[Matcher]) -> proto::Selector {
    proto::Selector { matchers: matchers.iter().map(matcher_to_wire).collect() }
}

fn selector_of_wire(selector: proto::Selector) -> Result<Vec<Matcher>> {
    selector.matchers.into_iter().map(matcher_of_wire).collect()
}

pub fn tail_to_wire(request: TailRequest) -> proto::TailCall {
    let TailRequest { query, start_ns, limit, delay_for } = request;
    proto::TailCall { query, start_ns, limit, delay_ns: nanos(delay_for) }
}

pub fn tail_of_wire(message: proto::TailCall) -> TailRequest {
    let proto::TailCall { query, start_ns, limit, delay_ns } = message;
    TailRequest { query, start_ns, limit, delay_for: Duration::from_nanos(delay_ns) }
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// What a caller is told when an answer is not what it asked for.
pub(super) fn broken(what: &str) -> Error {
    Error::corrupt(format!("{what} in the answer of another node"))
}
