//! The query service: check, admit, run, and say what is missing.

use crate::metadata::Metadata;
use crate::notes::{Notes, get};
use crate::settings::Settings;
use crate::source::{QuerySource, ReadOrder, Stores};
use crate::tenants;
use async_trait::async_trait;
use logql::ast::Expr;
use logql::engine::{self, EngineLimits, Outcome};
use logql::value::QueryValue;
use model::{Error, Kind, Labels, Result};
use parking_lot::Mutex;
use rpc::queries::{
    Answer, IndexStats, MetadataRequest, PatternSeries, PatternsQuery, Queries, QueryRequest, QueryResponse,
    QueryStats, Tenants, Volume, VolumeRequest,
};
use rpc::read_limits::{self, ReadLimits};
use runtime::clock::SharedClock;
use runtime::limits::{Limits, Overrides};
use runtime::memory::{Budget, Reservation};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, SemaphorePermit};
use tracing::Instrument;

pub struct Querier {
    stores: Stores,
    limits: Arc<Overrides>,
    budget: Arc<Budget>,
    settings: Settings,
    clock: SharedClock,
    running: Semaphore,
    admitted: Semaphore,
}

impl Querier {
    pub fn new(
        stores: Stores,
        limits: Arc<Overrides>,
        budget: Arc<Budget>,
        clock: SharedClock,
        settings: Settings,
    ) -> Self {
        let running = Semaphore::new(settings.max_concurrent);
        let admitted = Semaphore::new(settings.max_concurrent + settings.max_waiting);
        Querier { stores, limits, budget, settings, clock, running, admitted }
    }

    /// The limits of all tenants of a request, which must be one unless several are allowed.
    fn tenant_limits(&self, tenants: &Tenants) -> Result<Vec<Arc<Limits>>> {
        if tenants.ids.len() > 1 && !self.settings.multi_tenant_queries_enabled {
            return Err(Error::invalid("multiple org IDs present"));
        }
        Ok(tenants.ids.iter().map(|t| self.limits.tenant(t)).collect())
    }

    /// Waits for a place among the running queries; a full queue refuses.
    async fn admit(&self) -> Result<(SemaphorePermit<'_>, SemaphorePermit<'_>)> {
        let closed = |_| Error::unavailable("the querier is stopping");
        let place = self.admitted.try_acquire().map_err(|_| Error::limited("too many outstanding requests"))?;
        Ok((place, self.running.acquire().await.map_err(closed)?))
    }

    fn source(
        &self,
        tenants: &Tenants,
        expr: &Expr,
        request: &QueryRequest,
        limits: &[Arc<Limits>],
    ) -> (QuerySource, Arc<Notes>) {
        let notes = Arc::new(Notes::default());
        let order = match expr {
            Expr::Log(_) => ReadOrder::ByTime(request.direction),
            Expr::Metric(_) => ReadOrder::ByStream,
        };
        let source = QuerySource {
            stores: self.stores.clone(),
            tenants: tenants.clone(),
            notes: notes.clone(),
            order,
            chunks_ahead: self.settings.chunks_ahead,
            limits: ReadLimits::strictest(limits),
            runtime: tokio::runtime::Handle::current(),
        };
        (source, notes)
    }

    fn metadata(&self, tenants: &Tenants) -> Result<Metadata> {
        self.tenant_limits(tenants)?;
        Ok(Metadata { stores: self.stores.clone(), notes: Notes::default() })
    }
}

#[async_trait]
impl Queries for Querier {
    async fn query(&self, tenants: &Tenants, mut request: QueryRequest) -> Result<QueryResponse> {
        let mut expr = logql::parse::parse(&request.query)?;
        let limits = self.tenant_limits(tenants)?;
        read_limits::check(&expr, &request, &limits)?;
        read_limits::clamp_lookback(&mut request, &limits);
        if tenants.labelled {
            tenants::hide_label(&mut expr);
        }
        let asked = Instant::now();
        let _place = self.admit().instrument(tracing::info_span!("queue")).await?;
        let queue_time = asked.elapsed();
        let (source, notes) = self.source(tenants, &expr, &request, &limits);
        let cancelled = Arc::new(AtomicBool::new(false));
        let engine_limits = engine_limits(&request, &limits, &self.settings, &self.budget, &cancelled);
        let timeout = read_limits::timeout(&limits);
        let params = request.params(read_limits::aligns_to_step(&limits), self.clock.now_ns());
        let started = Instant::now();
        let span = tracing::info_span!("engine");
        let run = move || span.in_scope(|| engine::run(&expr, &params, &source, &engine_limits));
        let scan = tokio::task::spawn_blocking(run);
        let outcome = within(timeout, CancelOnDrop(cancelled), scan).await?;
        let mut warnings = outcome.warnings.clone();
        warnings.extend(notes.warnings());
        let stats = stats(&outcome, &notes, started.elapsed(), queue_time);
        Ok(QueryResponse { value: outcome.value, warnings, stats })
    }

    async fn labels(
        &self,
        tenants: &Tenants,
        request: MetadataRequest,
        name: Option<String>,
    ) -> Result<Answer<Vec<String>>> {
        self.metadata(tenants)?.labels(tenants.clone(), request, name).await
    }

    async fn series(&self, tenants: &Tenants, request: MetadataRequest) -> Result<Answer<Vec<Labels>>> {
        self.metadata(tenants)?.series(tenants.clone(), request).await
    }

    async fn stats(&self, tenants: &Tenants, request: MetadataRequest) -> Result<Answer<IndexStats>> {
        self.metadata(tenants)?.stats(tenants.clone(), request).await
    }

    async fn volume(&self, tenants: &Tenants, request: VolumeRequest) -> Result<Answer<Vec<Volume>>> {
        self.metadata(tenants)?.volume(tenants.clone(), request).await
    }

    async fn patterns(&self, tenants: &Tenants, query: PatternsQuery) -> Result<Answer<Vec<PatternSeries>>> {
        if !self.settings.patterns_enabled {
            return Err(Error::new(Kind::NotFound, ""));
        }
        self.tenant_limits(tenants)?;
        crate::patterns::patterns(&self.stores, tenants, &query).await
    }
}

/// Tells the engine to stop when nobody waits for the answer any more.
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The engine's answer, or a timeout; either way the engine stops when this future is dropped.
async fn within(
    timeout: Option<Duration>,
    _cancel: CancelOnDrop,
    scan: tokio::task::JoinHandle<Result<Outcome>>,
) -> Result<Outcome> {
    let joined = match timeout {
        None => scan.await,
        Some(timeout) => tokio::time::timeout(timeout, scan).await.map_err(|_| read_limits::timed_out())?,
    };
    joined.map_err(|e| Error::internal(format!("the query failed: {e}")))?
}

/// The engine's part of the tenants' limits: of several tenants the strictest holds.
fn engine_limits(
    request: &QueryRequest,
    limits: &[Arc<Limits>],
    settings: &Settings,
    budget: &Arc<Budget>,
    cancelled: &Arc<AtomicBool>,
) -> EngineLimits {
    let reserved: Mutex<Vec<Reservation>> = Mutex::default();
    let budget = budget.clone();
    let cancelled = cancelled.clone();
    EngineLimits {
        memory: Arc::new(move |bytes| {
            let reservation = budget.reserve(bytes, "a query")?;
            let mut reserved = reserved.lock();
            match reserved.last_mut() {
                Some(all) => all.merge(reservation),
                None => reserved.push(reservation),
            }
            Ok(())
        }),
        stop: Arc::new(move || {
            cancelled
                .load(Ordering::Relaxed)
                .then(|| Error::new(Kind::Cancelled, "the request was cancelled by the client"))
        }),
        workers: settings.workers,
        ..read_limits::engine_limits(request, limits)
    }
}

/// Entries, points or samples in an answer.
fn entries_returned(value: &QueryValue) -> u64 {
    match value {
        QueryValue::Streams(streams) => streams.iter().map(|s| s.entries.len() as u64).sum(),
        QueryValue::Matrix(series) => series.iter().map(|s| s.points.len() as u64).sum(),
        QueryValue::Vector(samples) => samples.len() as u64,
        QueryValue::Scalar { .. } => 1,
    }
}

fn stats(outcome: &Outcome, notes: &Notes, exec_time: Duration, queue_time: Duration) -> QueryStats {
    QueryStats {
        exec_time,
        queue_time,
        bytes_processed: outcome.scan.decompressed_bytes,
        lines_processed: outcome.scan.lines,
        entries_returned: entries_returned(&outcome.value),
        post_filter_lines: outcome.scan.post_filter_lines,
        structured_metadata_bytes: outcome.scan.metadata_bytes,
        splits: 1,
        shards: 0,
        chunks_referenced: get(&notes.chunks_referenced),
        chunks_downloaded: get(&notes.chunks_downloaded),
        chunks_download_time: Duration::from_nanos(get(&notes.chunks_download_nanos)),
        chunk_refs_time: Duration::from_nanos(get(&notes.chunk_refs_nanos)),
        compressed_bytes: get(&notes.compressed_bytes),
        decompressed_bytes: outcome.scan.decompressed_bytes,
        decompressed_lines: outcome.scan.lines,
        duplicates: outcome.scan.duplicates,
        ingesters_reached: get(&notes.ingesters_reached),
        ingester_streams: get(&notes.ingester_streams),
        ingester_blocks: get(&notes.ingester_blocks),
        ingester_bytes: get(&notes.ingester_bytes),
        ingester_lines: get(&notes.ingester_lines),
        ..QueryStats::default()
    }
}
