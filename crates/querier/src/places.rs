//! The places of a querier: offered to query-schedulers (or to the queue of a query-frontend), taken by the call that
//! names their ticket. A place whose call does not come is offered anew.

use model::{Error, Result};
use parking_lot::Mutex;
use rpc::queries::Tenants;
use rpc::scheduler::{Offer, Offered, Scheduler, Spent, Taken, turn_of};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How long a taken place waits for its call.
const CALL_WITHIN: Duration = Duration::from_secs(10);
/// How long a querier waits before it offers again to one that failed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

pub struct Places {
    tickets: AtomicU64,
    open: Arc<Mutex<HashMap<u64, Open>>>,
}

/// A place that is offered or being used.
struct Open {
    /// Told when the call comes. None: it has come.
    begun: Option<oneshot::Sender<Begun>>,
}

struct Begun {
    tenant: String,
    /// Closed when the call ends.
    ended: oneshot::Receiver<()>,
}

impl Places {
    /// `first_ticket` differs from one process to the next, so that a ticket of an earlier one is not taken for ours.
    pub fn new(first_ticket: u64) -> Arc<Self> {
        Arc::new(Places { tickets: AtomicU64::new(first_ticket), open: Arc::default() })
    }

    /// Offers one place to a scheduler over and over, until the future is dropped. `address` is the `host:port` under which
    /// frontends reach this querier.
    pub async fn offer_to(&self, scheduler: &dyn Scheduler, address: &str) {
        let mut spent = None;
        loop {
            let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
            let (begin, begun) = oneshot::channel();
            self.open.lock().insert(ticket, Open { begun: Some(begin) });
            let _closed = Close { open: &self.open, ticket };
            let offer = Offer { querier: address.to_string(), ticket, spent: spent.take() };
            match scheduler.offer(offer).await {
                Ok(None) => {}
                Ok(Some(taken)) => spent = used(begun, taken).await,
                Err(error) => {
                    tracing::debug!(%error, "a query-scheduler takes no offer");
                    tokio::time::sleep(AFTER_FAILURE).await;
                }
            }
        }
    }
}

/// Waits for the call and its end; what it took.
async fn used(begun: oneshot::Receiver<Begun>, taken: Taken) -> Option<Spent> {
    let Begun { tenant, ended } = tokio::time::timeout(CALL_WITHIN, begun).await.ok()?.ok()?;
    let started = Instant::now();
    // An error is how the other side ends it.
    let _ = ended.await;
    Some(Spent { tenant, charged: taken.charged, spent: started.elapsed() })
}

/// Forgets a ticket.
struct Close<'a> {
    open: &'a Mutex<HashMap<u64, Open>>,
    ticket: u64,
}

impl Drop for Close<'_> {
    fn drop(&mut self) {
        self.open.lock().remove(&self.ticket);
    }
}

impl Offered for Places {
    fn take(&self, ticket: u64, tenants: &Tenants) -> Result<Box<dyn Send>> {
        let begin = self.open.lock().get_mut(&ticket).and_then(|open| open.begun.take());
        let begin = begin.ok_or_else(|| Error::unavailable("the querier has no such place"))?;
        let (end, ended) = oneshot::channel::<()>();
        let begun = Begun { tenant: turn_of(tenants), ended };
        begin.send(begun).map_err(|_| Error::unavailable("the querier has given the place up"))?;
        Ok(Box::new(end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;
    use model::TenantId;
    use rpc::scheduler::{Place, PlaceRequest};

    /// Takes every offer, and notes it.
    #[derive(Default)]
    struct Eager(Mutex<Vec<Offer>>, tokio::sync::Notify);

    #[async_trait]
    impl Scheduler for Eager {
        async fn wait(&self, _: PlaceRequest) -> Result<Place> {
            std::future::pending().await
        }
        async fn offer(&self, offer: Offer) -> Result<Option<Taken>> {
            self.0.lock().push(offer);
            self.1.notify_one();
            Ok(Some(Taken { charged: Duration::from_millis(7) }))
        }
    }

    #[tokio::test]
    async fn a_place_is_used_once_and_what_it_took_comes_with_the_next_offer() {
        let places = Places::new(40);
        let scheduler = Eager::default();
        let tenants: Tenants = TenantId::parse("a").unwrap().into();
        let calls = async {
            scheduler.1.notified().await;
            assert!(places.take(41, &tenants).is_err(), "was not offered");
            let place = places.take(40, &tenants).unwrap();
            assert!(places.take(40, &tenants).is_err(), "is taken");
            drop(place);
            scheduler.1.notified().await;
            assert!(places.take(40, &tenants).is_err(), "was used");
        };
        tokio::select! {
            () = places.offer_to(&scheduler, "q:1") => unreachable!(),
            () = calls => {}
        }
        let offers = scheduler.0.lock();
        let told: Vec<_> = offers.iter().map(|o| (o.ticket, o.spent.as_ref().map(|s| s.tenant.as_str()))).collect();
        assert_eq!(told, [(40, None), (41, Some("a"))]);
        assert!(places.open.lock().is_empty());
    }
}
