//! The task of one Alertmanager: takes batches from its queue and sends them. It must not know of other Alertmanagers.

use super::metrics::TargetMetrics;
use super::queue::{Queue, Waiting};
use crate::alert::Alert;
use crate::http::{Failure, Poster};
use crate::seldom::Seldom;
use bytes::Bytes;
use model::Labels;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::{Serialize, Serializer};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Alerts of one request, as Prometheus sends them.
const BATCH_MAX: usize = 64;
/// After a failure that may pass the alerts are sent again, for as long as they are news.
const RETRIED_FOR: Duration = Duration::from_secs(300);
/// Between two tries; doubled with each failure.
const BACKOFF_MIN: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// On stop, what is queued is sent for so long.
const DRAIN: Duration = Duration::from_secs(5);

pub(super) struct Sender {
    pub tenant: String,
    pub alertmanager: String,
    pub poster: Poster,
    pub queue: Arc<Queue>,
    pub metrics: TargetMetrics,
    pub failed: Seldom,
}

/// When to end: after `stop` once the queue is empty, [`DRAIN`] later at the latest; after `handed_on` at once, and
/// somebody else takes from the queue.
#[derive(Clone)]
pub(super) struct Ends {
    pub stop: CancellationToken,
    pub handed_on: CancellationToken,
}

impl Sender {
    pub(super) async fn run(self, ends: Ends) {
        let end = ends.handed_on.child_token();
        let late = async {
            ends.stop.cancelled().await;
            tokio::time::sleep(DRAIN).await;
            end.cancel();
            std::future::pending().await
        };
        tokio::select! {
            () = self.work(&ends.stop, &end) => {}
            () = late => {}
        }
        if ends.handed_on.is_cancelled() {
            return;
        }
        let left = self.queue.take(usize::MAX).len();
        if left > 0 {
            self.metrics.dropped.inc_by(left as u64);
            tracing::warn!(
                tenant = self.tenant,
                alertmanager = self.alertmanager,
                left,
                "alerts are lost: not sent in time"
            );
        }
        self.metrics.queue_length.set(0);
    }

    /// Until the queue is empty after `stop`, or until `end`; what was on its way then is in the queue again.
    async fn work(&self, stop: &CancellationToken, end: &CancellationToken) {
        let mut backoff = BACKOFF_MIN;
        while !end.is_cancelled() {
            let batch = self.queue.take(BATCH_MAX);
            self.metrics.queue_length.set(self.queue.len() as i64);
            if batch.is_empty() {
                if stop.is_cancelled() {
                    return;
                }
                tokio::select! {
                    () = self.queue.filled() => {}
                    () = stop.cancelled() => {}
                    () = end.cancelled() => {}
                }
                continue;
            }
            let sent = tokio::select! {
                sent = self.send(&batch) => sent,
                () = end.cancelled() => {
                    self.metrics.dropped.inc_by(self.queue.put_back(batch) as u64);
                    return;
                }
            };
            let Err(failure) = sent else {
                backoff = BACKOFF_MIN;
                continue;
            };
            if !self.failed(&failure, batch) {
                continue;
            }
            let wait = failure.retry_after.unwrap_or_default().max(backoff);
            backoff = (backoff * 2).min(BACKOFF_MAX);
            // After stop: one more try for each batch, soon after one another.
            let stopping = async {
                stop.cancelled().await;
                tokio::time::sleep(BACKOFF_MIN).await;
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stopping => {}
                () = end.cancelled() => {}
            }
        }
    }

    async fn send(&self, batch: &[Waiting]) -> Result<(), Failure> {
        let body = encode(batch.iter().map(|waiting| &waiting.alert));
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let started = Instant::now();
        let sent = self.poster.post(&headers, body).await;
        self.metrics.latency.observe(started.elapsed().as_secs_f64());
        match &sent {
            Ok(()) => self.metrics.sent.inc_by(batch.len() as u64),
            Err(_) => self.metrics.errors.inc_by(batch.len() as u64),
        };
        sent
    }

    /// Whether there is something to wait for.
    fn failed(&self, failure: &Failure, batch: Vec<Waiting>) -> bool {
        let count = batch.len();
        let again: Vec<Waiting> =
            batch.into_iter().filter(|w| failure.passes() && w.since.elapsed() < RETRIED_FOR).collect();
        let given_up = count - again.len();
        let waits = !again.is_empty();
        let dropped = given_up + self.queue.put_back(again);
        self.metrics.dropped.inc_by(dropped as u64);
        if let Some(count) = self.failed.say(count as u64) {
            let (tenant, alertmanager, error) = (&self.tenant, &self.alertmanager, &failure.what);
            tracing::error!(tenant, alertmanager, error, count, dropped, "an Alertmanager does not take alerts");
        }
        waits
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Json<'a> {
    #[serde(serialize_with = "object")]
    labels: &'a Labels,
    #[serde(serialize_with = "object")]
    annotations: &'a Labels,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: &'a str,
}

fn object<S: Serializer>(labels: &&Labels, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(labels.iter().map(|label| (label.name.as_str(), label.value.as_str())))
}

/// The body of `POST /api/v2/alerts`.
fn encode<'a>(alerts: impl Iterator<Item = &'a Alert>) -> Bytes {
    let json = |alert: &'a Alert| Json {
        labels: &alert.labels,
        annotations: &alert.annotations,
        starts_at: rfc3339(alert.starts_at_ns),
        ends_at: rfc3339(alert.ends_at_ns),
        generator_url: &alert.generator_url,
    };
    // Texts in a vector: this does not fail.
    serde_json::to_vec(&alerts.map(json).collect::<Vec<_>>()).unwrap_or_default().into()
}

fn rfc3339(ns: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(ns)).unwrap_or_default().to_string()
}
