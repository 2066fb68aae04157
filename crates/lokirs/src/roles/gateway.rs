//! The index gateways of the cluster: how this process asks them, and how it is one. A gateway that fails is passed over;
//! when none answers, the process reads the index itself: an answer is never shorter for want of a gateway.

use super::role_ring::RoleRing;
use crate::node::{Base, Parts};
use async_trait::async_trait;
use cluster::members::{Member, MemberState, Members, StaticMembers};
use cluster::pool::Pool;
use cluster::ring::{Ring, token_of};
use format::tsdb::SeriesChunks;
use futures::future::BoxFuture;
use model::{Kind, Labels, Result, TenantId};
use parking_lot::Mutex;
use rpc::index::{Index, IndexRequest};
use rpc::ingester::StreamSize;
use rpc::queries::Answer;
use rpc::wire::{IndexClient, index_server};
use runtime::clock::SharedClock;
use runtime::metrics::{Counter, Family, Metrics};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The name of the role among members.
pub const INDEX_GATEWAY: &str = "index-gateway";
/// Gateways that one question goes to before the process reads the index itself.
const ATTEMPTS_MAX: usize = 3;
/// How long a gateway that failed is asked after the others.
const LAST_AFTER_FAILURE: Duration = Duration::from_secs(10);

type Labelled = Family<Vec<(&'static str, &'static str)>, Counter>;

/// The index as the queriers of this process ask it.
pub struct Gateways {
    gateways: RoleRing,
    /// With `index_gateway.mode: ring`: how many gateways answer for a tenant.
    replicas: Option<usize>,
    pool: Pool<dyn Index>,
    own: Arc<dyn Index>,
    clock: SharedClock,
    /// Counts questions: each begins with another gateway.
    turn: AtomicUsize,
    /// When a gateway failed, by its address.
    failed_ns: Mutex<HashMap<String, i64>>,
    requests: Labelled,
}

/// What a process asks that plays no gateway; `own` is its own reader.
pub fn asked(base: &Base, own: Arc<dyn Index>) -> Arc<dyn Index> {
    let address = &base.settings.storage_config.tsdb_shipper.index_gateway_client.server_address;
    let members = if address.is_empty() { base.members.clone() } else { Arc::new(only(address, INDEX_GATEWAY)) };
    let own_settings = &base.settings.index_gateway;
    let replicas = (own_settings.mode == "ring").then_some(own_settings.ring.replication_factor);
    let connector = base.connectors.index_gateway_client.clone();
    let connect =
        move |address: &str| -> Result<Arc<dyn Index>> { Ok(Arc::new(IndexClient::connect(&connector, address)?)) };
    let pool = Pool::new(None, Box::new(connect));
    Arc::new(Gateways::new(members, replicas, pool, own, base.clock.clone(), &base.metrics))
}

/// Serves the index to others.
pub fn serve(base: &Base, own: Arc<dyn Index>, parts: &mut Parts) {
    let requests =
        base.metrics.counters("index_gateway_requests", "Questions to this index gateway, by how they ended");
    parts.serve_grpc(index_server(Arc::new(Counted { own, requests })));
}

/// One member at a configured address, perhaps with Loki's prefix for names that are looked up.
pub(super) fn only(address: &str, role: &str) -> StaticMembers {
    let address = address.trim_start_matches("dns://").trim_start_matches('/').trim_start_matches("dns+");
    StaticMembers::new(vec![Member {
        id: address.into(),
        grpc_address: address.into(),
        zone: String::new(),
        state: MemberState::Active,
        roles: vec![role.into()],
    }])
}

impl Gateways {
    pub fn new(
        members: Arc<dyn Members>,
        replicas: Option<usize>,
        pool: Pool<dyn Index>,
        own: Arc<dyn Index>,
        clock: SharedClock,
        metrics: &Metrics,
    ) -> Self {
        let help = "Questions to index gateways, by how they ended; own: no gateway answered, the index was read here";
        Gateways {
            gateways: RoleRing::new(members, INDEX_GATEWAY),
            replicas,
            pool,
            own,
            clock,
            turn: AtomicUsize::new(0),
            failed_ns: Mutex::default(),
            requests: metrics.counters("index_gateway_client_requests", help),
        }
    }

    fn ring(&self) -> Arc<Ring> {
        let (ring, changed) = self.gateways.current();
        if changed {
            let gateways = ring.members();
            self.pool.keep(gateways);
            self.failed_ns.lock().retain(|address, _| gateways.iter().any(|gateway| gateway.grpc_address == *address));
        }
        ring
    }

    /// Whom to ask, in order: in turn, those that failed a moment ago last.
    fn candidates(&self, tenant: &TenantId) -> Vec<Member> {
        let ring = self.ring();
        let of_tenant = match self.replicas {
            Some(replicas) => ring.replicas(token_of(tenant.as_str(), 0), replicas),
            None => (0..ring.members().len()).collect(),
        };
        let alive = of_tenant.into_iter().map(|i| &ring.members()[i]).filter(|gateway| gateway.state.answers_reads());
        let mut gateways: Vec<Member> = alive.cloned().collect();
        if !gateways.is_empty() {
            let first = self.turn.fetch_add(1, Ordering::Relaxed) % gateways.len();
            gateways.rotate_left(first);
        }
        let (now_ns, failed_ns) = (self.clock.now_ns(), self.failed_ns.lock());
        let pause_ns = LAST_AFTER_FAILURE.as_nanos() as i64;
        let failed = |gateway: &Member| failed_ns.get(&gateway.grpc_address).is_some_and(|at| now_ns - at < pause_ns);
        gateways.sort_by_key(failed);
        gateways.truncate(ATTEMPTS_MAX);
        gateways
    }

    async fn ask<T>(
        &self,
        operation: &'static str,
        tenant: &TenantId,
        call: impl Fn(Arc<dyn Index>) -> BoxFuture<'static, Result<T>>,
    ) -> Result<T> {
        for gateway in self.candidates(tenant) {
            let answer = match self.pool.get(&gateway) {
                Ok(index) => call(index).await,
                Err(e) => Err(e),
            };
            match answer {
                Err(e) if is_fault_of_gateway(e.kind) => {
                    tracing::warn!(gateway = %gateway.grpc_address, operation, error = %e, "an index gateway failed");
                    self.failed_ns.lock().insert(gateway.grpc_address, self.clock.now_ns());
                    self.count(operation, "failed");
                }
                answer => {
                    self.count(operation, "answered");
                    return answer;
                }
            }
        }
        self.count(operation, "own");
        call(self.own.clone()).await
    }

    fn count(&self, operation: &'static str, outcome: &'static str) {
        self.requests.get_or_create(&vec![("operation", operation), ("outcome", outcome)]).inc();
    }
}

/// Whether another gateway may do better with the same question.
fn is_fault_of_gateway(kind: Kind) -> bool {
    matches!(kind, Kind::Unavailable | Kind::Timeout | Kind::Cancelled | Kind::Internal | Kind::Corrupt)
}

#[async_trait]
impl Index for Gateways {
    async fn chunks(&self, request: IndexRequest) -> Result<Answer<Vec<SeriesChunks>>> {
        let tenant = request.tenant.clone();
        let call = |index: Arc<dyn Index>| -> BoxFuture<'static, _> {
            let request = request.clone();
            Box::pin(async move { index.chunks(request).await })
        };
        self.ask("chunks", &tenant, call).await
    }

    async fn series(&self, request: IndexRequest) -> Result<Answer<Vec<Labels>>> {
        let tenant = request.tenant.clone();
        let call = |index: Arc<dyn Index>| -> BoxFuture<'static, _> {
            let request = request.clone();
            Box::pin(async move { index.series(request).await })
        };
        self.ask("series", &tenant, call).await
    }

    async fn labels(&self, request: IndexRequest, name: Option<String>) -> Result<Answer<Vec<String>>> {
        let tenant = request.tenant.clone();
        let call = |index: Arc<dyn Index>| -> BoxFuture<'static, _> {
            let (request, name) = (request.clone(), name.clone());
            Box::pin(async move { index.labels(request, name).await })
        };
        self.ask("labels", &tenant, call).await
    }

    async fn sizes(&self, request: IndexRequest) -> Result<Answer<Vec<StreamSize>>> {
        let tenant = request.tenant.clone();
        let call = |index: Arc<dyn Index>| -> BoxFuture<'static, _> {
            let request = request.clone();
            Box::pin(async move { index.sizes(request).await })
        };
        self.ask("sizes", &tenant, call).await
    }
}

/// What others ask this process, counted.
struct Counted {
    own: Arc<dyn Index>,
    requests: Labelled,
}

impl Counted {
    fn count<T>(&self, operation: &'static str, answer: Result<Answer<T>>) -> Result<Answer<T>> {
        let status = match &answer {
            Ok(answer) if answer.warnings.is_empty() => "success",
            Ok(_) => "partial",
            Err(_) => "error",
        };
        self.requests.get_or_create(&vec![("operation", operation), ("status", status)]).inc();
        answer
    }
}

#[async_trait]
impl Index for Counted {
    async fn chunks(&self, request: IndexRequest) -> Result<Answer<Vec<SeriesChunks>>> {
        self.count("chunks", self.own.chunks(request).await)
    }
    async fn series(&self, request: IndexRequest) -> Result<Answer<Vec<Labels>>> {
        self.count("series", self.own.series(request).await)
    }
    async fn labels(&self, request: IndexRequest, name: Option<String>) -> Result<Answer<Vec<String>>> {
        self.count("labels", self.own.labels(request, name).await)
    }
    async fn sizes(&self, request: IndexRequest) -> Result<Answer<Vec<StreamSize>>> {
        self.count("sizes", self.own.sizes(request).await)
    }
}

#[cfg(test)]
#[path = "gateway_tests.rs"]
mod tests;
