//! The ingester: log a batch, hold it, answer for it, store it. This file is the order of things; each step has a file
//! of its own. It must not know HTTP, the ring, or where chunks go.

use crate::admit::admit;
use crate::core::{Core, StreamShare};
use crate::flush::{self, ChunkSink, FlushQueue};
use crate::metrics::Metrics;
use crate::patterns::Patterns;
use crate::recover::recover_aside;
use crate::seal::SealQueue;
use crate::settings::Settings;
use crate::share::{self, Compressors, OUTBOX_OFFERS, Outgoing};
use crate::ship::{self, Shipments, ship_all};
use crate::spill::Spill;
use crate::tail::Tails;
use crate::tenant::Tenants;
use crate::wal::Wal;
use crate::wal::disk::Disk;
use crate::{select, sweep};
use async_trait::async_trait;
use futures::stream::BoxStream;
use model::{Batch, Error, Labels, Result, TenantId};
use parking_lot::Mutex;
use rpc::ingester::{
    OfferedBlock, PatternsRequest, PushOutcome, RecentRequest, RecentStream, StreamPatterns, StreamSize, Tailed,
};
use runtime::clock::SharedClock;
use runtime::limits::Overrides;
use runtime::memory::Budget;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// What an ingester is made of.
pub struct Parts {
    pub settings: Settings,
    pub clock: SharedClock,
    pub budget: Arc<Budget>,
    pub limits: Arc<Overrides>,
    pub stream_share: StreamShare,
    pub sink: Arc<dyn ChunkSink>,
    /// Which replica compresses a stream's blocks.
    pub compressors: Compressors,
    /// Where the log is written: [`crate::wal::disk::FileSystem`], or a test's.
    pub disk: Arc<dyn Disk>,
    pub metrics: Metrics,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Phase {
    /// Reads are served, pushes are not yet.
    Replaying,
    Ready,
    /// Reads are served, pushes no more.
    Stopping,
}

/// Dropping it without [`Ingester::shutdown`] leaves everything to the log, as a crash does.
pub struct Ingester {
    core: Arc<Core>,
    phase: watch::Sender<Phase>,
    /// One permit for each push in progress.
    pushes: Arc<Semaphore>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    /// Every task of the ingester, pushes included.
    owned: TaskTracker,
}

impl Ingester {
    /// Opens the log and begins to replay it; reads are served at once, pushes from [`Ingester::recovered`] on.
    /// `Err` when settings are out of range or the log's directory cannot be used.
    pub async fn start(parts: Parts) -> Result<Arc<Ingester>> {
        parts.settings.check()?;
        let metrics = parts.metrics;
        let (wal_settings, disk, wal_metrics) = (parts.settings.wal.clone(), parts.disk, metrics.clone());
        let open = tokio::task::spawn_blocking(move || Wal::open(&wal_settings, disk, &wal_metrics)).await;
        let (wal, old) = open.map_err(|e| Error::internal(format!("opening the write-ahead log: {e}")))??;
        let start_patterns = |settings| {
            let (clock, limits) = (parts.clock.clone(), parts.limits.clone());
            Patterns::start(settings, clock, limits, parts.budget.clone(), metrics.clone())
        };
        let patterns = parts.settings.patterns.clone().map(start_patterns).transpose()?;
        let (dir, above) = (&parts.settings.wal.dir, parts.settings.spill_above);
        let spill = Spill::new(dir, above, parts.budget.clone(), metrics.clone());
        let (outbox, offers) = mpsc::channel(OUTBOX_OFFERS);
        let core = Arc::new(Core {
            patterns,
            tails: Tails::new(parts.budget.clone(), parts.settings.chunk_layout, metrics.clone()),
            clock: parts.clock,
            budget: parts.budget,
            limits: parts.limits,
            stream_share: parts.stream_share,
            sink: parts.sink,
            compressors: parts.compressors,
            tenants: Tenants::default(),
            wal,
            unread: Mutex::new(old),
            seals: SealQueue::start(&parts.settings, spill, outbox, &metrics)?,
            flushes: FlushQueue::default(),
            shipments: Shipments::default(),
            pressure: Notify::new(),
            stop: CancellationToken::new(),
            settings: parts.settings,
            metrics,
        });
        let pushes = Arc::new(Semaphore::new(core.settings.pushes_max));
        let phase = watch::Sender::new(Phase::Replaying);
        let ingester = Arc::new(Ingester { core, phase, pushes, tasks: Mutex::default(), owned: TaskTracker::new() });
        ingester.spawn_tasks(offers);
        Ok(ingester)
    }

    fn spawn_tasks(self: &Arc<Self>, offers: mpsc::Receiver<Outgoing>) {
        let core = &self.core;
        let mut tasks: Vec<_> =
            (0..core.settings.concurrent_flushes).map(|_| self.owned.spawn(flush::work(core.clone()))).collect();
        tasks.push(self.owned.spawn(ship::work(core.clone())));
        tasks.push(self.owned.spawn(sweep::work(core.clone())));
        tasks.push(self.owned.spawn(give_up_waiting(core.clone())));
        let (stop, metrics) = (core.stop.clone(), core.metrics.clone());
        tasks.push(self.owned.spawn(async move {
            stop.run_until_cancelled(share::send(offers, metrics)).await;
        }));
        let (weak, core) = (Arc::downgrade(self), core.clone());
        tasks.push(self.owned.spawn(async move {
            recover_aside(core).await;
            if let Some(ingester) = weak.upgrade() {
                ingester.phase.send_if_modified(|phase| {
                    let replayed = *phase == Phase::Replaying;
                    if replayed {
                        *phase = Phase::Ready;
                    }
                    replayed
                });
            }
        }));
        *self.tasks.lock() = tasks;
    }

    pub fn is_ready(&self) -> bool {
        *self.phase.borrow() == Phase::Ready
    }

    /// Returns when the log is replayed.
    pub async fn recovered(&self) {
        let _ = self.phase.subscribe().wait_for(|phase| *phase != Phase::Replaying).await;
    }

    /// Streams in memory.
    pub fn streams(&self) -> u64 {
        self.core.tenants.streams()
    }

    /// Looks at every stream now, as is done every `flush_check_period`.
    pub fn sweep(&self) {
        sweep::sweep(&self.core);
    }

    /// Takes no more pushes and ends those in progress; with `flush`, stores and ships everything and returns when that
    /// is done, however long it takes. Without, what is not stored is left to the log.
    pub async fn shutdown(&self, flush: bool) -> Result<()> {
        if flush {
            self.recovered().await;
        }
        self.phase.send_replace(Phase::Stopping);
        let all = u32::try_from(self.core.settings.pushes_max).unwrap_or(u32::MAX);
        let _drained = self.pushes.acquire_many(all).await;
        self.core.tails.close();
        if flush {
            let (start_ns, used) = (self.core.clock.now_ns(), self.core.budget.used_bytes());
            let chunks = self.flush_all().await;
            let took = Duration::from_nanos(self.core.clock.now_ns().saturating_sub(start_ns).max(0) as u64);
            tracing::info!(chunks, memory_bytes = used, ?took, "the ingester has stored everything");
        }
        self.core.stop.cancel();
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for task in tasks {
            let _ = task.await;
        }
        Ok(())
    }

    /// Answers how many chunks were stored for it.
    async fn flush_all(&self) -> usize {
        let core = &self.core;
        let mut waiting = vec![];
        for tenant in core.tenants.all() {
            for stream in tenant.all() {
                let mut state = stream.lock();
                waiting.extend(state.closing.iter().map(|c| c.stored.subscribe()));
                let closed = state.close("forced");
                drop(state);
                if let Some(chunk) = closed {
                    waiting.push(chunk.stored.subscribe());
                    core.flushes.push(&tenant.id, &stream, chunk, &core.metrics);
                }
            }
        }
        let chunks = waiting.len();
        for mut stored in waiting {
            let _ = stored.wait_for(|stored| *stored).await;
        }
        // The segment that is written holds what is stored by now; it can go only when it has ended.
        core.wal.roll().await;
        ship_all(core).await;
        chunks
    }

    fn admit_push(&self) -> Result<OwnedSemaphorePermit> {
        match *self.phase.borrow() {
            Phase::Ready => {}
            Phase::Replaying => return Err(Error::unavailable("ingester is starting")),
            Phase::Stopping => return Err(Error::unavailable("ingester is shutting down")),
        }
        let permit = self.pushes.clone().try_acquire_owned();
        let permit =
            permit.map_err(|_| Error::unavailable("too many pushes at once (setting: ingester.pushes_max)"))?;
        // Looked at again: from here on a shutdown waits for this push.
        match *self.phase.borrow() {
            Phase::Ready => Ok(permit),
            _ => Err(Error::unavailable("ingester is shutting down")),
        }
    }
}

impl Drop for Ingester {
    fn drop(&mut self) {
        self.core.stop.cancel();
    }
}

/// Until the ingester stops.
async fn give_up_waiting(core: Arc<Core>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(share::WAIT) => core.seals.give_up_waiting().await,
            () = core.stop.cancelled() => return,
        }
    }
}

/// Decide, log, take into memory, tell: the whole of a push.
async fn push(core: Arc<Core>, tenant: TenantId, batch: Batch, _permit: OwnedSemaphorePermit) -> Result<PushOutcome> {
    let memory = core.reserve(batch.data.len() as u64, "a push")?;
    let tenant = core.tenants.get_or_insert(&tenant, &core.metrics);
    let admitted = admit(&core, &tenant, &batch)?;
    if !admitted.batch.is_empty() {
        let logged = core.wal.append(tenant.id.clone(), admitted.batch.clone());
        let logged = logged.instrument(tracing::info_span!("log append")).await;
        if logged.is_err() || core.wal.is_short() {
            core.pressure.notify_one();
        }
        let hold = logged?;
        let cut = core.apply(&tenant, &admitted.batch, &admitted.streams, &hold, memory)?;
        core.tails.publish(&tenant.id, &admitted.batch, &admitted.streams)?;
        if let Some(patterns) = &core.patterns {
            patterns.observe(&tenant.id, &admitted.batch, &admitted.streams);
        }
        core.seals.submit(cut, &core.compressors).await;
    }
    Ok(PushOutcome { rejected: admitted.rejected })
}

#[async_trait]
impl rpc::ingester::Ingester for Ingester {
    async fn push(&self, tenant: &TenantId, batch: Batch) -> Result<PushOutcome> {
        let permit = self.admit_push()?;
        // A task of its own: a push that is logged must reach memory even if its caller goes away.
        let span = tracing::info_span!("ingester push", org_id = tenant.as_str(), bytes = batch.data.len());
        let pushed = self.owned.spawn(push(self.core.clone(), tenant.clone(), batch, permit).instrument(span));
        pushed.await.map_err(|e| Error::internal(format!("a push ended early: {e}")))?
    }

    async fn select(&self, request: RecentRequest) -> Result<BoxStream<'static, Result<RecentStream>>> {
        Ok(select::select(self.core.clone(), request))
    }

    async fn tail(&self, request: RecentRequest) -> Result<BoxStream<'static, Result<Tailed>>> {
        let max = self.core.limits.tenant(&request.tenant).max_concurrent_tail_requests;
        self.core.tails.open(request, max)
    }

    async fn labels(&self, request: RecentRequest, name: Option<String>) -> Result<Vec<String>> {
        Ok(select::labels(&self.core, &request, name.as_deref()))
    }

    async fn series(&self, request: RecentRequest) -> Result<Vec<Labels>> {
        Ok(select::series(&self.core, &request))
    }

    async fn sizes(&self, request: RecentRequest) -> Result<Vec<StreamSize>> {
        Ok(select::sizes(&self.core, &request))
    }

    async fn patterns(&self, request: PatternsRequest) -> Result<Vec<StreamPatterns>> {
        Ok(self.core.patterns.as_ref().map_or(vec![], |patterns| patterns.answer(&request)))
    }

    async fn offer(&self, blocks: Vec<OfferedBlock>) -> Result<()> {
        self.core.seals.offered(blocks).await;
        Ok(())
    }

    async fn flush(&self) -> Result<()> {
        self.recovered().await;
        self.flush_all().await;
        Ok(())
    }
}
