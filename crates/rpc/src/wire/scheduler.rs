//! The scheduler's service over gRPC, both sides.

use super::client::within;
use super::convert_calls::{broken, micros};
use super::error::status_of;
use super::progress::{begin, next, report};
use super::proto::place_part::Part;
use super::proto::scheduler_client::SchedulerClient as Generated;
use super::proto::scheduler_server as generated;
use super::server::Parts;
use super::{Channel, Connector, proto};
use crate::scheduler::{Offer, Place, PlaceRequest, Scheduler, Spent, Taken};
use async_trait::async_trait;
use futures::stream::{self, StreamExt};
use model::{Error, Result};
use std::sync::Arc;
use std::time::Duration;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tracing::{Instrument, Span};

/// How long an offer stands before it is made anew: who made it may be gone without a word.
pub const OFFER_STANDS: Duration = Duration::from_secs(10);
/// How long a querier waits for the answer to an offer.
const OFFER_TIMEOUT: Duration = Duration::from_secs(15);

/// The scheduler of another process.
#[derive(Clone)]
pub struct SchedulerClient {
    inner: Generated<Channel>,
}

impl SchedulerClient {
    /// To `host:port`; connects when it is first used. `Invalid` when that is no address.
    pub fn connect(connector: &Connector, address: &str) -> Result<Self> {
        Ok(SchedulerClient { inner: Generated::new(connector.channel(address)?) })
    }
}

#[async_trait]
impl Scheduler for SchedulerClient {
    async fn wait(&self, request: PlaceRequest) -> Result<Place> {
        let PlaceRequest { tenant, failed } = request;
        let request = Request::new(proto::PlaceRequest { tenant, failed });
        let mut parts = begin(self.inner.clone().wait(request)).await?;
        while let Some(part) = next(&mut parts).await? {
            match part.part {
                Some(Part::Waiting(_)) => {}
                Some(Part::Place(proto::Place { querier, ticket })) => return Ok(Place { querier, ticket }),
                None => return Err(broken("an unknown part")),
            }
        }
        Err(Error::unavailable("the answer of another node broke off"))
    }

    async fn offer(&self, offer: Offer) -> Result<Option<Taken>> {
        let Offer { querier, ticket, spent } = offer;
        let request = Request::new(proto::PlaceOffer { querier, ticket, spent: spent.map(spent_to_wire) });
        let answer = within(OFFER_TIMEOUT, self.inner.clone().offer(request)).await?.into_inner();
        Ok(answer.taken.map(|taken| Taken { charged: Duration::from_micros(taken.charged_micros) }))
    }
}

/// The routes of a scheduler, for a listener that may serve others too.
pub fn scheduler_server(inner: Arc<dyn Scheduler>) -> Routes {
    Routes::new(generated::SchedulerServer::new(Server { inner }))
}

struct Server {
    inner: Arc<dyn Scheduler>,
}

#[tonic::async_trait]
impl generated::Scheduler for Server {
    type WaitStream = Parts<proto::PlacePart>;
    async fn wait(&self, request: Request<proto::PlaceRequest>) -> Result<Response<Self::WaitStream>, Status> {
        let proto::PlaceRequest { tenant, failed } = request.into_inner();
        let inner = self.inner.clone();
        let wait = async move {
            let place = inner.wait(PlaceRequest { tenant, failed }).await.map_err(status_of)?;
            let place = proto::Place { querier: place.querier, ticket: place.ticket };
            Ok(stream::iter([part(Part::Place(place))]).boxed())
        };
        let waiting = || part(Part::Waiting(proto::Waiting {}));
        Ok(Response::new(report(waiting, Box::pin(wait.instrument(Span::current())))))
    }

    async fn offer(&self, request: Request<proto::PlaceOffer>) -> Result<Response<proto::OfferAnswer>, Status> {
        let proto::PlaceOffer { querier, ticket, spent } = request.into_inner();
        let offer = Offer { querier, ticket, spent: spent.map(spent_of_wire) };
        let taken = match tokio::time::timeout(OFFER_STANDS, self.inner.offer(offer)).await {
            Ok(answer) => answer.map_err(status_of)?,
            Err(_) => None,
        };
        let taken = taken.map(|taken| proto::Taken { charged_micros: micros(taken.charged) });
        Ok(Response::new(proto::OfferAnswer { taken }))
    }
}

fn part(part: Part) -> proto::PlacePart {
    proto::PlacePart { part: Some(part) }
}

fn spent_to_wire(Spent { tenant, charged, spent }: Spent) -> proto::Spent {
    proto::Spent { tenant, charged_micros: micros(charged), spent_micros: micros(spent) }
}

fn spent_of_wire(proto::Spent { tenant, charged_micros, spent_micros }: proto::Spent) -> Spent {
    Spent { tenant, charged: Duration::from_micros(charged_micros), spent: Duration::from_micros(spent_micros) }
}
