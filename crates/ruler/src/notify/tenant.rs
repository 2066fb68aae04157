//! The Alertmanagers of one tenant, and what is done to its alerts before they are queued.

use super::Context;
use super::discovery::{Found, Group, Lookup, Target};
use super::queue::{Queue, Waiting};
use super::send::{Ends, Sender};
use super::settings::{Meaning, NotifySettings};
use crate::alert::Alert;
use crate::http::{Endpoint, Poster};
use crate::seldom::Seldom;
use model::{Labels, TenantId};
use parking_lot::Mutex;
use runtime::metrics::Counter;
use runtime::settings::Secret;
use std::sync::Arc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Dropping it tells its tasks to send what is queued and to end.
pub(super) struct Tenant {
    settings: Arc<NotifySettings>,
    targets: Arc<Targets>,
    used: Instant,
}

struct Targets {
    tenant: TenantId,
    settings: Arc<NotifySettings>,
    meaning: Meaning,
    context: Context,
    stop: CancellationToken,
    state: Mutex<State>,
    full: Seldom,
}

struct State {
    targets: Vec<Running>,
    /// Of the settings before, until the new ones have taken over those that stay.
    before: Vec<Before>,
    /// Where alerts wait while no Alertmanager has been found yet.
    early: Queue,
    /// Whether `targets` may still change.
    ended: bool,
}

struct Running {
    group: usize,
    target: Target,
    queue: Arc<Queue>,
    dropped: Counter,
    ends: Ends,
}

/// An Alertmanager and by which name it was found.
struct Before {
    running: Running,
    lookup: Option<Lookup>,
}

impl Tenant {
    pub(super) fn new(tenant: &TenantId, settings: Arc<NotifySettings>, context: &Context) -> Result<Self, String> {
        let meaning = settings.meaning()?;
        let state = State {
            targets: vec![],
            before: vec![],
            early: Queue::new(settings.alertmanager.notification_queue_capacity),
            ended: false,
        };
        let targets = Arc::new(Targets {
            tenant: tenant.clone(),
            settings: settings.clone(),
            meaning,
            context: context.clone(),
            stop: context.tasks.stopping().child_token(),
            state: Mutex::new(state),
            full: Seldom::default(),
        });
        // What cannot be built must be known while the settings before are still in use.
        for group in targets.meaning.groups.iter().filter(|group| group.lookup.is_none()) {
            targets.poster(&group.fixed())?;
        }
        Ok(Tenant { settings, targets, used: Instant::now() })
    }

    pub(super) fn has(&self, settings: &Arc<NotifySettings>) -> bool {
        Arc::ptr_eq(&self.settings, settings) || self.settings == *settings
    }

    pub(super) fn last_used(&self) -> Instant {
        self.used
    }

    /// Starts the tasks. What waits for Alertmanagers of `before` that stay is handed on.
    pub(super) fn start(&self, before: Option<Tenant>) {
        if let Some(before) = &before {
            self.targets.succeed(&before.targets);
        }
        for (number, group) in self.targets.meaning.groups.iter().enumerate() {
            match &group.lookup {
                None => self.targets.found(number, vec![group.fixed()]),
                Some(lookup) => {
                    // Until the name is looked up, it stands for what it stood for.
                    let known = self.targets.known(group, lookup);
                    if !known.is_empty() {
                        self.targets.found(number, known);
                    }
                    let targets = self.targets.clone();
                    self.targets.context.tasks.spawn("discovery of Alertmanagers", targets.discover(number));
                }
            }
        }
        // The tasks of those that stay have been told before `before` is dropped.
        for gone in self.targets.state.lock().before.drain(..) {
            gone.running.ends.stop.cancel();
        }
    }

    pub(super) fn send(&mut self, alerts: Vec<Alert>) {
        self.used = Instant::now();
        let targets = &self.targets;
        let alerts = alerts.into_iter().filter_map(|alert| targets.relabelled(alert));
        let alerts: Vec<Waiting> = alerts.map(|alert| Waiting { alert, since: self.used }).collect();
        if alerts.is_empty() || targets.meaning.groups.is_empty() {
            return;
        }
        targets.queue(&alerts);
    }
}

impl Drop for Tenant {
    fn drop(&mut self) {
        self.targets.stop.cancel();
        let mut state = self.targets.state.lock();
        if std::mem::replace(&mut state.ended, true) {
            return;
        }
        for running in state.targets.drain(..) {
            self.targets.end(running);
        }
        self.targets.context.metrics.forget_tenant(self.targets.tenant.as_str());
    }
}

impl Targets {
    /// Takes what waits from `before`, which does nothing any more.
    fn succeed(&self, before: &Targets) {
        let (mut old, mut state) = (before.state.lock(), self.state.lock());
        old.ended = true;
        for running in old.targets.drain(..) {
            before.context.metrics.forget_target(before.tenant.as_str(), &running.target.name);
            let lookup = before.meaning.groups[running.group].lookup.clone();
            state.before.push(Before { running, lookup });
        }
        before.context.metrics.forget_tenant(before.tenant.as_str());
        self.dropped(state.early.push(old.early.take(usize::MAX)));
    }

    /// What `lookup` stood for under the settings before.
    fn known(&self, group: &Group, lookup: &Lookup) -> Vec<Target> {
        let state = self.state.lock();
        let same = state.before.iter().filter(|before| before.lookup.as_ref() == Some(lookup));
        let found = same.filter_map(|before| before.running.target.found.as_ref());
        found.filter_map(|found| group.target(found).ok()).collect()
    }

    fn relabelled(&self, mut alert: Alert) -> Option<Alert> {
        let external = self.settings.external_labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let own = alert.labels.iter().map(|label| (label.name.as_str(), label.value.as_str()));
        if !self.settings.external_labels.is_empty() {
            // Of two equal names the last one stays.
            alert.labels = Labels::new(external.chain(own));
        }
        alert.labels = self.meaning.relabel.apply(&alert.labels)?;
        Some(alert)
    }

    fn queue(&self, alerts: &[Waiting]) {
        let state = self.state.lock();
        if state.targets.is_empty() {
            self.dropped(state.early.push(alerts.iter().cloned()));
        }
        for running in &state.targets {
            let dropped = running.queue.push(alerts.iter().cloned());
            running.dropped.inc_by(dropped as u64);
            self.dropped(dropped);
        }
    }

    fn dropped(&self, count: usize) {
        if let Some(count) = self.full.say(count as u64) {
            let (tenant, limit) = (&self.tenant, self.settings.alertmanager.notification_queue_capacity);
            tracing::warn!(
                %tenant, count, limit,
                "alerts are lost: more wait for an Alertmanager than may (setting: notification_queue_capacity)"
            );
        }
    }

    /// Looks a group's name up again and again; while that fails, what was found before stays.
    async fn discover(self: Arc<Self>, number: usize) {
        let group = &self.meaning.groups[number];
        let failed = Seldom::default();
        let mut ticks = tokio::time::interval(self.settings.alertmanager.alertmanager_refresh_interval);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let Some(lookup) = group.lookup.clone() else { return };
            match (self.context.look_up)(lookup).await.and_then(|found| targets(group, &found)) {
                Ok(found) => self.found(number, found),
                Err(error) => {
                    if let Some(count) = failed.say(1) {
                        tracing::error!(tenant = %self.tenant, error, count, "Alertmanagers cannot be looked up");
                    }
                }
            }
        }
    }

    /// `found` is what group `number` consists of now.
    fn found(&self, number: usize, found: Vec<Target>) {
        let mut state = self.state.lock();
        if state.ended {
            return;
        }
        let (stay, go) = state
            .targets
            .drain(..)
            .partition::<Vec<_>, _>(|running| running.group != number || found.contains(&running.target));
        state.targets = stay;
        go.into_iter().for_each(|running| self.end(running));
        for target in found {
            // A name that stands twice in the settings is sent to once.
            if !state.targets.iter().any(|running| running.target.name == target.name) {
                match self.started(number, target, &mut state.before) {
                    Ok(running) => state.targets.push(running),
                    Err(error) => tracing::error!(tenant = %self.tenant, error, "an Alertmanager cannot be used"),
                }
            }
        }
        if !state.targets.is_empty() {
            let early = state.early.take(usize::MAX);
            for running in &state.targets {
                running.dropped.inc_by(running.queue.push(early.iter().cloned()) as u64);
            }
        }
        self.context.metrics.discovered(self.tenant.as_str(), state.targets.len());
    }

    fn started(&self, group: usize, target: Target, before: &mut Vec<Before>) -> Result<Running, String> {
        let capacity = self.settings.alertmanager.notification_queue_capacity;
        let poster = self.poster(&target)?;
        let metrics = self.context.metrics.target(self.tenant.as_str(), &target.name, capacity);
        let same = before.iter().position(|before| before.running.target.name == target.name);
        let queue = match same.map(|same| before.swap_remove(same).running) {
            Some(running) => {
                running.ends.handed_on.cancel();
                metrics.dropped.inc_by(running.queue.resize(capacity) as u64);
                running.queue
            }
            None => Arc::new(Queue::new(capacity)),
        };
        let ends = Ends { stop: self.stop.child_token(), handed_on: CancellationToken::new() };
        let dropped = metrics.dropped.clone();
        let sender = Sender {
            tenant: self.tenant.to_string(),
            alertmanager: target.name.clone(),
            poster,
            queue: queue.clone(),
            metrics,
            failed: Seldom::default(),
        };
        self.context.tasks.spawn("alerts to an Alertmanager", sender.run(ends.clone()));
        Ok(Running { group, target, queue, dropped, ends })
    }

    fn end(&self, running: Running) {
        running.ends.stop.cancel();
        self.context.metrics.forget_target(self.tenant.as_str(), &running.target.name);
    }

    fn poster(&self, target: &Target) -> Result<Poster, String> {
        let endpoint = Endpoint {
            url: target.url.clone(),
            connect_to: target.connect_to(),
            auth: self.meaning.auth.clone(),
            headers: [("X-Scope-OrgID".to_string(), Secret::new(self.tenant.as_str()))].into(),
            tls: self.meaning.tls.clone(),
            timeout: self.settings.alertmanager.notification_timeout,
        };
        Poster::new(&endpoint, &self.context.certificates, self.context.clock.clone())
    }
}

fn targets(group: &Group, found: &[Found]) -> Result<Vec<Target>, String> {
    found.iter().map(|found| group.target(found)).collect()
}
