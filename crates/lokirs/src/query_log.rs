//! The line that each query leaves in the log, under the names that Loki's users and dashboards parse (`metrics.go`), the
//! span of its trace, and its metrics. A stage among the others: it changes nothing.

use async_trait::async_trait;
use logql::ast::Expr;
use model::duration::go_string;
use model::{Error, Labels, Result};
use rpc::queries::{
    Answer, IndexStats, MetadataRequest, PatternSeries, PatternsQuery, Queries, QueryRequest, QueryResponse,
    QueryStats, QueryTime, Tenants, Volume, VolumeRequest, query_hash,
};
use runtime::clock::SharedClock;
use runtime::metrics::{Counter, Family, Histogram, Metrics};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::Instrument;

/// From here on Loki calls a query slow.
const SLOW: Duration = Duration::from_secs(10);

/// What Loki's lines have instead of file and line.
const CALLER: &str = "metrics.go";

type SecondsLabels = Vec<(&'static str, String)>;

pub struct QueryLog {
    inner: Arc<dyn Queries>,
    /// `querier`, `frontend` or `ruler`.
    component: &'static str,
    /// Queries that take longer are named once more (`frontend.log_queries_longer_than`); zero: none.
    longer_than: Duration,
    clock: SharedClock,
    metrics: QueryMetrics,
}

/// Loki's statistics of queries; clones count together.
#[derive(Clone)]
pub struct QueryMetrics {
    seconds: Family<SecondsLabels, Histogram, fn() -> Histogram>,
    duplicates: Counter,
    ingester_lines: Counter,
    chunks: Counter,
}

impl QueryMetrics {
    pub fn new(metrics: &Metrics) -> Self {
        QueryMetrics {
            seconds: metrics.request_seconds("logql_querystats_latency_seconds", "Latency of queries in seconds"),
            duplicates: metrics.counter("logql_querystats_duplicates", "Entries that were found more than once"),
            ingester_lines: metrics.counter("logql_querystats_ingester_sent_lines", "Lines that ingesters sent"),
            chunks: metrics.counter("logql_querystats_downloaded_chunk", "Chunks that queries downloaded"),
        }
    }
}

impl QueryLog {
    pub fn new(
        component: &'static str,
        inner: Arc<dyn Queries>,
        longer_than: Duration,
        clock: SharedClock,
        metrics: QueryMetrics,
    ) -> Self {
        QueryLog { inner, component, longer_than, clock, metrics }
    }

    /// Runs `call` in a span and logs how it went. `entries` counts what it found.
    async fn metadata<T: Send>(
        &self,
        tenants: &Tenants,
        what: Metadata,
        call: impl Future<Output = Result<Answer<T>>> + Send,
        entries: impl Fn(&T) -> usize + Send,
    ) -> Result<Answer<T>> {
        let span = tracing::info_span!("metadata", org_id = org_id(tenants), query_type = what.query_type);
        let started = Instant::now();
        let answer = call.instrument(span.clone()).await;
        let took = started.elapsed();
        let status = status(answer.as_ref().err());
        self.observe(what.query_type, &status, took);
        span.in_scope(|| {
            tracing::info!(
                caller = CALLER,
                component = self.component,
                org_id = org_id(tenants),
                latency = latency(took),
                query_type = what.query_type,
                label = what.label,
                query = what.query,
                query_hash = query_hash(&what.query),
                length = go_string(what.length_ns),
                duration = go_duration(took),
                status,
                total_entries = answer.as_ref().map_or(0, |answer| entries(&answer.value)),
                error = error_text(answer.as_ref().err()),
            );
        });
        answer
    }

    fn observe(&self, query_type: &str, status: &str, took: Duration) {
        let labels = vec![("status_code", status.to_string()), ("type", query_type.to_string())];
        self.metrics.seconds.get_or_create(&labels).observe(took.as_secs_f64());
    }
}

/// A request about labels, series or sizes.
struct Metadata {
    query_type: &'static str,
    query: String,
    label: String,
    length_ns: i64,
}

impl Metadata {
    fn new(query_type: &'static str, request: &MetadataRequest) -> Self {
        let selectors: Vec<String> = request.selectors.iter().map(|matchers| selector(matchers)).collect();
        let length_ns = request.range.end_ns.saturating_sub(request.range.start_ns);
        Metadata { query_type, query: selectors.join(","), label: String::new(), length_ns }
    }
}

fn selector(matchers: &[model::Matcher]) -> String {
    let matchers: Vec<String> = matchers.iter().map(|m| m.to_string()).collect();
    format!("{{{}}}", matchers.join(", "))
}

#[async_trait]
impl Queries for QueryLog {
    async fn query(&self, tenants: &Tenants, request: QueryRequest) -> Result<QueryResponse> {
        let asked = Asked::new(&request, self.clock.now_ns());
        let span = tracing::info_span!(
            "query",
            component = self.component,
            org_id = org_id(tenants),
            query_type = asked.query_type,
            range_type = asked.range_type,
        );
        let started = Instant::now();
        let answer = self.inner.query(tenants, request.clone()).instrument(span.clone()).await;
        let took = started.elapsed();
        let status = status(answer.as_ref().err());
        self.observe(asked.query_type, &status, took);
        let stats = answer.as_ref().map_or_else(|_| QueryStats::default(), |answer| answer.stats.clone());
        self.metrics.duplicates.inc_by(stats.duplicates);
        self.metrics.ingester_lines.inc_by(stats.ingester_lines);
        self.metrics.chunks.inc_by(stats.chunks_downloaded);
        span.in_scope(|| {
            let error = error_text(answer.as_ref().err());
            self.line(tenants, &request, &asked, &stats, took, &status, &error);
            if !self.longer_than.is_zero() && took > self.longer_than {
                tracing::info!(
                    component = "query-frontend",
                    org_id = org_id(tenants),
                    time_taken = go_duration(took),
                    param_query = request.query,
                    param_start = asked.start_ns,
                    param_end = asked.end_ns,
                    param_limit = request.limit,
                    "slow query detected"
                );
            }
        });
        answer
    }

    async fn labels(
        &self,
        tenants: &Tenants,
        request: MetadataRequest,
        name: Option<String>,
    ) -> Result<Answer<Vec<String>>> {
        let what = Metadata { label: name.clone().unwrap_or_default(), ..Metadata::new("labels", &request) };
        self.metadata(tenants, what, self.inner.labels(tenants, request, name), Vec::len).await
    }

    async fn series(&self, tenants: &Tenants, request: MetadataRequest) -> Result<Answer<Vec<Labels>>> {
        let what = Metadata::new("series", &request);
        self.metadata(tenants, what, self.inner.series(tenants, request), Vec::len).await
    }

    async fn stats(&self, tenants: &Tenants, request: MetadataRequest) -> Result<Answer<IndexStats>> {
        let what = Metadata::new("stats", &request);
        self.metadata(tenants, what, self.inner.stats(tenants, request), |stats| stats.entries as usize).await
    }

    async fn volume(&self, tenants: &Tenants, request: VolumeRequest) -> Result<Answer<Vec<Volume>>> {
        let length_ns = request.range.end_ns.saturating_sub(request.range.start_ns);
        let query = selector(&request.matchers);
        let what = Metadata { query_type: "volume", query, label: String::new(), length_ns };
        self.metadata(tenants, what, self.inner.volume(tenants, request), Vec::len).await
    }

    async fn patterns(&self, tenants: &Tenants, query: PatternsQuery) -> Result<Answer<Vec<PatternSeries>>> {
        let length_ns = query.range.end_ns.saturating_sub(query.range.start_ns);
        let text = selector(&query.matchers);
        let what = Metadata { query_type: "patterns", query: text, label: String::new(), length_ns };
        self.metadata(tenants, what, self.inner.patterns(tenants, query), Vec::len).await
    }
}

impl QueryLog {
    #[allow(clippy::too_many_arguments, reason = "one line of the log, of everything that is known")]
    fn line(
        &self,
        tenants: &Tenants,
        request: &QueryRequest,
        asked: &Asked,
        stats: &QueryStats,
        took: Duration,
        status: &str,
        error: &str,
    ) {
        let seconds = took.as_secs_f64().max(f64::MIN_POSITIVE);
        let per_second = |n: u64| (n as f64 / seconds) as u64;
        let tags: Vec<String> = request.tags.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let tags = tags.join(",");
        tracing::info!(
            caller = CALLER,
            component = self.component,
            org_id = org_id(tenants),
            latency = latency(took),
            query = request.query,
            query_hash = query_hash(&request.query),
            query_type = asked.query_type,
            range_type = asked.range_type,
            length = go_string(asked.end_ns.saturating_sub(asked.start_ns)),
            start_delta = go_string(asked.now_ns.saturating_sub(asked.start_ns)),
            end_delta = go_string(asked.now_ns.saturating_sub(asked.end_ns)),
            step = go_string(asked.step_ns),
            duration = go_duration(took),
            status,
            limit = request.limit,
            returned_lines = if asked.query_type == "metric" { 0 } else { stats.entries_returned },
            throughput = human_bytes(per_second(stats.bytes_processed)),
            total_bytes = human_bytes(stats.bytes_processed),
            total_bytes_structured_metadata = human_bytes(stats.structured_metadata_bytes),
            lines_per_second = per_second(stats.lines_processed),
            total_lines = stats.lines_processed,
            post_filter_lines = stats.post_filter_lines,
            total_entries = stats.entries_returned,
            store_chunks_download_time = go_duration(stats.chunks_download_time),
            queue_time = go_duration(stats.queue_time),
            splits = stats.splits,
            shards = stats.shards,
            cache_result_req = stats.results.entries_requested,
            cache_result_hit = stats.results.entries_found,
            cache_result_download_time = go_duration(stats.results.download_time),
            cache_result_query_length_served = go_duration(stats.results.length_served),
            chunk_refs_fetch_time = go_duration(stats.chunk_refs_time),
            ingester_requests = stats.ingesters_reached,
            ingester_chunk_matches = stats.ingester_blocks,
            error,
            tags,
        );
    }
}

/// What is known of a query before it runs.
struct Asked {
    now_ns: i64,
    start_ns: i64,
    end_ns: i64,
    step_ns: i64,
    range_type: &'static str,
    /// Loki's: `metric`; `filter` for lines with any stage, `limited` for a bare selector.
    query_type: &'static str,
}

impl Asked {
    fn new(request: &QueryRequest, now_ns: i64) -> Self {
        let (start_ns, end_ns, step_ns, range_type) = match request.time {
            QueryTime::Instant { time_ns } => (time_ns, time_ns, 0, "instant"),
            QueryTime::Range { start_ns, end_ns, step_ns, .. } => (start_ns, end_ns, step_ns, "range"),
        };
        let query_type = match logql::parse::parse(&request.query) {
            Ok(Expr::Metric(_)) => "metric",
            Ok(Expr::Log(log)) if log.stages.is_empty() => "limited",
            Ok(Expr::Log(_)) => "filter",
            Err(_) => "",
        };
        Asked { now_ns, start_ns, end_ns, step_ns, range_type, query_type }
    }
}

fn org_id(tenants: &Tenants) -> String {
    let names: Vec<&str> = tenants.ids.iter().map(|tenant| tenant.as_str()).collect();
    names.join("|")
}

fn status(error: Option<&Error>) -> String {
    error.map_or(200, |error| api::error::status(error.kind).as_u16()).to_string()
}

fn error_text(error: Option<&Error>) -> String {
    error.map(|error| error.message.clone()).unwrap_or_default()
}

fn latency(took: Duration) -> &'static str {
    if took > SLOW { "slow" } else { "fast" }
}

fn go_duration(duration: Duration) -> String {
    go_string(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
}

/// `14MB`, `1.2kB`: powers of a thousand, one digit behind the point below ten.
fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 10 {
        return format!("{bytes}B");
    }
    let power = (bytes as f64).log(1000.0).floor().min(6.0);
    let value = (bytes as f64 / 1000f64.powf(power) * 10.0 + 0.5).floor() / 10.0;
    let digits = usize::from(value < 10.0);
    format!("{value:.digits$}{}", UNITS[power as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_lokis_form() {
        for (bytes, text) in [(0, "0B"), (9, "9B"), (82, "82B"), (1234, "1.2kB"), (14_400_000, "14MB"), (999, "999B")] {
            assert_eq!(human_bytes(bytes), text);
        }
        assert_eq!(query_hash(""), 0x811c_9dc5);
        assert_eq!(query_hash("a"), 0xe40c_292c);
    }

    #[test]
    fn queries_have_lokis_types() {
        for (query, expected) in
            [("{a=\"b\"}", "limited"), ("{a=\"b\"} |= \"x\"", "filter"), ("rate({a=\"b\"}[1m])", "metric"), ("{a=", "")]
        {
            let request = QueryRequest {
                query: query.into(),
                time: QueryTime::Instant { time_ns: 5 },
                limit: 1,
                direction: model::Direction::Forward,
                partial_series: false,
                no_cache: false,
                tags: vec![],
                part: None,
            };
            assert_eq!(Asked::new(&request, 9).query_type, expected, "{query}");
        }
    }
}
