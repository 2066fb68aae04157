//! Which files an index table has: listings, remembered for a while and never asked for twice at once.
//! It must not know what is in a file.

use super::{FILE_SUFFIX, IndexMetrics, IndexSettings};
use crate::objects::{ObjectMeta, Objects};
use model::{Error, Result, TenantId};
use runtime::clock::SharedClock;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::sync::{OnceCell, Semaphore};

/// Tables whose listings are remembered; of ten years' tables more are asked for only by a request for everything.
const LISTINGS_MAX: usize = 4096;

/// The files of one table.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    /// Files of several tenants.
    shared: Vec<ObjectMeta>,
    tenants: HashMap<String, Vec<ObjectMeta>>,
}

impl Listing {
    /// Sorts the objects below `table` by whose they are. Others than index files are left out: markers of directories,
    /// files in the making, and whatever lies deeper.
    fn of(table: &str, objects: Vec<ObjectMeta>) -> Self {
        let mut listing = Listing::default();
        for object in objects {
            let inside = object.key.strip_prefix(table).and_then(|rest| rest.strip_prefix('/'));
            let segments: Vec<&str> = inside.unwrap_or_default().split('/').collect();
            match segments[..] {
                [name] if is_index_file(name) => listing.shared.push(object),
                [tenant, name] if is_index_file(name) => {
                    listing.tenants.entry(tenant.to_string()).or_default().push(object);
                }
                _ => {}
            }
        }
        listing
    }

    /// The files that may know streams of `tenant`, and whether other tenants are in them.
    pub(super) fn files(&self, tenant: &TenantId) -> impl Iterator<Item = (&ObjectMeta, bool)> {
        let own = self.tenants.get(tenant.as_str()).into_iter().flatten();
        own.map(|file| (file, false)).chain(self.shared.iter().map(|file| (file, true)))
    }
}

/// `<number>-<anything>.tsdb`, perhaps compressed.
pub(crate) fn is_index_file(name: &str) -> bool {
    let base = name.strip_suffix(".gz").unwrap_or(name).strip_suffix(FILE_SUFFIX);
    let number = base.and_then(|base| base.split_once('-')).map_or("", |(number, _)| number);
    !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
}

struct Slot {
    since_ns: i64,
    listing: Arc<OnceCell<Arc<Listing>>>,
}

/// The listings of all tables.
pub(super) struct Tables {
    clock: SharedClock,
    fresh_ns: i64,
    /// By object store and table.
    slots: Mutex<HashMap<(String, String), Slot>>,
    permits: Semaphore,
    metrics: IndexMetrics,
}

impl Tables {
    pub(super) fn new(settings: &IndexSettings, clock: SharedClock, metrics: IndexMetrics) -> Self {
        Tables {
            clock,
            fresh_ns: i64::try_from(settings.resync_interval.as_nanos()).unwrap_or(i64::MAX),
            slots: Mutex::default(),
            permits: Semaphore::new(settings.parallel_fetches_max.clamp(1, Semaphore::MAX_PERMITS)),
            metrics,
        }
    }

    /// The files of the table whose objects lie below `table`.
    pub(super) async fn list(&self, store: &str, objects: &Objects, table: &str) -> Result<Arc<Listing>> {
        let cell = self.slot(store, table);
        let listing = cell.get_or_try_init(|| async {
            let _permit = self.permits.acquire().await.map_err(|_| Error::unavailable("the index is shut down"))?;
            self.metrics.listings.inc();
            let objects = objects.list(table).await.map_err(|e| e.context("index table"))?;
            Ok(Arc::new(Listing::of(table, objects)))
        });
        listing.await.cloned()
    }

    /// Makes the next question list `table` anew.
    pub(super) fn forget(&self, store: &str, table: &str) {
        self.lock().remove(&(store.to_string(), table.to_string()));
    }

    /// Makes every next question list anew.
    pub(super) fn forget_all(&self) {
        self.lock().clear();
    }

    fn slot(&self, store: &str, table: &str) -> Arc<OnceCell<Arc<Listing>>> {
        let now_ns = self.clock.now_ns();
        let fresh = |slot: &Slot| (0..self.fresh_ns).contains(&now_ns.saturating_sub(slot.since_ns));
        let mut slots = self.lock();
        let place = (store.to_string(), table.to_string());
        if let Some(slot) = slots.get(&place).filter(|slot| fresh(slot)) {
            return slot.listing.clone();
        }
        if slots.len() >= LISTINGS_MAX {
            slots.retain(|_, slot| fresh(slot));
        }
        if slots.len() >= LISTINGS_MAX {
            slots.clear();
        }
        let listing = Arc::new(OnceCell::new());
        slots.insert(place, Slot { since_ns: now_ns, listing: listing.clone() });
        listing
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(String, String), Slot>> {
        self.slots.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_by_name_and_place() {
        let object = |key: &str| ObjectMeta { key: key.into(), size: 1 };
        let keys = [
            "index/t_1/17-a-1.tsdb.gz",
            "index/t_1/18-a.tsdb",
            "index/t_1/acme/19-compactor-1-2-3.tsdb.gz",
            "index/t_1/a(c)/20-x.tsdb.gz",
            "index/t_1/acme/deeper/21-x.tsdb.gz",
            "index/t_1/acme/x-21.tsdb.gz",
            "index/t_1/22.tsdb.gz",
            "index/t_1/23-a.tsdb.gz.tmp",
            "index/t_1/-a.tsdb.gz",
            "index/t_10/24-a.tsdb.gz",
        ];
        let listing = Listing::of("index/t_1", keys.map(object).to_vec());
        let files = |tenant: &str| -> Vec<(String, bool)> {
            let tenant = TenantId::parse(tenant).unwrap();
            listing.files(&tenant).map(|(file, shared)| (file.key.clone(), shared)).collect()
        };
        let shared = [(keys[0].to_string(), true), (keys[1].to_string(), true)];
        assert_eq!(files("other"), shared);
        assert_eq!(files("acme"), [&[(keys[2].to_string(), false)], &shared[..]].concat());
        assert_eq!(files("a(c)")[0], (keys[3].to_string(), false));
    }
}
