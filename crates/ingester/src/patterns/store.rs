//! The patterns of every tenant's streams, by level. It must not know threads, nor how a line was chosen.

use super::PatternSettings;
use crate::stream::Stream;
use model::matcher::all_match;
use model::{Fingerprint, Labels, Result, StreamBatch, TenantId};
use patterns::{Learned, Miner, Scratch};
use rpc::ingester::{LevelPatterns, PatternsRequest, StreamPatterns};
use smol_str::SmolStr;
use std::collections::HashMap;

/// The metadata that tells an entry's level, and the level of entries without it.
const LEVEL: &str = "detected_level";
const UNKNOWN_LEVEL: &str = "unknown";
/// Levels of one stream: clients may send any text as a level.
const LEVELS_MAX: usize = 10;
/// Memory of a stream beside its patterns, in bytes.
const STREAM_BYTES: usize = 1 << 10;

pub struct Store {
    settings: PatternSettings,
    streams: HashMap<(TenantId, Fingerprint), StreamMiners>,
    bytes: usize,
}

struct StreamMiners {
    labels: Labels,
    levels: Vec<(SmolStr, Miner)>,
    pushed_ns: i64,
    bytes: usize,
}

/// Lines of one stream, of which every `stride`-th is looked at.
pub struct Lines<'a> {
    pub part: StreamBatch<'a>,
    pub stride: u64,
    pub now_ns: i64,
    pub message_fields: &'a [String],
}

impl Store {
    pub fn new(settings: PatternSettings) -> Self {
        Store { settings, streams: HashMap::new(), bytes: 0 }
    }

    /// Memory in use, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many lines were counted; those too old to be asked for are not.
    pub fn learn(
        &mut self,
        tenant: &TenantId,
        stream: &Stream,
        lines: &Lines<'_>,
        scratch: &mut Scratch,
    ) -> Result<u64> {
        let settings = &self.settings.stream;
        let oldest_ns = lines.now_ns.saturating_sub(settings.retain_for.as_nanos() as i64);
        // The hash of the labels: replicas of a stream agree on it.
        let key = (tenant.clone(), stream.hash);
        let miners = self.streams.entry(key).or_insert_with(|| {
            self.bytes += STREAM_BYTES;
            StreamMiners { labels: stream.labels.clone(), levels: vec![], pushed_ns: 0, bytes: STREAM_BYTES }
        });
        miners.pushed_ns = lines.now_ns;
        let (mut at, mut counted) = (0, 0);
        lines.part.for_each(|e| {
            let chosen = at % lines.stride == 0;
            // The last one chosen may stand for fewer.
            let stands_for = lines.stride.min(lines.part.entries - at);
            at += 1;
            if !chosen || e.ts_ns < oldest_ns {
                return;
            }
            let level = e.metadata().find(|(name, _)| *name == LEVEL).map(|(_, level)| level);
            let entry = (e.ts_ns, e.line, stands_for);
            let learned = miners.level(level).learn(scratch, settings, lines.message_fields, entry, lines.now_ns);
            counted += u64::from(learned != Learned::Skipped);
        })?;
        let weight = miners.weigh();
        self.bytes = self.bytes + weight - std::mem::replace(&mut miners.bytes, weight);
        Ok(counted)
    }

    pub fn forget_old(&mut self, now_ns: i64) {
        let settings = &self.settings.stream;
        let oldest_ns = now_ns.saturating_sub(settings.retain_for.as_nanos() as i64);
        self.bytes = 0;
        self.streams.retain(|_, stream| {
            stream.levels.iter_mut().for_each(|(_, miner)| miner.forget_before(oldest_ns, settings.sample_interval));
            stream.levels.retain(|(_, miner)| !miner.is_empty());
            stream.bytes = stream.weigh();
            let kept = !stream.levels.is_empty();
            self.bytes += if kept { stream.bytes } else { 0 };
            kept
        });
    }

    /// Below the bound again, with some room: the streams that were pushed to the longest ago go.
    pub fn make_room(&mut self) {
        let max = self.settings.memory_bytes_max;
        if self.bytes <= max {
            return;
        }
        let mut by_age: Vec<_> = self.streams.iter().map(|(key, stream)| (stream.pushed_ns, key.clone())).collect();
        by_age.sort_unstable_by_key(|(pushed_ns, _)| *pushed_ns);
        for (_, key) in by_age {
            if self.bytes <= max / 4 * 3 {
                return;
            }
            self.bytes -= self.streams.remove(&key).map_or(0, |stream| stream.bytes);
        }
    }

    /// The patterns of the streams that satisfy the matchers.
    pub fn answer(&self, request: &PatternsRequest) -> Vec<StreamPatterns> {
        let interval = self.settings.stream.sample_interval;
        let of_level = |(level, miner): &(SmolStr, Miner)| LevelPatterns {
            level: level.to_string(),
            patterns: miner.patterns(request.recent.range, interval, request.step),
        };
        let wanted = self.streams.iter().filter(|((tenant, _), stream)| {
            *tenant == request.recent.tenant && all_match(&request.recent.matchers, &stream.labels)
        });
        let answers = wanted.map(|((_, fingerprint), stream)| StreamPatterns {
            fingerprint: *fingerprint,
            levels: stream.levels.iter().map(of_level).filter(|l| !l.patterns.is_empty()).collect(),
        });
        answers.filter(|stream| !stream.levels.is_empty()).collect()
    }
}

impl StreamMiners {
    fn level(&mut self, level: Option<&str>) -> &mut Miner {
        let known = |levels: &[(SmolStr, Miner)], wanted: &str| levels.iter().position(|(level, _)| level == wanted);
        let level = level.unwrap_or(UNKNOWN_LEVEL);
        let at = known(&self.levels, level).unwrap_or_else(|| {
            let full = self.levels.len() >= LEVELS_MAX;
            let level = if full { UNKNOWN_LEVEL } else { level };
            known(&self.levels, level).unwrap_or_else(|| {
                self.levels.push((level.into(), Miner::default()));
                self.levels.len() - 1
            })
        });
        &mut self.levels[at].1
    }

    fn weigh(&self) -> usize {
        STREAM_BYTES + self.levels.iter().map(|(_, miner)| miner.bytes()).sum::<usize>()
    }
}
