//! Delete requests: taken, kept in the bucket, told to queries as filters and to the compactor when they are due.
//! It must not know how lines are removed.

use crate::book::Book;
use crate::erase::Due;
use crate::metrics::{Metrics, UserLabel};
use async_trait::async_trait;
use model::{Error, Kind, Result, TenantId, TimeRange};
use parking_lot::Mutex;
use rpc::deletes::{DeleteFilter, DeleteRequest, Deletes, NewDelete};
use runtime::clock::SharedClock;
use runtime::limits::{DeletionMode, Overrides};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use storage::objects::Objects;

/// Where the requests of each tenant are: `<tenant>.json`.
const PREFIX: &str = "lokirs/deletes/";
/// How long what was read counts as current: a change by another compactor is seen after at most this.
const FRESH: Duration = Duration::from_secs(10);
/// Tenants whose requests are remembered; beyond, all are read again.
const TENANTS_MAX: usize = 10_000;
/// Added to the cancel period before a request is carried out, so that nobody cancels what is under way.
const CANCEL_MARGIN: Duration = Duration::from_secs(60);

pub struct DeleteRequests {
    objects: Objects,
    limits: Arc<Overrides>,
    clock: SharedClock,
    cancel_period: Duration,
    metrics: Metrics,
    /// Held from a read of a book to its write: the requests of a tenant change one after the other.
    writing: tokio::sync::Mutex<()>,
    pages: Mutex<HashMap<TenantId, Arc<Page>>>,
}

/// A book as it was read.
struct Page {
    read_ns: i64,
    book: Book,
    /// Of each request, in the book's order.
    filters: Vec<DeleteFilter>,
}

impl DeleteRequests {
    /// `objects` is the bucket of `delete_request_store`.
    pub fn new(
        objects: Objects,
        limits: Arc<Overrides>,
        clock: SharedClock,
        cancel_period: Duration,
        metrics: Metrics,
    ) -> Self {
        let (writing, pages) = (tokio::sync::Mutex::new(()), Mutex::default());
        DeleteRequests { objects, limits, clock, cancel_period, metrics, writing, pages }
    }

    /// What is to be carried out now: requests that cannot be taken back any more, of tenants whose `deletion_mode` is
    /// `filter-and-delete`.
    pub(crate) async fn due(&self) -> Result<HashMap<TenantId, Vec<Due>>> {
        let now_ns = self.clock.now_ns();
        let latest_ns = now_ns.saturating_sub(nanos(self.cancel_period.saturating_add(CANCEL_MARGIN)));
        let (mut due, mut pending, mut oldest_ns) = (HashMap::new(), 0, now_ns);
        for object in self.objects.list(PREFIX).await? {
            let name = object.key.strip_prefix(PREFIX).and_then(|name| name.strip_suffix(".json"));
            let Some(tenant) = name.and_then(|name| TenantId::parse(name).ok()) else { continue };
            let page = match self.read(&tenant).await {
                Err(e) if e.kind == Kind::Corrupt => {
                    tracing::error!(error = %e, "delete requests cannot be read");
                    continue;
                }
                page => page?,
            };
            let open = || page.book.requests().iter().zip(&page.filters).filter(|(kept, _)| !kept.processed);
            pending += open().count();
            oldest_ns = open().map(|(kept, _)| kept.created_ns).fold(oldest_ns, i64::min);
            if self.limits.tenant(&tenant).deletion_mode == DeletionMode::FilterAndDelete {
                let ripe = open().filter(|(kept, _)| kept.created_ns <= latest_ns);
                let ripe = ripe.map(|(kept, filter)| Due { id: kept.id.clone(), filter: filter.clone() });
                due.insert(tenant, ripe.collect::<Vec<_>>());
            }
        }
        due.retain(|_, requests| !requests.is_empty());
        self.metrics.requests_pending.set(i64::try_from(pending).unwrap_or(i64::MAX));
        self.metrics.requests_pending_age_seconds.set(now_ns.saturating_sub(oldest_ns) / 1_000_000_000);
        Ok(due)
    }

    /// Notes that requests are carried out.
    pub(crate) async fn processed(&self, tenant: &TenantId, ids: &[String]) -> Result<()> {
        self.change(tenant, |book, _| {
            book.process(ids);
            Ok(())
        })
        .await?;
        self.metrics.requests_processed.get_or_create(&user(tenant)).inc_by(ids.len() as u64);
        Ok(())
    }

    /// Reads the book, lets `change` write in it at the time it is given, and stores it.
    async fn change<T>(&self, tenant: &TenantId, change: impl FnOnce(&mut Book, i64) -> Result<T>) -> Result<T> {
        let _turn = self.writing.lock().await;
        let mut book = self.read(tenant).await?.book.clone();
        let now_ns = self.clock.now_ns();
        let answer = change(&mut book, now_ns)?;
        book.generation_ns = now_ns.max(book.generation_ns.saturating_add(1));
        let body = serde_json::to_vec(&book).map_err(|e| Error::internal(format!("delete requests: {e}")))?;
        self.objects.put(&key(tenant), body.into()).await?;
        self.remember(tenant, book)?;
        Ok(answer)
    }

    /// What was read a moment ago, or is read now.
    async fn current(&self, tenant: &TenantId) -> Result<Arc<Page>> {
        let known = self.pages.lock().get(tenant).cloned();
        let now_ns = self.clock.now_ns();
        match known.filter(|page| (0..nanos(FRESH)).contains(&now_ns.saturating_sub(page.read_ns))) {
            Some(page) => Ok(page),
            None => self.read(tenant).await,
        }
    }

    async fn read(&self, tenant: &TenantId) -> Result<Arc<Page>> {
        let book = match self.objects.get(&key(tenant)).await {
            Ok(body) => serde_json::from_slice(&body).map_err(|e| Error::corrupt(format!("{}: {e}", key(tenant))))?,
            Err(e) if e.kind == Kind::NotFound => Book::default(),
            Err(e) => return Err(e.context("delete requests")),
        };
        self.remember(tenant, book)
    }

    fn remember(&self, tenant: &TenantId, book: Book) -> Result<Arc<Page>> {
        let filters = book.requests().iter().map(|kept| kept.filter()).collect::<Result<_>>();
        let filters = filters.map_err(|e| e.context(key(tenant)))?;
        let page = Arc::new(Page { read_ns: self.clock.now_ns(), book, filters });
        let mut pages = self.pages.lock();
        if pages.len() >= TENANTS_MAX {
            pages.clear();
        }
        pages.insert(tenant.clone(), page.clone());
        Ok(page)
    }

    fn is_enabled(&self, tenant: &TenantId) -> bool {
        self.limits.tenant(tenant).deletion_mode != DeletionMode::Disabled
    }

    fn require_enabled(&self, tenant: &TenantId) -> Result<()> {
        let refused = || Error::new(Kind::Forbidden, "deletion is not available for this tenant");
        self.is_enabled(tenant).then_some(()).ok_or_else(refused)
    }
}

#[async_trait]
impl Deletes for DeleteRequests {
    async fn create(&self, tenant: &TenantId, request: NewDelete) -> Result<String> {
        self.require_enabled(tenant)?;
        let id = self.change(tenant, |book, now_ns| book.add(tenant, &request, now_ns)).await?;
        self.metrics.requests_received.get_or_create(&user(tenant)).inc();
        Ok(id)
    }

    async fn list(&self, tenant: &TenantId) -> Result<Vec<DeleteRequest>> {
        self.require_enabled(tenant)?;
        Ok(self.read(tenant).await?.book.requests().iter().map(|kept| kept.request()).collect())
    }

    async fn cancel(&self, tenant: &TenantId, id: &str, force: bool) -> Result<()> {
        self.require_enabled(tenant)?;
        let period_ns = nanos(self.cancel_period);
        self.change(tenant, |book, now_ns| book.cancel(id, force, now_ns.saturating_sub(period_ns))).await
    }

    /// Processed requests hide lines as well: lines that were not yet stored when a request was carried out.
    async fn filters(&self, tenant: &TenantId, range: TimeRange) -> Result<Vec<DeleteFilter>> {
        if !self.is_enabled(tenant) {
            return Ok(vec![]);
        }
        let page = self.current(tenant).await?;
        Ok(page.filters.iter().filter(|f| range.overlaps(f.start_ns, f.end_ns)).cloned().collect())
    }

    async fn generation(&self, tenant: &TenantId) -> Result<String> {
        let generation_ns = self.current(tenant).await?.book.generation_ns;
        Ok(if generation_ns == 0 { String::new() } else { generation_ns.to_string() })
    }
}

fn key(tenant: &TenantId) -> String {
    format!("{PREFIX}{tenant}.json")
}

fn user(tenant: &TenantId) -> UserLabel {
    UserLabel { user: tenant.to_string() }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}
