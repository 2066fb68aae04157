//! Delete requests: taken, kept in the bucket, told to queries as filters and to the compactor when they are due.
//! It must not know how lines are removed.

use crate::book::{self, Body, Book, Kept, Object, Text};
use crate::erase::Due;
use crate::metrics::{Metrics, UserLabel};
use async_trait::async_trait;
use bytes::Bytes;
use format::ChunkRef;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use model::{Error, Kind, Result, TenantId, TimeRange};
use parking_lot::Mutex;
use rpc::deletes::{DeleteFilter, DeleteRequest, Deletes, NewDelete};
use runtime::clock::SharedClock;
use runtime::limits::{DeletionMode, Overrides};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use storage::objects::Objects;

/// Where the requests of each tenant are: `<tenant>/<created>-<id>.json`.
const PREFIX: &str = "lokirs/deletes/";
/// How long what was read counts as current: a change by another process is seen after at most this.
const FRESH: Duration = Duration::from_secs(10);
/// Tenants whose requests are remembered; beyond, all are read again.
const TENANTS_MAX: usize = 10_000;
/// Requests read at a time.
const PARALLEL_READS: usize = 16;
/// Added to the cancel period before a request is carried out, so that nobody cancels what is under way.
const CANCEL_MARGIN: Duration = Duration::from_secs(60);

/// Every process may have one; the requests are the bucket's.
pub struct DeleteRequests {
    objects: Objects,
    limits: Arc<Overrides>,
    clock: SharedClock,
    cancel_period: Duration,
    metrics: Metrics,
    /// Held while a request is taken or taken back.
    writing: tokio::sync::Mutex<()>,
    pages: Mutex<Pages>,
}

#[derive(Default)]
struct Pages {
    by_tenant: HashMap<TenantId, Arc<Page>>,
    /// Counts our own changes: what was listed before one is not remembered after it.
    changes: u64,
}

/// A book as it was read.
#[derive(Default)]
struct Page {
    read_ns: i64,
    book: Book,
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
        for tenant in self.tenants().await? {
            let page = match self.read(&tenant).await {
                Err(e) if e.kind == Kind::Corrupt => {
                    tracing::error!(error = %e, "delete requests cannot be read");
                    continue;
                }
                page => page?,
            };
            let open = || page.book.requests.values().filter(|kept| !kept.processed).map(|kept| &kept.text);
            pending += open().count();
            oldest_ns = open().map(|text| text.created_ns).fold(oldest_ns, i64::min);
            if self.limits.tenant(&tenant).deletion_mode == DeletionMode::FilterAndDelete {
                let ripe = open().filter(|text| text.created_ns <= latest_ns);
                let ripe = ripe.map(|text| Due { id: text.id.clone(), filter: text.filter.clone() });
                due.insert(tenant, ripe.collect::<Vec<_>>());
            }
        }
        due.retain(|_, requests| !requests.is_empty());
        self.metrics.requests_pending.set(i64::try_from(pending).unwrap_or(i64::MAX));
        self.metrics.requests_pending_age_seconds.set(now_ns.saturating_sub(oldest_ns) / 1_000_000_000);
        Ok(due)
    }

    /// Tenants that have requests.
    async fn tenants(&self) -> Result<Vec<TenantId>> {
        let listed = self.objects.list(PREFIX).await?;
        let name = |key: &str| TenantId::parse(key.strip_prefix(PREFIX)?.split_once('/')?.0).ok();
        let mut tenants: Vec<TenantId> = listed.iter().filter_map(|object| name(&object.key)).collect();
        tenants.dedup();
        Ok(tenants)
    }

    /// Notes that requests are carried out. One that was cancelled meanwhile is not there.
    pub(crate) async fn processed(&self, tenant: &TenantId, ids: &[String]) -> Result<()> {
        for (name, kept) in &self.read(tenant).await?.book.requests {
            if ids.contains(&kept.text.id) && !kept.processed {
                self.objects.put(&key(tenant, &book::processed_file(name)), Bytes::new()).await?;
            }
        }
        self.forget(tenant);
        self.metrics.requests_processed.get_or_create(&user(tenant)).inc_by(ids.len() as u64);
        Ok(())
    }

    /// Makes requests due again that may speak of a chunk: it was taken out of the index, and somebody who did not know
    /// listed it again.
    pub(crate) async fn reopen(&self, tenant: &TenantId, chunk: &ChunkRef) -> Result<()> {
        for (name, kept) in &self.read(tenant).await?.book.requests {
            let due = Due { id: kept.text.id.clone(), filter: kept.text.filter.clone() };
            if kept.processed && due.overlaps((chunk.from_ms, chunk.through_ms)) {
                tracing::warn!(%tenant, id = due.id, "a delete request is due again: the index lists a chunk once more");
                self.objects.delete(&key(tenant, &book::processed_file(name))).await?;
            }
        }
        self.forget(tenant);
        Ok(())
    }

    /// What was read a moment ago, or is read now.
    async fn current(&self, tenant: &TenantId) -> Result<Arc<Page>> {
        let known = self.known(tenant);
        let now_ns = self.clock.now_ns();
        match known.filter(|page| (0..nanos(FRESH)).contains(&now_ns.saturating_sub(page.read_ns))) {
            Some(page) => Ok(page),
            None => self.read(tenant).await,
        }
    }

    fn known(&self, tenant: &TenantId) -> Option<Arc<Page>> {
        self.pages.lock().by_tenant.get(tenant).cloned()
    }

    /// Lists the tenant's objects and reads the requests that are new.
    async fn read(&self, tenant: &TenantId) -> Result<Arc<Page>> {
        let changes = self.pages.lock().changes;
        let known = self.known(tenant).unwrap_or_default();
        let read_ns = self.clock.now_ns();
        let folder = key(tenant, "");
        let listed = self.objects.list(&folder).await.map_err(|e| e.context("delete requests"))?;
        let files: Vec<&str> = listed.iter().filter_map(|object| object.key.strip_prefix(&folder)).collect();
        let mut reads = Vec::new();
        for file in &files {
            if let Some(Object::Request(name)) = book::object(file) {
                reads.push(self.text(tenant, name, &known).boxed());
            }
        }
        let texts: Vec<Option<(String, Arc<Text>)>> =
            stream::iter(reads).buffered(PARALLEL_READS).try_collect().await?;
        let mut requests: BTreeMap<String, Kept> =
            texts.into_iter().flatten().map(|(name, text)| (name, Kept { text, processed: false })).collect();
        for file in files {
            if let Some(Object::Processed(name)) = book::object(file)
                && let Some(kept) = requests.get_mut(name)
            {
                kept.processed = true;
            }
        }
        let page = Arc::new(Page { read_ns, book: Book { requests } });
        let mut pages = self.pages.lock();
        if pages.changes == changes {
            pages.remember(tenant, page.clone());
        }
        Ok(page)
    }

    /// `None` when it was cancelled since it was listed.
    async fn text(&self, tenant: &TenantId, name: &str, known: &Page) -> Result<Option<(String, Arc<Text>)>> {
        if let Some(kept) = known.book.requests.get(name) {
            return Ok(Some((name.into(), kept.text.clone())));
        }
        let key = key(tenant, &book::request_file(name));
        let body = match self.objects.get(&key).await {
            Err(e) if e.kind == Kind::NotFound => return Ok(None),
            body => body.map_err(|e| e.context("delete requests"))?,
        };
        let body: Body = serde_json::from_slice(&body).map_err(|e| Error::corrupt(format!("{key}: {e}")))?;
        let text = Text::new(name, body).map_err(|e| e.context(&key))?;
        Ok(Some((name.into(), Arc::new(text))))
    }

    /// What the tenant has after a change of ours.
    fn changed(&self, tenant: &TenantId, book: Book) {
        let page = Arc::new(Page { read_ns: self.clock.now_ns(), book });
        let mut pages = self.pages.lock();
        pages.changes += 1;
        pages.remember(tenant, page);
    }

    /// The next answer is read anew. Texts stay: they never change.
    fn forget(&self, tenant: &TenantId) {
        let mut pages = self.pages.lock();
        pages.changes += 1;
        if let Some(page) = pages.by_tenant.get_mut(tenant) {
            *page = Arc::new(Page { read_ns: i64::MIN, book: page.book.clone() });
        }
    }

    fn is_enabled(&self, tenant: &TenantId) -> bool {
        self.limits.tenant(tenant).deletion_mode != DeletionMode::Disabled
    }

    fn require_enabled(&self, tenant: &TenantId) -> Result<()> {
        let refused = || Error::new(Kind::Forbidden, "deletion is not available for this tenant");
        self.is_enabled(tenant).then_some(()).ok_or_else(refused)
    }
}

impl Pages {
    fn remember(&mut self, tenant: &TenantId, page: Arc<Page>) {
        if self.by_tenant.len() >= TENANTS_MAX {
            self.by_tenant.clear();
        }
        self.by_tenant.insert(tenant.clone(), page);
    }
}

#[async_trait]
impl Deletes for DeleteRequests {
    async fn create(&self, tenant: &TenantId, request: NewDelete) -> Result<String> {
        self.require_enabled(tenant)?;
        let _turn = self.writing.lock().await;
        let mut book = self.read(tenant).await?.book.clone();
        if let Some(name) = book.overdue()? {
            self.objects.delete(&key(tenant, &book::request_file(&name))).await?;
            self.objects.delete(&key(tenant, &book::processed_file(&name))).await?;
            book.requests.remove(&name);
        }
        let name = book.new_name(tenant, &request, self.clock.now_ns())?;
        let body = Body::new(&request);
        let json = serde_json::to_vec(&body).map_err(|e| Error::internal(format!("delete request: {e}")))?;
        self.objects.put(&key(tenant, &book::request_file(&name)), json.into()).await?;
        let text = Arc::new(Text::new(&name, body)?);
        let id = text.id.clone();
        book.requests.insert(name, Kept { text, processed: false });
        self.changed(tenant, book);
        self.metrics.requests_received.get_or_create(&user(tenant)).inc();
        Ok(id)
    }

    async fn list(&self, tenant: &TenantId) -> Result<Vec<DeleteRequest>> {
        self.require_enabled(tenant)?;
        Ok(self.read(tenant).await?.book.requests.values().map(Kept::request).collect())
    }

    async fn cancel(&self, tenant: &TenantId, id: &str, force: bool) -> Result<()> {
        self.require_enabled(tenant)?;
        let _turn = self.writing.lock().await;
        let mut book = self.read(tenant).await?.book.clone();
        let deadline_ns = self.clock.now_ns().saturating_sub(nanos(self.cancel_period));
        let name = book.cancellable(id, force, deadline_ns)?;
        self.objects.delete(&key(tenant, &book::request_file(&name))).await?;
        book.requests.remove(&name);
        self.changed(tenant, book);
        Ok(())
    }

    /// Processed requests hide lines as well: lines that were not yet stored when a request was carried out.
    async fn filters(&self, tenant: &TenantId, range: TimeRange) -> Result<Vec<DeleteFilter>> {
        if !self.is_enabled(tenant) {
            return Ok(vec![]);
        }
        let page = self.current(tenant).await?;
        let filters = page.book.requests.values().map(|kept| &kept.text.filter);
        Ok(filters.filter(|f| range.overlaps(f.start_ns, f.end_ns)).cloned().collect())
    }

    async fn generation(&self, tenant: &TenantId) -> Result<String> {
        Ok(self.current(tenant).await?.book.generation())
    }
}

fn key(tenant: &TenantId, file: &str) -> String {
    format!("{PREFIX}{tenant}/{file}")
}

fn user(tenant: &TenantId) -> UserLabel {
    UserLabel { user: tenant.to_string() }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}
