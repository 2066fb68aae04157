//! The queue between query-frontends and queriers, as both see it: queriers offer free places, frontends wait for them.
//! Queries and answers do not pass it. It must not know who is asked what.

use crate::queries::Tenants;
use async_trait::async_trait;
use model::Result;
use std::time::Duration;

/// Pairs waiting requests with free places, fairly between tenants.
#[async_trait]
pub trait Scheduler: Send + Sync {
    /// Waits for a place. Dropping the future leaves the queue. `Limited` when too many wait already.
    async fn wait(&self, request: PlaceRequest) -> Result<Place>;
    /// Offers a place and waits until it is taken; `None` after a while, or when the offer counts no more: the querier
    /// offers anew. Dropping the future takes the offer back.
    async fn offer(&self, offer: Offer) -> Result<Option<Taken>>;
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlaceRequest {
    /// Whose turn it is: [`turn_of`].
    pub tenant: String,
    /// Queriers that did not answer: what they have offered so far counts no more.
    pub failed: Vec<String>,
}

/// A place at a querier, for one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// `host:port` of the querier.
    pub querier: String,
    /// What the call must name.
    pub ticket: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// `host:port` under which frontends reach the querier.
    pub querier: String,
    pub ticket: u64,
    /// What the place before this one was used for.
    pub spent: Option<Spent>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// What the tenant was charged beforehand.
    pub charged: Duration,
}

/// What a tenant used, against what it was charged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spent {
    pub tenant: String,
    pub charged: Duration,
    pub spent: Duration,
}

/// The places that a querier has offered.
pub trait Offered: Send + Sync {
    /// Takes the place of `ticket` until what comes back is dropped. `Unavailable` when there is no such offer.
    fn take(&self, ticket: u64, tenants: &Tenants) -> Result<Box<dyn Send>>;
}

/// Under which name the requests of these tenants wait, as in Loki.
pub fn turn_of(tenants: &Tenants) -> String {
    let names: Vec<&str> = tenants.ids.iter().map(|tenant| tenant.as_str()).collect();
    names.join("|")
}
