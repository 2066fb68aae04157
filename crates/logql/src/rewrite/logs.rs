//! Answers of log queries made one: the order in which the engine finds entries, over all parts.

use crate::ast::{LogExpr, Stage};
use crate::value::{LogEntry, LogStream};
use model::{Direction, Labels};
use std::collections::BTreeMap;

/// Whether the answer's streams are the stored ones. Else entries of equal time cannot be put in the engine's order, as
/// the labels that decide it are gone.
pub fn keeps_labels(log: &LogExpr) -> bool {
    !log.stages.iter().any(|stage| matches!(stage, Stage::Drop(_) | Stage::Keep(_) | Stage::LabelFormat(_)))
}

/// The first `limit` entries of all parts. A stream's entries of one time must be in one part, or in parts in their order.
pub fn merge_logs(parts: Vec<Vec<LogStream>>, limit: usize, direction: Direction) -> Vec<LogStream> {
    let streams: Vec<LogStream> = parts.into_iter().flatten().collect();
    let mut labels: Vec<&Labels> = streams.iter().map(|stream| &stream.labels).collect();
    labels.sort_unstable();
    labels.dedup();
    let rank = |of: &Labels| labels.binary_search(&of).unwrap_or_default();
    let mut places: Vec<(i64, usize, usize, usize)> = vec![];
    for (number, stream) in streams.iter().enumerate() {
        let rank = rank(&stream.labels);
        for (at, entry) in stream.entries.iter().enumerate() {
            places.push(match direction {
                Direction::Forward => (entry.ts_ns, rank, number, at),
                Direction::Backward => (!entry.ts_ns, usize::MAX - rank, number, at),
            });
        }
    }
    places.sort_unstable();
    places.truncate(limit);
    let mut entries: Vec<Vec<Option<LogEntry>>> = vec![];
    let mut owners: Vec<Labels> = vec![];
    for stream in streams {
        owners.push(stream.labels);
        entries.push(stream.entries.into_iter().map(Some).collect());
    }
    let mut merged: BTreeMap<Labels, Vec<LogEntry>> = BTreeMap::new();
    for (_, _, number, at) in places {
        merged.entry(owners[number].clone()).or_default().extend(entries[number][at].take());
    }
    merged.into_iter().map(|(labels, entries)| LogStream { labels, entries }).collect()
}
