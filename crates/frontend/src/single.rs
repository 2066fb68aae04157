//! Single flight: calls that are asked while the same call is under way wait for its answer instead of making another.
//! A dashboard that ten people open is computed once. It must not know what a call costs or who answers.
//!
//! Who joins may get an answer that is as old as the flight: of recent data at most [`JOINED_WITHIN`], so that what was
//! acknowledged before is seen after that long at the latest; of settled data any age. A call with `no_cache` is never
//! shared. Every caller waits for as long as it likes: the flight goes on while one of them is there, and is dropped
//! with the last.

use crate::freshness;
use async_trait::async_trait;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use model::{Kind, Result};
use parking_lot::Mutex;
use rpc::call::{Call, Calls, Reply, ask};
use rpc::queries::{Queries, Tenants};
use rpc::wire::call_bytes;
use runtime::clock::SharedClock;
use runtime::limits::Overrides;
use runtime::metrics::{Counter, Metrics};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tracing::Instrument;

/// How old a flight over recent data may be to be joined.
pub const JOINED_WITHIN: Duration = Duration::from_secs(1);
/// Calls that may be joined at a time; more are made each for itself.
const FLIGHTS_MAX: usize = 10_000;

type Flight = Shared<BoxFuture<'static, Result<Reply>>>;

pub struct Single {
    next: Arc<dyn Queries>,
    limits: Arc<Overrides>,
    clock: SharedClock,
    flights: Arc<Mutex<Flights>>,
    joined: Counter,
}

#[derive(Default)]
struct Flights {
    by_call: HashMap<Vec<u8>, Begun>,
    begun: u64,
}

struct Begun {
    flight: WeakShared<BoxFuture<'static, Result<Reply>>>,
    number: u64,
    began_ns: i64,
}

/// Takes a flight off the list when it has ended or nobody waits for it any more.
struct Landing {
    flights: Arc<Mutex<Flights>>,
    call: Vec<u8>,
    number: u64,
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut flights = self.flights.lock();
        if flights.by_call.get(&self.call).is_some_and(|begun| begun.number == self.number) {
            flights.by_call.remove(&self.call);
        }
    }
}

impl Single {
    pub fn new(next: Arc<dyn Queries>, limits: Arc<Overrides>, clock: SharedClock, metrics: &Metrics) -> Self {
        let help = "Calls that were answered by the same call of somebody else";
        let joined = metrics.counter("query_frontend_coalesced_calls", help);
        Single { next, limits, clock, flights: Arc::default(), joined }
    }

    /// The flight of this call, and whether somebody else began it; none when there are too many.
    fn board(&self, tenants: &Tenants, call: &Call) -> Option<(Flight, bool)> {
        let key = call_bytes(tenants, call.clone());
        let now_ns = self.clock.now_ns();
        let limits: Vec<_> = tenants.ids.iter().map(|tenant| self.limits.tenant(tenant)).collect();
        let is_settled = freshness::read_until_ns(call).is_some_and(|ns| ns <= freshness::settled_ns(&limits, now_ns));
        let mut flights = self.flights.lock();
        let under_way = flights.by_call.get(&key).and_then(|begun| Some((begun.flight.upgrade()?, begun.began_ns)));
        // Dropped behind the lock: it may be the last of its flight, whose end takes the lock.
        let mut _too_old = None;
        if let Some((flight, began_ns)) = under_way {
            let age_ns = now_ns.saturating_sub(began_ns).max(0) as u128;
            if is_settled || age_ns <= JOINED_WITHIN.as_nanos() {
                return Some((flight, true));
            }
            _too_old = Some(flight);
        }
        let begun = match flights.by_call.len() >= FLIGHTS_MAX {
            true => None,
            false => Some(self.begin(&mut flights, key, (tenants.clone(), call.clone()), now_ns)),
        };
        drop(flights);
        Some((begun?, false))
    }

    fn begin(&self, flights: &mut Flights, key: Vec<u8>, asked: (Tenants, Call), now_ns: i64) -> Flight {
        flights.begun += 1;
        let number = flights.begun;
        let landing = Landing { flights: self.flights.clone(), call: key.clone(), number };
        let next = self.next.clone();
        let work = async move {
            let (_landing, (tenants, call)) = (landing, asked);
            ask(&*next, &tenants, call).await
        };
        let flight = work.in_current_span().boxed().shared();
        if let Some(weak) = flight.downgrade() {
            flights.by_call.insert(key, Begun { flight: weak, number, began_ns: now_ns });
        }
        flight
    }
}

#[async_trait]
impl Calls for Single {
    async fn call(&self, tenants: &Tenants, call: Call) -> Result<Reply> {
        let flight = if freshness::is_bypassed(&call) { None } else { self.board(tenants, &call) };
        let Some((flight, joined)) = flight else { return ask(&*self.next, tenants, call).await };
        match flight.await {
            // The time that ran out was that of who began.
            Err(error) if joined && matches!(error.kind, Kind::Timeout | Kind::Cancelled) => {
                ask(&*self.next, tenants, call).await
            }
            answer => {
                self.joined.inc_by(u64::from(joined));
                answer
            }
        }
    }
}
