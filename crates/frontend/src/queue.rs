//! The queue of a query-scheduler: who waits for a place at a querier, and the places that queriers offer. The next place
//! is given to the tenant that has used the least time of queriers, so dear queries of one tenant do not starve another.
//! A tenant is charged beforehand what its queries used to take, and the difference when that is known.

use async_trait::async_trait;
use model::{Error, Result};
use parking_lot::Mutex;
use rpc::scheduler::{Offer, Place, PlaceRequest, Scheduler, Spent, Taken};
use runtime::metrics::{Counter, Family, Gauge, Histogram, Metrics, REQUEST_SECONDS};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Requests that wait, of all tenants.
const WAITING_MAX: usize = 100_000;
/// Tenants that are remembered while nobody of them waits.
const TENANTS_MAX: usize = 100_000;
/// Places that are offered and not taken.
const OFFERS_MAX: usize = 100_000;
/// What a tenant's first query is charged.
const CHARGED_FIRST: Duration = Duration::from_millis(100);
/// Of the newest query in what a tenant is charged: one part in so many.
const CHARGE_WEIGHT: u32 = 8;

type PerTenant = Family<Vec<(&'static str, String)>, Counter>;

pub struct Queue {
    state: Mutex<State>,
    /// `query_scheduler.max_outstanding_requests_per_tenant`.
    waiting_per_tenant_max: usize,
    metrics: QueueMetrics,
}

#[derive(Clone)]
pub struct QueueMetrics {
    length: Family<Vec<(&'static str, String)>, Gauge>,
    enqueued: PerTenant,
    discarded: PerTenant,
    offers: Gauge,
    waited: Histogram,
}

impl QueueMetrics {
    pub fn register(metrics: &Metrics) -> Self {
        QueueMetrics {
            length: metrics.gauges("query_scheduler_queue_length", "Requests that wait for a querier"),
            enqueued: metrics.counters("query_scheduler_enqueue_count", "Requests that came to the queue"),
            discarded: metrics
                .counters("query_scheduler_discarded_requests", "Requests refused as too many of their tenant waited"),
            offers: metrics
                .gauge("query_scheduler_connected_querier_clients", "Places that queriers offer at this moment"),
            waited: metrics.histogram(
                "query_scheduler_queue_duration_seconds",
                "Seconds that requests waited",
                &REQUEST_SECONDS,
            ),
        }
    }
}

#[derive(Default)]
struct State {
    tenants: BTreeMap<String, Tenant>,
    offers: VecDeque<Offered>,
    waiting: usize,
    /// What the tenant had used that was served last, at most: who comes anew begins here.
    floor: Duration,
    /// Numbers of those who wait and of offers.
    next: u64,
}

#[derive(Default)]
struct Tenant {
    waiting: VecDeque<Waiting>,
    /// Time of queriers, in which tenants are compared.
    used: Duration,
    charge: Option<Duration>,
}

struct Waiting {
    number: u64,
    place: oneshot::Sender<Place>,
}

struct Offered {
    number: u64,
    querier: String,
    ticket: u64,
    taken: oneshot::Sender<Taken>,
}

impl Queue {
    pub fn new(waiting_per_tenant_max: usize, metrics: QueueMetrics) -> Arc<Self> {
        Arc::new(Queue { state: Mutex::default(), waiting_per_tenant_max: waiting_per_tenant_max.max(1), metrics })
    }

    fn labels(tenant: &str) -> Vec<(&'static str, String)> {
        vec![("user", tenant.to_string())]
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Gives offered places to those who wait, for as long as both are there.
    fn pair(&mut self) {
        while let Some(offer) = self.offers.front() {
            if offer.taken.is_closed() {
                self.offers.pop_front();
            } else if let Some(tenant) = self.next_tenant() {
                self.give(&tenant);
            } else {
                return;
            }
        }
    }

    /// The tenant whose turn it is.
    fn next_tenant(&self) -> Option<String> {
        let waiting = self.tenants.iter().filter(|(_, tenant)| !tenant.waiting.is_empty());
        waiting.min_by_key(|(_, tenant)| tenant.used).map(|(name, _)| name.clone())
    }

    /// Gives the oldest offered place to the tenant's oldest request.
    fn give(&mut self, tenant: &str) {
        let Some(tenant) = self.tenants.get_mut(tenant) else { return };
        let Some(Waiting { place, .. }) = tenant.waiting.pop_front() else { return };
        self.waiting -= 1;
        let Some(offered) = self.offers.front() else { return };
        // Who has left does not take the place along.
        if place.send(Place { querier: offered.querier.clone(), ticket: offered.ticket }).is_err() {
            return;
        }
        let charged = tenant.charge.unwrap_or(CHARGED_FIRST);
        self.floor = self.floor.max(tenant.used);
        tenant.used += charged;
        if let Some(offered) = self.offers.pop_front() {
            // A querier that has gone is found out by the request, which comes again.
            let _ = offered.taken.send(Taken { charged });
        }
    }

    /// Takes in what a place was used for.
    fn settle(&mut self, spent: Spent) {
        let Some(tenant) = self.tenants.get_mut(&spent.tenant) else { return };
        tenant.used = (tenant.used + spent.spent).saturating_sub(spent.charged);
        let before = tenant.charge.unwrap_or(spent.spent);
        tenant.charge = Some((before * (CHARGE_WEIGHT - 1) + spent.spent) / CHARGE_WEIGHT);
    }

    /// A tenant that comes anew has not saved anything up. Those of whom nobody waits are forgotten when they are many.
    fn enter(&mut self, name: &str) -> &mut Tenant {
        if self.tenants.len() >= TENANTS_MAX {
            self.tenants.retain(|_, tenant| !tenant.waiting.is_empty());
        }
        let floor = self.floor;
        let tenant = self.tenants.entry(name.to_string()).or_default();
        if tenant.waiting.is_empty() {
            tenant.used = tenant.used.max(floor);
        }
        tenant
    }
}

/// Leaves the queue when the future that waits is dropped.
struct Leave<'a> {
    queue: &'a Queue,
    tenant: &'a str,
    number: u64,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        let mut state = self.queue.state.lock();
        if let Some(tenant) = state.tenants.get_mut(self.tenant) {
            let before = tenant.waiting.len();
            tenant.waiting.retain(|waiting| waiting.number != self.number);
            let (left, length) = (before - tenant.waiting.len(), tenant.waiting.len());
            state.waiting -= left;
            let labels = Queue::labels(self.tenant);
            match length {
                0 => drop(self.queue.metrics.length.remove(&labels)),
                length => drop(self.queue.metrics.length.get_or_create(&labels).set(length as i64)),
            }
        }
    }
}

/// Takes an offer back when the future that stands behind it is dropped.
struct TakeBack<'a> {
    queue: &'a Queue,
    number: u64,
}

impl Drop for TakeBack<'_> {
    fn drop(&mut self) {
        let mut state = self.queue.state.lock();
        state.offers.retain(|offer| offer.number != self.number);
        self.queue.metrics.offers.set(state.offers.len() as i64);
    }
}

#[async_trait]
impl Scheduler for Queue {
    async fn wait(&self, request: PlaceRequest) -> Result<Place> {
        let PlaceRequest { tenant: name, failed } = request;
        let labels = Queue::labels(&name);
        self.metrics.enqueued.get_or_create(&labels).inc();
        let (place, given) = oneshot::channel();
        let started = Instant::now();
        let leave = {
            let mut state = self.state.lock();
            // Only what was offered before counts no more: who offers anew is there again.
            state.offers.retain(|offer| !failed.contains(&offer.querier));
            let (number, all) = (state.number(), state.waiting);
            let tenant = state.enter(&name);
            if tenant.waiting.len() >= self.waiting_per_tenant_max || all >= WAITING_MAX {
                self.metrics.discarded.get_or_create(&labels).inc();
                return Err(Error::limited("too many outstanding requests"));
            }
            tenant.waiting.push_back(Waiting { number, place });
            self.metrics.length.get_or_create(&labels).set(tenant.waiting.len() as i64);
            state.waiting += 1;
            state.pair();
            Leave { queue: self, tenant: &name, number }
        };
        let place = given.await.map_err(|_| Error::unavailable("the query-scheduler is stopping"))?;
        drop(leave);
        self.metrics.waited.observe(started.elapsed().as_secs_f64());
        Ok(place)
    }

    async fn offer(&self, offer: Offer) -> Result<Option<Taken>> {
        let Offer { querier, ticket, spent } = offer;
        let (taken, was_taken) = oneshot::channel();
        let _take_back = {
            let mut state = self.state.lock();
            if let Some(spent) = spent {
                state.settle(spent);
            }
            if state.offers.len() >= OFFERS_MAX {
                return Err(Error::limited("too many queriers offer places to this query-scheduler"));
            }
            let number = state.number();
            state.offers.push_back(Offered { number, querier, ticket, taken });
            state.pair();
            self.metrics.offers.set(state.offers.len() as i64);
            TakeBack { queue: self, number }
        };
        Ok(was_taken.await.ok())
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
