//! The delete requests of one tenant, as they are kept: one JSON object in the bucket.
//! It must not know tenants' limits, the bucket or the clock.

use model::time::NANOS_PER_MILLI;
use model::{Error, Kind, Result, TenantId};
use rpc::deletes::{DeleteFilter, DeleteRequest, DeleteStatus, NewDelete};
use serde::{Deserialize, Serialize};

/// Requests that a tenant may have: each is tried on every query. Beyond, the oldest processed one is forgotten.
const REQUESTS_MAX: usize = 2000;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Book {
    /// When it was last changed.
    pub generation_ns: i64,
    requests: Vec<Kept>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    pub id: String,
    query: String,
    start_ms: i64,
    end_ms: i64,
    pub created_ns: i64,
    pub processed: bool,
}

impl Book {
    /// `Limited` when the tenant has too many requests that are not processed.
    pub fn add(&mut self, tenant: &TenantId, new: &NewDelete, now_ns: i64) -> Result<String> {
        if self.requests.len() >= REQUESTS_MAX {
            let processed = self.requests.iter().position(|kept| kept.processed);
            let oldest = processed.ok_or_else(|| {
                Error::limited(format!("there are {REQUESTS_MAX} delete requests that wait to be processed"))
            })?;
            self.requests.remove(oldest);
        }
        let ids = (0..).map(|attempt| id(tenant, new.query(), now_ns.wrapping_add(attempt)));
        let mut unused = ids.filter(|id| self.requests.iter().all(|kept| kept.id != *id));
        let id = unused.next().ok_or_else(|| Error::internal("no delete request id is left"))?;
        self.requests.push(Kept {
            id: id.clone(),
            query: new.query().to_string(),
            start_ms: new.start_ms(),
            end_ms: new.end_ms(),
            created_ns: now_ns,
            processed: false,
        });
        Ok(id)
    }

    /// Takes a request out, unless it is processed or, without `force`, may be under way: created before `deadline_ns`.
    pub fn cancel(&mut self, id: &str, force: bool, deadline_ns: i64) -> Result<()> {
        let found = self.requests.iter().position(|kept| kept.id == id);
        let at = found.ok_or_else(|| Error::new(Kind::NotFound, "could not find delete request with given id"))?;
        let kept = &self.requests[at];
        if kept.processed {
            return Err(Error::invalid("a processed delete request cannot be cancelled"));
        }
        if kept.created_ns < deadline_ns && !force {
            return Err(Error::invalid(
                "the time to cancel the delete request is over; to try it anyway, use force=true",
            ));
        }
        self.requests.remove(at);
        Ok(())
    }

    /// Notes that requests are carried out; one that was cancelled meanwhile is not there.
    pub fn process(&mut self, ids: &[String]) {
        self.requests.iter_mut().filter(|kept| ids.contains(&kept.id)).for_each(|kept| kept.processed = true);
    }

    pub fn requests(&self) -> &[Kept] {
        &self.requests
    }
}

impl Kept {
    pub fn request(&self) -> DeleteRequest {
        DeleteRequest {
            id: self.id.clone(),
            query: self.query.clone(),
            start_ms: self.start_ms,
            end_ms: self.end_ms,
            created_ms: self.created_ns.div_euclid(NANOS_PER_MILLI),
            status: if self.processed { DeleteStatus::Processed } else { DeleteStatus::Received },
        }
    }

    pub fn filter(&self) -> Result<DeleteFilter> {
        DeleteFilter::parse(&self.query, self.start_ms, self.end_ms)
            .map_err(|e| Error::corrupt(format!("delete request {}: {e}", self.id)))
    }
}

/// FNV-1 of tenant, time and query, as Loki makes its ids.
fn id(tenant: &TenantId, query: &str, now_ns: i64) -> String {
    let bytes = tenant.as_str().bytes().chain(now_ns.to_le_bytes()).chain(query.bytes());
    let hash = bytes.fold(0x811c_9dc5u32, |hash, byte| hash.wrapping_mul(0x0100_0193) ^ u32::from(byte));
    format!("{hash:08x}")
}
