//! Every chunk that the bucket holds or the index lists, a few dozen bytes each. It must not know where they came from.

use crate::index::Places;
use crate::objects::{LISTED_OBJECTS_MAX, Objects};
use format::ChunkRef;
use model::time::MILLIS_PER_DAY;
use model::{Error, Fingerprint, Result, TenantId};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Place;

/// Tables of one chunk that are told apart; what lies beyond counts as the last of them. A chunk spans hours.
const TABLES_MAX: i64 = 64;

/// What a chunk's key says, with the tenant by its number in the catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    pub(super) tenant: u32,
    pub(super) fingerprint: u64,
    pub(super) from_ms: i64,
    pub(super) through_ms: i64,
    pub(super) checksum: u32,
}

/// What an index row says beyond the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) kb: u32,
    pub(super) entries: u32,
    /// The hash of the series' labels.
    pub(super) labels: Fingerprint,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    /// Its size, when the bucket was seen to hold it.
    pub(super) stored_bytes: Option<u64>,
    pub(super) row: Option<Row>,
    /// In which of its tables it is listed: a bit for each, from the first day on.
    listed: u64,
    /// Whether it is marked to be deleted.
    pub(super) is_expiring: bool,
}

#[derive(Debug, Default)]
pub(super) struct Catalog {
    tenants: Vec<TenantId>,
    numbers: BTreeMap<TenantId, u32>,
    pub(super) chunks: BTreeMap<Id, Known>,
    first_day: i64,
}

impl Catalog {
    pub(super) fn new(places: &Places) -> Self {
        let first_ms = places.schema().periods().first().map_or(0, |p| p.from_ms);
        Catalog { first_day: first_ms.div_euclid(MILLIS_PER_DAY), ..Catalog::default() }
    }

    pub(super) fn id(&mut self, tenant: &TenantId, chunk: &ChunkRef) -> Id {
        let next = self.tenants.len() as u32;
        let number = match self.numbers.get(tenant) {
            Some(number) => *number,
            None => {
                self.tenants.push(tenant.clone());
                self.numbers.insert(tenant.clone(), next);
                next
            }
        };
        Id {
            tenant: number,
            fingerprint: chunk.fingerprint.0,
            from_ms: chunk.from_ms,
            through_ms: chunk.through_ms,
            checksum: chunk.checksum,
        }
    }

    pub(super) fn tenant(&self, id: &Id) -> &TenantId {
        &self.tenants[id.tenant as usize]
    }

    pub(super) fn known(&mut self, id: Id) -> Result<&mut Known> {
        let full = self.chunks.len() >= LISTED_OBJECTS_MAX;
        match self.chunks.entry(id) {
            Place::Occupied(known) => Ok(known.into_mut()),
            Place::Vacant(_) if full => Err(Error::too_large(format!("more than {LISTED_OBJECTS_MAX} chunks"))),
            Place::Vacant(place) => Ok(place.insert(Known::default())),
        }
    }

    /// The days whose tables must list the chunk.
    pub(super) fn days(&self, id: &Id) -> std::ops::RangeInclusive<i64> {
        let day = |ms: i64| ms.div_euclid(MILLIS_PER_DAY);
        day(id.from_ms).max(self.first_day)..=day(id.through_ms)
    }

    /// Notes that the table of `day`, which is one of the chunk's, lists it; whether that was known.
    pub(super) fn list(&mut self, id: Id, day: i64) -> Result<bool> {
        let bit = bit(*self.days(&id).start(), day);
        let known = self.known(id)?;
        let was_known = known.listed & bit != 0;
        known.listed |= bit;
        Ok(was_known)
    }

    /// The days whose tables do not list the chunk though they must.
    pub(super) fn missing_days(&self, id: &Id, known: &Known) -> Vec<i64> {
        let days = self.days(id);
        let first = *days.start();
        days.filter(|day| known.listed & bit(first, *day) == 0).take(TABLES_MAX as usize).collect()
    }

    pub(super) fn is_listed(known: &Known) -> bool {
        known.listed != 0
    }
}

fn bit(first_day: i64, day: i64) -> u64 {
    1 << day.saturating_sub(first_day).clamp(0, TABLES_MAX - 1)
}

impl Id {
    pub(super) fn reference(&self) -> ChunkRef {
        ChunkRef {
            fingerprint: Fingerprint(self.fingerprint),
            from_ms: self.from_ms,
            through_ms: self.through_ms,
            checksum: self.checksum,
            kb: 0,
            entries: 0,
        }
    }

    /// The bucket that holds the chunk, and its name there; `None` for one of before the first period.
    pub(super) fn home<'p>(&self, places: &'p Places, tenant: &TenantId) -> Option<(&'p Objects, String)> {
        let period = places.schema().period_at(self.from_ms)?;
        let objects = places.objects(period);
        Some((objects, objects.chunk_name(&self.reference().key(tenant, period.schema))))
    }
}
