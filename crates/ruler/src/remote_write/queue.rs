//! Samples that wait in memory for one client, bounded in number and in bytes. It must not know who takes them.

use crate::sample::Sample;
use parking_lot::Mutex;
use std::collections::VecDeque;
use tokio::sync::Notify;

/// Of the samples of one client.
const QUEUE_BYTES_MAX: usize = 32 << 20;
/// What a sample and a label cost beside their texts.
const SAMPLE_BYTES: usize = 48;
const LABEL_BYTES: usize = 48;

pub(super) struct Queue {
    capacity: usize,
    inner: Mutex<Inner>,
    filled: Notify,
}

#[derive(Default)]
struct Inner {
    samples: VecDeque<Sample>,
    bytes: usize,
}

impl Queue {
    pub(super) fn new(capacity: usize) -> Self {
        Queue { capacity, inner: Mutex::default(), filled: Notify::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.inner.lock().samples.len()
    }

    /// How many had to be dropped, the oldest first.
    pub(super) fn push(&self, samples: Vec<Sample>) -> usize {
        let dropped = {
            let mut inner = self.inner.lock();
            inner.bytes += samples.iter().map(bytes_of).sum::<usize>();
            inner.samples.extend(samples);
            inner.shrink(self.capacity)
        };
        self.filled.notify_one();
        dropped
    }

    /// The oldest, at most `max`.
    pub(super) fn take(&self, max: usize) -> Vec<Sample> {
        let mut inner = self.inner.lock();
        let count = inner.samples.len().min(max);
        let taken: Vec<Sample> = inner.samples.drain(..count).collect();
        inner.bytes -= taken.iter().map(bytes_of).sum::<usize>();
        taken
    }

    /// What was taken and not sent stands first again. How many had to be dropped.
    pub(super) fn put_back(&self, samples: Vec<Sample>) -> usize {
        let mut inner = self.inner.lock();
        inner.bytes += samples.iter().map(bytes_of).sum::<usize>();
        samples.into_iter().rev().for_each(|sample| inner.samples.push_front(sample));
        inner.shrink(self.capacity)
    }

    /// Returns when there may be something to take.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }
}

impl Inner {
    fn shrink(&mut self, capacity: usize) -> usize {
        let mut dropped = 0;
        while self.samples.len() > capacity || self.bytes > QUEUE_BYTES_MAX {
            let Some(oldest) = self.samples.pop_front() else { break };
            self.bytes -= bytes_of(&oldest);
            dropped += 1;
        }
        dropped
    }
}

fn bytes_of(sample: &Sample) -> usize {
    let label = |label: &model::Label| label.name.len() + label.value.len() + LABEL_BYTES;
    SAMPLE_BYTES + sample.labels.iter().map(label).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Labels;

    fn samples(times: impl IntoIterator<Item = i64>) -> Vec<Sample> {
        let labels = Labels::new([("__name__", "x")]);
        times.into_iter().map(|timestamp_ms| Sample { labels: labels.clone(), timestamp_ms, value: 1.0 }).collect()
    }

    fn times(samples: Vec<Sample>) -> Vec<i64> {
        samples.iter().map(|sample| sample.timestamp_ms).collect()
    }

    #[test]
    fn the_oldest_are_dropped_and_what_comes_back_is_first() {
        let queue = Queue::new(4);
        assert_eq!((queue.push(samples(0..3)), queue.push(samples(3..6)), queue.len()), (0, 2, 4));
        let taken = queue.take(2);
        assert_eq!(times(taken.clone()), [2, 3]);
        assert_eq!((queue.push(samples(6..7)), queue.put_back(taken)), (0, 1));
        assert_eq!((times(queue.take(9)), queue.inner.lock().bytes), (vec![3, 4, 5, 6], 0));
    }

    #[test]
    fn large_samples_are_bounded_by_their_bytes() {
        let queue = Queue::new(1000);
        let labels = Labels::new([("a", "x".repeat(QUEUE_BYTES_MAX / 4))]);
        let large = vec![Sample { labels, timestamp_ms: 0, value: 1.0 }; 5];
        assert_eq!((queue.push(large), queue.len()), (2, 3));
    }
}
