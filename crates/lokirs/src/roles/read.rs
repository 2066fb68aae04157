//! The read path of a process: the querier behind the query API, and the limits that a tenant may read.

use super::queue::{self, OwnQuerier, Peers};
use super::results::AnswerCaches;
use super::ring::IngesterRing;
use super::stores::Stores;
use crate::admin::VERSION;
use crate::node::{Base, Parts};
use crate::query_log::{QueryLog, QueryMetrics};
use api::limits::LimitsApi;
use api::query::ReadApi;
use api::tail::TailApi;
use frontend::limit::Limit;
use frontend::queue::Queue;
use frontend::remote::Remote;
use frontend::shard::Shard;
use frontend::single::Single;
use frontend::split::Split;
use frontend::spread::Spread;
use querier::querier::Querier;
use querier::settings::Settings;
use querier::tail::Tailer;
use rpc::deletes::Deletes;
use rpc::index::Index;
use rpc::queries::Queries;
use rpc::tail::Tails;
use std::sync::Arc;
use std::time::Duration;

/// How long open tails may take to say goodbye.
const TAILS_STOP_WITHIN: Duration = Duration::from_secs(2);

/// What a querier is built from.
pub struct Read {
    pub index: Arc<dyn Index>,
    pub ring: Arc<IngesterRing>,
    pub deletes: Option<Arc<dyn Deletes>>,
    /// The queue that this process holds, if it does.
    pub queue: Option<Arc<Queue>>,
    /// Whether the process is a query-frontend too, which shares its queries with all queriers.
    pub is_frontend: bool,
    pub metrics: QueryMetrics,
}

/// What answers queries from the ingesters and the store.
pub fn engine(base: &Base, stores: &Stores, read: &Read) -> Arc<Querier> {
    let stored = querier::source::Stores {
        ingesters: read.ring.clone(),
        index: read.index.clone(),
        chunks: stores.cached_chunks.clone(),
        deletes: read.deletes.clone(),
    };
    let own = &base.settings.querier;
    let settings = Settings {
        max_concurrent: own.max_concurrent,
        multi_tenant_queries_enabled: own.multi_tenant_queries_enabled,
        patterns_enabled: base.settings.pattern_ingester.enabled,
        ..Settings::default()
    };
    let (limits, memory, clock) = (base.limits.clone(), base.memory.clone(), base.clock.clone());
    Arc::new(Querier::new(stored, limits, memory, clock, settings))
}

/// A querier: it answers those requests of other processes that they have a place for. Requests to this process are split
/// as a frontend splits them, and answered by itself, or by all queriers if it is a frontend.
pub fn querier(base: &Base, querier: Arc<Querier>, read: Read, parts: &mut Parts) -> Result<(), String> {
    let Read { ring, deletes, queue, is_frontend, metrics, .. } = read;
    let tailer = Arc::new(Tailer {
        ingesters: ring,
        queries: querier.clone(),
        limits: base.limits.clone(),
        clock: base.clock.clone(),
        duration_max: base.settings.querier.tail_max_duration,
    });
    let places = queue::offer(base, querier.clone(), tailer.clone(), queue.clone(), parts);
    let queries: Arc<dyn Queries> = match queue.filter(|_| is_frontend) {
        Some(queue) => {
            let own = OwnQuerier { queries: querier.clone(), places };
            let peers = Peers::new(base, queue, Some(own));
            Arc::new(Spread {
                own: querier,
                all: Remote::new(peers, base.settings.query_range.max_retries, &base.metrics),
            })
        }
        None => querier,
    };
    // The one that logs whole queries: Loki has a line of its querier for each part beside it.
    let component = if is_frontend { "frontend" } else { "querier" };
    serve(base, component, (queries, deletes), tailer, metrics, parts)?;
    base.services.add("querier").running();
    Ok(())
}

/// A query-frontend in a process without a querier: every part of a query waits for a place at one.
pub fn query_frontend(
    base: &Base,
    queue: Arc<Queue>,
    deletes: Option<Arc<dyn Deletes>>,
    metrics: QueryMetrics,
    parts: &mut Parts,
) -> Result<(), String> {
    let peers = Peers::new(base, queue, None);
    let remote = Remote::new(peers.clone(), base.settings.query_range.max_retries, &base.metrics);
    serve(base, "frontend", (Arc::new(remote), deletes), peers, metrics, parts)
}

/// The query API over whoever answers, and what is to be hidden from answers.
fn serve(
    base: &Base,
    component: &'static str,
    (queries, deletes): (Arc<dyn Queries>, Option<Arc<dyn Deletes>>),
    tails: Arc<dyn Tails>,
    metrics: QueryMetrics,
    parts: &mut Parts,
) -> Result<(), String> {
    let stages = stages(base, queries, AnswerCaches::open(base, deletes)?);
    let api = ReadApi {
        queries: logged(base, component, stages, metrics),
        limits: base.limits.clone(),
        auth_enabled: base.settings.auth_enabled.unwrap_or(true),
        per_request_limits_enabled: base.settings.querier.per_request_limits_enabled,
        clock: base.clock.clone(),
    };
    let limits = LimitsApi {
        limits: base.limits.clone(),
        auth_enabled: api.auth_enabled,
        pattern_ingester_enabled: base.settings.pattern_ingester.enabled,
        version: VERSION,
    };
    parts.http = std::mem::take(&mut parts.http).merge(api::query::router(api)).merge(api::limits::router(limits));
    serve_tails(base, tails, parts);
    Ok(())
}

fn serve_tails(base: &Base, tails: Arc<dyn Tails>, parts: &mut Parts) {
    let tasks = base.tasks.child();
    let api = TailApi {
        tails,
        limits: base.limits.clone(),
        auth_enabled: base.settings.auth_enabled.unwrap_or(true),
        clock: base.clock.clone(),
        tasks: tasks.clone(),
    };
    parts.http = std::mem::take(&mut parts.http).merge(api::tail::router(api));
    parts.on_stop("live tails", async move { drop(tasks.stop(TAILS_STOP_WITHIN).await) });
}

/// The stages before a query is run: what is refused, parts by time, what others ask or have asked, parts by streams.
fn stages(base: &Base, last: Arc<dyn Queries>, caches: AnswerCaches) -> Arc<dyn Queries> {
    let (limits, budget, clock) = (base.limits.clone(), base.memory.clone(), base.clock.clone());
    let shard = |next| -> Arc<dyn Queries> {
        Arc::new(Shard { next, limits: limits.clone(), budget: budget.clone(), clock: clock.clone() })
    };
    let results = caches.around(base, last, shard);
    let single = Single::new(results, limits.clone(), clock.clone(), &base.metrics);
    let split = Split { next: Arc::new(single), limits: limits.clone(), budget, clock };
    Arc::new(Limit { next: Arc::new(split), limits })
}

/// The stages before a rule's query: no answer is kept, and none is shared.
pub fn rule_stages(base: &Base, last: Arc<dyn Queries>, metrics: QueryMetrics) -> Arc<dyn Queries> {
    let (limits, budget, clock) = (base.limits.clone(), base.memory.clone(), base.clock.clone());
    let shard = Shard { next: last, limits: limits.clone(), budget: budget.clone(), clock: clock.clone() };
    let split = Split { next: Arc::new(shard), limits: limits.clone(), budget, clock };
    logged(base, "ruler", Arc::new(Limit { next: Arc::new(split), limits }), metrics)
}

/// Every query leaves a line in the log.
fn logged(base: &Base, component: &'static str, next: Arc<dyn Queries>, metrics: QueryMetrics) -> Arc<dyn Queries> {
    let longer_than = base.settings.frontend.log_queries_longer_than;
    Arc::new(QueryLog::new(component, next, longer_than, base.clock.clone(), metrics))
}
