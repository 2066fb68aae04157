//! Traces leave the process over OTLP, where the environment names a collector under OpenTelemetry's names, as Loki reads
//! them. It must not know what the spans are about.

pub mod encode;
mod environment;
mod send;

pub use environment::Collector;

use prost::Message;
use runtime::clock::SharedClock;
use runtime::metrics::{Counter, Metrics};
use runtime::trace::{FinishedSpan, Spans};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Spans that wait to be sent; further ones are dropped and counted.
const QUEUE_SPANS_MAX: usize = 4096;
/// Spans of one message.
const BATCH_SPANS_MAX: usize = 512;
/// How long a span waits for others.
const BATCH_WAIT: Duration = Duration::from_secs(2);
/// How often a message is offered, and the first pause in between; each further one is twice as long.
const ATTEMPTS_MAX: u32 = 3;
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// Sends what [`Spans`] hands on.
pub struct Exporter {
    collector: Collector,
    queue: mpsc::Receiver<FinishedSpan>,
    dropped: Counter,
    sent: Counter,
    failed: Counter,
}

/// The listener of spans, and what sends them where there is a collector.
pub fn traces(collector: Option<Collector>, clock: SharedClock) -> (Spans, Option<Exporter>) {
    let spans = Spans::new(clock);
    let Some(collector) = collector else { return (spans, None) };
    let (sender, queue) = mpsc::channel(QUEUE_SPANS_MAX);
    let (dropped, sent, failed) = (Counter::default(), Counter::default(), Counter::default());
    let spans = spans.exported(collector.ratio, collector.follows_caller, sender, dropped.clone());
    (spans, Some(Exporter { collector, queue, dropped, sent, failed }))
}

impl Exporter {
    pub fn register(&self, metrics: &Metrics) {
        metrics.with_registry(|registry| {
            for (name, help, counter) in [
                ("lokirs_trace_spans_sent", "Spans that the collector has taken", &self.sent),
                ("lokirs_trace_spans_dropped", "Spans for which the queue had no room", &self.dropped),
                ("lokirs_trace_spans_failed", "Spans that the collector did not take", &self.failed),
            ] {
                registry.register(name, help, counter.clone());
            }
        });
    }

    /// Sends until it is told to stop, then what is left.
    pub async fn run(mut self, stop: CancellationToken) {
        let sender = match self.collector.sender() {
            Ok(sender) => sender,
            Err(fault) => return tracing::error!(fault, "traces are not exported"),
        };
        let mut batch = Vec::with_capacity(BATCH_SPANS_MAX);
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => {}
                taken = self.queue.recv_many(&mut batch, BATCH_SPANS_MAX) => if taken == 0 { return },
            }
            let wait = tokio::time::sleep(BATCH_WAIT);
            tokio::pin!(wait);
            while batch.len() < BATCH_SPANS_MAX && !stop.is_cancelled() {
                let room = BATCH_SPANS_MAX - batch.len();
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = wait.as_mut() => break,
                    _ = self.queue.recv_many(&mut batch, room) => {}
                }
            }
            self.send(&sender, &mut batch).await;
        }
        while let Ok(span) = self.queue.try_recv() {
            batch.push(span);
            if batch.len() == BATCH_SPANS_MAX {
                self.send(&sender, &mut batch).await;
            }
        }
        self.send(&sender, &mut batch).await;
    }

    /// What the collector does not take is lost: traces must not hold up anything else.
    async fn send(&self, sender: &send::Sender, batch: &mut Vec<FinishedSpan>) {
        if batch.is_empty() {
            return;
        }
        let spans = batch.len() as u64;
        let message = encode::request(&self.collector.resource, batch.drain(..)).encode_to_vec();
        let mut pause = RETRY_PAUSE;
        for attempt in 1..=ATTEMPTS_MAX {
            match sender.send(message.clone().into()).await {
                Ok(()) => {
                    self.sent.inc_by(spans);
                    return;
                }
                Err(fault) if attempt == ATTEMPTS_MAX => {
                    self.failed.inc_by(spans);
                    tracing::warn!(fault, spans, "the collector of traces did not take them");
                }
                Err(_) => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "otlp/tests.rs"]
mod tests;
