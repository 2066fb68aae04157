//! Alerts on their way to Alertmanagers. Each Alertmanager of a tenant has a queue and a task of its own, so one that
//! fails delays no other. It must not know how alerts come about.

mod discovery;
mod metrics;
mod queue;
mod send;
pub mod settings;
mod tenant;

use self::discovery::{LookUp, name_servers};
use self::metrics::NotifyMetrics;
use self::tenant::Tenant;
use crate::alert::Alert;
use crate::http::tls::Certificates;
use crate::outbound::Alerts;
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

pub use self::settings::{AlertmanagerClient, AlertmanagerConfig, NotifySettings};

/// A tenant that has sent nothing for so long keeps no connections.
const TENANT_IDLE: Duration = Duration::from_secs(3600);
/// How often such tenants are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// The settings of a tenant at this moment; equal ones change nothing.
pub type SettingsOf = Arc<dyn Fn(&TenantId) -> Arc<NotifySettings> + Send + Sync>;

/// What every tenant's part needs.
#[derive(Clone)]
struct Context {
    clock: SharedClock,
    tasks: Tasks,
    certificates: Arc<Certificates>,
    metrics: NotifyMetrics,
    look_up: LookUp,
}

pub struct Notifier {
    settings_of: SettingsOf,
    context: Context,
    tenants: Mutex<Tenants>,
    refused: Seldom,
}

struct Tenants {
    by_id: HashMap<TenantId, Tenant>,
    swept: Instant,
}

impl Notifier {
    /// Tasks that send end with `tasks`, after a short time for what is queued.
    pub fn new(
        settings_of: SettingsOf,
        clock: SharedClock,
        tasks: &Tasks,
        reloader: &Reloader,
        metrics: &Metrics,
    ) -> Self {
        let certificates = Arc::new(Certificates::new(reloader));
        let context = Context {
            clock,
            tasks: tasks.clone(),
            certificates,
            metrics: NotifyMetrics::new(metrics),
            look_up: name_servers(),
        };
        let tenants = Mutex::new(Tenants { by_id: HashMap::new(), swept: Instant::now() });
        Notifier { settings_of, context, tenants, refused: Seldom::default() }
    }
}

impl Alerts for Notifier {
    fn send(&self, tenant: &TenantId, alerts: Vec<Alert>) {
        let settings = (self.settings_of)(tenant);
        let mut tenants = self.tenants.lock();
        tenants.sweep(tenant);
        let changed = tenants.update(tenant, settings, &self.context);
        let Tenants { by_id, .. } = &mut *tenants;
        let current = by_id.get_mut(tenant);
        if let Err(fault) = changed
            && let Some(count) = self.refused.say(1)
        {
            let consequence = if current.is_some() { "the ones before stay in use" } else { "alerts are lost" };
            tracing::error!(%tenant, fault, count, "settings of Alertmanagers cannot be used: {consequence}");
        }
        if let Some(current) = current {
            current.send(alerts);
        }
    }
}

impl Tenants {
    fn update(&mut self, tenant: &TenantId, settings: Arc<NotifySettings>, context: &Context) -> Result<(), String> {
        if self.by_id.get(tenant).is_some_and(|known| known.has(&settings)) {
            return Ok(());
        }
        let new = Tenant::new(tenant, settings, context)?;
        new.start(self.by_id.remove(tenant));
        self.by_id.insert(tenant.clone(), new);
        Ok(())
    }

    fn sweep(&mut self, in_use: &TenantId) {
        let now = Instant::now();
        if now.duration_since(self.swept) >= SWEEP_EVERY {
            self.swept = now;
            self.by_id.retain(|tenant, state| tenant == in_use || now.duration_since(state.last_used()) < TENANT_IDLE);
        }
    }
}

#[cfg(test)]
#[path = "notify_tests.rs"]
mod tests;
