//! A block: a run of one stream's entries as Loki lays them out when decompressed. The head of a stream, a stored block
//! and a block on the wire are all this; it is searched as a whole before it is split into lines.
//!
//! Entry: `varint ts_ns, str line`, and with metadata `uvarint section_bytes, uvarint pairs, pairs x (uvarint name, uvarint value)`
//! where names and values are numbers of symbols. Source: the storage format, section 2.4.

use crate::batch::BatchEntry;
use crate::varint::{bytes, put_str, put_uvarint, put_varint, take, uvarint, uvarint_bytes, varint};
use crate::{Symbols, SymbolsBuilder};
use bytes::Bytes;
use std::sync::Arc;

/// Whether entries carry a structured metadata section (chunk format 4) or not (formats 1 to 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    Plain,
    Metadata,
}

/// The entries are malformed from some byte on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    pub offset: usize,
}

/// A decompressed block and the symbols that its metadata refers to.
#[derive(Clone, Debug)]
pub struct RawBlock {
    pub data: Bytes,
    pub layout: Layout,
    pub symbols: Arc<Symbols>,
}

impl RawBlock {
    pub fn entries(&self) -> Entries<'_> {
        self.entries_from(0)
    }

    /// The entries from the one at `offset` on; past the end there are none. An offset that no [`Entries::offset`] gave
    /// is as malformed bytes.
    pub fn entries_from(&self, offset: usize) -> Entries<'_> {
        let rest = self.data.get(offset..).unwrap_or(&[]);
        Entries { start: &self.data, rest, layout: self.layout, symbols: &self.symbols }
    }
}

/// Walks a block without copying; one line costs a few varints.
#[derive(Clone)]
pub struct Entries<'a> {
    start: &'a [u8],
    rest: &'a [u8],
    layout: Layout,
    symbols: &'a Symbols,
}

#[derive(Clone, Copy, Debug)]
pub struct EntryRef<'a> {
    pub ts_ns: i64,
    pub line: &'a [u8],
    pub metadata: Metadata<'a>,
}

impl<'a> Entries<'a> {
    /// The entries of a block's bytes.
    pub(crate) fn of(data: &'a [u8], layout: Layout, symbols: &'a Symbols) -> Self {
        Entries { start: data, rest: data, layout, symbols }
    }
    /// The next entry, `None` at the end.
    #[inline]
    pub fn try_next(&mut self) -> Result<Option<EntryRef<'a>>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let mut rest = self.rest;
        match entry(&mut rest, self.layout, self.symbols) {
            Some(e) => {
                self.rest = rest;
                Ok(Some(e))
            }
            None => Err(Malformed { offset: self.offset() }),
        }
    }
    /// The offset in the block of the entry that comes next.
    pub fn offset(&self) -> usize {
        self.start.len() - self.rest.len()
    }
}

#[inline]
fn entry<'a>(rest: &mut &'a [u8], layout: Layout, symbols: &'a Symbols) -> Option<EntryRef<'a>> {
    let ts_ns = varint(rest)?;
    let line = bytes(rest)?;
    let metadata = match layout {
        Layout::Plain => Metadata { pairs: &[], symbols },
        Layout::Metadata => {
            let section = uvarint(rest)?;
            let mut section = take(rest, section)?;
            let _count = uvarint(&mut section)?;
            Metadata { pairs: section, symbols }
        }
    };
    Some(EntryRef { ts_ns, line, metadata })
}

/// One entry's structured metadata, decoded as it is walked.
#[derive(Clone, Copy, Debug)]
pub struct Metadata<'a> {
    pairs: &'a [u8],
    symbols: &'a Symbols,
}

impl<'a> Metadata<'a> {
    /// Of encoded pairs, without their count.
    pub(crate) fn new(pairs: &'a [u8], symbols: &'a Symbols) -> Self {
        Metadata { pairs, symbols }
    }
    /// The pairs as the block encodes them, without their count.
    pub(crate) fn encoded(&self) -> &'a [u8] {
        self.pairs
    }
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }
    /// Pairs as they are encoded, those without a name included.
    pub fn pairs(&self) -> u64 {
        let mut rest = self.pairs;
        let mut numbers = 0;
        while uvarint(&mut rest).is_some() {
            numbers += 1;
        }
        numbers / 2
    }
    /// The size of the pairs as numbers, which costs nothing to tell.
    pub fn encoded_bytes(&self) -> usize {
        self.pairs.len()
    }
    /// Name and value of each pair. A number without a symbol reads as "", and a pair without a name is left out:
    /// Loki's delete rewrites leave such pairs behind.
    pub fn iter(&self) -> MetadataIter<'a> {
        MetadataIter { rest: self.pairs, symbols: self.symbols }
    }
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.iter().find(|(n, _)| *n == name).map(|(_, v)| v)
    }
}

impl PartialEq for Metadata<'_> {
    fn eq(&self, other: &Self) -> bool {
        (std::ptr::eq(self.symbols, other.symbols) && self.pairs == other.pairs) || self.iter().eq(other.iter())
    }
}

pub struct MetadataIter<'a> {
    rest: &'a [u8],
    symbols: &'a Symbols,
}

impl<'a> Iterator for MetadataIter<'a> {
    type Item = (&'a str, &'a str);
    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let name = self.symbols.resolve(uvarint(&mut self.rest)?);
            let value = self.symbols.resolve(uvarint(&mut self.rest)?);
            if !name.is_empty() {
                return Some((name, value));
            }
        }
    }
}

/// A state of a growing block.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    pub bytes: usize,
    entries: u64,
    bounds_ns: (i64, i64),
    unordered: bool,
    size_bytes: u64,
}

/// What an entry takes beside its line: time, lengths and a few pairs.
const ENTRY_BYTES_EXTRA: usize = 64;

#[derive(Clone, Debug, Default)]
struct Section {
    batch: Vec<u8>,
    pairs: u64,
    encoded: Vec<u8>,
}

impl Section {
    /// Takes pairs of numbers of symbols.
    fn encode(&mut self, pairs: impl Iterator<Item = [u64; 2]>) {
        self.encoded.clear();
        self.pairs = 0;
        for [name, value] in pairs {
            put_uvarint(&mut self.encoded, name);
            put_uvarint(&mut self.encoded, value);
            self.pairs += 1;
        }
    }
}

/// Appends entries to a growing block.
#[derive(Clone, Debug)]
pub struct BlockBuilder {
    data: Vec<u8>,
    layout: Layout,
    /// The metadata of the entry before, as it stands in the block, and as it came in a batch: most lines of a stream carry
    /// the same as the line before.
    section: Section,
    pub entries: u64,
    /// Bounds of the entries so far; `min > max` when there are none.
    pub min_ts_ns: i64,
    pub max_ts_ns: i64,
    /// Whether some entry is older than the one before it.
    pub unordered: bool,
    /// Loki's size of the block: line bytes plus 8 for each metadata pair.
    pub size_bytes: u64,
}

impl BlockBuilder {
    pub fn new(layout: Layout) -> Self {
        BlockBuilder {
            data: Vec::new(),
            layout,
            section: Section::default(),
            entries: 0,
            min_ts_ns: i64::MAX,
            max_ts_ns: i64::MIN,
            unordered: false,
            size_bytes: 0,
        }
    }

    /// Appends one entry; `metadata` goes through `symbols` and is dropped in the plain layout.
    pub fn push<'m>(
        &mut self,
        ts_ns: i64,
        line: &[u8],
        metadata: impl Iterator<Item = (&'m str, &'m str)>,
        symbols: &mut SymbolsBuilder,
    ) {
        if self.layout == Layout::Metadata {
            self.section.batch.clear();
            self.section.encode(metadata.map(|(name, value)| [symbols.intern(name), symbols.intern(value)]));
        }
        self.append(ts_ns, line);
    }

    /// As [`BlockBuilder::push`], of an entry of a batch. `symbols` must be the same for all of the block.
    pub fn push_from(&mut self, e: &BatchEntry<'_>, symbols: &mut SymbolsBuilder) {
        if self.layout == Layout::Metadata && self.section.batch != e.encoded_metadata() {
            self.section.batch.clear();
            self.section.batch.extend_from_slice(e.encoded_metadata());
            self.section.encode(
                e.metadata_bytes().map(|(name, value)| [symbols.intern_bytes(name), symbols.intern_bytes(value)]),
            );
        } else if self.section.batch.is_empty() {
            self.section.encode(std::iter::empty());
        }
        self.append(e.ts_ns, e.line);
    }

    /// With the metadata of `self.section`.
    fn append(&mut self, ts_ns: i64, line: &[u8]) {
        self.make_room(line.len());
        put_varint(&mut self.data, ts_ns);
        put_str(&mut self.data, line);
        self.size_bytes += line.len() as u64;
        if self.layout == Layout::Metadata {
            let Section { pairs, encoded, .. } = &self.section;
            put_uvarint(&mut self.data, (uvarint_bytes(*pairs) + encoded.len()) as u64);
            put_uvarint(&mut self.data, *pairs);
            self.data.extend_from_slice(encoded);
            self.size_bytes += 8 * pairs;
        }
        self.count(ts_ns);
    }

    /// Grows by half instead of by doubling: thousands of blocks grow at a time, and what they do not use yet is memory.
    fn make_room(&mut self, line_bytes: usize) {
        let needed = line_bytes + ENTRY_BYTES_EXTRA;
        if self.data.capacity() - self.data.len() < needed {
            self.data.reserve_exact(needed.max(self.data.len() / 2));
        }
    }

    /// Appends an entry as another block of the same layout and symbols holds it: how blocks are sorted and merged.
    /// `size_bytes` is its part of the block's size.
    pub fn push_encoded(&mut self, ts_ns: i64, encoded: &[u8], size_bytes: u64) {
        self.data.extend_from_slice(encoded);
        self.size_bytes += size_bytes;
        self.count(ts_ns);
    }

    /// Takes what was appended since `mark`, all of it of the newest time, into a block of its own.
    pub fn split_newest(&mut self, mark: Mark) -> BlockBuilder {
        let newest = BlockBuilder {
            data: self.data[mark.bytes..].to_vec(),
            layout: self.layout,
            section: Section::default(),
            entries: self.entries - mark.entries,
            min_ts_ns: self.max_ts_ns,
            max_ts_ns: self.max_ts_ns,
            unordered: false,
            size_bytes: self.size_bytes - mark.size_bytes,
        };
        self.undo(mark);
        newest
    }

    /// Where the block ends now; [`BlockBuilder::undo`] goes back there.
    pub fn mark(&self) -> Mark {
        Mark {
            bytes: self.data.len(),
            entries: self.entries,
            bounds_ns: (self.min_ts_ns, self.max_ts_ns),
            unordered: self.unordered,
            size_bytes: self.size_bytes,
        }
    }

    /// Takes back what was appended since `mark`; what it interned stays.
    pub fn undo(&mut self, mark: Mark) {
        self.data.truncate(mark.bytes);
        self.entries = mark.entries;
        (self.min_ts_ns, self.max_ts_ns) = mark.bounds_ns;
        self.unordered = mark.unordered;
        self.size_bytes = mark.size_bytes;
    }

    fn count(&mut self, ts_ns: i64) {
        self.unordered |= self.entries > 0 && ts_ns < self.max_ts_ns;
        self.entries += 1;
        self.min_ts_ns = self.min_ts_ns.min(ts_ns);
        self.max_ts_ns = self.max_ts_ns.max(ts_ns);
    }

    pub fn data(&self) -> &[u8] {
        &self.data
    }
    pub fn layout(&self) -> Layout {
        self.layout
    }
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }
    pub fn into_data(self) -> Vec<u8> {
        self.data
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BatchBuilder, Fingerprint};

    #[test]
    fn entries_of_a_batch_make_the_block_that_their_parts_make() {
        let (level, trace) = (("level", "info"), ("trace", "7"));
        let metadata: [&[(&str, &str)]; 8] =
            [&[], &[level], &[level], &[level, trace], &[], &[], &[trace, level], &[("level", "warn")]];
        let mut batch = BatchBuilder::default();
        for (i, pairs) in metadata.iter().enumerate() {
            batch.entry(i as i64, b"line", pairs.iter().copied());
        }
        batch.end_stream("{}", Fingerprint(1));
        let batch = batch.finish();
        for layout in [Layout::Metadata, Layout::Plain] {
            let (mut parts, mut parts_symbols) = (BlockBuilder::new(layout), SymbolsBuilder::default());
            let (mut block, mut symbols) = (BlockBuilder::new(layout), SymbolsBuilder::default());
            for part in batch.streams() {
                let each = part.unwrap().for_each(|e| {
                    block.push_from(&e, &mut symbols);
                    parts.push(e.ts_ns, e.line, metadata[e.ts_ns as usize].iter().copied(), &mut parts_symbols);
                    // An entry of another kind in between leaves nothing behind.
                    if e.ts_ns == 4 {
                        block.push(9, b"x", [trace].into_iter(), &mut symbols);
                        parts.push(9, b"x", [trace].into_iter(), &mut parts_symbols);
                    }
                });
                each.unwrap();
            }
            assert_eq!((block.data(), block.size_bytes), (parts.data(), parts.size_bytes));
            assert_eq!(symbols.finish(), parts_symbols.finish());
        }
    }

    #[test]
    fn blocks_give_back_what_was_pushed_and_junk_is_an_error() {
        let mut symbols = SymbolsBuilder::default();
        let mut block = BlockBuilder::new(Layout::Metadata);
        block.push(5, b"one", [("a", "1"), ("b", "2")].into_iter(), &mut symbols);
        block.push(7, b"", [].into_iter(), &mut symbols);
        block.push(6, b"three", [("a", "2")].into_iter(), &mut symbols);
        assert!(block.unordered && block.entries == 3 && block.min_ts_ns == 5 && block.max_ts_ns == 7);
        assert_eq!(block.size_bytes, 3 + 16 + 5 + 8);
        let symbols = Arc::new(symbols.finish());
        let raw = RawBlock { data: block.into_data().into(), layout: Layout::Metadata, symbols };
        let mut seen = vec![];
        let mut entries = raw.entries();
        while let Some(e) = entries.try_next().unwrap() {
            seen.push((
                e.ts_ns,
                e.line.to_vec(),
                e.metadata.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>(),
            ));
        }
        assert_eq!(
            seen,
            [
                (5, b"one".to_vec(), vec!["a=1".to_string(), "b=2".to_string()]),
                (7, b"".to_vec(), vec![]),
                (6, b"three".to_vec(), vec!["a=2".to_string()]),
            ]
        );
        let cut = RawBlock { data: raw.data.slice(..raw.data.len() - 1), ..raw.clone() };
        let mut entries = cut.entries();
        assert!(entries.try_next().unwrap().is_some() && entries.try_next().unwrap().is_some());
        assert!(entries.try_next().is_err());
    }
}
