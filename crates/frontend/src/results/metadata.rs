//! Kept answers about streams: sizes and volumes as they were asked, since a chunk counts in every range that it
//! reaches into; names, values and series by days (`split_metadata_queries_by_interval`), since those of two days are
//! those of both. It stands behind the stage that shards, which asks for sizes itself.

use super::extents::Extent;
use super::generations::{Generation, Generations};
use super::key::Key;
use super::shelf::Shelf;
use crate::freshness;
use crate::merge::parallelism;
use async_trait::async_trait;
use futures::stream::{self, StreamExt, TryStreamExt};
use model::{Labels, Result, TimeRange};
use rpc::call::{Call, Calls, Reply, ask};
use rpc::queries::{Answer, CacheUse, MetadataRequest, Queries, Tenants};
use rpc::read_limits;
use rpc::wire::{call_bytes, reply_bytes, reply_of_bytes};
use runtime::clock::SharedClock;
use runtime::limits::{Limits, Overrides};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Parts of one question that are kept one by one; a longer question is neither looked up nor kept.
const PARTS_MAX: usize = 64;

pub struct MetadataResults {
    pub next: Arc<dyn Queries>,
    /// `query_range.cache_index_stats_results`.
    pub stats: Option<Shelf>,
    /// `query_range.cache_volume_results`.
    pub volume: Option<Shelf>,
    /// `query_range.cache_series_results`.
    pub series: Option<Shelf>,
    /// `query_range.cache_label_results`.
    pub labels: Option<Shelf>,
    pub generations: Arc<Generations>,
    pub limits: Arc<Overrides>,
    pub clock: SharedClock,
}

#[async_trait]
impl Calls for MetadataResults {
    async fn call(&self, tenants: &Tenants, call: Call) -> Result<Reply> {
        let shelf = match &call {
            Call::Stats(_) => &self.stats,
            Call::Volume(_) => &self.volume,
            Call::Series(_) => &self.series,
            Call::Labels(..) => &self.labels,
            Call::Query(_) | Call::Patterns(_) => &None,
        };
        let (Some(shelf), false) = (shelf, freshness::is_bypassed(&call)) else {
            return ask(&*self.next, tenants, call).await;
        };
        let limits: Vec<Arc<Limits>> = tenants.ids.iter().map(|tenant| self.limits.tenant(tenant)).collect();
        match call {
            Call::Series(ref request) | Call::Labels(ref request, _) => {
                let of = |range| of_range(&call, range);
                self.by_days(tenants, shelf, &limits, request, &of).await
            }
            call => {
                let until_ns = freshness::before(&limits, self.clock.now_ns(), |l| l.max_stats_cache_freshness);
                self.whole(tenants, shelf, until_ns, call).await
            }
        }
    }
}

/// The same question about another time.
fn of_range(call: &Call, range: TimeRange) -> Call {
    match call {
        Call::Series(request) => Call::Series(MetadataRequest { range, ..request.clone() }),
        Call::Labels(request, name) => Call::Labels(MetadataRequest { range, ..request.clone() }, name.clone()),
        other => other.clone(),
    }
}

impl MetadataResults {
    /// A question that is kept as it is.
    async fn whole(&self, tenants: &Tenants, shelf: &Shelf, until_ns: i64, call: Call) -> Result<Reply> {
        let is_settled = freshness::read_until_ns(&call).is_some_and(|ns| ns <= until_ns);
        let generation = if is_settled { self.generations.of(tenants).await.ok() } else { None };
        let Some(generation) = generation else { return ask(&*self.next, tenants, call).await };
        let key = key(shelf, tenants, &generation, &call);
        let held = shelf.take(&key, &mut CacheUse::default()).await;
        if let Some(reply) = kept(&held, &call) {
            shelf.count_hit(true);
            return Ok(reply);
        }
        let reply = ask(&*self.next, tenants, call).await?;
        self.keep(tenants, shelf, &key, &generation, &reply).await;
        Ok(reply)
    }

    /// A question whose parts by time are kept: the days inside it that are over, each for itself.
    async fn by_days(
        &self,
        tenants: &Tenants,
        shelf: &Shelf,
        limits: &[Arc<Limits>],
        request: &MetadataRequest,
        of: &(dyn Fn(TimeRange) -> Call + Sync),
    ) -> Result<Reply> {
        let until_ns = freshness::before(limits, self.clock.now_ns(), |l| l.max_metadata_cache_freshness);
        let parts = parts(request.range, interval_ns(limits), until_ns);
        let is_kept = parts.iter().any(|part| part.is_whole) && parts.len() <= PARTS_MAX;
        let generation = if is_kept { self.generations.of(tenants).await.ok() } else { None };
        let Some(generation) = generation else { return ask(&*self.next, tenants, of(request.range)).await };
        let calls: Vec<Call> = parts.iter().map(|part| of(part.range)).collect();
        let keys: Vec<Option<Key>> = parts
            .iter()
            .zip(&calls)
            .map(|(part, call)| part.is_whole.then(|| key(shelf, tenants, &generation, call)))
            .collect();
        let wanted: Vec<Key> = keys.iter().flatten().cloned().collect();
        let mut held = shelf.take_all(&wanted, &mut CacheUse::default()).await.into_iter();
        let mut answers = Union::default();
        let mut missing = vec![];
        for (call, key) in calls.into_iter().zip(keys) {
            let found = key.as_ref().and_then(|_| held.next()).and_then(|held| kept(&held, &call));
            match found {
                Some(reply) => answers.add(reply),
                None => missing.push((call, key)),
            }
        }
        if wanted.len() > missing.iter().filter(|(_, key)| key.is_some()).count() {
            shelf.count_hit(missing.is_empty());
        }
        let at_once = parallelism(limits, |l| l.max_query_parallelism);
        let asked = missing.into_iter().map(|(call, key)| async move {
            let reply = ask(&*self.next, tenants, call).await?;
            Ok::<_, model::Error>((reply, key))
        });
        let mut asked = stream::iter(asked).buffered(at_once);
        while let Some((reply, key)) = asked.try_next().await? {
            if let Some(key) = key {
                self.keep(tenants, shelf, &key, &generation, &reply).await;
            }
            answers.add(reply);
        }
        Ok(answers.reply(&of(request.range)))
    }

    async fn keep(&self, tenants: &Tenants, shelf: &Shelf, key: &Key, generation: &Generation, reply: &Reply) {
        let is_whole = match reply {
            Reply::Labels(answer) => answer.warnings.is_empty(),
            Reply::Series(answer) => answer.warnings.is_empty(),
            Reply::Stats(answer) => answer.warnings.is_empty(),
            Reply::Volume(answer) => answer.warnings.is_empty(),
            Reply::Query(_) | Reply::Patterns(_) => false,
        };
        if is_whole && self.generations.is_still(tenants, generation).await {
            let answer = reply_bytes(reply.clone()).into();
            shelf.put(key, &[Extent { first_ns: 0, last_ns: 0, answer }], &mut CacheUse::default());
        }
    }
}

fn key(shelf: &Shelf, tenants: &Tenants, generation: &Generation, call: &Call) -> Key {
    Key::new(shelf.kind(), tenants, &generation.of).field(&call_bytes(tenants, call.clone()))
}

/// What is kept, if it is an answer to the call.
fn kept(held: &[Extent], call: &Call) -> Option<Reply> {
    let reply = reply_of_bytes(&held.first()?.answer).ok()?;
    let fits = matches!(
        (call, &reply),
        (Call::Labels(..), Reply::Labels(_))
            | (Call::Series(_), Reply::Series(_))
            | (Call::Stats(_), Reply::Stats(_))
            | (Call::Volume(_), Reply::Volume(_))
    );
    fits.then_some(reply)
}

/// Names or series of several times.
#[derive(Default)]
struct Union {
    names: BTreeSet<String>,
    series: BTreeSet<Labels>,
    warnings: BTreeSet<String>,
}

impl Union {
    fn add(&mut self, reply: Reply) {
        match reply {
            Reply::Labels(answer) => {
                self.names.extend(answer.value);
                self.warnings.extend(answer.warnings);
            }
            Reply::Series(answer) => {
                self.series.extend(answer.value);
                self.warnings.extend(answer.warnings);
            }
            Reply::Query(_) | Reply::Stats(_) | Reply::Volume(_) | Reply::Patterns(_) => {}
        }
    }

    fn reply(self, call: &Call) -> Reply {
        let warnings = self.warnings.into_iter().collect();
        match call {
            Call::Series(_) => Reply::Series(Answer { value: self.series.into_iter().collect(), warnings }),
            _ => Reply::Labels(Answer { value: self.names.into_iter().collect(), warnings }),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct DayPart {
    range: TimeRange,
    /// A whole interval that is over.
    is_whole: bool,
}

/// Whole intervals that end before `until_ns`, and what is left before and behind them.
fn parts(range: TimeRange, interval_ns: i64, until_ns: i64) -> Vec<DayPart> {
    let rest = |start_ns, end_ns| DayPart { range: TimeRange { start_ns, end_ns }, is_whole: false };
    let interval = i128::from(interval_ns);
    let (start, end) = (i128::from(range.start_ns), i128::from(range.end_ns.min(until_ns)));
    if interval <= 0 {
        return vec![rest(range.start_ns, range.end_ns)];
    }
    let first = -(-start).div_euclid(interval);
    let behind = end.div_euclid(interval);
    if first >= behind || behind - first > PARTS_MAX as i128 {
        return vec![rest(range.start_ns, range.end_ns)];
    }
    let at = |number: i128| (number * interval) as i64;
    let mut parts = vec![];
    if range.start_ns < at(first) {
        parts.push(rest(range.start_ns, at(first)));
    }
    parts.extend((first..behind).map(|number| DayPart { is_whole: true, ..rest(at(number), at(number + 1)) }));
    if at(behind) < range.end_ns {
        parts.push(rest(at(behind), range.end_ns));
    }
    parts
}

/// Of several tenants' intervals the shortest; 0: none splits.
fn interval_ns(limits: &[Arc<Limits>]) -> i64 {
    let intervals = limits.iter().map(|l| read_limits::nanos(l.split_metadata_queries_by_interval));
    intervals.filter(|ns| *ns > 0).min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_that_are_over_are_asked_one_by_one() {
        for (range, until_ns, expected) in [
            ((15, 47), 100, vec![(15, 20, false), (20, 30, true), (30, 40, true), (40, 47, false)]),
            ((20, 40), 100, vec![(20, 30, true), (30, 40, true)]),
            ((20, 40), 39, vec![(20, 30, true), (30, 40, false)]),
            ((20, 40), 29, vec![(20, 40, false)]),
            ((21, 39), 100, vec![(21, 39, false)]),
            ((-15, 5), 100, vec![(-15, -10, false), (-10, 0, true), (0, 5, false)]),
            ((i64::MIN, i64::MAX), i64::MAX, vec![(i64::MIN, i64::MAX, false)]),
        ] {
            let range = TimeRange { start_ns: range.0, end_ns: range.1 };
            let got: Vec<_> = parts(range, 10, until_ns)
                .into_iter()
                .map(|part| (part.range.start_ns, part.range.end_ns, part.is_whole))
                .collect();
            assert_eq!(got, expected);
        }
        let range = TimeRange { start_ns: 0, end_ns: 50 };
        assert_eq!(parts(range, 0, 100), [DayPart { range, is_whole: false }]);
    }
}
