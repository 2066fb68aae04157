//! Brings the entries of blocks into order: ascending by time, equal times in order of arrival, identical entries once.
//! The blocks share one symbol list that knows every string once, so metadata is equal when its bytes are.

use bytes::Bytes;
use foldhash::quality::RandomState;
use model::block::Malformed;
use model::{BlockBuilder, Error, Layout, RawBlock, Result, Symbols};
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

/// Where an entry lies.
struct Place {
    ts_ns: i64,
    block: usize,
    bytes: Range<usize>,
    size_bytes: u64,
}

/// The entries of `blocks`, all in order, cut anew whenever a block has grown to `block_size` (Loki's size).
pub fn ordered(blocks: &[Bytes], layout: Layout, block_size: u64) -> Result<Vec<BlockBuilder>> {
    let mut places = vec![];
    for (block, data) in blocks.iter().enumerate() {
        for_each_sized(data, layout, |ts_ns, bytes, size_bytes| {
            places.push(Place { ts_ns, block, bytes, size_bytes })
        })?;
    }
    places.sort_by_key(|p| p.ts_ns);
    let bytes_of = |p: &Place| &blocks[p.block][p.bytes.clone()];
    let mut out: Vec<BlockBuilder> = vec![];
    let mut seen: HashSet<&[u8], RandomState> = HashSet::default();
    for (i, p) in places.iter().enumerate() {
        let same_as = |other: Option<&Place>| other.is_some_and(|o| o.ts_ns == p.ts_ns);
        let first = !same_as(i.checked_sub(1).and_then(|before| places.get(before)));
        if first {
            seen.clear();
        }
        let alone = first && !same_as(places.get(i + 1));
        if !alone && !seen.insert(bytes_of(p)) {
            continue;
        }
        if out.last().is_none_or(|b| is_full(b, block_size)) {
            out.push(BlockBuilder::new(layout));
        }
        if let Some(block) = out.last_mut() {
            block.push_encoded(p.ts_ns, bytes_of(p), p.size_bytes);
        }
    }
    Ok(out)
}

/// Raw bytes of a block, as a multiple of its size, at which it is cut whatever its lines add up to.
const RAW_RATIO_MAX: u64 = 4;

/// Whether a block is cut. Empty lines have no size of their own, hence the second bound.
pub fn is_full(block: &BlockBuilder, block_size: u64) -> bool {
    block.size_bytes >= block_size || block.data().len() as u64 >= block_size.saturating_mul(RAW_RATIO_MAX)
}

/// Calls `f` with time, encoded bytes and Loki's size of each entry.
fn for_each_sized(data: &Bytes, layout: Layout, mut f: impl FnMut(i64, Range<usize>, u64)) -> Result<()> {
    let raw = RawBlock { data: data.clone(), layout, symbols: Arc::new(Symbols::default()) };
    let mut entries = raw.entries();
    let mut start = 0;
    let malformed =
        |Malformed { offset }| Error::internal(format!("a block in memory is malformed at its byte {offset}"));
    while let Some(e) = entries.try_next().map_err(malformed)? {
        let end = entries.offset();
        f(e.ts_ns, start..end, e.line.len() as u64 + 8 * e.metadata.pairs());
        start = end;
    }
    Ok(())
}

/// Calls `f` with time and encoded bytes of each entry of a block.
pub fn for_each_entry(data: &Bytes, layout: Layout, mut f: impl FnMut(i64, &[u8])) -> Result<()> {
    for_each_sized(data, layout, |ts_ns, bytes, _| f(ts_ns, &data[bytes]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::SymbolsBuilder;

    fn texts(block: &BlockBuilder) -> Vec<String> {
        let data = Bytes::copy_from_slice(block.data());
        let raw = RawBlock { data, layout: block.layout(), symbols: Arc::new(Symbols::default()) };
        let (mut entries, mut texts) = (raw.entries(), vec![]);
        while let Some(e) = entries.try_next().unwrap() {
            texts.push(format!("{}{}+{}", e.ts_ns, String::from_utf8_lossy(e.line), e.metadata.pairs()));
        }
        texts
    }

    #[test]
    fn entries_ascend_keep_their_arrival_and_come_once() {
        let level = [("level", "info")];
        for (pushed, block_size, expected) in [
            (vec![(3, "c", 0), (1, "a", 0), (2, "b", 0)], 99, vec![vec!["1a+0", "2b+0", "3c+0"]]),
            (vec![(1, "z", 0), (1, "a", 0), (1, "z", 0)], 99, vec![vec!["1z+0", "1a+0"]]),
            (vec![(2, "a", 0), (1, "a", 0), (2, "a", 0)], 99, vec![vec!["1a+0", "2a+0"]]),
            (vec![(1, "a", 1), (1, "a", 0), (1, "a", 1)], 99, vec![vec!["1a+1", "1a+0"]]),
            (vec![(3, "c", 0), (1, "a", 0), (2, "b", 0)], 2, vec![vec!["1a+0", "2b+0"], vec!["3c+0"]]),
            (vec![], 99, vec![]),
        ] {
            let mut symbols = SymbolsBuilder::default();
            let blocks: Vec<Bytes> = (pushed.chunks(2))
                .map(|part| {
                    let mut block = BlockBuilder::new(Layout::Metadata);
                    for (ts, line, pairs) in part {
                        block.push(*ts, line.as_bytes(), level.into_iter().take(*pairs), &mut symbols);
                    }
                    block.into_data().into()
                })
                .collect();
            let out = ordered(&blocks, Layout::Metadata, block_size).unwrap();
            assert_eq!(out.iter().map(texts).collect::<Vec<_>>(), expected);
            assert!(out.iter().all(|b| !b.unordered && b.size_bytes > 0));
        }
        assert!(ordered(&[Bytes::from_static(&[1, 200])], Layout::Plain, 9).is_err());
    }
}
