//! Live tails: history through the query service, then what the ingesters are pushed. The tails are opened before the
//! history is read, so that nothing falls between; what comes twice is shown once. It must not know HTTP, nor who reads:
//! a reader that is slow is slow to poll, and the ingesters drop.

mod held;
mod seen;
mod sources;

use crate::ingesters::Ingesters;
use crate::recent;
use async_trait::async_trait;
use futures::stream::{BoxStream, StreamExt, unfold};
use held::Held;
use logql::ast::Expr;
use logql::pipeline::{Hints, Pipeline};
use logql::value::{LogEntry, LogStream, QueryValue};
use model::{Direction, Error, Kind, Labels, Result, TenantId, TimeRange};
use rpc::ingester::{RecentRequest, RecentStream, Tailed};
use rpc::queries::{Queries, QueryRequest, QueryTime};
use rpc::read_limits as limits;
use rpc::tail::{TailFrame, TailRequest, Tails};
use runtime::clock::SharedClock;
use runtime::limits::{Limits, Overrides};
use seen::{Handover, Seen};
use sources::Sources;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Entries of one frame, as in Loki.
const FRAME_ENTRIES_MAX: usize = 100;
/// Line bytes from which on a frame takes no further entry.
const FRAME_BYTES_MAX: usize = 1 << 20;
/// How often ingesters that are not tailed, be they new or back again, are asked.
const REOPEN_INTERVAL: Duration = Duration::from_secs(1);
/// The step of a log query, which has no use for it.
const STEP_NS: i64 = 1_000_000_000;
/// The longest `delay_for`, as in Loki.
pub const DELAY_MAX: Duration = Duration::from_secs(5);

/// The tail service of a querier.
pub struct Tailer {
    pub ingesters: Arc<dyn Ingesters>,
    /// Answers for the history.
    pub queries: Arc<dyn Queries>,
    pub limits: Arc<Overrides>,
    pub clock: SharedClock,
    /// Loki's `querier.tail_max_duration`.
    pub duration_max: Duration,
}

#[async_trait]
impl Tails for Tailer {
    async fn tail(&self, tenant: &TenantId, request: TailRequest) -> Result<BoxStream<'static, Result<TailFrame>>> {
        let expr = logql::parse::parse(&request.query)?;
        let limits = self.limits.tenant(tenant);
        let history = self.history(&request, &limits);
        limits::check(&expr, &history, std::slice::from_ref(&limits))?;
        limits::check_entries(&history, &limits)?;
        if request.delay_for > DELAY_MAX {
            return Err(Error::invalid("delay_for can't be greater than 5"));
        }
        let Expr::Log(log) = expr else { return Err(Error::invalid("only log selector is supported")) };
        let pipeline = Pipeline::compile(&log.stages, &Hints::default())?;
        let range = TimeRange::new(request.start_ns, i64::MAX);
        let recent = RecentRequest { tenant: tenant.clone(), matchers: log.matchers, range, shard: None };
        let sources = Sources::open(self.ingesters.clone(), recent).await?;
        let tail = Tail {
            sources,
            tenant: tenant.clone(),
            // Asked for anew: it must reach to where the live part begins.
            history: Some((self.queries.clone(), self.history(&request, &limits))),
            pipeline,
            handover: Handover::default(),
            seen: Seen::default(),
            held: Held::new(request.delay_for),
            frames: VecDeque::new(),
            ends: Instant::now() + self.duration_max,
            reopens: Instant::now() + REOPEN_INTERVAL,
        };
        Ok(unfold(Some(tail), Tail::step).boxed())
    }
}

impl Tailer {
    /// The newest lines up to now, with those whose time is still to come.
    fn history(&self, request: &TailRequest, limits: &Limits) -> QueryRequest {
        let end_ns = self.clock.now_ns().saturating_add(limits::nanos(limits.creation_grace_period).max(1));
        let time =
            QueryTime::Range { start_ns: request.start_ns.min(end_ns), end_ns, step_ns: STEP_NS, interval_ns: 0 };
        let direction = Direction::Backward;
        QueryRequest {
            query: request.query.clone(),
            time,
            limit: request.limit,
            direction,
            partial_series: false,
            no_cache: false,
            tags: vec![],
            part: None,
        }
    }
}

/// One tail, pulled by its reader.
struct Tail {
    tenant: TenantId,
    /// Until it is read.
    history: Option<(Arc<dyn Queries>, QueryRequest)>,
    sources: Sources,
    pipeline: Pipeline,
    handover: Handover,
    seen: Seen,
    held: Held,
    frames: VecDeque<TailFrame>,
    ends: Instant,
    reopens: Instant,
}

impl Tail {
    async fn step(this: Option<Tail>) -> Option<(Result<TailFrame>, Option<Tail>)> {
        let mut tail = this?;
        match tail.next().await {
            Ok(frame) => Some((Ok(frame), Some(tail))),
            Err(error) => Some((Err(error), None)),
        }
    }

    /// The next frame; waits for it.
    async fn next(&mut self) -> Result<TailFrame> {
        if let Some((queries, request)) = self.history.take() {
            self.read_history(&*queries, request).await?;
        }
        loop {
            if Instant::now() >= self.ends {
                return Err(Error::new(Kind::Timeout, "reached tail max duration limit"));
            }
            if let Some(frame) = self.frames.pop_front() {
                return Ok(frame);
            }
            let due = self.held.due().unwrap_or(self.ends);
            tokio::select! {
                tailed = self.sources.next() => self.take(tailed),
                () = sleep_until(due) => {}
                () = sleep_until(self.reopens) => {
                    self.sources.reopen();
                    self.reopens = Instant::now() + REOPEN_INTERVAL;
                }
                () = sleep_until(self.ends) => {}
            }
            let released = self.held.release(Instant::now());
            self.show(released);
        }
    }

    async fn read_history(&mut self, queries: &dyn Queries, request: QueryRequest) -> Result<()> {
        let answer = queries.query(&self.tenant.clone().into(), request).await?;
        let QueryValue::Streams(streams) = answer.value else { return Ok(()) };
        let mut entries = vec![];
        for stream in streams {
            entries.extend(stream.entries.into_iter().map(|e| (stream.labels.clone(), e)));
        }
        // Newest first, as asked for; of one time, the reverse of that is the order in which they came.
        entries.reverse();
        entries.sort_by_key(|(_, e)| e.ts_ns);
        entries.iter().for_each(|(labels, e)| self.handover.shown(labels, e));
        self.show(entries);
        Ok(())
    }

    fn take(&mut self, tailed: Tailed) {
        match tailed {
            Tailed::Pushed(stream) => {
                if let Err(error) = self.take_stream(stream) {
                    tracing::warn!(%error, "a tail left out entries that it could not read");
                }
            }
            Tailed::Dropped(dropped) => match self.frames.back_mut() {
                Some(frame) => frame.dropped.push(dropped),
                None => self.frames.push_back(TailFrame { streams: vec![], dropped: vec![dropped] }),
            },
        }
    }

    /// Runs the pipeline over pushed entries and holds what it keeps.
    fn take_stream(&mut self, stream: RecentStream) -> Result<()> {
        let now = Instant::now();
        let of_stream = self.seen.stream(&stream.labels);
        let mut pipeline = self.pipeline.stream(&stream.labels);
        for block in stream.blocks {
            let raw = recent::raw(&block, Vec::new())?;
            let mut entries = raw.entries();
            loop {
                let next = entries.try_next();
                let next = next.map_err(|m| Error::corrupt(format!("a malformed entry at byte {}", m.offset)))?;
                let Some(e) = next else { break };
                if !self.seen.is_new(of_stream, &e) || !pipeline.process(e.ts_ns, e.line, e.metadata) {
                    continue;
                }
                let (labels, structured_metadata, parsed) = pipeline.categorized();
                let line = bytes::Bytes::copy_from_slice(pipeline.line());
                let entry = LogEntry { ts_ns: e.ts_ns, line, structured_metadata, parsed };
                if !self.handover.was_shown(&labels, &entry) {
                    self.held.add(now, labels, entry);
                }
            }
        }
        Ok(())
    }

    /// Cuts entries into frames.
    fn show(&mut self, entries: Vec<(Labels, LogEntry)>) {
        let mut room = (0, 0);
        for (labels, entry) in entries {
            if room.0 == 0 || room.1 == 0 {
                self.frames.push_back(TailFrame::default());
                room = (FRAME_ENTRIES_MAX, FRAME_BYTES_MAX);
            }
            room = (room.0 - 1, room.1.saturating_sub(entry.line.len()));
            if let Some(frame) = self.frames.back_mut() {
                frame.streams.push(LogStream { labels, entries: vec![entry] });
            }
        }
    }
}
