//! Answers for recent data. A stream is looked at under its lock for as long as it takes to copy its head; sorting and
//! whatever the reader does happen outside. It must not know how streams are filled.

use crate::core::Core;
use crate::stream::{Stream, flushed_overlaps};
use futures::stream::{BoxStream, StreamExt, iter};
use model::time::NANOS_PER_MILLI;
use model::{Labels, Result};
use rpc::ingester::{RecentRequest, RecentStream, StreamSize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The streams that a request is about, whatever they hold.
fn streams(core: &Core, request: &RecentRequest) -> Vec<Arc<Stream>> {
    let Some(tenant) = core.tenants.get(&request.tenant) else { return vec![] };
    let mut streams = tenant.select(&request.matchers);
    if let Some(shard) = request.shard {
        streams.retain(|s| shard.contains(s.fingerprint));
    }
    streams
}

/// The same, with something in the range.
fn streams_in_range(core: &Core, request: &RecentRequest) -> impl Iterator<Item = Arc<Stream>> {
    let range = request.range;
    streams(core, request).into_iter().filter(move |s| s.lock().overlaps(&range))
}

pub fn select(core: Arc<Core>, request: RecentRequest) -> BoxStream<'static, Result<RecentStream>> {
    let streams = streams(&core, &request);
    iter(streams).filter_map(move |stream| std::future::ready(view(&core, &stream, &request).transpose())).boxed()
}

fn view(core: &Core, stream: &Stream, request: &RecentRequest) -> Result<Option<RecentStream>> {
    let range = &request.range;
    let mut state = stream.lock();
    if !state.overlaps(range) {
        return Ok(None);
    }
    let mut views: Vec<_> = state.closing.iter().map(|c| c.view(range)).collect();
    views.extend(state.open.as_mut().map(|open| open.view(range)));
    let stored = state.flushed.iter().map(|f| f.chunk);
    let flushed: Vec<_> = stored.filter(|chunk| flushed_overlaps(chunk, range)).collect();
    drop(state);
    let mut blocks = vec![];
    for view in views {
        let copied = Some(view.copied_bytes()).filter(|bytes| *bytes > 0);
        let memory = copied.map(|bytes| core.budget.reserve(bytes, "a query of recent data")).transpose()?;
        view.into_recent(memory, &mut blocks)?;
    }
    let found = !blocks.is_empty() || !flushed.is_empty();
    let recent = || RecentStream { labels: stream.labels.clone(), fingerprint: stream.fingerprint, blocks, flushed };
    Ok(found.then(recent))
}

pub fn labels(core: &Core, request: &RecentRequest, name: Option<&str>) -> Vec<String> {
    let mut found = BTreeSet::new();
    for stream in streams_in_range(core, request) {
        match name {
            Some(name) => found.extend(stream.labels.get(name).map(smol_str::SmolStr::from)),
            None => found.extend(stream.labels.iter().map(|l| l.name.clone())),
        }
    }
    found.into_iter().map(String::from).collect()
}

pub fn series(core: &Core, request: &RecentRequest) -> Vec<Labels> {
    streams_in_range(core, request).map(|s| s.labels.clone()).collect()
}

/// What each stream holds. A chunk that reaches out of the range counts with the part that its time inside has of all its
/// time.
pub fn sizes(core: &Core, request: &RecentRequest) -> Vec<StreamSize> {
    let range = &request.range;
    let size = |stream: Arc<Stream>| {
        let state = stream.lock();
        let open = state.open.iter().map(|c| (c.min_ts_ns, c.max_ts_ns, c.volume()));
        let closing = state.closing.iter().map(|c| (c.min_ts_ns, c.max_ts_ns, (c.entries, c.size_bytes)));
        let in_memory = open.chain(closing).filter(|(min_ns, max_ns, _)| range.overlaps(*min_ns, *max_ns));
        let flushed = state.flushed.iter().map(|f| &f.chunk).filter(|c| flushed_overlaps(c, range));
        let flushed = flushed.map(|c| {
            let bounds_ns = [c.from_ms, c.through_ms].map(|ms| ms.saturating_mul(NANOS_PER_MILLI));
            (bounds_ns[0], bounds_ns[1], (u64::from(c.entries), u64::from(c.kb) << 10))
        });
        let (mut chunks, mut entries, mut bytes) = (0, 0, 0);
        for (min_ns, max_ns, (chunk_entries, chunk_bytes)) in in_memory.chain(flushed) {
            let share = range.share_of(min_ns, max_ns);
            chunks += 1;
            entries += (chunk_entries as f64 * share) as u64;
            bytes += (chunk_bytes as f64 * share) as u64;
        }
        drop(state);
        StreamSize { labels: stream.labels.clone(), chunks, entries, bytes }
    };
    streams_in_range(core, request).map(size).filter(|s| s.chunks > 0).collect()
}
