//! How a process takes part in the queue of queries: a query-scheduler holds one, or each query-frontend its own where
//! there is no scheduler; queriers offer places to all of them.

use crate::node::{Base, Parts};
use async_trait::async_trait;
use cluster::members::{Member, Members};
use cluster::pool::Pool;
use frontend::queue::{Queue, QueueMetrics};
use frontend::remote::Cluster;
use futures::stream::BoxStream;
use model::{Error, Result, TenantId};
use querier::places::Places;
use rpc::call::{Call, Calls, Reply, ask};
use rpc::queries::{Queries, Tenants};
use rpc::scheduler::{Offered, Place, Scheduler};
use rpc::tail::{TailFrame, TailRequest, Tails};
use rpc::wire::{
    Connector, QueriesClient, SchedulerClient, TailsClient, queries_server, scheduler_server, tails_server,
};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

const SCHEDULER: &str = "query-scheduler";
const FRONTEND: &str = "query-frontend";
const QUERIER: &str = "querier";
/// How often a querier looks for new queues.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Queriers that one tail is asked of.
const TAIL_ATTEMPTS_MAX: usize = 3;

/// The queue of this process, served to others.
pub fn serve(base: &Base, is_scheduler: bool, parts: &mut Parts) -> Arc<Queue> {
    let own = &base.settings;
    let waiting_max = match is_scheduler {
        true => own.query_scheduler.max_outstanding_requests_per_tenant,
        false => own.frontend.max_outstanding_per_tenant,
    };
    let queue = Queue::new(waiting_max, QueueMetrics::register(&base.metrics));
    parts.serve_grpc(scheduler_server(queue.clone()));
    queue
}

/// Who holds a queue: the schedulers, or where there is none the frontends.
fn holders(members: &dyn Members) -> Vec<Member> {
    let alive = |role| {
        let members: Vec<Member> = members.playing(role);
        members.into_iter().filter(|member| member.state.answers_reads()).collect::<Vec<_>>()
    };
    let schedulers = alive(SCHEDULER);
    if schedulers.is_empty() { alive(FRONTEND) } else { schedulers }
}

/// The cluster as a query-frontend sees it.
pub struct Peers {
    members: Arc<dyn Members>,
    /// Queues: the members', or one that is configured.
    holders: Arc<dyn Members>,
    schedulers: Pool<dyn Scheduler>,
    queriers: Pool<QueriesClient>,
    tails: Pool<TailsClient>,
    connector: Connector,
    turn: AtomicUsize,
    id: String,
    queue: Arc<Queue>,
    own: Option<OwnQuerier>,
}

/// The querier of this process, which is called without the wire.
pub struct OwnQuerier {
    pub queries: Arc<dyn Queries>,
    pub places: Arc<Places>,
}

/// The address of a querier that nobody else can reach.
const HERE: &str = "";

impl Peers {
    pub fn new(base: &Base, queue: Arc<Queue>, own: Option<OwnQuerier>) -> Arc<Self> {
        let to_scheduler = base.connectors.frontend.clone();
        let (to_querier, to_tails) = (base.connectors.frontend.clone(), base.connectors.frontend.clone());
        let scheduler = move |address: &str| -> Result<Arc<dyn Scheduler>> {
            Ok(Arc::new(SchedulerClient::connect(&to_scheduler, address)?))
        };
        let querier = move |address: &str| Ok(Arc::new(QueriesClient::connect(&to_querier, address)?));
        let tails = move |address: &str| Ok(Arc::new(TailsClient::connect(&to_tails, address)?));
        Arc::new(Peers {
            members: base.members.clone(),
            holders: configured(&base.settings.frontend.scheduler_address, SCHEDULER, base),
            schedulers: Pool::new(Some((base.id.clone(), queue.clone())), Box::new(scheduler)),
            queriers: Pool::new(None, Box::new(querier)),
            tails: Pool::new(None, Box::new(tails)),
            connector: base.connectors.frontend.clone(),
            turn: AtomicUsize::new(0),
            id: base.id.clone(),
            queue,
            own,
        })
    }

    /// Whether the process answers its queries by itself, as a list of members does not have it.
    fn is_apart(&self) -> bool {
        self.own.is_some() && !self.members.all().iter().any(|member| member.id == self.id)
    }

    /// The list, begun with another member each time.
    fn in_turn(&self, mut members: Vec<Member>) -> Vec<Member> {
        if !members.is_empty() {
            let first = self.turn.fetch_add(1, Ordering::Relaxed) % members.len();
            members.rotate_left(first);
        }
        members
    }
}

/// The member that a setting names, perhaps with Loki's prefix for names that are looked up; else all members.
fn configured(address: &str, role: &str, base: &Base) -> Arc<dyn Members> {
    if address.is_empty() { base.members.clone() } else { Arc::new(super::gateway::only(address, role)) }
}

#[async_trait]
impl Cluster for Peers {
    fn schedulers(&self) -> Vec<Arc<dyn Scheduler>> {
        if self.is_apart() {
            return vec![self.queue.clone()];
        }
        let holders = self.in_turn(holders(&*self.holders));
        holders.iter().filter_map(|member| self.schedulers.get(member).ok()).collect()
    }

    async fn call(&self, place: &Place, tenants: &Tenants, call: Call) -> Result<Result<Reply>> {
        let members = self.members.all();
        self.queriers.keep(&members);
        let querier = members.iter().find(|member| member.grpc_address == place.querier);
        let is_here = place.querier == HERE || querier.is_some_and(|member| member.id == self.id);
        if let Some(own) = self.own.as_ref().filter(|_| is_here) {
            return match own.places.take(place.ticket, tenants) {
                Ok(_used) => Ok(ask(&*own.queries, tenants, call).await),
                Err(error) => Ok(Err(error)),
            };
        }
        let client = match querier {
            Some(member) => self.queriers.get(member)?,
            // A scheduler that is configured by its address may know queriers that gossip does not.
            None => Arc::new(QueriesClient::connect(&self.connector, &place.querier)?),
        };
        let client = client.with_ticket(place.ticket);
        match client.call(tenants, call).await {
            Err(error) if client.lost() => Err(error),
            answer => Ok(answer),
        }
    }
}

#[async_trait]
impl Tails for Peers {
    async fn tail(&self, tenant: &TenantId, request: TailRequest) -> Result<BoxStream<'static, Result<TailFrame>>> {
        let queriers = self.members.playing(QUERIER);
        let alive = queriers.into_iter().filter(|member| member.state.answers_reads()).collect();
        let mut last = Error::unavailable("there is no querier");
        for querier in self.in_turn(alive).iter().take(TAIL_ATTEMPTS_MAX) {
            match self.tails.get(querier)?.tail(tenant, request.clone()).await {
                Err(error) if error.kind == model::Kind::Unavailable => last = error,
                answer => return answer,
            }
        }
        Err(last)
    }
}

/// Serves a querier to frontends, and offers its places wherever there is a queue, until the process stops. Gives those
/// places.
pub fn offer(
    base: &Base,
    queries: Arc<dyn Queries>,
    tails: Arc<dyn Tails>,
    queue: Option<Arc<Queue>>,
    parts: &mut Parts,
) -> Arc<Places> {
    let own = &base.settings.frontend_worker;
    let (address, role) = match own.scheduler_address.is_empty() {
        true => (&own.frontend_address, FRONTEND),
        false => (&own.scheduler_address, SCHEDULER),
    };
    let connector = base.connectors.frontend_worker.clone();
    let connect = move |address: &str| -> Result<Arc<dyn Scheduler>> {
        Ok(Arc::new(SchedulerClient::connect(&connector, address)?))
    };
    let local = queue.clone().map(|queue| (base.id.clone(), queue as Arc<dyn Scheduler>));
    let first_ticket = base.clock.now_ns() as u64;
    let places = Places::new(first_ticket);
    parts.serve_grpc(queries_server(queries, places.clone() as Arc<dyn Offered>));
    parts.serve_grpc(tails_server(tails));
    let offers = Offers {
        id: base.id.clone(),
        members: base.members.clone(),
        holders: configured(address, role, base),
        pool: Pool::new(local, Box::new(connect)),
        queue,
        places: places.clone(),
        at_once: base.settings.querier.max_concurrent.max(1),
        standing: HashMap::new(),
        tasks: JoinSet::new(),
    };
    let (closing, stopping) = (CancellationToken::new(), base.tasks.stopping());
    let closed = closing.clone();
    base.tasks.spawn("places of the querier", async move {
        tokio::select! {
            () = stopping.cancelled() => {}
            () = offers.keep(closed) => {}
        }
    });
    // Other queues have its places no more; what waits in this process's has them until all requests are answered.
    parts.on_stop("places of the querier", async move { closing.cancel() });
    places
}

/// The offers that stand, by the address of the queue.
struct Offers {
    id: String,
    members: Arc<dyn Members>,
    holders: Arc<dyn Members>,
    pool: Pool<dyn Scheduler>,
    /// This process's own.
    queue: Option<Arc<Queue>>,
    places: Arc<Places>,
    at_once: usize,
    standing: HashMap<String, Vec<AbortHandle>>,
    tasks: JoinSet<()>,
}

impl Offers {
    /// Keeps at least one place on offer at every queue, and all of them together at least as many as may be used at once;
    /// after `closing`, at the queue of this process alone.
    async fn keep(mut self, closing: CancellationToken) {
        loop {
            let me = self.members.all().iter().find(|member| member.id == self.id).map(|me| me.grpc_address.clone());
            match me {
                Some(address) if !closing.is_cancelled() => self.follow(&address),
                Some(address) => self.stay(&address),
                None => self.stay(HERE),
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
                () = closing.cancelled(), if !closing.is_cancelled() => {}
            }
            while self.tasks.try_join_next().is_some() {}
        }
    }

    fn follow(&mut self, own_address: &str) {
        let (used, spare) = (holders(&*self.holders), self.holders.playing(FRONTEND));
        // While schedulers come and go, requests may wait in the queues of frontends.
        let spare = spare.into_iter().filter(|member| !used.contains(member) && member.state.answers_reads());
        let each = self.at_once.div_ceil(used.len().max(1)).max(1);
        let holders: Vec<(Member, usize)> =
            used.iter().cloned().map(|holder| (holder, each)).chain(spare.map(|holder| (holder, 1))).collect();
        self.retain(|address| holders.iter().any(|(holder, _)| holder.grpc_address == *address));
        for (holder, each) in holders {
            let Ok(scheduler) = self.pool.get(&holder) else { continue };
            self.offer(&holder.grpc_address, &scheduler, each, own_address);
        }
    }

    /// Offers every place to the queue of this process, which is reached at this address.
    fn stay(&mut self, own_address: &str) {
        self.retain(|address| address == own_address);
        if let Some(queue) = self.queue.clone() {
            self.offer(own_address, &(queue as Arc<dyn Scheduler>), self.at_once, own_address);
        }
    }

    /// Takes back what is offered to others than these.
    fn retain(&mut self, is_holder: impl Fn(&str) -> bool) {
        self.standing.retain(|address, offers| {
            let stays = is_holder(address);
            if !stays {
                offers.iter().for_each(|offer| offer.abort());
            }
            stays
        });
    }

    /// Keeps so many places of `own_address` on offer.
    fn offer(&mut self, holder: &str, scheduler: &Arc<dyn Scheduler>, places: usize, own_address: &str) {
        let standing = self.standing.entry(holder.to_string()).or_default();
        standing.drain(places.min(standing.len())..).for_each(|offer| offer.abort());
        while standing.len() < places {
            let (places, scheduler, address) = (self.places.clone(), scheduler.clone(), own_address.to_string());
            standing.push(self.tasks.spawn(async move { places.offer_to(&*scheduler, &address).await }));
        }
    }
}
