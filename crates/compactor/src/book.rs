//! The delete requests of one tenant, as they are kept: an object for each, written once, and an empty one beside it when
//! it is carried out. So two that write at once never undo each other. It must not know limits, the bucket or the clock.

use model::time::NANOS_PER_MILLI;
use model::{Error, Kind, Result, TenantId};
use rpc::deletes::{DeleteFilter, DeleteRequest, DeleteStatus, NewDelete};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Requests that a tenant may have: each is tried on every query. Beyond, the oldest processed one is forgotten.
pub const REQUESTS_MAX: usize = 2000;

const REQUEST: &str = ".json";
const PROCESSED: &str = ".processed";

/// By the names of their objects, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Book {
    pub requests: BTreeMap<String, Kept>,
}

#[derive(Clone, Debug)]
pub struct Kept {
    pub text: Arc<Text>,
    pub processed: bool,
}

/// A request as its object tells it.
#[derive(Debug)]
pub struct Text {
    pub id: String,
    pub created_ns: i64,
    pub body: Body,
    pub filter: DeleteFilter,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Body {
    query: String,
    start_ms: i64,
    end_ms: i64,
}

/// What the name of an object says.
#[derive(Debug, PartialEq, Eq)]
pub enum Object<'n> {
    /// The request of that name.
    Request(&'n str),
    /// The request of that name is carried out.
    Processed(&'n str),
}

/// `<created, 20 digits>-<id>.json` or `.processed`; `None` for what is not ours.
pub fn object(file: &str) -> Option<Object<'_>> {
    let request = file.strip_suffix(REQUEST).map(Object::Request);
    let object = request.or_else(|| file.strip_suffix(PROCESSED).map(Object::Processed))?;
    let (Object::Request(name) | Object::Processed(name)) = object;
    parse_name(name).map(|_| object)
}

pub fn request_file(name: &str) -> String {
    format!("{name}{REQUEST}")
}

pub fn processed_file(name: &str) -> String {
    format!("{name}{PROCESSED}")
}

fn parse_name(name: &str) -> Option<(i64, &str)> {
    let (created, id) = name.split_once('-')?;
    Some((created.parse().ok()?, id))
}

impl Body {
    pub fn new(new: &NewDelete) -> Self {
        Body { query: new.query().to_string(), start_ms: new.start_ms(), end_ms: new.end_ms() }
    }
}

impl Text {
    /// `Corrupt` when the request of `name` cannot be carried out as it is.
    pub fn new(name: &str, body: Body) -> Result<Self> {
        let (created_ns, id) = parse_name(name).ok_or_else(|| Error::corrupt("a name that is no request's"))?;
        let filter = DeleteFilter::parse(&body.query, body.start_ms, body.end_ms)
            .map_err(|e| Error::corrupt(format!("delete request {id}: {e}")))?;
        Ok(Text { id: id.into(), created_ns, body, filter })
    }
}

impl Kept {
    pub fn request(&self) -> DeleteRequest {
        let Body { query, start_ms, end_ms } = self.text.body.clone();
        DeleteRequest {
            id: self.text.id.clone(),
            query,
            start_ms,
            end_ms,
            created_ms: self.text.created_ns.div_euclid(NANOS_PER_MILLI),
            status: if self.processed { DeleteStatus::Processed } else { DeleteStatus::Received },
        }
    }
}

impl Book {
    /// A name that no request has.
    pub fn new_name(&self, tenant: &TenantId, new: &NewDelete, now_ns: i64) -> Result<String> {
        let ids = (0..).map(|attempt| id(tenant, new.query(), now_ns.wrapping_add(attempt)));
        let mut unused = ids.filter(|id| self.find(id).is_none());
        let id = unused.next().ok_or_else(|| Error::internal("no delete request id is left"))?;
        Ok(format!("{now_ns:020}-{id}"))
    }

    /// What has to go before one more is taken; `Limited` when all wait to be processed.
    pub fn overdue(&self) -> Result<Option<String>> {
        if self.requests.len() < REQUESTS_MAX {
            return Ok(None);
        }
        let mut processed = self.requests.iter().filter(|(_, kept)| kept.processed);
        let oldest = processed.next().ok_or_else(|| {
            Error::limited(format!("there are {REQUESTS_MAX} delete requests that wait to be processed"))
        })?;
        Ok(Some(oldest.0.clone()))
    }

    /// The name of the request `id`, unless it is processed or, without `force`, may be under way: created before
    /// `deadline_ns`.
    pub fn cancellable(&self, id: &str, force: bool, deadline_ns: i64) -> Result<String> {
        let found = self.find(id);
        let (name, kept) =
            found.ok_or_else(|| Error::new(Kind::NotFound, "could not find delete request with given id"))?;
        if kept.processed {
            return Err(Error::invalid("a processed delete request cannot be cancelled"));
        }
        if kept.text.created_ns < deadline_ns && !force {
            return Err(Error::invalid(
                "the time to cancel the delete request is over; to try it anyway, use force=true",
            ));
        }
        Ok(name.clone())
    }

    fn find(&self, id: &str) -> Option<(&String, &Kept)> {
        self.requests.iter().find(|(_, kept)| kept.text.id == id)
    }

    /// Differs whenever the filters do.
    pub fn generation(&self) -> String {
        let names = self.requests.keys().flat_map(|name| name.bytes().chain([b'/']));
        // FNV-1a, 64 bits.
        let hash =
            names.fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        if self.requests.is_empty() { String::new() } else { hash.to_string() }
    }
}

/// FNV-1 of tenant, time and query, as Loki makes its ids.
fn id(tenant: &TenantId, query: &str, now_ns: i64) -> String {
    let bytes = tenant.as_str().bytes().chain(now_ns.to_le_bytes()).chain(query.bytes());
    let hash = bytes.fold(0x811c_9dc5u32, |hash, byte| hash.wrapping_mul(0x0100_0193) ^ u32::from(byte));
    format!("{hash:08x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_requests_from_what_is_not_ours() {
        let name = "01795410500000000000-01599ad3";
        for (file, expected) in [
            (request_file(name), Some(Object::Request(name))),
            (processed_file(name), Some(Object::Processed(name))),
            ("notes.json".into(), None),
            ("x-01599ad3.json".into(), None),
            (format!("{name}.txt"), None),
        ] {
            assert_eq!(object(&file), expected, "{file}");
        }
    }
}
