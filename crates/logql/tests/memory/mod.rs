//! A source in memory for the engine's tests and benches: blocks built from entries, or that fail to load.

use logql::source::{Block, Decompressed, Frames, Selection, Source, StreamBlocks, Streams};
use model::{BlockBuilder, Error, Labels, Layout, RawBlock, Result, SymbolsBuilder};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

#[derive(Default)]
pub struct MemorySource {
    streams: Vec<(Labels, Vec<Arc<MemoryBlock>>)>,
}

pub struct MemoryBlock {
    raw: RawBlock,
    bounds_ns: (i64, i64),
    entries: u64,
    failure: Option<Error>,
    loads: AtomicU64,
}

impl Block for MemoryBlock {
    fn bounds_ns(&self) -> (i64, i64) {
        self.bounds_ns
    }
    fn entries(&self) -> u64 {
        self.entries
    }
    fn open(&self) -> Result<Arc<dyn Frames>> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        match &self.failure {
            Some(error) => Err(error.clone()),
            None => Ok(Arc::new(Decompressed { raw: self.raw.clone(), bounds_ns: self.bounds_ns })),
        }
    }
}

/// Time, line, metadata.
pub type Entry<'a> = (i64, &'a str, &'a [(&'a str, &'a str)]);

impl MemorySource {
    /// Adds a block to a stream; the entries must be in order.
    pub fn block<'a>(&mut self, labels: &str, entries: impl IntoIterator<Item = Entry<'a>>) -> &mut Self {
        self.add(labels, entries, None)
    }

    /// Adds a block that says it holds `entries` but does not load.
    #[allow(dead_code)]
    pub fn unreadable_block<'a>(&mut self, labels: &str, entries: &[Entry<'a>], failure: Error) -> &mut Self {
        self.add(labels, entries.iter().copied(), Some(failure))
    }

    fn add<'a>(
        &mut self,
        labels: &str,
        entries: impl IntoIterator<Item = Entry<'a>>,
        failure: Option<Error>,
    ) -> &mut Self {
        let mut symbols = SymbolsBuilder::default();
        let mut builder = BlockBuilder::new(Layout::Metadata);
        for (ts_ns, line, metadata) in entries {
            builder.push(ts_ns, line.as_bytes(), metadata.iter().copied(), &mut symbols);
        }
        assert!(!builder.unordered, "blocks are sorted");
        let (bounds_ns, count) = ((builder.min_ts_ns, builder.max_ts_ns), builder.entries);
        let raw = RawBlock {
            data: builder.into_data().into(),
            layout: Layout::Metadata,
            symbols: Arc::new(symbols.finish()),
        };
        let block = Arc::new(MemoryBlock { raw, bounds_ns, entries: count, failure, loads: AtomicU64::new(0) });
        let labels = Labels::parse(labels).expect("labels of a test");
        match self.streams.iter_mut().find(|(known, _)| *known == labels) {
            Some((_, blocks)) => blocks.push(block),
            None => self.streams.push((labels, vec![block])),
        }
        self
    }

    /// How often blocks were loaded.
    #[allow(dead_code)]
    pub fn loads(&self) -> u64 {
        self.streams.iter().flat_map(|(_, blocks)| blocks).map(|b| b.loads.load(Ordering::Relaxed)).sum()
    }

    #[allow(dead_code)]
    pub fn bytes(&self) -> usize {
        self.streams.iter().flat_map(|(_, blocks)| blocks).map(|b| b.raw.data.len()).sum()
    }
}

struct Selected(Mutex<std::vec::IntoIter<StreamBlocks>>);

impl Streams for Selected {
    fn next(&self) -> Option<Result<StreamBlocks>> {
        self.0.lock().expect("no test panics while pulling").next().map(Ok)
    }
}

impl Source for MemorySource {
    fn select(&self, selection: &Selection) -> Result<Box<dyn Streams>> {
        let matching = self.streams.iter().filter(|(labels, _)| model::matcher::all_match(&selection.matchers, labels));
        let streams: Vec<StreamBlocks> = matching
            .map(|(labels, blocks)| StreamBlocks {
                labels: labels.clone(),
                fingerprint: labels.fingerprint(),
                blocks: blocks.iter().map(|b| b.clone() as Arc<dyn Block>).collect(),
            })
            .collect();
        Ok(Box::new(Selected(Mutex::new(streams.into_iter()))))
    }
}
