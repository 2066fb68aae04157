//! What is asked again when a querier or a scheduler is gone, and what is not.

use async_trait::async_trait;
use frontend::remote::{Cluster, Remote};
use model::{Error, Kind, Result, TenantId};
use parking_lot::Mutex;
use rpc::call::{Call, Calls, Reply};
use rpc::queries::{Answer, MetadataRequest, Tenants};
use rpc::scheduler::{Offer, Place, PlaceRequest, Scheduler, Taken};
use runtime::metrics::Metrics;
use std::collections::VecDeque;
use std::sync::Arc;

/// Gives a place at querier 1, 2, 3, ... and remembers what it was asked.
#[derive(Default)]
struct Places(Mutex<Vec<PlaceRequest>>);

#[async_trait]
impl Scheduler for Places {
    async fn wait(&self, request: PlaceRequest) -> Result<Place> {
        let mut asked = self.0.lock();
        asked.push(request);
        Ok(Place { querier: asked.len().to_string(), ticket: 0 })
    }
    async fn offer(&self, _: Offer) -> Result<Option<Taken>> {
        Ok(None)
    }
}

/// A scheduler that is gone.
struct Gone;

#[async_trait]
impl Scheduler for Gone {
    async fn wait(&self, _: PlaceRequest) -> Result<Place> {
        Err(Error::unavailable("connection refused"))
    }
    async fn offer(&self, _: Offer) -> Result<Option<Taken>> {
        Ok(None)
    }
}

/// Answers what it is told to, one call after the other; then well.
struct Script {
    schedulers: Vec<Arc<dyn Scheduler>>,
    answers: Mutex<VecDeque<Result<Result<Reply>>>>,
}

#[async_trait]
impl Cluster for Script {
    fn schedulers(&self) -> Vec<Arc<dyn Scheduler>> {
        self.schedulers.clone()
    }
    async fn call(&self, _: &Place, _: &Tenants, _: Call) -> Result<Result<Reply>> {
        self.answers.lock().pop_front().unwrap_or_else(|| Ok(Ok(Reply::Series(Answer::default()))))
    }
}

#[tokio::test]
async fn what_a_querier_takes_along_is_asked_elsewhere() {
    let lost = || Err(Error::unavailable("the answer broke off"));
    let away = || Ok(Err(Error::unavailable("the querier is stopping")));
    let refused = || Ok(Err(Error::invalid("parse error")));
    for (answers, expected, failed) in [
        (vec![], None, vec![vec![]]),
        (vec![lost(), lost()], None, vec![vec![], vec!["1"], vec!["1", "2"]]),
        (vec![away()], None, vec![vec![], vec![]]),
        (vec![refused()], Some(Kind::Invalid), vec![vec![]]),
        (vec![lost(), lost(), lost()], Some(Kind::Unavailable), vec![vec![], vec!["1"], vec!["1", "2"]]),
    ] {
        let places = Arc::new(Places::default());
        let schedulers: Vec<Arc<dyn Scheduler>> = vec![Arc::new(Gone), places.clone()];
        let cluster = Arc::new(Script { schedulers, answers: Mutex::new(answers.into()) });
        let remote = Remote::new(cluster, 2, &Metrics::default());
        let call = Call::Series(MetadataRequest { selectors: vec![], range: model::TimeRange::new(0, 1) });
        let answer = remote.call(&TenantId::parse("t").unwrap().into(), call).await;
        assert_eq!(answer.err().map(|e| e.kind), expected);
        let asked: Vec<Vec<String>> = places.0.lock().iter().map(|request| request.failed.clone()).collect();
        assert_eq!(asked, failed);
    }
}
