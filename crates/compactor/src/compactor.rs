//! The compactor's rounds: every table, newest first; a table that fails is named, counted and tried again in the next
//! round, the others go on. It must not know what is done to a table.

use crate::erase::Due;
use crate::metrics::{Metrics, StatusLabel};
use crate::requests::DeleteRequests;
use crate::settings::Settings;
use crate::sweep::Sweep;
use crate::table::{Compacted, Round};
use crate::tables::{self, Table};
use format::crc::crc32c;
use model::time::MILLIS_PER_DAY;
use model::{Result, TenantId};
use parking_lot::Mutex;
use runtime::clock::SharedClock;
use runtime::limits::Overrides;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;
use storage::chunks::ChunkStore;
use storage::index::Places;
use storage::objects::Objects;
use tokio_util::sync::CancellationToken;

/// What a compactor works with.
pub struct Parts {
    pub places: Places,
    /// Its cache need hold no more than the chunks at hand: each is read once.
    pub chunks: Arc<ChunkStore>,
    /// The bucket that keeps marks, below `lokirs/`; best that of `delete_request_store`.
    pub state: Objects,
    pub limits: Arc<Overrides>,
    pub deletes: Arc<DeleteRequests>,
    pub clock: SharedClock,
    pub metrics: Metrics,
    pub turn: Turn,
    /// This compactor among others on the bucket; empty where there is but one.
    pub id: String,
}

/// Whether this compactor is the one to compact, asked again and again.
pub type Turn = Arc<dyn Fn() -> bool + Send + Sync>;

/// How often a compactor that waits asks for its turn.
const TURN_POLL: Duration = Duration::from_secs(1);
/// Numbers in file names differ by less than this between compactors: a millisecond.
const STAMP_OFFSET_NS: i64 = 1_000_000;

pub struct Compactor {
    parts: Parts,
    settings: Settings,
    /// Index files in which nothing was left to be merged, as far as they are listed still.
    settled: Mutex<HashSet<String>>,
}

impl Compactor {
    pub fn new(parts: Parts, settings: Settings) -> Self {
        Compactor { parts, settings, settled: Mutex::default() }
    }

    /// Rounds until `stop`, which may fall into one: what it leaves is whole, and the next round goes on from there.
    /// The first begins after one interval, when the ingesters have shipped what they had; one who has waited that long
    /// begins as soon as it is its turn.
    pub async fn run(&self, stop: CancellationToken) {
        let interval = self.settings.compaction_interval;
        let rounds = async {
            let mut waited = Duration::ZERO;
            loop {
                let pause = interval.saturating_sub(waited).min(TURN_POLL).max(Duration::from_millis(1));
                tokio::time::sleep(pause).await;
                waited = waited.saturating_add(pause);
                let is_turn = self.is_turn();
                if !is_turn || waited < interval {
                    continue;
                }
                waited = Duration::ZERO;
                if let Err(e) = self.round().await {
                    tracing::error!(error = %e, "compaction failed, the next round tries again");
                }
            }
        };
        stop.run_until_cancelled(rounds).await;
        self.parts.metrics.running.set(0);
    }

    fn is_turn(&self) -> bool {
        let is_turn = (self.parts.turn)();
        if self.parts.metrics.running.set(i64::from(is_turn)) != i64::from(is_turn) {
            tracing::info!(is_turn, "who compacts has changed");
        }
        is_turn
    }

    /// One round: compact every table, then delete what has been marked for long enough. The first error, if any, comes
    /// back at the end.
    pub async fn round(&self) -> Result<()> {
        let started = Instant::now();
        let done = self.try_round().await;
        let status = StatusLabel { status: if done.is_ok() { "success" } else { "failure" } };
        let (metrics, now_seconds) = (&self.parts.metrics, self.parts.clock.now_ns() / 1_000_000_000);
        let is_retention = self.settings.retention_enabled;
        metrics.rounds.get_or_create(&status).inc();
        if is_retention {
            metrics.retention_rounds.get_or_create(&status).inc();
        }
        if done.is_ok() {
            let seconds = started.elapsed().as_secs_f64();
            metrics.last_success_seconds.set(now_seconds);
            metrics.round_seconds.set(seconds);
            if is_retention {
                metrics.retention_last_success_seconds.set(now_seconds);
                metrics.retention_seconds.set(seconds);
            }
        }
        done
    }

    async fn try_round(&self) -> Result<()> {
        let is_retention = self.settings.retention_enabled;
        let due = if is_retention { self.parts.deletes.due().await? } else { HashMap::new() };
        let tables = tables::discover(&self.parts.places).await?;
        let listed: HashSet<&String> = tables.iter().flat_map(|table| table.own.values().flatten()).collect();
        self.settled.lock().retain(|key| listed.contains(key));
        let mut round = self.start(&due);
        let (mut failure, mut failed_days) = (None, Vec::new());
        for table in &tables {
            if !self.is_turn() {
                tracing::info!("another compactor goes on");
                return Ok(());
            }
            match round.compact(table).await {
                Ok(done) => log(table, &done),
                Err(e) => {
                    tracing::error!(table = %table.key, error = %e, "table not compacted");
                    self.parts.metrics.table_failures.inc();
                    failed_days.push(table.bounds_ms());
                    failure.get_or_insert(e.context(&table.key));
                }
            }
        }
        let unfinished = round.unfinished;
        if is_retention {
            self.note_processed(&due, &unfinished, &failed_days).await?;
        }
        if is_retention || self.settings.merge_chunks_below_bytes > 0 {
            for (tenant, chunk) in self.sweep().run().await? {
                self.parts.deletes.reopen(&tenant, &chunk).await?;
            }
        }
        failure.map_or(Ok(()), Err)
    }

    fn start<'a>(&'a self, due: &'a HashMap<TenantId, Vec<Due>>) -> Round<'a> {
        Round {
            state: &self.parts.state,
            chunks: &self.parts.chunks,
            metrics: &self.parts.metrics,
            limits: self.settings.retention_enabled.then_some(&*self.parts.limits),
            due,
            merge_below_bytes: self.settings.merge_chunks_below_bytes,
            settled: &self.settled,
            now_ns: self.parts.clock.now_ns(),
            stamp_offset_ns: i64::from(crc32c(self.parts.id.as_bytes())) % STAMP_OFFSET_NS,
            retention: HashMap::new(),
            unfinished: HashSet::new(),
        }
    }

    fn sweep(&self) -> Sweep<'_> {
        Sweep {
            places: &self.parts.places,
            chunks: &self.parts.chunks,
            state: &self.parts.state,
            metrics: &self.parts.metrics,
            now_ns: self.parts.clock.now_ns(),
            delay: self.settings.retention_delete_delay,
        }
    }

    /// A request is processed when every table that may hold its lines went through. A chunk may reach over midnight,
    /// so the neighbours of a day count.
    async fn note_processed(
        &self,
        due: &HashMap<TenantId, Vec<Due>>,
        unfinished: &HashSet<(TenantId, String)>,
        failed_days: &[(i64, i64)],
    ) -> Result<()> {
        let around = |(from, through): (i64, i64)| (from - MILLIS_PER_DAY, through + MILLIS_PER_DAY);
        for (tenant, requests) in due {
            let is_done = |due: &&Due| {
                let failed = failed_days.iter().any(|bounds| due.overlaps(around(*bounds)));
                !failed && !unfinished.contains(&(tenant.clone(), due.id.clone()))
            };
            let ids: Vec<String> = requests.iter().filter(is_done).map(|due| due.id.clone()).collect();
            if !ids.is_empty() {
                self.parts.deletes.processed(tenant, &ids).await?;
            }
        }
        Ok(())
    }
}

fn log(table: &Table, done: &Compacted) {
    if *done != Compacted::default() {
        tracing::info!(
            table = %table.key,
            merged = done.files_merged,
            written = done.files_written,
            marked = done.chunks_marked,
            "table compacted"
        );
    }
}
