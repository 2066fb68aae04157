//! Recorded samples on their way to Prometheus's remote write. Each client of a tenant has a backlog and a task of its
//! own, and where there is a directory for it, what was not sent yet is on disk. It must not know how samples come
//! about.

mod backlog;
mod directory;
mod metrics;
mod queue;
pub mod settings;
mod spool;
mod tenant;
mod wire;
mod writer;

use self::directory::{Backlogs, Bounds, DIRECTORY_BYTES_MAX};
use self::metrics::RemoteMetrics;
use self::tenant::{Ended, Tenant};
use crate::http::tls::Certificates;
use crate::outbound::Samples;
use crate::sample::Sample;
use crate::seldom::Seldom;
use model::TenantId;
use parking_lot::Mutex;
use runtime::clock::SharedClock;
use runtime::metrics::Metrics;
use runtime::reload::Reloader;
use runtime::tasks::Tasks;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

pub use self::settings::{QueueConfig, RemoteWriteClient, RemoteWriteSettings};

/// A tenant that has recorded nothing for so long keeps no connections.
const TENANT_IDLE: Duration = Duration::from_secs(3600);
/// How often such tenants are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// How often the directory of all samples that wait is looked through.
const DIRECTORY_EVERY: Duration = Duration::from_secs(10);

/// The settings of a tenant at this moment; equal ones change nothing.
pub type SettingsOf = Arc<dyn Fn(&TenantId) -> Arc<RemoteWriteSettings> + Send + Sync>;

/// What every tenant's part needs.
#[derive(Clone)]
struct Context {
    clock: SharedClock,
    tasks: Tasks,
    certificates: Arc<Certificates>,
    metrics: RemoteMetrics,
}

pub struct RemoteWriter {
    settings_of: SettingsOf,
    context: Context,
    tenants: Mutex<Tenants>,
    refused: Seldom,
    /// Of the directory.
    failed: Seldom,
    dropped: Seldom,
}

struct Tenants {
    by_id: HashMap<TenantId, Tenant>,
    /// Of every task that may still run.
    ended: Ended,
    swept: Instant,
}

impl RemoteWriter {
    /// Tasks that send end with `tasks`, after a short time for what is queued.
    pub fn new(
        settings_of: SettingsOf,
        clock: SharedClock,
        tasks: &Tasks,
        reloader: &Reloader,
        metrics: &Metrics,
    ) -> Self {
        let certificates = Arc::new(Certificates::new(reloader));
        let context = Context { clock, tasks: tasks.clone(), certificates, metrics: RemoteMetrics::new(metrics) };
        let tenants = Mutex::new(Tenants { by_id: HashMap::new(), ended: Ended::new(), swept: Instant::now() });
        RemoteWriter {
            settings_of,
            context,
            tenants,
            refused: Seldom::default(),
            failed: Seldom::default(),
            dropped: Seldom::default(),
        }
    }

    /// Takes up what all tenants left in `ruler.wal.dir`, now and again and again, and bounds what is there, also what
    /// nobody sends. Ends with the tasks that send.
    pub fn resume(self: &Arc<Self>, dir: PathBuf, max_age: Duration) {
        let (writer, stop) = (self.clone(), self.context.tasks.stopping());
        let bounds = Bounds { bytes: DIRECTORY_BYTES_MAX, age: max_age };
        self.context.tasks.spawn("samples on disk", async move {
            let (mut ticks, mut shown) = (tokio::time::interval(DIRECTORY_EVERY), BTreeMap::new());
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    _ = ticks.tick() => {}
                }
                if let Err(error) = writer.look_through(&dir, bounds, &mut shown).await
                    && let Some(count) = writer.failed.say(1)
                {
                    tracing::error!(%error, count, "the directory of samples cannot be looked through (ruler.wal.dir)");
                }
            }
        });
    }

    /// `shown` are the bytes by tenant that the metrics hold.
    async fn look_through(&self, dir: &Path, bounds: Bounds, shown: &mut BTreeMap<String, u64>) -> io::Result<()> {
        let (dir, metrics) = (dir.to_path_buf(), self.context.metrics.clone());
        let (found, tenants) = blocking(move || directory::find(&dir)).await?;
        let with_samples: BTreeSet<&str> = found.iter().map(|segment| segment.tenant.as_str()).collect();
        with_samples.into_iter().for_each(|tenant| self.take_up(tenant));
        let in_use = self.in_use();
        let now = SystemTime::UNIX_EPOCH + Duration::from_nanos(self.context.clock.now_ns().max(0) as u64);
        let (kept, lost) = blocking(move || directory::bound(found, bounds, now, &in_use, &metrics)).await?;
        if let Some(count) = self.dropped.say(lost) {
            let (limit, age) = (bounds.bytes, bounds.age);
            tracing::error!(
                count,
                limit,
                ?age,
                "samples on disk are lost: too much waits, or too long (ruler.wal.dir)"
            );
        }
        let sizes = directory::sizes(tenants, &kept);
        let metrics = &self.context.metrics;
        shown.keys().filter(|tenant| !sizes.contains_key(*tenant)).for_each(|tenant| metrics.disk_size(tenant, None));
        sizes.iter().for_each(|(tenant, bytes)| metrics.disk_size(tenant, Some(*bytes)));
        *shown = sizes;
        Ok(())
    }

    /// Sees to it that the samples that a tenant has on disk are sent as its settings say now.
    fn take_up(&self, tenant: &str) {
        let Ok(tenant) = TenantId::parse(tenant) else { return };
        let settings = (self.settings_of)(&tenant);
        let begun = self.tenants.lock().update(&tenant, settings, &self.context);
        if let Err(fault) = begun
            && let Some(count) = self.refused.say(1)
        {
            tracing::error!(%tenant, fault, count, "settings of remote write cannot be used: samples stay on disk");
        }
    }

    /// And shows whose disk takes samples.
    fn in_use(&self) -> Backlogs {
        let tenants = self.tenants.lock();
        let mut in_use = Backlogs::new();
        for (id, tenant) in &tenants.by_id {
            let ready: Vec<bool> = tenant.backlogs().filter_map(|backlog| backlog.is_ready()).collect();
            if !ready.is_empty() {
                self.context.metrics.ready(id.as_str(), ready.iter().all(|ready| *ready));
            }
            let backlogs =
                tenant.backlogs().filter_map(|backlog| Some((backlog.dir()?.to_path_buf(), backlog.clone())));
            in_use.extend(backlogs);
        }
        in_use
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

impl Samples for RemoteWriter {
    fn append(&self, tenant: &TenantId, samples: Vec<Sample>) {
        let settings = (self.settings_of)(tenant);
        let mut tenants = self.tenants.lock();
        tenants.sweep(tenant);
        let changed = tenants.update(tenant, settings, &self.context);
        let current = tenants.by_id.get_mut(tenant);
        if let Err(fault) = changed
            && let Some(count) = self.refused.say(1)
        {
            let consequence = if current.is_some() { "the ones before stay in use" } else { "samples are lost" };
            tracing::error!(%tenant, fault, count, "settings of remote write cannot be used: {consequence}");
        }
        if let Some(current) = current {
            current.append(&samples);
        }
    }
}

impl Tenants {
    fn update(
        &mut self,
        tenant: &TenantId,
        settings: Arc<RemoteWriteSettings>,
        context: &Context,
    ) -> Result<(), String> {
        if self.by_id.get(tenant).is_some_and(|known| known.has(&settings)) {
            return Ok(());
        }
        let mut new = Tenant::new(tenant, settings, context)?;
        // The metrics of the old one end before those of the new one begin.
        if let Some(old) = self.by_id.remove(tenant) {
            old.give_over(&new);
        }
        new.start(&mut self.ended);
        self.by_id.insert(tenant.clone(), new);
        Ok(())
    }

    fn sweep(&mut self, in_use: &TenantId) {
        let now = Instant::now();
        if now.duration_since(self.swept) >= SWEEP_EVERY {
            self.swept = now;
            self.by_id.retain(|tenant, state| tenant == in_use || state.is_busy(now, TENANT_IDLE));
            self.ended.retain(|_, ended| !ended.is_cancelled());
        }
    }
}

#[cfg(test)]
#[path = "remote_write_tests.rs"]
mod tests;
