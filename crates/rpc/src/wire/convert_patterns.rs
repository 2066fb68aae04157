//! Patterns between the nouns and their messages.

use super::convert::{recent_of_wire, recent_to_wire};
use super::proto;
use crate::ingester::{LevelPatterns, PatternsRequest, StreamPatterns};
use model::{Fingerprint, Result, TenantId};
use patterns::{Pattern, Sample};
use std::time::Duration;

pub fn patterns_to_wire(request: &PatternsRequest) -> proto::RecentPatterns {
    proto::RecentPatterns {
        recent: Some(recent_to_wire(&request.recent)),
        step_ns: u64::try_from(request.step.as_nanos()).unwrap_or(u64::MAX),
    }
}

pub fn patterns_of_wire(tenant: TenantId, request: proto::RecentPatterns) -> Result<PatternsRequest> {
    let recent = recent_of_wire(tenant, request.recent.unwrap_or_default())?;
    Ok(PatternsRequest { recent, step: Duration::from_nanos(request.step_ns) })
}

pub fn stream_patterns_to_wire(stream: StreamPatterns) -> proto::StreamPatterns {
    let sample = |s: Sample| proto::PatternSample { time_ns: s.time_ns, lines: s.lines };
    let pattern = |p: Pattern| proto::Pattern { text: p.text, samples: p.samples.into_iter().map(sample).collect() };
    let level = |l: LevelPatterns| proto::LevelPatterns {
        level: l.level,
        patterns: l.patterns.into_iter().map(pattern).collect(),
    };
    proto::StreamPatterns { fingerprint: stream.fingerprint.0, levels: stream.levels.into_iter().map(level).collect() }
}

pub fn stream_patterns_of_wire(stream: proto::StreamPatterns) -> StreamPatterns {
    let sample = |s: proto::PatternSample| Sample { time_ns: s.time_ns, lines: s.lines };
    let pattern = |p: proto::Pattern| Pattern { text: p.text, samples: p.samples.into_iter().map(sample).collect() };
    let level = |l: proto::LevelPatterns| LevelPatterns {
        level: l.level,
        patterns: l.patterns.into_iter().map(pattern).collect(),
    };
    StreamPatterns {
        fingerprint: Fingerprint(stream.fingerprint),
        levels: stream.levels.into_iter().map(level).collect(),
    }
}
