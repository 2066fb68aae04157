//! Export: all lines of a log query, however many, as one JSON object a line (`application/x-ndjson`). The query is asked
//! page by page, so memory is that of a page. The last line says whether that was all, and where to go on: an answer
//! without it was cut off.

use super::ReadApi;
use super::handlers::Answer;
use super::json::Json;
use super::params::Params;
use super::request_limits::RequestLimits;
use crate::error::ApiError;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Request, header};
use axum::response::IntoResponse;
use futures::stream::unfold;
use logql::ast::Expr;
use logql::value::{LogEntry, LogStream, QueryValue};
use model::{Direction, Error, Labels, Result, TimeRange};
use rpc::queries::{Queries, QueryRequest, QueryTime, Tenants};
use std::convert::Infallible;
use std::sync::Arc;

/// Bytes of one answer, unless `max_bytes` says less.
const BYTES_MAX: u64 = 1 << 30;
/// Bytes of lines that one page should have.
const PAGE_BYTES: u64 = 4 << 20;
/// Entries of the first page, and of the smallest.
const PAGE_FIRST: u32 = 1000;
const PAGE_MIN: u32 = 100;
/// The largest page of a tenant without `max_entries_limit_per_query`.
const PAGE_MAX: u32 = 50_000;
const NDJSON_TYPE: &str = "application/x-ndjson";
/// The step of a log query, which has no use for it.
const STEP_NS: i64 = 1_000_000_000;

/// All lines of a query, one JSON object a line, without the line limit; a cursor goes on where another ended.
pub async fn export(State(api): State<ReadApi>, request: Request<Body>) -> Answer {
    let (tenants, params) = api.read(request).await?;
    let mut export = Export::new(&api, tenants, &params).map_err(ApiError::query)?;
    if let Some(limits) = api.request_limits(&params).map_err(ApiError::query)? {
        export.restrict(&limits).await.map_err(ApiError::query)?;
    }
    // Asked before the status is sent: a query that cannot run is an error as everywhere.
    let first = export.page().await.map_err(ApiError::query)?;
    let pages = unfold((Some(first), export), |(ready, mut export)| async move {
        let page = match ready {
            Some(page) => page,
            None if export.ended => return None,
            None => match export.page().await {
                Ok(page) => page,
                Err(error) => export.failed(&error),
            },
        };
        Some((Ok::<Bytes, Infallible>(page), (None, export)))
    });
    Ok(([(header::CONTENT_TYPE, NDJSON_TYPE)], Body::from_stream(pages)).into_response())
}

/// Where an export goes on: of the entries at `ts_ns` the first `told` are told already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cursor {
    ts_ns: i64,
    told: usize,
}

impl Cursor {
    fn parse(text: &str) -> Result<Self> {
        let parts = text.split_once(':').and_then(|(ts, told)| Some((ts.parse().ok()?, told.parse().ok()?)));
        let (ts_ns, told) = parts.ok_or_else(|| Error::invalid(format!("invalid cursor '{text}'")))?;
        Ok(Cursor { ts_ns, told })
    }
}

/// An export under way.
struct Export {
    queries: Arc<dyn Queries>,
    tenants: Tenants,
    query: String,
    range: TimeRange,
    direction: Direction,
    cursor: Option<Cursor>,
    /// Entries and bytes that may still be told.
    entries_left: u64,
    bytes_left: u64,
    bytes_max: u64,
    page_entries: u32,
    page_entries_max: u32,
    told: u64,
    warnings: Vec<String>,
    ended: bool,
}

/// Why an export ends.
enum End {
    Complete,
    Limit,
    Bytes,
}

impl Export {
    fn new(api: &ReadApi, tenants: Tenants, params: &Params) -> Result<Self> {
        if let Expr::Metric(_) = logql::parse::parse(params.query())? {
            return Err(Error::invalid("only log queries can be exported"));
        }
        let limits: Vec<_> = tenants.ids.iter().map(|t| api.limits.tenant(t)).collect();
        api.refuse_blocked(&tenants, params, params.query())?;
        let most = limits.iter().map(|l| l.max_entries_limit_per_query).filter(|max| *max > 0).min();
        let page_entries_max = most.map_or(PAGE_MAX, |max| u32::try_from(max).unwrap_or(PAGE_MAX).min(PAGE_MAX));
        let direction = match params.get("direction") {
            None => Direction::Forward,
            Some(_) => params.direction()?,
        };
        let entries_left = match params.get("limit") {
            None => u64::MAX,
            Some(_) => u64::from(params.limit()?),
        };
        let bytes_max = u64::from(params.positive("max_bytes", BYTES_MAX as u32)?).min(BYTES_MAX);
        Ok(Export {
            queries: api.queries.clone(),
            tenants,
            query: params.query().to_string(),
            range: params.ordered_range(api.clock.now_ns())?,
            direction,
            cursor: params.get("cursor").map(Cursor::parse).transpose()?,
            entries_left,
            bytes_left: bytes_max,
            bytes_max,
            page_entries: PAGE_FIRST.min(page_entries_max),
            page_entries_max,
            told: 0,
            warnings: vec![],
            ended: false,
        })
    }

    /// Refuses what the request does not allow itself: the whole counts, not its pages.
    async fn restrict(&mut self, limits: &RequestLimits) -> Result<()> {
        let expr = logql::parse::parse(&self.query)?;
        let mut whole = self.request(self.range, 0);
        limits.apply(&*self.queries, &self.tenants, &expr, &mut whole).await?;
        if let QueryTime::Range { start_ns, .. } = whole.time {
            self.range.start_ns = start_ns;
        }
        Ok(())
    }

    fn request(&self, range: TimeRange, limit: u32) -> QueryRequest {
        let TimeRange { start_ns, end_ns } = range;
        QueryRequest {
            query: self.query.clone(),
            time: QueryTime::Range { start_ns, end_ns, step_ns: STEP_NS, interval_ns: 0 },
            limit,
            direction: self.direction,
            partial_series: false,
            no_cache: false,
            tags: vec![],
            part: None,
        }
    }

    /// The next lines; the last of all with them when that is known.
    async fn page(&mut self) -> Result<Bytes> {
        let mut out = Json::default();
        let (streams, full) = self.ask(&mut out).await?;
        let mut entries = in_order(&streams, self.direction);
        let skipped = self.cursor.map_or(0, |cursor| cursor.told);
        if full {
            // Of the last moment there may be more: it is asked for again as a whole, so that its order is one.
            let last_ns = entries.last().map_or(0, |(_, e)| e.ts_ns);
            entries.retain(|(_, e)| e.ts_ns != last_ns);
            if entries.is_empty() {
                self.grow(last_ns)?;
                return Ok(out.out.into());
            }
        }
        let mut end = if full { None } else { Some(End::Complete) };
        let bytes_before = out.out.len();
        let told_before = self.told;
        for (labels, entry) in entries.iter().skip(skipped) {
            if self.entries_left == 0 {
                end = Some(End::Limit);
                break;
            }
            let before = out.out.len();
            write_entry(&mut out, labels, entry);
            let bytes = (out.out.len() - before) as u64;
            if bytes > self.bytes_left {
                out.out.truncate(before);
                end = Some(End::Bytes);
                break;
            }
            (self.bytes_left, self.entries_left) = (self.bytes_left - bytes, self.entries_left - 1);
            self.told += 1;
            self.pass(entry.ts_ns);
        }
        self.adapt((out.out.len() - bytes_before) as u64, self.told - told_before);
        if let (true, None) = (full, &end) {
            // The moment that was left out comes next.
            self.cursor = self.cursor.map(|cursor| self.behind(cursor.ts_ns));
        }
        if let Some(end) = end {
            self.write_end(&mut out, &end);
        }
        Ok(out.out.into())
    }

    /// One page's streams, and whether there may be more.
    async fn ask(&mut self, out: &mut Json) -> Result<(Vec<LogStream>, bool)> {
        let TimeRange { mut start_ns, mut end_ns } = self.range;
        let mut limit = self.page_entries;
        if let Some(cursor) = self.cursor {
            match self.direction {
                Direction::Forward => start_ns = start_ns.max(cursor.ts_ns),
                Direction::Backward => end_ns = end_ns.min(cursor.ts_ns.saturating_add(1)),
            }
            let told = u32::try_from(cursor.told).unwrap_or(u32::MAX);
            limit = limit.saturating_add(told).min(self.page_entries_max);
        }
        if start_ns >= end_ns {
            return Ok((vec![], false));
        }
        let request = self.request(TimeRange { start_ns, end_ns }, limit);
        let response = self.queries.query(&self.tenants, request).await?;
        for warning in response.warnings {
            if !self.warnings.contains(&warning) {
                out.raw("{\"warning\":");
                out.string(&warning);
                out.raw("}\n");
                self.warnings.push(warning);
            }
        }
        let QueryValue::Streams(streams) = response.value else {
            return Err(Error::internal("a log query answered with numbers"));
        };
        let entries: usize = streams.iter().map(|s| s.entries.len()).sum();
        Ok((streams, entries >= limit as usize))
    }

    /// A page that holds one moment only, and not all of it, is asked for again, larger.
    fn grow(&mut self, ts_ns: i64) -> Result<()> {
        if self.page_entries >= self.page_entries_max {
            return Err(Error::invalid(format!(
                "more than {} entries have the timestamp {ts_ns} (setting: max_entries_limit_per_query)",
                self.page_entries_max
            )));
        }
        self.page_entries = self.page_entries.saturating_mul(2).min(self.page_entries_max);
        Ok(())
    }

    /// Pages of about [`PAGE_BYTES`].
    fn adapt(&mut self, bytes: u64, entries: u64) {
        if let Some(each) = bytes.checked_div(entries) {
            let fitting = u32::try_from(PAGE_BYTES / each.max(1)).unwrap_or(u32::MAX);
            self.page_entries = fitting.max(PAGE_MIN).min(self.page_entries_max);
        }
    }

    /// An entry is told.
    fn pass(&mut self, ts_ns: i64) {
        self.cursor = Some(match self.cursor {
            Some(cursor) if cursor.ts_ns == ts_ns => Cursor { ts_ns, told: cursor.told + 1 },
            _ => Cursor { ts_ns, told: 1 },
        });
    }

    /// The moment after one that is told wholly.
    fn behind(&self, ts_ns: i64) -> Cursor {
        let ts_ns = match self.direction {
            Direction::Forward => ts_ns.saturating_add(1),
            Direction::Backward => ts_ns.saturating_sub(1),
        };
        Cursor { ts_ns, told: 0 }
    }

    /// The line after which nothing comes: that was all, or the cursor to go on from.
    fn write_end(&mut self, out: &mut Json, end: &End) {
        self.ended = true;
        match end {
            End::Complete => out.raw(&format!("{{\"end\":{{\"complete\":true,\"entries\":{}}}}}\n", self.told)),
            End::Limit => {
                out.raw(&format!("{{\"end\":{{\"complete\":false,\"entries\":{},\"cursor\":", self.told));
                self.write_cursor(out);
                out.raw("}}\n");
            }
            End::Bytes => {
                let text = format!("the export is larger than {} bytes (parameter: max_bytes)", self.bytes_max);
                self.write_error(out, &text);
            }
        }
    }

    fn failed(&mut self, error: &Error) -> Bytes {
        self.ended = true;
        let mut out = Json::default();
        self.write_error(&mut out, &error.message);
        out.out.into()
    }

    fn write_error(&self, out: &mut Json, text: &str) {
        out.raw("{\"error\":{\"message\":");
        out.string(text);
        out.raw(&format!(",\"entries\":{},\"cursor\":", self.told));
        self.write_cursor(out);
        out.raw("}}\n");
    }

    fn write_cursor(&self, out: &mut Json) {
        match self.cursor {
            None => out.raw("null"),
            Some(Cursor { ts_ns, told }) => out.raw(&format!("\"{ts_ns}:{told}\"")),
        }
    }
}

/// Entries by time, those of one moment by their streams' labels: the same order whenever they are asked for.
fn in_order(streams: &[LogStream], direction: Direction) -> Vec<(&Labels, &LogEntry)> {
    let mut sorted: Vec<&LogStream> = streams.iter().collect();
    sorted.sort_by_cached_key(|s| s.labels.to_string());
    let mut entries: Vec<_> = sorted.iter().flat_map(|s| s.entries.iter().map(|e| (&s.labels, e))).collect();
    match direction {
        Direction::Forward => entries.sort_by_key(|(_, e)| e.ts_ns),
        Direction::Backward => entries.sort_by_key(|(_, e)| std::cmp::Reverse(e.ts_ns)),
    }
    entries
}

/// `{"timestamp":"<ns>","labels":{},"structuredMetadata":{}?,"parsed":{}?,"line":""}`
fn write_entry(out: &mut Json, labels: &Labels, entry: &LogEntry) {
    out.raw(&format!("{{\"timestamp\":\"{}\",\"labels\":", entry.ts_ns));
    out.labels(labels);
    for (name, labels) in [("structuredMetadata", &entry.structured_metadata), ("parsed", &entry.parsed)] {
        if !labels.is_empty() {
            out.raw(&format!(",\"{name}\":"));
            out.labels(labels);
        }
    }
    out.raw(",\"line\":");
    out.line(&entry.line);
    out.raw("}\n");
}

#[cfg(test)]
#[path = "export_tests.rs"]
mod tests;
