//! Tasks that outlive the call that started them: each has an owner and a name, is told to stop, and is waited for.
//! It must not know what they do.

use crate::metrics::{Counter, Metrics};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

type Running = Arc<Mutex<BTreeMap<&'static str, usize>>>;

/// A group of tasks; clones are the same group.
#[derive(Clone)]
pub struct Tasks {
    stop: CancellationToken,
    tracker: TaskTracker,
    /// How many tasks of a name run: of this group, and of the whole process.
    running: Running,
    all: Running,
    panics: Counter,
}

impl Tasks {
    /// A panic in a task counts in `loki_panic_total`.
    pub fn new(metrics: &Metrics) -> Self {
        Tasks {
            stop: CancellationToken::new(),
            tracker: TaskTracker::new(),
            running: Arc::default(),
            all: Arc::default(),
            panics: metrics.counter("panic", "The total number of panics"),
        }
    }

    /// A group that is told to stop when this one is, or earlier; it counts panics with this one.
    pub fn child(&self) -> Self {
        Tasks {
            stop: self.stop.child_token(),
            tracker: TaskTracker::new(),
            running: Arc::default(),
            all: self.all.clone(),
            panics: self.panics.clone(),
        }
    }

    /// Runs `task` until it returns. It must return soon after [`Tasks::stopping`] is cancelled.
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (counts, panics) = ([self.running.clone(), self.all.clone()], self.panics.clone());
        counts.iter().for_each(|running| *running.lock().entry(name).or_default() += 1);
        #[allow(clippy::disallowed_methods, reason = "the one place that spawns tasks of a process")]
        let inner = tokio::spawn(task);
        let watch = async move {
            if let Err(error) = inner.await
                && error.is_panic()
            {
                panics.inc();
                tracing::error!(task = name, "task panicked");
            }
            for running in counts {
                if let Some(count) = running.lock().get_mut(name) {
                    *count -= 1;
                }
            }
        };
        self.tracker.spawn(watch);
    }

    /// How many tasks of each name run in this group, its parents and their children.
    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        self.all.lock().clone()
    }

    /// Cancelled when the group should stop.
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// `loki_panic_total`, for panics that are caught elsewhere.
    pub fn panics(&self) -> Counter {
        self.panics.clone()
    }

    /// Tells every task to stop and waits for them. The names of those that still run after `within` come back.
    pub async fn stop(&self, within: Duration) -> Vec<&'static str> {
        self.stop.cancel();
        self.tracker.close();
        match tokio::time::timeout(within, self.tracker.wait()).await {
            Ok(()) => vec![],
            Err(_) => self.running.lock().iter().filter(|(_, count)| **count > 0).map(|(name, _)| *name).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tasks_are_told_to_stop_and_the_stubborn_are_named() {
        let metrics = Metrics::default();
        let tasks = Tasks::new(&metrics);
        let stopping = tasks.stopping();
        tasks.spawn("polite", async move { stopping.cancelled().await });
        tasks.spawn("broken", async { panic!("a bug") });
        tasks.child().spawn("child", std::future::pending());
        tasks.spawn("stubborn", std::future::pending());
        assert_eq!((tasks.counts()["child"], tasks.counts()["polite"]), (1, 1));
        assert_eq!(tasks.stop(Duration::from_millis(50)).await, ["stubborn"]);
        assert!(metrics.print_classic().contains("loki_panic_total 1"));
    }

    #[tokio::test]
    async fn a_child_group_stops_alone_or_with_its_parent() {
        let parent = Tasks::new(&Metrics::default());
        let (first, second) = (parent.child(), parent.child());
        first.stop(Duration::ZERO).await;
        assert!(first.stopping().is_cancelled() && !parent.stopping().is_cancelled());
        parent.stop(Duration::ZERO).await;
        assert!(second.stopping().is_cancelled());
    }
}
