//! Small chunks of a stream made into larger ones: each chunk costs a request and an index row, whatever is in it. What is
//! equal in two of them is one entry, as it is to a query that reads both. It must not know index files.

use crate::metrics::Metrics;
use crate::tables::Table;
use bytes::Bytes;
use format::ChunkRef;
use format::chunk::{Chunk, ChunkParts, SealedBlock, encode, seal};
use format::tsdb::SeriesChunks;
use futures::{StreamExt, TryStreamExt, stream};
use model::block::{EntryRef, Malformed};
use model::{BlockBuilder, Error, Kind, Layout, RawBlock, Result, SymbolsBuilder, TenantId};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use storage::chunks::ChunkStore;
use storage::index::file::off_thread;

/// The largest value of `compactor.merge_chunks_below`: the chunks that are merged are in memory at once, decompressed.
pub const MERGE_BELOW_BYTES_MAX: u64 = 64 << 20;
/// Where blocks of a merged chunk end: Loki's `chunk_block_size`.
const BLOCK_BYTES: u64 = 256 << 10;

const FETCHES_AT_A_TIME: usize = 16;

/// Merges chunks of one tenant.
pub struct Merger<'a> {
    pub tenant: &'a TenantId,
    /// Chunks with fewer bytes of lines are small.
    pub below_bytes: u64,
    pub chunks: &'a ChunkStore,
    pub metrics: &'a Metrics,
}

impl Merger<'_> {
    /// Puts larger chunks in the place of small ones in `rows`, and answers the small ones. What is new is stored, and
    /// verified, before this answers. Chunks that cannot be read stay as they are.
    pub async fn merge(&self, table: &Table, rows: &mut [SeriesChunks]) -> Result<Vec<ChunkRef>> {
        let mut gone = Vec::new();
        for series in rows {
            let mut kept = 0;
            let mut chunks = Vec::with_capacity(series.chunks.len());
            for group in groups(&series.chunks, table, self.below_bytes) {
                let small = &series.chunks[group.clone()];
                match self.merge_group(small).await {
                    Ok(merged) => {
                        chunks.extend_from_slice(&series.chunks[kept..group.start]);
                        chunks.push(merged);
                        gone.extend_from_slice(small);
                        kept = group.end;
                    }
                    Err(e) if matches!(e.kind, Kind::Corrupt | Kind::NotFound | Kind::TooLarge) => {
                        tracing::error!(tenant = %self.tenant, error = %e, "small chunks stay as they are");
                        self.metrics.merge_failures.inc();
                    }
                    Err(e) => return Err(e),
                }
            }
            chunks.extend_from_slice(&series.chunks[kept..]);
            series.chunks = chunks;
        }
        Ok(gone)
    }

    async fn merge_group(&self, small: &[ChunkRef]) -> Result<ChunkRef> {
        let fetches: Vec<_> = small.iter().map(|chunk| self.chunks.get(self.tenant, chunk)).collect();
        let opened: Vec<_> = stream::iter(fetches).buffered(FETCHES_AT_A_TIME).try_collect().await?;
        let tenant = self.tenant.clone();
        let (merged, object) = off_thread(move || merged(&tenant, &opened)).await?;
        self.chunks.put(self.tenant, &merged, object).await?;
        self.chunks.get(self.tenant, &merged).await?;
        self.metrics.chunks_merged.inc_by(small.len() as u64);
        Ok(merged)
    }
}

/// Runs of small chunks, each to become one chunk: two at least, and together no longer than it takes not to be small. A
/// chunk that another day's table lists too is no part of any, nor do runs go past what is large: the merged chunk would
/// overlap it.
fn groups(chunks: &[ChunkRef], table: &Table, below_bytes: u64) -> Vec<Range<usize>> {
    let (start_ms, end_ms) = table.bounds_ms();
    let bytes = |chunk: &ChunkRef| u64::from(chunk.kb) << 10;
    let is_small = |c: &ChunkRef| bytes(c) < below_bytes && c.from_ms >= start_ms && c.through_ms <= end_ms;
    let mut groups = Vec::new();
    let (mut start, mut sum) = (0, 0);
    for (i, chunk) in chunks.iter().enumerate() {
        if !is_small(chunk) {
            groups.push(start..i);
            (start, sum) = (i + 1, 0);
            continue;
        }
        sum += bytes(chunk);
        if sum >= below_bytes {
            groups.push(start..i + 1);
            (start, sum) = (i + 1, 0);
        }
    }
    groups.push(start..chunks.len());
    groups.retain(|group| group.len() > 1);
    groups
}

/// One chunk with the entries of `chunks`, in the encoding of the last one. The same bytes whenever it is made.
fn merged(tenant: &TenantId, chunks: &[Arc<Chunk>]) -> Result<(ChunkRef, Bytes)> {
    let last = chunks.last().ok_or_else(|| Error::internal("a merge of no chunks"))?;
    let is_plain = chunks.iter().all(|chunk| chunk.layout() == Layout::Plain);
    let layout = if is_plain { Layout::Plain } else { Layout::Metadata };
    let mut raw = Vec::new();
    for (number, chunk) in chunks.iter().enumerate() {
        for block in 0..chunk.blocks().len() {
            raw.push((number, chunk.block(block)?));
        }
    }
    let mut entries = entries(&raw)?;
    // Entries of one moment stay in the order of their chunks.
    entries.sort_by_key(|(_, entry)| entry.ts_ns);
    let (mut symbols, mut sealed) = (SymbolsBuilder::default(), Vec::<SealedBlock>::new());
    let mut block = BlockBuilder::new(layout);
    for moment in entries.chunk_by(|a, b| a.1.ts_ns == b.1.ts_ns) {
        if block.size_bytes >= BLOCK_BYTES {
            let full = std::mem::replace(&mut block, BlockBuilder::new(layout));
            sealed.push(seal(last.codec, &full));
        }
        for entry in distinct(moment) {
            block.push(entry.ts_ns, entry.line, entry.metadata.iter(), &mut symbols);
        }
    }
    if !block.is_empty() {
        sealed.push(seal(last.codec, &block));
    }
    encode(&ChunkParts {
        tenant,
        labels: &last.labels,
        fingerprint: last.fingerprint,
        codec: last.codec,
        layout,
        symbols: &symbols.finish(),
        blocks: &sealed,
    })
}

/// Every entry and the number of its chunk.
fn entries(raw: &[(usize, RawBlock)]) -> Result<Vec<(usize, EntryRef<'_>)>> {
    let mut all = Vec::new();
    for (chunk, block) in raw {
        let mut entries = block.entries();
        let malformed = |at: Malformed| Error::corrupt(format!("a block is malformed at {}", at.offset));
        while let Some(entry) = entries.try_next().map_err(malformed)? {
            all.push((*chunk, entry));
        }
    }
    Ok(all)
}

/// The line of an entry and its metadata.
type What<'e> = (&'e [u8], Vec<(&'e str, &'e str)>);

/// The entries of one moment, as often as the chunk has them that has them most often.
fn distinct<'e>(moment: &[(usize, EntryRef<'e>)]) -> Vec<EntryRef<'e>> {
    let mut kept: HashMap<What<'_>, u64> = HashMap::new();
    let mut of_chunk = HashMap::new();
    let is_new = |(chunk, entry): &&(usize, EntryRef<'e>)| {
        if moment.len() == 1 {
            return true;
        }
        let what = (entry.line, entry.metadata.iter().collect::<Vec<_>>());
        let times: &mut u64 = of_chunk.entry((*chunk, what.clone())).or_default();
        *times += 1;
        let most = kept.entry(what).or_default();
        let is_new = *times > *most;
        *most = (*most).max(*times);
        is_new
    };
    moment.iter().filter(is_new).map(|(_, entry)| *entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use format::schema::TsdbVersion;
    use model::Fingerprint;
    use std::collections::BTreeMap;
    use storage::objects::Objects;

    const DAY_MS: i64 = 86_400_000;

    fn chunk((from_ms, through_ms): (i64, i64), kb: u32) -> ChunkRef {
        ChunkRef { fingerprint: Fingerprint(1), from_ms, through_ms, checksum: 0, kb, entries: 1 }
    }

    #[test]
    fn small_chunks_beside_each_other_are_a_group_until_they_are_not_small() {
        let table = Table {
            objects: Objects::memory(),
            key: String::new(),
            day: 1,
            version: TsdbVersion::V3,
            shared: vec![],
            own: BTreeMap::new(),
        };
        let at = |minute: i64| (DAY_MS + minute * 60_000, DAY_MS + minute * 60_000 + 1000);
        for (what, chunks, expected) in [
            ("one", vec![chunk(at(0), 1)], vec![]),
            ("two", vec![chunk(at(0), 1), chunk(at(1), 1)], vec![(0, 2)]),
            ("enough", (0..5).map(|i| chunk(at(i), 5)).collect(), vec![(0, 2), (2, 4)]),
            ("a large one between", vec![chunk(at(0), 1), chunk(at(1), 10), chunk(at(2), 1)], vec![]),
            (
                "large ones around",
                vec![chunk(at(0), 10), chunk(at(1), 1), chunk(at(2), 1), chunk(at(3), 10)],
                vec![(1, 3)],
            ),
            ("over midnight", vec![chunk((DAY_MS - 1, DAY_MS + 1), 1), chunk(at(1), 1)], vec![]),
            ("into the next day", vec![chunk(at(1), 1), chunk((2 * DAY_MS - 1, 2 * DAY_MS), 1)], vec![]),
        ] {
            let found: Vec<_> = groups(&chunks, &table, 10 << 10).iter().map(|g| (g.start, g.end)).collect();
            assert_eq!(found, expected, "{what}");
        }
    }

    #[test]
    fn what_is_equal_in_two_chunks_is_one_entry_and_what_a_chunk_has_twice_stays_twice() {
        let tenant = TenantId::parse("t").unwrap();
        let labels = model::Labels::new([("a", "b")]);
        let made = |lines: &[(i64, &str, &str)]| {
            let (mut symbols, mut block) = (SymbolsBuilder::default(), BlockBuilder::new(Layout::Metadata));
            for (ts_ns, line, level) in lines {
                block.push(*ts_ns, line.as_bytes(), [("level", *level)].into_iter(), &mut symbols);
            }
            let codec = format::Codec::Zstd;
            let parts = ChunkParts {
                tenant: &tenant,
                labels: &labels,
                fingerprint: labels.fingerprint(),
                codec,
                layout: Layout::Metadata,
                symbols: &symbols.finish(),
                blocks: &[seal(codec, &block)],
            };
            let (reference, object) = encode(&parts).unwrap();
            Arc::new(Chunk::open(object, &tenant, &reference).unwrap())
        };
        let chunks = [
            made(&[(1, "one", "info"), (2, "two", "info"), (2, "two", "info"), (4, "four", "info")]),
            made(&[(2, "two", "info"), (2, "two", "warn"), (3, "three", "info"), (4, "four", "info")]),
        ];
        let (reference, object) = merged(&tenant, &chunks).unwrap();
        assert_eq!(merged(&tenant, &chunks).unwrap(), (reference, object.clone()), "the same bytes each time");
        let chunk = Chunk::open(object, &tenant, &reference).unwrap();
        let raw = chunk.block(0).unwrap();
        let mut found = vec![];
        let mut entries = raw.entries();
        while let Some(entry) = entries.try_next().unwrap() {
            let line = std::str::from_utf8(entry.line).unwrap();
            found.push((entry.ts_ns, line, entry.metadata.get("level").unwrap()));
        }
        let expected = [
            (1, "one", "info"),
            (2, "two", "info"),
            (2, "two", "info"),
            (2, "two", "warn"),
            (3, "three", "info"),
            (4, "four", "info"),
        ];
        assert_eq!(found, expected);
        assert_eq!((reference.entries, chunk.blocks().len()), (6, 1));
    }
}
