//! The delete service as a process of a cluster uses it. Requests are taken by the compactor whose turn it is; where none
//! is among the members, by the one that `common` names. What queries must not show is asked of it too, at most once a second and tenant, and read
//! from the bucket when it does not answer; while neither does, what was last known goes on to be hidden.

use super::owner;
use super::stores::Stores;
use crate::config::Settings;
use crate::node::{Base, Parts};
use api::deletes::DeletesApi;
use async_trait::async_trait;
use cluster::members::Members;
use cluster::pool::Pool;
use compactor::DeleteRequests;
use model::{Error, Kind, Result, TenantId, TimeRange};
use parking_lot::Mutex;
use rpc::deletes::{DeleteFilter, DeleteRequest, Deletes, NewDelete};
use rpc::wire::{DeletesClient, deletes_server};
use runtime::clock::SharedClock;
use runtime::metrics::{Counter, Metrics};
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// How long an answer is believed: a request taken elsewhere hides its lines after at most this.
const BELIEVED: Duration = Duration::from_secs(1);
/// Filters are read anew after this even if their generation is the same: a tenant's `deletion_mode` may have changed.
const READ_ANEW: Duration = Duration::from_secs(60);
/// How long a query waits for the compactor before the bucket is read.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Tenants whose filters are remembered; beyond, all are asked for again.
const TENANTS_MAX: usize = 10_000;
const EVERYTHING: TimeRange = TimeRange { start_ns: i64::MIN, end_ns: i64::MAX };

pub struct SharedDeletes {
    /// Instead of a member: what the settings name.
    named: Option<Arc<dyn Deletes>>,
    members: Arc<dyn Members>,
    pool: Pool<dyn Deletes>,
    /// Reads the bucket in this process.
    bucket: Arc<dyn Deletes>,
    clock: SharedClock,
    known: Mutex<HashMap<TenantId, Known>>,
    fallbacks: Counter,
}

/// A tenant's filters as they were last told.
#[derive(Clone)]
struct Known {
    generation: String,
    filters: Arc<Vec<DeleteFilter>>,
    /// When the filters were read, and when they were last known to be current.
    read_ns: i64,
    checked_ns: i64,
}

/// Starts the compactor where this process plays it, and serves the delete API. What is to be hidden from queries is
/// answered where retention is on.
pub fn serve(
    base: &Base,
    stores: &Stores,
    compacts: bool,
    parts: &mut Parts,
) -> Result<Option<Arc<dyn Deletes>>, String> {
    let own = &base.settings.compactor;
    let newest = stores.schema.periods().last().ok_or("schema_config: there is no period")?;
    let state = stores.places.objects(newest).clone();
    // What only a compactor counts is not shown elsewhere.
    let metrics = if compacts { base.metrics.with_registry(compactor::Metrics::register) } else { Default::default() };
    let requests = Arc::new(DeleteRequests::new(
        state.clone(),
        base.limits.clone(),
        base.clock.clone(),
        own.delete_request_cancel_period,
        metrics.clone(),
    ));
    if compacts {
        super::compactor::compactor(base, stores, state, requests.clone(), metrics);
    }
    if !own.retention_enabled {
        return Ok(None);
    }
    if compacts {
        parts.serve_grpc(deletes_server(requests.clone()));
    }
    let deletes = Arc::new(shared(base, compacts.then(|| requests.clone() as Arc<dyn Deletes>), requests)?);
    let api = DeletesApi {
        deletes: deletes.clone(),
        auth_enabled: base.settings.auth_enabled.unwrap_or(true),
        clock: base.clock.clone(),
    };
    parts.http = std::mem::take(&mut parts.http).merge(api::deletes::router(api));
    Ok(Some(deletes))
}

/// `local` is the compactor's own, in a process that plays the role; `bucket` reads the bucket directly.
fn shared(base: &Base, local: Option<Arc<dyn Deletes>>, bucket: Arc<dyn Deletes>) -> Result<SharedDeletes, String> {
    let connector = base.connectors.compactor.clone();
    let connect =
        move |address: &str| -> Result<Arc<dyn Deletes>> { Ok(Arc::new(DeletesClient::connect(&connector, address)?)) };
    let named = match named_address(&base.settings).filter(|_| local.is_none()) {
        Some(address) => Some(connect(&address).map_err(|e| format!("common.compactor_grpc_address: {}", e.message))?),
        None => None,
    };
    let local = local.map(|local| (base.id.clone(), local));
    let pool = Pool::new(local, Box::new(connect));
    Ok(SharedDeletes::new(named, base.members.clone(), pool, bucket, base.clock.clone(), &base.metrics))
}

/// `common.compactor_grpc_address`, or the host of `common.compactor_address` at the gRPC port that we have ourselves.
fn named_address(settings: &Settings) -> Option<String> {
    let bare = |address: &str| {
        let address = address.rsplit_once("//").map_or(address, |(_, rest)| rest);
        address.trim_start_matches('/').trim_start_matches("dns+").trim_end_matches('/').to_string()
    };
    let (grpc, http) = (bare(&settings.common.compactor_grpc_address), bare(&settings.common.compactor_address));
    if !grpc.is_empty() {
        return Some(grpc);
    }
    let host = http.split('/').next().unwrap_or_default();
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    (!host.is_empty()).then(|| format!("{host}:{}", settings.server.grpc_listen_port))
}

impl SharedDeletes {
    pub fn new(
        named: Option<Arc<dyn Deletes>>,
        members: Arc<dyn Members>,
        pool: Pool<dyn Deletes>,
        bucket: Arc<dyn Deletes>,
        clock: SharedClock,
        metrics: &Metrics,
    ) -> Self {
        let help = "Times that delete requests were read from the bucket, as no compactor told them";
        let fallbacks = metrics.counter("delete_requests_read_from_bucket", help);
        SharedDeletes { named, members, pool, bucket, clock, known: Mutex::default(), fallbacks }
    }

    /// Who takes requests.
    fn taker(&self) -> Result<Arc<dyn Deletes>> {
        if let Some(owner) = owner::compactor(&*self.members) {
            return self.pool.get(&owner);
        }
        self.named.clone().ok_or_else(|| {
            let text =
                "no compactor is in the cluster to take delete requests (setting: common.compactor_grpc_address)";
            Error::unavailable(text)
        })
    }

    /// The tenant's filters, a second old at most where that can be had.
    async fn current(&self, tenant: &TenantId) -> Result<Known> {
        let known = self.known.lock().get(tenant).cloned();
        let now_ns = self.clock.now_ns();
        if let Some(known) = known.as_ref().filter(|known| is_within(known.checked_ns, now_ns, BELIEVED)) {
            return Ok(known.clone());
        }
        let told = match self.taker() {
            Ok(taker) => within(self.told(&*taker, tenant, known.as_ref(), now_ns)).await,
            Err(e) => Err(e),
        };
        let told = match told {
            Err(e) => {
                tracing::warn!(%tenant, error = %e, "no compactor tells delete requests, the bucket is read");
                self.fallbacks.inc();
                self.told(&*self.bucket, tenant, None, now_ns).await
            }
            told => told,
        };
        let current = match (told, known) {
            (Ok(told), _) => told,
            (Err(e), Some(known)) => {
                tracing::error!(%tenant, error = %e, "delete requests cannot be read, the last known ones hold");
                Known { checked_ns: now_ns, ..known }
            }
            (Err(e), None) => return Err(e.context("delete requests")),
        };
        self.remember(tenant, &current);
        Ok(current)
    }

    /// What `deletes` tells. Filters of a known generation are not sent again.
    async fn told(
        &self,
        deletes: &dyn Deletes,
        tenant: &TenantId,
        known: Option<&Known>,
        now_ns: i64,
    ) -> Result<Known> {
        let generation = deletes.generation(tenant).await?;
        let same = |known: &&Known| known.generation == generation && is_within(known.read_ns, now_ns, READ_ANEW);
        if let Some(known) = known.filter(same) {
            return Ok(Known { checked_ns: now_ns, ..known.clone() });
        }
        let filters = Arc::new(deletes.filters(tenant, EVERYTHING).await?);
        Ok(Known { generation, filters, read_ns: now_ns, checked_ns: now_ns })
    }

    fn remember(&self, tenant: &TenantId, current: &Known) {
        let mut known = self.known.lock();
        if known.len() >= TENANTS_MAX {
            known.clear();
        }
        known.insert(tenant.clone(), current.clone());
    }

    /// After a change through this process the next query asks.
    fn doubt(&self, tenant: &TenantId) {
        if let Some(known) = self.known.lock().get_mut(tenant) {
            known.checked_ns = i64::MIN;
        }
    }
}

fn is_within(then_ns: i64, now_ns: i64, duration: Duration) -> bool {
    let duration_ns = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    (0..duration_ns).contains(&now_ns.saturating_sub(then_ns))
}

async fn within<T>(answer: impl Future<Output = Result<T>>) -> Result<T> {
    let late = || Err(Error::new(Kind::Timeout, format!("the compactor did not answer within {ANSWER_WITHIN:?}")));
    tokio::time::timeout(ANSWER_WITHIN, answer).await.unwrap_or_else(|_| late())
}

#[async_trait]
impl Deletes for SharedDeletes {
    async fn create(&self, tenant: &TenantId, request: NewDelete) -> Result<String> {
        let created = self.taker()?.create(tenant, request).await;
        self.doubt(tenant);
        created
    }

    async fn list(&self, tenant: &TenantId) -> Result<Vec<DeleteRequest>> {
        self.taker()?.list(tenant).await
    }

    async fn cancel(&self, tenant: &TenantId, id: &str, force: bool) -> Result<()> {
        let cancelled = self.taker()?.cancel(tenant, id, force).await;
        self.doubt(tenant);
        cancelled
    }

    async fn filters(&self, tenant: &TenantId, range: TimeRange) -> Result<Vec<DeleteFilter>> {
        let current = self.current(tenant).await?;
        Ok(current.filters.iter().filter(|f| range.overlaps(f.start_ns, f.end_ns)).cloned().collect())
    }

    async fn generation(&self, tenant: &TenantId) -> Result<String> {
        Ok(self.current(tenant).await?.generation)
    }
}

#[cfg(test)]
#[path = "deletes_tests.rs"]
mod tests;
