//! The task of one client: samples in rounds, each sent by as many requests as the backlog fills, the samples of a
//! series always in order. While sending fails, what waits goes to disk, and comes back from there first. It must not
//! know of other clients.

use super::metrics::ClientMetrics;
use super::queue::Queue;
use super::settings::QueueConfig;
use super::spool::{Position, Spool};
use super::wire;
use crate::http::{Failure, Poster};
use crate::sample::Sample;
use crate::seldom::Seldom;
use futures::future::join_all;
use parking_lot::Mutex;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use runtime::clock::SharedClock;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// On stop, what is queued is sent for so long.
const DRAIN: Duration = Duration::from_secs(5);
/// After stop, the wait between two tries.
const LAST_BACKOFF_MAX: Duration = Duration::from_millis(500);

/// Whose samples, and where they may wait.
pub(super) struct Place {
    pub tenant: String,
    pub remote_name: String,
    pub spool_dir: Option<PathBuf>,
    pub max_age: Duration,
}

pub(super) struct Writer {
    pub(super) place: Place,
    pub(super) config: QueueConfig,
    pub(super) poster: Poster,
    pub(super) headers: HeaderMap,
    pub(super) queue: Arc<Queue>,
    pub(super) spool: Mutex<Option<SharedSpool>>,
    pub(super) metrics: ClientMetrics,
    pub(super) clock: SharedClock,
    pub(super) failed: Seldom,
    pub(super) disk_failed: Seldom,
}

/// What is sent before anything else is taken.
pub(super) struct Round {
    pub(super) samples: Vec<Sample>,
    /// Of a round from disk: what to begin with after it.
    pub(super) next: Option<Position>,
}

/// What the writer and the threads that write share.
pub(super) type SharedSpool = Arc<Mutex<Spool>>;

/// What is left of a part of a round, and why.
type Left = (Vec<Sample>, Option<Failure>);

impl Writer {
    pub(super) fn new(
        place: Place,
        config: QueueConfig,
        poster: Poster,
        queue: Arc<Queue>,
        metrics: ClientMetrics,
        clock: SharedClock,
    ) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("snappy"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        let version = HeaderName::from_static("x-prometheus-remote-write-version");
        headers.insert(version, HeaderValue::from_static("0.1.0"));
        let (failed, disk_failed) = (Seldom::default(), Seldom::default());
        Writer { place, config, poster, headers, queue, spool: Mutex::default(), metrics, clock, failed, disk_failed }
    }

    pub(super) async fn run(self, stop: CancellationToken) {
        self.open_spool().await;
        let late = CancellationToken::new();
        let timer = async {
            stop.cancelled().await;
            tokio::time::sleep(DRAIN).await;
            late.cancel();
            std::future::pending().await
        };
        let kept = tokio::select! {
            kept = self.work(&stop, &late) => kept,
            () = timer => None,
        };
        self.end(kept).await;
    }

    /// Until everything is sent after `stop`, or it is late; then what was not sent comes back.
    async fn work(&self, stop: &CancellationToken, late: &CancellationToken) -> Option<Round> {
        let mut kept = None;
        let mut backoff = self.config.min_backoff;
        loop {
            let round = match kept.take() {
                Some(round) => round,
                None => self.next(stop).await?,
            };
            let (left, failure) = self.send(round.samples, late).await;
            let Some(failure) = failure else {
                backoff = self.config.min_backoff;
                self.sent(round.next).await;
                continue;
            };
            self.explain(&failure, left.len());
            kept = self.keep(Round { samples: left, next: round.next }).await;
            if !self.wait(failure.retry_after.unwrap_or(backoff), stop, late).await {
                return kept;
            }
            backoff = (backoff * 2).min(self.config.max_backoff);
        }
    }

    /// What to send next: what is on disk, else what is in memory, once it is enough or has waited long enough. Nothing
    /// when there is nothing left after `stop`.
    async fn next(&self, stop: &CancellationToken) -> Option<Round> {
        let round_max = self.config.max_samples_per_send.saturating_mul(self.config.max_shards);
        loop {
            if self.spooled() > 0 {
                self.spill(vec![]).await;
                match self.unspool(round_max).await {
                    Some(round) if round.samples.is_empty() => self.sent(round.next).await,
                    Some(round) => return Some(round),
                    // A disk that cannot be read must not keep what is in memory.
                    None => self.give_disk_up(),
                }
                continue;
            }
            self.enough(stop).await;
            let samples = self.queue.take(round_max);
            if !samples.is_empty() {
                return Some(Round { samples, next: None });
            }
            if stop.is_cancelled() {
                return None;
            }
        }
    }

    /// Waits for a full request, or until the oldest sample has waited long enough.
    async fn enough(&self, stop: &CancellationToken) {
        while self.queue.len() < self.config.max_samples_per_send && !stop.is_cancelled() {
            let deadline = self.queue.since().map(|since| since + self.config.batch_send_deadline);
            let waited = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = waited => return,
                () = self.queue.filled() => {}
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
                    self.metrics.pending.dec_by(samples.len() as i64);
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
            self.metrics.pending.dec_by(samples.len() as i64);
            if let Some(count) = self.failed.say(samples.len() as u64) {
                let (tenant, remote_name, error) = (&self.place.tenant, &self.place.remote_name, &failure.what);
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
            let (tenant, remote_name, error) = (&self.place.tenant, &self.place.remote_name, &failure.what);
            tracing::warn!(tenant, remote_name, error, count, "remote storage does not take samples; they wait");
        }
    }

    /// Waits before the next try, and writes to disk what comes meanwhile. `false`: it is too late for another.
    async fn wait(&self, backoff: Duration, stop: &CancellationToken, late: &CancellationToken) -> bool {
        let mut until = Instant::now() + backoff;
        let mut stopping = false;
        loop {
            tokio::select! {
                () = late.cancelled() => return false,
                () = tokio::time::sleep_until(until) => return true,
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    until = until.min(Instant::now() + LAST_BACKOFF_MAX);
                }
                () = self.queue.filled(), if self.has_disk() => self.spill(vec![]).await,
            }
        }
    }

    /// Puts the rest of a round where it waits; one from disk is still there and comes back.
    async fn keep(&self, round: Round) -> Option<Round> {
        if round.next.is_some() {
            return Some(round);
        }
        if self.has_disk() {
            self.spill(round.samples).await;
        } else {
            let dropped = self.queue.put_back(round.samples);
            self.lost(dropped as u64);
        }
        None
    }

    async fn end(self, kept: Option<Round>) {
        if let Some(round) = kept.filter(|_| !self.has_disk()) {
            self.lost(round.samples.len() as u64);
        }
        if self.has_disk() && self.queue.len() > 0 {
            self.spill(vec![]).await;
        }
        let left = self.queue.take(usize::MAX).len();
        if left > 0 {
            self.lost(left as u64);
            let (tenant, remote_name) = (&self.place.tenant, &self.place.remote_name);
            tracing::warn!(tenant, remote_name, left, "samples are lost: not sent in time");
        }
    }

    pub(super) fn lost(&self, count: u64) {
        self.metrics.queue_full.inc_by(count);
        self.metrics.pending.dec_by(count as i64);
    }
}
