//! Kept answers of queries. A metric query over a range is kept by extents of steps: what is known is taken from the
//! cache, the rest is asked of the next stage, and both are joined as [`crate::split`] joins its parts. Of a log query
//! it is kept where it found nothing. An instant metric query is kept as it is.
//!
//! Not kept are: what is newer than `max_cache_freshness_per_query`; answers with warnings, and errors; what tells the
//! time or has `variants` ([`crate::freshness::is_repeatable`]); what is asked with `no_cache`; entries. Everything
//! else of LogQL answers each step from that step's window alone, `absent_over_time` and `topk` included, so pieces of
//! time make the whole; limits of series and entries are checked of the whole answer, kept or not. `approx_topk` is
//! only answered at one moment, and two moments never share an answer.
//!
//! Entries that are pushed when they are older than the freshness are not seen in what was kept before them, as in
//! Loki, until that expires; `Cache-Control: no-cache` asks anew. A delete request changes the key ([`generations`]).

pub mod extents;
pub mod generations;
pub mod key;
pub mod metadata;
pub mod shelf;
pub mod stored;

use crate::freshness;
use crate::merge::{Parts, parallelism, reserve};
use async_trait::async_trait;
use extents::{Extent, Piece};
use generations::{Generation, Generations};
use key::Key;
use logql::ast::Expr;
use logql::engine::{EngineLimits, Params, Time};
use logql::rewrite::{clip, join, steps};
use logql::value::{QueryValue, Series};
use model::Result;
use rpc::call::{Call, Calls, Reply, ask};
use rpc::queries::{CacheUse, Queries, QueryRequest, QueryResponse, QueryStats, QueryTime, Tenants};
use rpc::read_limits;
use rpc::wire::{reply_bytes, reply_of_bytes};
use runtime::clock::SharedClock;
use runtime::limits::{Limits, Overrides};
use runtime::memory::Budget;
use shelf::Shelf;
use std::sync::Arc;
use std::time::Duration;

/// How much time one key speaks of where a tenant's queries are not split.
const BUCKET: Duration = Duration::from_secs(24 * 3600);

pub struct Results {
    pub next: Arc<dyn Queries>,
    /// For queries over a range (`query_range.cache_results`).
    pub range: Option<Shelf>,
    /// For metric queries at one moment (`query_range.cache_instant_metric_results`).
    pub instant: Option<Shelf>,
    pub generations: Arc<Generations>,
    pub limits: Arc<Overrides>,
    pub budget: Arc<Budget>,
    pub clock: SharedClock,
}

/// A query that may be answered from what is kept.
struct Asked<'a> {
    tenants: &'a Tenants,
    request: QueryRequest,
    expr: Expr,
    limits: Vec<Arc<Limits>>,
    engine_limits: EngineLimits,
    params: Params,
    generation: Generation,
    /// The last moment whose answer may be kept.
    until_ns: i64,
}

#[async_trait]
impl Calls for Results {
    async fn call(&self, tenants: &Tenants, call: Call) -> Result<Reply> {
        match call {
            Call::Query(request) => self.query(tenants, request).await.map(Reply::Query),
            other => ask(&*self.next, tenants, other).await,
        }
    }
}

impl Results {
    async fn query(&self, tenants: &Tenants, request: QueryRequest) -> Result<QueryResponse> {
        let shelf = match request.time {
            QueryTime::Range { .. } => &self.range,
            QueryTime::Instant { .. } => &self.instant,
        };
        let Some(shelf) = shelf else { return self.next.query(tenants, request).await };
        let Some(asked) = self.consider(tenants, &request).await else {
            return self.next.query(tenants, request).await;
        };
        match (&asked.expr, asked.params.time) {
            (Expr::Metric(_), Time::Range { step_ns, .. }) => self.steps(asked, shelf, step_ns).await,
            (Expr::Log(_), Time::Range { start_ns, end_ns, .. }) => self.lines(asked, shelf, (start_ns, end_ns)).await,
            (Expr::Metric(_), Time::Instant { time_ns }) => self.moment(asked, shelf, time_ns).await,
            (Expr::Log(_), Time::Instant { .. }) => self.next.query(tenants, request).await,
        }
    }

    /// None for what is neither looked up nor kept: what is all recent among it, and what is refused.
    async fn consider<'a>(&self, tenants: &'a Tenants, request: &QueryRequest) -> Option<Asked<'a>> {
        let is_shard = request.part.is_some_and(|part| part.shard.is_some());
        if request.no_cache || is_shard {
            return None;
        }
        let limits: Vec<Arc<Limits>> = tenants.ids.iter().map(|tenant| self.limits.tenant(tenant)).collect();
        let expr = logql::parse::parse(&request.query).ok().filter(freshness::is_repeatable)?;
        let engine_limits = read_limits::engine_limits(request, &limits);
        engine_limits.check_expr(&expr).ok()?;
        let now_ns = self.clock.now_ns();
        let until_ns = freshness::settled_ns(&limits, now_ns).saturating_sub(freshness::looks_ahead_ns(&expr));
        let params = request.params(read_limits::aligns_to_step(&limits), now_ns);
        let (QueryTime::Range { start_ns: begin_ns, .. } | QueryTime::Instant { time_ns: begin_ns }) = request.time;
        if begin_ns > until_ns {
            return None;
        }
        // Where it is not known what is to be hidden, nothing that is kept is shown.
        let generation = self.generations.of(tenants).await.ok()?;
        let request = request.clone();
        Some(Asked { tenants, request, expr, limits, engine_limits, params, generation, until_ns })
    }

    /// A metric query over a range.
    async fn steps(&self, asked: Asked<'_>, shelf: &Shelf, step_ns: i64) -> Result<QueryResponse> {
        let Some((first_ns, last_ns)) = steps(&asked.params).filter(|(first_ns, _)| *first_ns <= asked.until_ns) else {
            return self.next.query(asked.tenants, asked.request).await;
        };
        let phase_ns = first_ns.rem_euclid(step_ns);
        let key = asked.key(shelf.kind(), first_ns).number(step_ns).number(phase_ns);
        let until_ns = extents::step_before(asked.until_ns, first_ns, step_ns);
        let mut usage = CacheUse::default();
        let mut held = shelf.take(&key, &mut usage).await;
        held.retain(|extent| extent.is_on_grid(first_ns, step_ns));
        let mut pieces = extents::pieces(&held, (first_ns, last_ns), until_ns, step_ns);
        let mut kept = kept_series(&held, &pieces);
        if kept.is_none() {
            held.clear();
            pieces = vec![Piece::Gap { first_ns, last_ns }];
            kept = Some(vec![]);
        }
        let new = (first_ns, last_ns.min(until_ns));
        let adds = extents::gaps(&pieces).any(|(from_ns, _)| from_ns <= until_ns);
        let (mut response, series) = self.filled(&asked, &pieces, kept.unwrap_or_default(), step_ns).await?;
        note_hit(shelf, &pieces, &mut usage);
        if let (Some(series), true) = (series, adds && response.warnings.is_empty())
            && self.generations.is_still(asked.tenants, &asked.generation).await
        {
            shelf.put(&key, &with_series(held, series, new, step_ns), &mut usage);
        }
        response.stats.results.add(&usage);
        Ok(response)
    }

    /// The answer from what is kept and what is asked now, and its series before they are limited, if any were asked.
    async fn filled(
        &self,
        asked: &Asked<'_>,
        pieces: &[Piece],
        kept: Vec<Vec<Series>>,
        step_ns: i64,
    ) -> Result<(QueryResponse, Option<Vec<Series>>)> {
        if kept.is_empty() {
            let response = self.next.query(asked.tenants, asked.request.clone()).await?;
            let series = match &response.value {
                QueryValue::Matrix(series) => Some(series.clone()),
                _ => None,
            };
            return Ok((response, series));
        }
        let kept: Vec<QueryValue> = kept.into_iter().map(QueryValue::Matrix).collect();
        let _reserved = kept.iter().map(|value| reserve(&self.budget, value)).collect::<Result<Vec<_>>>()?;
        let part = |(first_ns, last_ns)| {
            let time = Time::Range { start_ns: first_ns, end_ns: last_ns, step_ns };
            asked.request.part(&Params { time, ..asked.params.clone() })
        };
        let mut answers = Parts::new(&self.budget);
        let at_once = parallelism(&asked.limits, |l| l.max_query_parallelism);
        let requests = extents::gaps(pieces).map(part).collect();
        answers.ask(&*self.next, asked.tenants, requests, at_once).await?;
        let mut whole = None;
        let mut response = answers.response(|gaps| {
            let unlimited = EngineLimits { max_series: 0, ..asked.engine_limits.clone() };
            let joined = join(&asked.params, &unlimited, in_order(pieces, kept, gaps))?.value;
            if let (QueryValue::Matrix(series), true) = (&joined, extents::gaps(pieces).next().is_some()) {
                whole = Some(series.clone());
            }
            join(&asked.params, &asked.engine_limits, vec![joined])
        })?;
        response.stats.splits = 1;
        Ok((response, whole))
    }

    /// A log query: times at which it finds nothing are not asked again.
    async fn lines(&self, asked: Asked<'_>, shelf: &Shelf, (start_ns, end_ns): (i64, i64)) -> Result<QueryResponse> {
        let max = asked.engine_limits.max_entries;
        let limit = asked.request.limit;
        // Without a limit nothing is found, whatever there is.
        if end_ns <= start_ns || limit == 0 || (max > 0 && limit > max) {
            return self.next.query(asked.tenants, asked.request).await;
        }
        let key = asked.key("log", start_ns);
        let mut usage = CacheUse::default();
        let held = shelf.take(&key, &mut usage).await;
        let last_ns = end_ns - 1;
        let pieces = extents::pieces(&held, (start_ns, last_ns), asked.until_ns, 1);
        let mut gaps = extents::gaps(&pieces);
        let Some((from_ns, mut through_ns)) = gaps.next() else {
            note_hit(shelf, &pieces, &mut usage);
            shelf.metrics.log_hits.inc();
            let stats = QueryStats { splits: 1, results: usage, ..QueryStats::default() };
            return Ok(QueryResponse { value: QueryValue::Streams(vec![]), warnings: vec![], stats });
        };
        through_ns = gaps.last().map_or(through_ns, |(_, last_ns)| last_ns);
        shelf.metrics.log_misses.inc();
        let mut request = asked.request.clone();
        if let QueryTime::Range { start_ns, end_ns, interval_ns, .. } = &mut request.time
            // Which entries an interval leaves depends on where it begins.
            && *interval_ns == 0
        {
            (*start_ns, *end_ns) = (from_ns, through_ns + 1);
        }
        let mut response = self.next.query(asked.tenants, request).await?;
        let is_empty = matches!(&response.value, QueryValue::Streams(streams) if streams.is_empty());
        let new = (start_ns, last_ns.min(asked.until_ns));
        if is_empty
            && from_ns <= asked.until_ns
            && response.warnings.is_empty()
            && self.generations.is_still(asked.tenants, &asked.generation).await
        {
            shelf.put(&key, &with_series(held, vec![], new, 1), &mut usage);
        }
        response.stats.results.add(&usage);
        Ok(response)
    }

    /// A metric query at one moment.
    async fn moment(&self, asked: Asked<'_>, shelf: &Shelf, time_ns: i64) -> Result<QueryResponse> {
        if asked.request.part.is_some() {
            return self.next.query(asked.tenants, asked.request).await;
        }
        let limits = [asked.engine_limits.max_series as i64, i64::from(asked.engine_limits.approx_topk)];
        let key = limits.into_iter().fold(asked.key(shelf.kind(), time_ns), Key::number).number(time_ns);
        let mut usage = CacheUse::default();
        let held = shelf.take(&key, &mut usage).await;
        if let Some(Reply::Query(mut response)) = held.first().and_then(|extent| reply_of_bytes(&extent.answer).ok()) {
            let _reserved = reserve(&self.budget, &response.value)?;
            shelf.count_hit(true);
            let entries_returned = crate::merge::entries(&response.value);
            response.stats =
                QueryStats { splits: 1, entries_returned, instant_results: usage, ..QueryStats::default() };
            return Ok(response);
        }
        let mut response = self.next.query(asked.tenants, asked.request.clone()).await?;
        if response.warnings.is_empty() && self.generations.is_still(asked.tenants, &asked.generation).await {
            let kept = QueryResponse { stats: QueryStats::default(), ..response.clone() };
            let answer = reply_bytes(Reply::Query(kept)).into();
            shelf.put(&key, &[Extent { first_ns: time_ns, last_ns: time_ns, answer }], &mut usage);
        }
        response.stats.instant_results.add(&usage);
        Ok(response)
    }
}

impl Asked<'_> {
    /// The key of the query's text in the bucket of a moment. Parts of a split query lie in one bucket each.
    fn key(&self, kind: &str, at_ns: i64) -> Key {
        let intervals = self.limits.iter().map(|l| read_limits::nanos(l.split_queries_by_interval));
        let bucket_ns = intervals.filter(|ns| *ns > 0).min().unwrap_or(read_limits::nanos(BUCKET));
        let key = Key::new(kind, self.tenants, &self.generation.of).field(self.expr.to_string().as_bytes());
        key.number(bucket_ns).number(at_ns.div_euclid(bucket_ns))
    }
}

/// The series of every piece that is kept; none if one cannot be read.
fn kept_series(held: &[Extent], pieces: &[Piece]) -> Option<Vec<Vec<Series>>> {
    let kept = pieces.iter().filter_map(|piece| match piece {
        Piece::Kept { extent, first_ns, last_ns } => Some((held.get(*extent), *first_ns, *last_ns)),
        Piece::Gap { .. } => None,
    });
    kept.map(|(extent, first_ns, last_ns)| Some(clip(series_of(extent?)?, first_ns, last_ns))).collect()
}

fn series_of(extent: &Extent) -> Option<Vec<Series>> {
    match reply_of_bytes(&extent.answer).ok()? {
        Reply::Query(QueryResponse { value: QueryValue::Matrix(series), .. }) => Some(series),
        _ => None,
    }
}

/// What is kept and what was asked, in order of time.
fn in_order(pieces: &[Piece], kept: Vec<QueryValue>, gaps: Vec<QueryValue>) -> Vec<QueryValue> {
    let (mut kept, mut gaps) = (kept.into_iter(), gaps.into_iter());
    let next = |piece: &Piece| match piece {
        Piece::Kept { .. } => kept.next(),
        Piece::Gap { .. } => gaps.next(),
    };
    pieces.iter().filter_map(next).collect()
}

/// What is to be kept: `held`, and the answer at the steps of `new`, made one with what it meets.
fn with_series(held: Vec<Extent>, series: Vec<Series>, new: (i64, i64), step_ns: i64) -> Vec<Extent> {
    let (alone, met) = extents::apart(held, new, step_ns);
    let (mut first_ns, mut last_ns) = new;
    let (mut before, mut behind) = (vec![], vec![]);
    for extent in met {
        // What cannot be read is forgotten.
        let Some(series) = series_of(&extent) else { continue };
        if extent.first_ns < first_ns {
            before = clip(series.clone(), extent.first_ns, new.0.saturating_sub(1));
            first_ns = extent.first_ns;
        }
        if extent.last_ns > last_ns {
            behind = clip(series, new.1.saturating_add(1), extent.last_ns);
            last_ns = extent.last_ns;
        }
    }
    let parts = [before, clip(series, new.0, new.1), behind].map(QueryValue::Matrix);
    let time = Time::Range { start_ns: first_ns, end_ns: last_ns, step_ns };
    let params = Params { time, align_to_step: false, ..no_params() };
    let unlimited = EngineLimits { max_series: 0, ..EngineLimits::default() };
    let Ok(joined) = join(&params, &unlimited, parts.into()) else { return alone };
    let kept = QueryResponse { value: joined.value, warnings: vec![], stats: QueryStats::default() };
    let answer = reply_bytes(Reply::Query(kept)).into();
    extents::with(alone, Extent { first_ns, last_ns, answer })
}

fn no_params() -> Params {
    let time = Time::Instant { time_ns: 0 };
    let direction = model::Direction::Forward;
    Params { time, align_to_step: false, limit: 0, direction, interval_ns: 0, now_ns: 0, shard: None }
}

fn note_hit(shelf: &Shelf, pieces: &[Piece], usage: &mut CacheUse) {
    let length = |piece: &Piece| match piece {
        Piece::Kept { first_ns, last_ns, .. } => last_ns.saturating_sub(*first_ns).max(0) as u64,
        Piece::Gap { .. } => 0,
    };
    if pieces.iter().any(|piece| matches!(piece, Piece::Kept { .. })) {
        usage.length_served += Duration::from_nanos(pieces.iter().map(length).sum());
        shelf.count_hit(extents::gaps(pieces).next().is_none());
    }
}
