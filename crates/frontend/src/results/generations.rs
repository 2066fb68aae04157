//! The generation of each tenant's delete requests, which is part of every key: what was answered before a request is
//! not found behind it.
//!
//! A querier may learn of a request later than a frontend does. What it answers meanwhile must not be kept under the
//! new generation, so nothing is until that is [`SETTLED_AFTER`] old.

use model::{Result, TenantId};
use parking_lot::Mutex;
use rpc::deletes::Deletes;
use rpc::queries::Tenants;
use runtime::clock::SharedClock;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// By then every querier hides what a request names: it believes what it was told for a second, and waits two for an
/// answer.
pub const SETTLED_AFTER: Duration = Duration::from_secs(10);
/// Tenants whose generations are remembered; beyond, all are forgotten.
const TENANTS_MAX: usize = 10_000;

pub struct Generations {
    deletes: Option<Arc<dyn Deletes>>,
    clock: SharedClock,
    seen: Mutex<HashMap<TenantId, Seen>>,
}

struct Seen {
    generation: String,
    /// None: it has always been so.
    since_ns: Option<i64>,
}

/// What holds at one moment for some tenants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    /// In the order of the tenants.
    pub of: Vec<String>,
    /// Whether answers may be kept under it.
    pub is_settled: bool,
}

impl Generations {
    /// Without a delete service there are no requests.
    pub fn new(deletes: Option<Arc<dyn Deletes>>, clock: SharedClock) -> Self {
        Generations { deletes, clock, seen: Mutex::default() }
    }

    pub async fn of(&self, tenants: &Tenants) -> Result<Generation> {
        let mut all = Generation { of: vec![], is_settled: true };
        for tenant in &tenants.ids {
            let generation = match &self.deletes {
                Some(deletes) => deletes.generation(tenant).await?,
                None => String::new(),
            };
            all.is_settled &= self.is_settled(tenant, &generation);
            all.of.push(generation);
        }
        Ok(all)
    }

    /// Whether `before` still holds and answers that were asked since may be kept.
    pub async fn is_still(&self, tenants: &Tenants, before: &Generation) -> bool {
        before.is_settled && self.of(tenants).await.is_ok_and(|now| now == *before)
    }

    fn is_settled(&self, tenant: &TenantId, generation: &str) -> bool {
        let now_ns = self.clock.now_ns();
        let mut seen = self.seen.lock();
        let known = seen.get(tenant).filter(|seen| seen.generation == generation);
        let since_ns = match known {
            Some(known) => known.since_ns,
            None => {
                // Who never asked for a deletion is not about to be misunderstood.
                let is_first = !seen.contains_key(tenant) && generation.is_empty();
                if seen.len() >= TENANTS_MAX {
                    seen.clear();
                }
                let since_ns = (!is_first).then_some(now_ns);
                seen.insert(tenant.clone(), Seen { generation: generation.to_string(), since_ns });
                since_ns
            }
        };
        since_ns.is_none_or(|since_ns| now_ns.saturating_sub(since_ns) >= SETTLED_AFTER.as_nanos() as i64)
    }
}
