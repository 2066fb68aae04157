//! The handlers of queries and metadata.

use super::ReadApi;
use super::encode::{query_response, write_warnings};
use super::json::Json;
use super::params::Params;
use super::request_limits::RequestLimits;
use crate::blocked;
use crate::error::ApiError;
use crate::tenant::tenants;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use logql::parse::{self, Breadth};
use model::{Error, Matcher, Result, TimeRange};
use rpc::queries::{MetadataRequest, QueryRequest, QueryResponse, QueryTime, Tenants};

/// Loki's media type of a query's answer, capitals included.
const JSON_TYPE: &str = "application/json; charset=UTF-8";

pub type Answer = std::result::Result<Response, ApiError>;

pub fn json_response(body: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, JSON_TYPE)], body).into_response()
}

impl ReadApi {
    /// The tenants of a read and its parameters.
    pub async fn read(&self, request: Request<Body>) -> std::result::Result<(Tenants, Params), ApiError> {
        let tenants = tenants(request.headers(), self.auth_enabled).map_err(ApiError::ingest)?;
        let params = Params::read(request).await.map_err(ApiError::query)?;
        Ok((tenants, params))
    }

    /// Refuses what a tenant's `blocked_queries` name.
    pub fn refuse_blocked(&self, tenants: &Tenants, params: &Params, query: &str) -> Result<()> {
        let limits: Vec<_> = tenants.ids.iter().map(|t| self.limits.tenant(t)).collect();
        blocked::check(query, &params.headers, &limits)
    }

    /// Asks within what the request itself allows.
    pub async fn ask(&self, tenants: &Tenants, params: &Params, mut request: QueryRequest) -> Result<QueryResponse> {
        let Some(limits) = self.request_limits(params)? else { return self.queries.query(tenants, request).await };
        let expr = parse::parse(&request.query)?;
        limits.apply(&*self.queries, tenants, &expr, &mut request).await?;
        limits.within(self.queries.query(tenants, request)).await
    }

    /// What the header of a request allows, where such headers count.
    pub fn request_limits(&self, params: &Params) -> Result<Option<RequestLimits>> {
        if self.per_request_limits_enabled { RequestLimits::of(&params.headers) } else { Ok(None) }
    }

    /// Runs `query` as the parameters say.
    pub async fn run(&self, tenants: &Tenants, params: &Params, time: QueryTime, query: String) -> Result<Vec<u8>> {
        self.refuse_blocked(tenants, params, &query)?;
        let request = QueryRequest {
            query,
            time,
            limit: params.limit()?,
            direction: params.direction()?,
            partial_series: params.is_drilldown(),
            no_cache: params.no_cache(),
            tags: params.tags(),
            part: None,
        };
        let response = self.ask(tenants, params, request).await?;
        Ok(query_response(&response, &params.encoding_flags()))
    }
}

/// A query over a range of time.
pub async fn query_range(State(api): State<ReadApi>, request: Request<Body>) -> Answer {
    let (tenants, params) = api.read(request).await?;
    let body = async {
        let time = params.range_time(api.clock.now_ns())?;
        api.run(&tenants, &params, time, with_regexp(&params)).await
    };
    Ok(json_response(body.await.map_err(ApiError::query)?))
}

/// A query at one moment.
pub async fn query(State(api): State<ReadApi>, request: Request<Body>) -> Answer {
    let (tenants, params) = api.read(request).await?;
    let body = async {
        let time = params.instant(api.clock.now_ns())?;
        api.run(&tenants, &params, time, with_regexp(&params)).await
    };
    Ok(json_response(body.await.map_err(ApiError::query)?))
}

/// The query, with the legacy parameter `regexp` as a line filter behind it.
pub fn with_regexp(params: &Params) -> String {
    match params.get("regexp") {
        Some(regexp) => format!("{} |~ {}", params.query(), model::quote::quote(regexp)),
        None => params.query().to_string(),
    }
}

/// The names of labels between `start` and `end`.
pub async fn labels(State(api): State<ReadApi>, request: Request<Body>) -> Answer {
    let (tenants, params) = api.read(request).await?;
    let (names, warnings) = label_strings(&api, &tenants, &params, None).await.map_err(ApiError::query)?;
    Ok(string_list(&names, &warnings))
}

/// The values of a label between `start` and `end`.
pub async fn label_values(State(api): State<ReadApi>, Path(name): Path<String>, request: Request<Body>) -> Answer {
    let (tenants, params) = api.read(request).await?;
    let (values, warnings) = label_strings(&api, &tenants, &params, Some(name)).await.map_err(ApiError::query)?;
    Ok(string_list(&values, &warnings))
}

/// Label names, or the values of `name`, as the parameters say.
pub async fn label_strings(
    api: &ReadApi,
    tenants: &Tenants,
    params: &Params,
    name: Option<String>,
) -> Result<(Vec<String>, Vec<String>)> {
    let range = params.range(api.clock.now_ns())?;
    if range.end_ns < range.start_ns {
        return Err(Error::invalid("this data is no longer available, it is past now - max_query_lookback (0s)"));
    }
    let selectors = params.get("query").map(matchers).transpose()?.into_iter().collect();
    let answer = api.queries.labels(tenants, MetadataRequest { selectors, range }, name).await?;
    Ok((answer.value, answer.warnings))
}

/// `{"status":"success","data":[...]}`; without strings the member `data` is left out, as in Loki.
fn string_list(strings: &[String], warnings: &[String]) -> Response {
    let mut json = Json::default();
    json.raw("{\"status\":\"success\"");
    if !warnings.is_empty() {
        json.raw(",\"warnings\":");
        json.list('[', ']', warnings, |json, w| json.string(w));
    }
    if !strings.is_empty() {
        json.raw(",\"data\":");
        json.list('[', ']', strings, |json, s| json.string(s));
    }
    json.raw("}\n");
    json_response(json.out)
}

/// The matchers of a bare selector.
pub fn matchers(query: &str) -> Result<Vec<Matcher>> {
    parse::parse_selector(query, Breadth::Selective)
}

/// The label sets of streams that `match[]` selects.
pub async fn series(State(api): State<ReadApi>, request: Request<Body>) -> Answer {
    let (tenants, params) = api.read(request).await?;
    let answer = async {
        let range = params.ordered_range(api.clock.now_ns())?;
        let texts: Vec<&str> = params.all("match").chain(params.all("match[]")).collect();
        let parsed = texts.into_iter().map(|t| parse::parse_selector(t, Breadth::SelectiveOrAll));
        let selectors = parsed.collect::<Result<Vec<_>>>()?;
        api.queries.series(&tenants, MetadataRequest { selectors, range }).await
    };
    let answer = answer.await.map_err(ApiError::query)?;
    let mut json = Json::default();
    json.raw("{\"status\":\"success\",");
    write_warnings(&mut json, &answer.warnings);
    json.raw("\"data\":");
    json.list('[', ']', &answer.value, |json, labels| json.labels(labels));
    json.raw("}\n");
    Ok(json_response(json.out))
}

/// Streams, chunks, entries and bytes of a selector, from the index.
pub async fn stats(State(api): State<ReadApi>, request: Request<Body>) -> Answer {
    let (tenants, params) = api.read(request).await?;
    let answer = async {
        let range: TimeRange = params.ordered_range(api.clock.now_ns())?;
        let selectors = vec![matchers(params.query())?];
        api.queries.stats(&tenants, MetadataRequest { selectors, range }).await
    };
    let s = answer.await.map_err(ApiError::query)?.value;
    let body = format!(
        "{{\"streams\":{},\"chunks\":{},\"bytes\":{},\"entries\":{}}}\n",
        s.streams, s.chunks, s.bytes, s.entries
    );
    Ok(json_response(body.into_bytes()))
}

/// The query as the canonical printer writes it.
pub async fn format_query(State(_): State<ReadApi>, request: Request<Body>) -> Answer {
    let params = Params::read(request).await.map_err(ApiError::query)?;
    let mut json = Json::default();
    let status = match parse::parse_syntax(params.query()) {
        Ok(expr) => {
            json.raw("{\"status\":\"success\",\"data\":");
            json.string(&logql::print::pretty(&expr));
            StatusCode::OK
        }
        Err(e) => {
            json.raw("{\"status\":\"invalid-query\",\"error\":");
            json.string(&Error::from(e).message);
            StatusCode::BAD_REQUEST
        }
    };
    json.raw("}\n");
    Ok((status, json_response(json.out)).into_response())
}
