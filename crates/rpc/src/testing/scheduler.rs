//! The contract of [`Scheduler`].

use crate::scheduler::{Offer, Place, PlaceRequest, Scheduler, Spent, Taken};
use async_trait::async_trait;
use model::{Error, Kind, Result};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A scheduler that answers what it is told to, and remembers what it was asked.
#[derive(Default)]
pub struct ScriptedScheduler {
    pub waited: Mutex<Vec<PlaceRequest>>,
    pub offered: Mutex<Vec<Offer>>,
    pub place: Option<Place>,
    pub taken: Option<Taken>,
    /// What every call answers with, if set.
    pub error: Option<Error>,
}

#[async_trait]
impl Scheduler for ScriptedScheduler {
    async fn wait(&self, request: PlaceRequest) -> Result<Place> {
        self.waited.lock().expect("no test panics with it").push(request);
        match (&self.error, &self.place) {
            (Some(error), _) => Err(error.clone()),
            (None, Some(place)) => Ok(place.clone()),
            (None, None) => std::future::pending().await,
        }
    }
    async fn offer(&self, offer: Offer) -> Result<Option<Taken>> {
        self.offered.lock().expect("no test panics with it").push(offer);
        self.error.clone().map_or(Ok(self.taken), Err)
    }
}

/// Checks that `make` gives a scheduler that is, to its caller, the scripted one it is given.
pub async fn check_scheduler<F, S>(make: F)
where
    F: AsyncFn(Arc<ScriptedScheduler>) -> S,
    S: Scheduler,
{
    let request = PlaceRequest { tenant: "a|b".into(), failed: vec!["10.0.0.1:9095".into()] };
    let spent = Spent { tenant: "a".into(), charged: Duration::from_micros(5), spent: Duration::from_secs(60) };
    let offer = Offer { querier: "10.0.0.2:9095".into(), ticket: u64::MAX, spent: Some(spent) };
    let place = Place { querier: offer.querier.clone(), ticket: offer.ticket };
    for taken in [None, Some(Taken { charged: Duration::from_micros(7) })] {
        let script = ScriptedScheduler { place: Some(place.clone()), taken, ..ScriptedScheduler::default() };
        let script = Arc::new(script);
        let scheduler = make(script.clone()).await;
        assert_eq!(scheduler.wait(request.clone()).await, Ok(place.clone()));
        for offer in [offer.clone(), Offer { spent: None, ..offer.clone() }] {
            assert_eq!(scheduler.offer(offer.clone()).await, Ok(taken));
            assert_eq!(script.offered.lock().expect("no test panics with it").pop(), Some(offer));
        }
        assert_eq!(script.waited.lock().expect("no test panics with it").pop(), Some(request.clone()));
    }
    let error = Error::new(Kind::Limited, "too many outstanding requests");
    let script = Arc::new(ScriptedScheduler { error: Some(error.clone()), ..ScriptedScheduler::default() });
    let scheduler = make(script).await;
    assert_eq!(scheduler.wait(request).await, Err(error.clone()));
    assert_eq!(scheduler.offer(offer).await, Err(error));
}
