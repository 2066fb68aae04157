//! Blocks without the lines that a tenant asked to delete: hidden from the moment of the request, long before the
//! compactor rewrites the chunks.

use bytes::Bytes;
use logql::pipeline::{Hints, Pipeline};
use logql::source::{Block, Frames};
use model::matcher::all_match;
use model::{Labels, RawBlock, Result};
use rpc::deletes::DeleteFilter;
use std::sync::Arc;

/// `block` as its tenant may see it; `labels` are the stream's own.
pub fn without_deleted(block: Arc<dyn Block>, labels: &Labels, filters: &Arc<Vec<DeleteFilter>>) -> Arc<dyn Block> {
    let (min_ns, max_ns) = block.bounds_ns();
    let speaks = |f: &DeleteFilter| f.start_ns <= max_ns && f.end_ns >= min_ns && all_match(&f.matchers, labels);
    if !filters.iter().any(speaks) {
        return block;
    }
    Arc::new(Hidden { block, labels: labels.clone(), filters: filters.clone() })
}

struct Hidden {
    block: Arc<dyn Block>,
    labels: Labels,
    filters: Arc<Vec<DeleteFilter>>,
}

impl Block for Hidden {
    fn bounds_ns(&self) -> (i64, i64) {
        self.block.bounds_ns()
    }

    /// Not known before the lines are looked at.
    fn entries(&self) -> u64 {
        0
    }

    fn open(&self) -> Result<Arc<dyn Frames>> {
        let filters = self.filters.iter().filter(|f| all_match(&f.matchers, &self.labels)).cloned().collect();
        Ok(Arc::new(HiddenFrames { frames: self.block.open()?, labels: self.labels.clone(), filters }))
    }
}

struct HiddenFrames {
    frames: Arc<dyn Frames>,
    labels: Labels,
    filters: Vec<DeleteFilter>,
}

impl Frames for HiddenFrames {
    fn bounds_ns(&self) -> Vec<(i64, i64)> {
        self.frames.bounds_ns()
    }

    fn load(&self, frame: usize, memory: Vec<u8>) -> Result<RawBlock> {
        let mut raw = self.frames.load(frame, memory)?;
        for filter in &self.filters {
            raw = hide(&raw, filter, &self.labels)?;
        }
        Ok(raw)
    }
}

/// The block without the entries that `filter` names. Behind malformed bytes nothing is kept, as nothing is read there.
fn hide(raw: &RawBlock, filter: &DeleteFilter, labels: &Labels) -> Result<RawBlock> {
    let pipeline = Pipeline::compile(&filter.stages, &Hints::default())?;
    let mut lines = pipeline.stream(labels);
    let mut kept = Vec::with_capacity(raw.data.len());
    let mut entries = raw.entries();
    loop {
        let start = entries.offset();
        let Ok(Some(entry)) = entries.try_next() else { break };
        let deleted = filter.contains(entry.ts_ns) && lines.process(entry.ts_ns, entry.line, entry.metadata);
        if !deleted {
            kept.extend_from_slice(&raw.data[start..entries.offset()]);
        }
    }
    Ok(RawBlock { data: Bytes::from(kept), layout: raw.layout, symbols: raw.symbols.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use logql::source::Decompressed;
    use model::{BlockBuilder, Layout, SymbolsBuilder};

    struct Fixed(RawBlock);

    impl Block for Fixed {
        fn bounds_ns(&self) -> (i64, i64) {
            (1_000_000, 3_000_000)
        }
        fn entries(&self) -> u64 {
            3
        }
        fn open(&self) -> Result<Arc<dyn Frames>> {
            Ok(Arc::new(Decompressed { raw: self.0.clone(), bounds_ns: self.bounds_ns() }))
        }
    }

    /// Three lines at 1, 2 and 3 ms, seen through a delete request.
    fn seen(query: &str, start_ms: i64, end_ms: i64) -> Vec<String> {
        let (mut symbols, mut block) = (SymbolsBuilder::default(), BlockBuilder::new(Layout::Metadata));
        for (ms, line) in [(1, "keep one"), (2, "secret two"), (3, "secret three")] {
            block.push(ms * 1_000_000, line.as_bytes(), [("k", "v")].into_iter(), &mut symbols);
        }
        let raw =
            RawBlock { data: block.into_data().into(), layout: Layout::Metadata, symbols: Arc::new(symbols.finish()) };
        let filters = Arc::new(vec![DeleteFilter::parse(query, start_ms, end_ms).unwrap()]);
        let labels = Labels::new([("app", "a")]);
        let block = without_deleted(Arc::new(Fixed(raw)), &labels, &filters);
        let raw = block.open().unwrap().load(0, Vec::new()).unwrap();
        let mut entries = raw.entries();
        std::iter::from_fn(|| entries.try_next().unwrap())
            .map(|e| {
                assert_eq!(e.metadata.get("k"), Some("v"));
                String::from_utf8(e.line.to_vec()).unwrap()
            })
            .collect()
    }

    #[test]
    fn deleted_lines_are_not_seen() {
        let all = ["keep one", "secret two", "secret three"];
        for (query, start_ms, end_ms, expected) in [
            ("{app=\"a\"} |= \"secret\"", 0, 10, vec![all[0]]),
            ("{app=\"a\"} |= \"secret\"", 3, 10, vec![all[0], all[1]]),
            ("{app=\"a\"}", 1, 2, vec![all[2]]),
            ("{app=\"b\"}", 0, 10, all.to_vec()),
            ("{app=\"a\"}", 4, 10, all.to_vec()),
        ] {
            assert_eq!(seen(query, start_ms, end_ms), expected, "{query} {start_ms}..{end_ms}");
        }
    }
}
