//! Alerts that wait for one Alertmanager: a newer state of an alert takes the place of the older one. It must not know
//! who takes them.

use crate::alert::Alert;
use model::Labels;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use tokio::sync::Notify;
use tokio::time::Instant;

pub(super) struct Queue {
    inner: Mutex<Inner>,
    filled: Notify,
}

#[derive(Default)]
struct Inner {
    capacity: usize,
    /// The keys of `alerts`, the oldest first.
    order: VecDeque<Labels>,
    alerts: HashMap<Labels, Waiting>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Waiting {
    pub alert: Alert,
    pub since: Instant,
}

impl Queue {
    pub(super) fn new(capacity: usize) -> Self {
        Queue { inner: Mutex::new(Inner { capacity, ..Inner::default() }), filled: Notify::new() }
    }

    /// How many had to be dropped, the oldest first.
    pub(super) fn resize(&self, capacity: usize) -> usize {
        let mut inner = self.inner.lock();
        inner.capacity = capacity;
        inner.shrink()
    }

    pub(super) fn len(&self) -> usize {
        self.inner.lock().order.len()
    }

    /// How many had to be dropped, the oldest first.
    pub(super) fn push(&self, alerts: impl IntoIterator<Item = Waiting>) -> usize {
        let mut dropped = 0;
        {
            let mut inner = self.inner.lock();
            for waiting in alerts {
                let labels = waiting.alert.labels.clone();
                if inner.alerts.insert(labels.clone(), waiting).is_none() {
                    inner.order.push_back(labels);
                    dropped += inner.shrink();
                }
            }
        }
        self.filled.notify_one();
        dropped
    }

    /// The oldest, at most `max`.
    pub(super) fn take(&self, max: usize) -> Vec<Waiting> {
        let mut inner = self.inner.lock();
        let count = inner.order.len().min(max);
        let keys: Vec<Labels> = inner.order.drain(..count).collect();
        keys.iter().filter_map(|labels| inner.alerts.remove(labels)).collect()
    }

    /// What was taken and not sent stands first again, but for alerts with a newer state. How many had to be dropped.
    pub(super) fn put_back(&self, alerts: Vec<Waiting>) -> usize {
        let dropped = {
            let mut inner = self.inner.lock();
            for waiting in alerts.into_iter().rev() {
                let labels = waiting.alert.labels.clone();
                if !inner.alerts.contains_key(&labels) {
                    inner.order.push_front(labels.clone());
                    inner.alerts.insert(labels, waiting);
                }
            }
            inner.shrink()
        };
        // Another may take from the queue now.
        self.filled.notify_one();
        dropped
    }

    /// Returns when there may be something to take.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }
}

impl Inner {
    fn shrink(&mut self) -> usize {
        let excess = self.order.len().saturating_sub(self.capacity);
        for labels in self.order.drain(..excess) {
            self.alerts.remove(&labels);
        }
        excess
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(name: &str, ends_at_ns: i64) -> Waiting {
        let labels = Labels::new([("alertname", name)]);
        let alert =
            Alert { labels, annotations: Labels::default(), starts_at_ns: 0, ends_at_ns, generator_url: String::new() };
        Waiting { alert, since: Instant::now() }
    }

    fn names(alerts: Vec<Waiting>) -> String {
        let name = |w: &Waiting| format!("{}{}", w.alert.labels.get("alertname").unwrap(), w.alert.ends_at_ns);
        alerts.iter().map(name).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_newer_state_takes_the_older_ones_place_and_the_oldest_are_dropped() {
        let queue = Queue::new(3);
        assert_eq!(queue.push([waiting("a", 1), waiting("b", 1), waiting("a", 2), waiting("c", 1)]), 0);
        assert_eq!((queue.push([waiting("d", 1)]), queue.len()), (1, 3));
        assert_eq!(queue.resize(2), 1);
        assert_eq!(names(queue.take(1)), "c1");
        assert_eq!(names(queue.take(2)), "d1");
        assert_eq!(names(queue.take(2)), "");
    }

    #[test]
    fn what_comes_back_is_first_again_unless_there_is_newer() {
        let queue = Queue::new(3);
        queue.push([waiting("a", 1), waiting("b", 1), waiting("c", 1)]);
        let taken = queue.take(2);
        queue.push([waiting("b", 2)]);
        assert_eq!(queue.put_back(taken), 0);
        assert_eq!(names(queue.take(9)), "a1 c1 b2");
        let taken = vec![waiting("x", 1), waiting("y", 1)];
        queue.push([waiting("a", 1), waiting("b", 1)]);
        assert_eq!(queue.put_back(taken), 1);
        assert_eq!(names(queue.take(9)), "y1 a1 b1");
    }
}
