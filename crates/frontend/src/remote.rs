//! The last stage of a frontend: a place at a querier, got from a scheduler, and the call there. What a querier or a
//! scheduler takes along when it goes is asked again elsewhere.

use async_trait::async_trait;
use model::{Error, Kind, Result};
use rpc::call::{Call, Calls, Reply};
use rpc::queries::Tenants;
use rpc::scheduler::{Place, PlaceRequest, Scheduler, turn_of};
use runtime::metrics::{Counter, Histogram, Metrics, REQUEST_SECONDS};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a request waits for a querier to take it.
const QUEUED_MAX: Duration = Duration::from_secs(300);

/// How long a request waits for a query-scheduler to be there.
const NO_SCHEDULER_MAX: Duration = Duration::from_secs(15);
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// The schedulers and queriers of the cluster, as they are at this moment.
#[async_trait]
pub trait Cluster: Send + Sync {
    /// Whom to ask for a place, in order.
    fn schedulers(&self) -> Vec<Arc<dyn Scheduler>>;
    /// Calls the querier of a place. The error inside is the call's; the outer one says that the querier is gone.
    async fn call(&self, place: &Place, tenants: &Tenants, call: Call) -> Result<Result<Reply>>;
}

pub struct Remote {
    cluster: Arc<dyn Cluster>,
    /// `query_range.max_retries`: further queriers that a request may go to.
    retries_max: usize,
    retries: Histogram,
    queued: Histogram,
    lost: Counter,
}

impl Remote {
    pub fn new(cluster: Arc<dyn Cluster>, retries_max: usize, metrics: &Metrics) -> Self {
        let help = "Seconds that requests waited for a querier";
        Remote {
            cluster,
            retries_max,
            retries: metrics.histogram(
                "query_frontend_retries",
                "How often a request was asked again",
                &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0],
            ),
            queued: metrics.histogram("query_frontend_queue_duration_seconds", help, &REQUEST_SECONDS),
            lost: metrics.counter("query_frontend_lost_queriers", "Calls whose querier was gone"),
        }
    }

    /// A place from the first scheduler that answers. Where there is none for a moment, as one is restarted, the request
    /// waits for the next.
    async fn place(&self, request: &PlaceRequest) -> Result<Place> {
        let mut failed_since = None;
        loop {
            let mut last = Error::unavailable("there is no query-scheduler");
            for scheduler in self.cluster.schedulers() {
                let asked = Instant::now();
                match tokio::time::timeout(QUEUED_MAX, scheduler.wait(request.clone())).await {
                    Ok(Err(error)) if is_gone(error.kind) => {
                        tracing::warn!(%error, "a query-scheduler failed");
                        // What was in its queue for a while has only now lost it.
                        failed_since = failed_since.filter(|_| asked.elapsed() < NO_SCHEDULER_MAX);
                        last = error;
                    }
                    Ok(answer) => return answer,
                    Err(_) => {
                        let text = format!("no querier took the request within {QUEUED_MAX:?}");
                        return Err(Error::new(Kind::Timeout, text));
                    }
                }
            }
            if failed_since.get_or_insert_with(Instant::now).elapsed() > NO_SCHEDULER_MAX {
                return Err(last);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// Whether another scheduler may do better.
fn is_gone(kind: Kind) -> bool {
    matches!(kind, Kind::Unavailable | Kind::Timeout | Kind::Cancelled | Kind::Internal)
}

#[async_trait]
impl Calls for Remote {
    async fn call(&self, tenants: &Tenants, call: Call) -> Result<Reply> {
        let mut request = PlaceRequest { tenant: turn_of(tenants), failed: vec![] };
        let mut queued = Duration::ZERO;
        let mut retries = 0;
        loop {
            let asked = Instant::now();
            let place = self.place(&request).await?;
            queued += asked.elapsed();
            match self.cluster.call(&place, tenants, call.clone()).await {
                // The querier is there and cannot answer: it stops, or too few ingesters answer it.
                Ok(Err(error)) if error.kind == Kind::Unavailable && retries < self.retries_max => {
                    tracing::warn!(querier = place.querier, %error, "a request is asked again");
                    retries += 1;
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                Err(error) if retries < self.retries_max => {
                    tracing::warn!(querier = place.querier, %error, "a querier is gone; its request is asked again");
                    self.lost.inc();
                    retries += 1;
                    if !request.failed.contains(&place.querier) {
                        request.failed.push(place.querier);
                    }
                }
                answer => {
                    self.retries.observe(retries as f64);
                    self.queued.observe(queued.as_secs_f64());
                    let mut reply = answer??;
                    if let Reply::Query(response) = &mut reply {
                        response.stats.queue_time += queued;
                    }
                    return Ok(reply);
                }
            }
        }
    }
}
