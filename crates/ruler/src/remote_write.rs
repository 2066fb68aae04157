//! Recorded samples on their way to Prometheus's remote write. Each client of a tenant has a queue and a task of its
//! own, and where there is a directory for it, what cannot be sent waits on disk. It must not know how samples come
//! about.

mod disk;
mod metrics;
mod queue;
pub mod settings;
mod spool;
mod tenant;
mod wire;
mod writer;

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
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

pub use self::settings::{QueueConfig, RemoteWriteClient, RemoteWriteSettings};

/// A tenant that has recorded nothing for so long keeps no connections.
const TENANT_IDLE: Duration = Duration::from_secs(3600);
/// How often such tenants are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

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
        RemoteWriter { settings_of, context, tenants, refused: Seldom::default() }
    }
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
        drop(self.by_id.remove(tenant));
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
