//! Which services of the process run: `/ready` and `/services` read it, roles write it.

use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// With the reason that `/ready` gives.
    Starting(String),
    Running,
    Stopping,
}

/// A cheap handle; clones share the list.
#[derive(Clone, Default)]
pub struct Services(Arc<Inner>);

#[derive(Default)]
struct Inner {
    states: Mutex<Vec<(&'static str, State)>>,
    stopping: AtomicBool,
    changed: Arc<Notify>,
}

/// The service itself holds this and says how it is.
#[derive(Clone)]
pub struct Service {
    all: Services,
    name: &'static str,
}

impl Services {
    /// A service that is not ready until it says so.
    pub fn add(&self, name: &'static str) -> Service {
        let service = Service { all: self.clone(), name };
        service.starting("starting");
        service
    }

    /// From now on nothing is ready: load balancers turn away before anything stops.
    pub fn stop(&self) {
        self.0.stopping.store(true, Ordering::SeqCst);
        self.0.changed.notify_waiters();
    }

    /// Waits for the next change after this call.
    pub fn changed(&self) -> OwnedNotified {
        self.0.changed.clone().notified_owned()
    }

    /// Whether a service is there and does not run yet.
    pub fn is_starting(&self, name: &str) -> bool {
        self.0.states.lock().iter().any(|(own, state)| *own == name && matches!(state, State::Starting(_)))
    }

    pub fn is_stopping(&self) -> bool {
        self.0.stopping.load(Ordering::SeqCst)
    }

    /// `Err` with the reasons, in Loki's form.
    pub fn ready(&self) -> Result<(), String> {
        if self.is_stopping() {
            return Err("Application is stopping".into());
        }
        let states = self.0.states.lock();
        let waiting = states.iter().filter_map(|(name, state)| match state {
            State::Starting(reason) => Some(format!("{name} not ready: {reason}")),
            State::Stopping => Some(format!("{name} not ready: stopping")),
            State::Running => None,
        });
        let reasons: Vec<String> = waiting.collect();
        if reasons.is_empty() { Ok(()) } else { Err(reasons.join("\n")) }
    }

    /// Lines `name => Running`.
    pub fn list(&self) -> String {
        let states = self.0.states.lock();
        let line = |(name, state): &(&str, State)| {
            let word = match state {
                State::Starting(_) => "Starting",
                State::Running => "Running",
                State::Stopping => "Stopping",
            };
            format!("{name} => {word}\n")
        };
        states.iter().map(line).collect()
    }
}

impl Service {
    /// Not ready, and why.
    pub fn starting(&self, reason: impl Into<String>) {
        self.set(State::Starting(reason.into()));
    }
    pub fn running(&self) {
        self.set(State::Running);
    }
    pub fn stopping(&self) {
        self.set(State::Stopping);
    }

    fn set(&self, state: State) {
        let mut states = self.all.0.states.lock();
        match states.iter_mut().find(|(name, _)| *name == self.name) {
            Some((_, now)) => *now = state,
            None => states.push((self.name, state)),
        }
        self.all.0.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_gives_the_reasons() {
        let services = Services::default();
        assert_eq!(services.ready(), Ok(()));
        let ingester = services.add("Ingester");
        ingester.starting("replaying the log");
        assert_eq!(services.ready(), Err("Ingester not ready: replaying the log".into()));
        ingester.running();
        assert_eq!((services.ready(), services.list().as_str()), (Ok(()), "Ingester => Running\n"));
        services.stop();
        assert_eq!(services.ready(), Err("Application is stopping".into()));
    }
}
