//! A source in memory for the engine's tests and benches: blocks built from entries, or that fail to load.

use bytes::Bytes;
use logql::source::{Block, Frames, Selection, Source, StreamBlocks, Streams};
use model::outline::Columns;
use model::{BlockBuilder, Error, Labels, Layout, Outline, RawBlock, Result, SymbolsBuilder};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

#[derive(Default)]
pub struct MemorySource {
    streams: Vec<(Labels, Vec<Arc<MemoryBlock>>)>,
    outlined: bool,
}

pub struct MemoryBlock {
    frames: Arc<MemoryFrames>,
    entries: u64,
    failure: Option<Error>,
}

/// Frames and their bounds, and how often one was loaded.
#[derive(Default)]
struct MemoryFrames {
    list: Vec<(RawBlock, (i64, i64))>,
    loads: AtomicU64,
    outlined: bool,
}

impl Frames for MemoryFrames {
    fn bounds_ns(&self) -> Vec<(i64, i64)> {
        self.list.iter().map(|(_, bounds_ns)| *bounds_ns).collect()
    }
    fn entries(&self, frame: usize) -> Option<u64> {
        let mut entries = self.list[frame].0.entries();
        let mut count = 0;
        while let Ok(Some(_)) = entries.try_next() {
            count += 1;
        }
        Some(count)
    }
    fn outline(&self, frame: usize) -> Option<Outline> {
        let RawBlock { data, layout, symbols } = &self.list.get(frame).filter(|_| self.outlined)?.0;
        let columns = Columns::of(data, *layout)?.each().map(|column| Bytes::copy_from_slice(column));
        Some(Outline::new(Columns::from_each(columns), *layout, symbols.clone()))
    }
    fn load(&self, frame: usize, _: Vec<u8>) -> Result<RawBlock> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        Ok(self.list[frame].0.clone())
    }
}

impl Block for MemoryBlock {
    fn bounds_ns(&self) -> (i64, i64) {
        let all = || self.frames.list.iter().map(|(_, bounds_ns)| bounds_ns);
        (all().map(|b| b.0).min().unwrap_or(i64::MAX), all().map(|b| b.1).max().unwrap_or(i64::MIN))
    }
    fn entries(&self) -> u64 {
        self.entries
    }
    fn open(&self) -> Result<Arc<dyn Frames>> {
        match &self.failure {
            Some(error) => Err(error.clone()),
            None => Ok(self.frames.clone()),
        }
    }
}

/// Time, line, metadata.
pub type Entry<'a> = (i64, &'a str, &'a [(&'a str, &'a str)]);

impl MemorySource {
    /// One whose blocks have outlines.
    #[allow(dead_code)]
    pub fn outlined() -> Self {
        MemorySource { outlined: true, ..Self::default() }
    }

    /// Adds a block to a stream; the entries must be in order.
    #[allow(dead_code)]
    pub fn block<'a>(&mut self, labels: &str, entries: impl IntoIterator<Item = Entry<'a>>) -> &mut Self {
        self.add(labels, [frame(entries)], None)
    }

    /// Adds a block of several frames, each in order and not older than the one before.
    #[allow(dead_code)]
    pub fn framed_block(&mut self, labels: &str, frames: &[&[Entry<'_>]]) -> &mut Self {
        self.add(labels, frames.iter().map(|entries| frame(entries.iter().copied())), None)
    }

    /// Adds a block that says it holds `entries` but does not load.
    #[allow(dead_code)]
    pub fn unreadable_block<'a>(&mut self, labels: &str, entries: &[Entry<'a>], failure: Error) -> &mut Self {
        self.add(labels, [frame(entries.iter().copied())], Some(failure))
    }

    fn add(
        &mut self,
        labels: &str,
        frames: impl IntoIterator<Item = (RawBlock, (i64, i64), u64)>,
        failure: Option<Error>,
    ) -> &mut Self {
        let (mut list, mut entries) = (Vec::new(), 0);
        for (raw, bounds_ns, count) in frames {
            list.push((raw, bounds_ns));
            entries += count;
        }
        let frames = Arc::new(MemoryFrames { list, loads: AtomicU64::new(0), outlined: self.outlined });
        let block = Arc::new(MemoryBlock { frames, entries, failure });
        let labels = Labels::parse(labels).expect("labels of a test");
        match self.streams.iter_mut().find(|(known, _)| *known == labels) {
            Some((_, blocks)) => blocks.push(block),
            None => self.streams.push((labels, vec![block])),
        }
        self
    }

    /// How often frames were loaded.
    #[allow(dead_code)]
    pub fn loads(&self) -> u64 {
        self.streams.iter().flat_map(|(_, blocks)| blocks).map(|b| b.frames.loads.load(Ordering::Relaxed)).sum()
    }

    #[allow(dead_code)]
    pub fn bytes(&self) -> usize {
        self.streams
            .iter()
            .flat_map(|(_, blocks)| blocks)
            .flat_map(|b| &b.frames.list)
            .map(|(raw, _)| raw.data.len())
            .sum()
    }
}

/// Entries as a frame, its bounds, and how many they are.
fn frame<'a>(entries: impl IntoIterator<Item = Entry<'a>>) -> (RawBlock, (i64, i64), u64) {
    let mut symbols = SymbolsBuilder::default();
    let mut builder = BlockBuilder::new(Layout::Metadata);
    for (ts_ns, line, metadata) in entries {
        builder.push(ts_ns, line.as_bytes(), metadata.iter().copied(), &mut symbols);
    }
    assert!(!builder.unordered, "blocks are sorted");
    let (bounds_ns, entries) = ((builder.min_ts_ns, builder.max_ts_ns), builder.entries);
    let symbols = Arc::new(symbols.finish());
    (RawBlock { data: builder.into_data().into(), layout: Layout::Metadata, symbols }, bounds_ns, entries)
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
        let is_selected = |labels: &Labels| selection.shard.is_none_or(|shard| shard.contains(labels.fingerprint()));
        let streams: Vec<StreamBlocks> = matching
            .filter(|(labels, _)| is_selected(labels))
            .map(|(labels, blocks)| StreamBlocks {
                labels: labels.clone(),
                fingerprint: labels.fingerprint(),
                blocks: blocks.iter().map(|b| b.clone() as Arc<dyn Block>).collect(),
            })
            .collect();
        Ok(Box::new(Selected(Mutex::new(streams.into_iter()))))
    }
}
