//! The task of one client: samples in rounds, each sent by as many requests as the backlog fills, the samples of a
//! series always in order. It must not know of other clients.

use super::backlog::{Backlog, Round};
use super::metrics::ClientMetrics;
use super::settings::QueueConfig;
use super::wire;
use crate::http::{Failure, Poster};
use crate::sample::Sample;
use crate::seldom::Seldom;
use futures::future::join_all;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// On stop, what waits is sent for so long.
const DRAIN: Duration = Duration::from_secs(5);
/// After stop, the wait between two tries.
const LAST_BACKOFF_MAX: Duration = Duration::from_millis(500);

pub(super) struct Writer {
    backlog: Arc<Backlog>,
    config: QueueConfig,
    poster: Poster,
    headers: HeaderMap,
    metrics: ClientMetrics,
    failed: Seldom,
}

/// When to end: `late` comes [`DRAIN`] after `stop`, or earlier.
#[derive(Clone)]
pub(super) struct Ends {
    pub stop: CancellationToken,
    pub late: CancellationToken,
}

/// What is left of a part of a round, and why.
type Left = (Vec<Sample>, Option<Failure>);

impl Writer {
    pub(super) fn new(backlog: Arc<Backlog>, config: QueueConfig, poster: Poster, metrics: ClientMetrics) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("snappy"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        let version = HeaderName::from_static("x-prometheus-remote-write-version");
        headers.insert(version, HeaderValue::from_static("0.1.0"));
        Writer { backlog, config, poster, headers, metrics, failed: Seldom::default() }
    }

    /// Begins when `before`, which had the same directory, has ended.
    pub(super) async fn run(self, before: Option<CancellationToken>, ends: Ends) {
        let work = async {
            if let Some(before) = before {
                before.cancelled().await;
            }
            self.backlog.open().await;
            tokio::select! {
                () = self.work(&ends) => {}
                () = self.backlog.keep() => {}
            }
        };
        let timer = async {
            ends.stop.cancelled().await;
            tokio::time::sleep(DRAIN).await;
            ends.late.cancel();
            std::future::pending().await
        };
        tokio::select! {
            () = work => {}
            () = timer => {}
        }
        let left = self.backlog.end().await;
        if left > 0 {
            let (tenant, remote_name) = (self.tenant(), self.remote_name());
            tracing::warn!(tenant, remote_name, left, "samples are lost: not sent in time");
        }
    }

    fn tenant(&self) -> &str {
        &self.backlog.place.tenant
    }
    fn remote_name(&self) -> &str {
        &self.backlog.place.remote_name
    }

    /// Until everything is sent after `stop`, or it is late.
    async fn work(&self, ends: &Ends) {
        let (mut kept, mut failing) = (None, false);
        let mut backoff = self.config.min_backoff;
        loop {
            let round = match kept.take() {
                Some(round) => round,
                None => match self.next(failing, ends).await {
                    Some(round) => round,
                    None => return,
                },
            };
            let (left, failure) = self.send(round.samples, &ends.late).await;
            failing = failure.is_some();
            let Some(failure) = failure else {
                backoff = self.config.min_backoff;
                self.backlog.done(round.next).await;
                continue;
            };
            self.explain(&failure, left.len());
            match round.next {
                // It is still on disk.
                Some(_) => kept = Some(Round { samples: left, next: round.next }),
                None => self.backlog.put_back(left),
            }
            if !wait(failure.retry_after.unwrap_or_default().max(backoff), ends).await {
                return;
            }
            backoff = (backoff * 2).min(self.config.max_backoff);
        }
    }

    /// What to send next, once it is enough or has waited long enough; at once `again`. Nothing when nothing can be
    /// taken after `stop`.
    async fn next(&self, again: bool, ends: &Ends) -> Option<Round> {
        let round_max = self.config.max_samples_per_send.saturating_mul(self.config.max_shards);
        let mut again = again;
        loop {
            if !std::mem::take(&mut again) {
                self.enough(&ends.stop).await;
            }
            match self.backlog.next(round_max).await {
                Ok(Some(round)) => return Some(round),
                _ if ends.stop.is_cancelled() => return None,
                Ok(None) => {}
                // What waits on a disk that cannot be read may be read later.
                Err(_) => _ = wait(self.config.max_backoff, ends).await,
            }
        }
    }

    /// Waits for a full request, or until what there is has waited long enough.
    async fn enough(&self, stop: &CancellationToken) {
        let mut deadline = None;
        loop {
            let waiting = self.backlog.len();
            if waiting >= self.config.max_samples_per_send || stop.is_cancelled() {
                return;
            }
            if waiting > 0 {
                deadline.get_or_insert_with(|| Instant::now() + self.config.batch_send_deadline);
            }
            let waited = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = waited => return,
                () = self.backlog.more() => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn send(&self, samples: Vec<Sample>, late: &CancellationToken) -> Left {
        let wanted = samples.len().div_ceil(self.config.max_samples_per_send);
        let count = wanted.clamp(self.config.min_shards, self.config.max_shards);
        let mut lanes = vec![vec![]; count];
        for sample in samples {
            let mut hasher = DefaultHasher::new();
            sample.labels.hash(&mut hasher);
            lanes[(hasher.finish() % count as u64) as usize].push(sample);
        }
        lanes.retain(|lane| !lane.is_empty());
        self.metrics.shards.set(lanes.len() as i64);
        let ends = join_all(lanes.into_iter().map(|lane| self.send_lane(lane, late))).await;
        let mut all = (vec![], None);
        for (left, failure) in ends {
            all.0.extend(left);
            all.1 = all.1.or(failure);
        }
        all
    }

    /// One request after another, until one fails that may succeed later.
    async fn send_lane(&self, lane: Vec<Sample>, late: &CancellationToken) -> Left {
        let max = self.config.max_samples_per_send;
        for (number, samples) in lane.chunks(max).enumerate() {
            let failure = match self.post(samples, late).await {
                Ok(()) => {
                    self.metrics.sent(samples);
                    continue;
                }
                Err(failure) => failure,
            };
            if failure.passes() && (self.config.retry_on_http_429 || !failure.is_rate_limit()) {
                self.metrics.retried.inc_by(samples.len() as u64);
                return (lane[number * max..].to_vec(), Some(failure));
            }
            self.metrics.samples.inc_by(samples.len() as u64);
            self.metrics.failed.inc_by(samples.len() as u64);
            if let Some(count) = self.failed.say(samples.len() as u64) {
                let (tenant, remote_name, error) = (self.tenant(), self.remote_name(), &failure.what);
                tracing::error!(tenant, remote_name, error, count, "samples are lost: remote storage refuses them");
            }
        }
        (vec![], None)
    }

    async fn post(&self, samples: &[Sample], late: &CancellationToken) -> Result<(), Failure> {
        let failure = |what: String| Failure { what, status: None, retry_after: None };
        let body = wire::compress(&wire::encode(samples)).map_err(failure)?;
        let bytes = body.len() as u64;
        let started = Instant::now();
        let sent = tokio::select! {
            sent = self.poster.post(&self.headers, body.into()) => sent,
            () = late.cancelled() => return Err(failure("no answer in time after the stop".into())),
        };
        self.metrics.seconds.observe(started.elapsed().as_secs_f64());
        if sent.is_ok() {
            self.metrics.bytes.inc_by(bytes);
        }
        sent
    }

    fn explain(&self, failure: &Failure, left: usize) {
        if let Some(count) = self.failed.say(left as u64) {
            let (tenant, remote_name, error) = (self.tenant(), self.remote_name(), &failure.what);
            tracing::warn!(tenant, remote_name, error, count, "remote storage does not take samples; they wait");
        }
    }
}

/// Waits before the next try. `false`: it is too late for another.
async fn wait(backoff: Duration, ends: &Ends) -> bool {
    let until = Instant::now() + backoff;
    let stopping = async {
        ends.stop.cancelled().await;
        tokio::time::sleep(LAST_BACKOFF_MAX).await;
    };
    tokio::select! {
        () = ends.late.cancelled() => false,
        () = tokio::time::sleep_until(until) => true,
        () = stopping => true,
    }
}
