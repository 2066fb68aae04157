//! The outline of a block: its entries without their lines. Who only counts entries, or the bytes of their lines, by time
//! and metadata reads this, which is a few percent of the block, and leaves the block compressed.
//!
//! Five columns: `varint first_ms, uvarint ms since the one before ...`, times rounded up to milliseconds;
//! `uvarint bytes of the line ...`; `uvarint number of a kind ...`; the kinds, `str pairs ...`, each the metadata of one or
//! more entries as the block encodes them; and `uvarint symbol ...`, the names that kinds leave out because they have many
//! values, as trace ids have. Blocks without metadata have no kinds. If there are more than [`KINDS_MAX`] all the same, there
//! are none, and metadata are not known.

use crate::Symbols;
use crate::block::{Entries, Layout, Metadata, RawBlock};
use crate::time::{NANOS_PER_MILLI, ceil_ms};
use crate::varint::{bytes, put_str, put_uvarint, put_varint, uvarint, varint};
use bytes::Bytes;
use std::sync::Arc;

/// Distinct metadata of a block that an outline tells apart.
pub const KINDS_MAX: usize = 64;
/// A name with more values in a block is left out where kinds are too many: it is none of levels and the like.
pub const VALUES_MAX: usize = 16;

/// What an outline is made of, or one such for each of several columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns<T> {
    pub times: T,
    pub lengths: T,
    pub kinds_of_entries: T,
    pub kinds: T,
    pub omitted: T,
}

/// Columns of an outline.
pub const COLUMNS: usize = 5;

impl<T> Columns<T> {
    /// In their order.
    pub fn each(&self) -> [&T; COLUMNS] {
        [&self.times, &self.lengths, &self.kinds_of_entries, &self.kinds, &self.omitted]
    }

    pub fn from_each([times, lengths, kinds_of_entries, kinds, omitted]: [T; COLUMNS]) -> Self {
        Columns { times, lengths, kinds_of_entries, kinds, omitted }
    }
}

impl Columns<Vec<u8>> {
    /// The columns of a block's bytes; `None` if its entries do not ascend in time, or are malformed.
    pub fn of(data: &[u8], layout: Layout) -> Option<Self> {
        let (mut out, symbols) = (Columns::default(), Symbols::default());
        let mut entries = Entries::of(data, layout, &symbols);
        let (mut metadata, mut last_ms) = (Vec::<&[u8]>::new(), None);
        while let Some(entry) = entries.try_next().ok()? {
            let ms = ceil_ms(entry.ts_ns);
            match last_ms.replace(ms) {
                None => put_varint(&mut out.times, ms),
                Some(before) => put_uvarint(&mut out.times, ms.checked_sub(before)?.try_into().ok()?),
            }
            put_uvarint(&mut out.lengths, entry.line.len() as u64);
            metadata.push(entry.metadata.encoded());
        }
        if layout == Layout::Metadata && !out.put_kinds(&metadata, &[]) {
            let omitted = names_of_many_values(&metadata);
            if out.put_kinds(&metadata, &omitted) {
                omitted.iter().for_each(|name| put_uvarint(&mut out.omitted, *name));
            }
        }
        Some(out)
    }

    /// Takes the metadata of each entry but for some names; none of them, and false, if they are of too many kinds.
    fn put_kinds(&mut self, metadata: &[&[u8]], omitted: &[u64]) -> bool {
        let (mut kinds, mut last, mut rest) = (Vec::<Vec<u8>>::new(), 0, Vec::new());
        for encoded in metadata {
            let pairs = if omitted.is_empty() { encoded } else { without(encoded, omitted, &mut rest) };
            if kinds.get(last).is_none_or(|kind| kind != pairs) {
                last = kinds.iter().position(|kind| kind == pairs).unwrap_or(kinds.len());
                if last == KINDS_MAX {
                    self.kinds_of_entries.clear();
                    return false;
                }
                if last == kinds.len() {
                    kinds.push(pairs.to_vec());
                }
            }
            put_uvarint(&mut self.kinds_of_entries, last as u64);
        }
        kinds.iter().for_each(|pairs| put_str(&mut self.kinds, pairs));
        true
    }
}

/// The numbers of name and value of each pair.
fn pairs(mut encoded: &[u8]) -> impl Iterator<Item = [u64; 2]> {
    std::iter::from_fn(move || Some([uvarint(&mut encoded)?, uvarint(&mut encoded)?]))
}

/// In the order in which the names first come.
fn names_of_many_values(metadata: &[&[u8]]) -> Vec<u64> {
    let mut names: Vec<(u64, Vec<u64>)> = Vec::new();
    for encoded in metadata {
        for (i, [name, value]) in pairs(encoded).enumerate() {
            // Most entries have the same names in the same order.
            let known = names.get(i).is_some_and(|(known, _)| *known == name).then_some(i);
            let at = known.or_else(|| names.iter().position(|(known, _)| *known == name)).unwrap_or_else(|| {
                names.push((name, Vec::new()));
                names.len() - 1
            });
            let values = &mut names[at].1;
            if values.len() <= VALUES_MAX && !values.contains(&value) {
                values.push(value);
            }
        }
    }
    names.into_iter().filter(|(_, values)| values.len() > VALUES_MAX).map(|(name, _)| name).collect()
}

/// The pairs that have none of these names, in the memory of `rest`.
fn without<'r>(encoded: &[u8], names: &[u64], rest: &'r mut Vec<u8>) -> &'r [u8] {
    rest.clear();
    for [name, value] in pairs(encoded).filter(|[name, _]| !names.contains(name)) {
        put_uvarint(rest, name);
        put_uvarint(rest, value);
    }
    rest
}

/// A block's entries without their lines.
#[derive(Clone, Debug)]
pub struct Outline {
    columns: Columns<Bytes>,
    layout: Layout,
    symbols: Arc<Symbols>,
}

/// An entry without its line.
#[derive(Clone, Copy, Debug)]
pub struct EntryOutline<'a> {
    /// The entry is not older than this,
    pub oldest_ns: i64,
    /// and not newer than this, which is not a millisecond later.
    pub newest_ns: i64,
    pub line_bytes: u64,
    pub metadata: Metadata<'a>,
}

impl Outline {
    /// `symbols` are those that the block's metadata refer to.
    pub fn new(columns: Columns<Bytes>, layout: Layout, symbols: Arc<Symbols>) -> Self {
        Outline { columns, layout, symbols }
    }

    /// Whether it is the outline of `block`.
    pub fn is_of(&self, block: &RawBlock) -> bool {
        Columns::of(&block.data, block.layout).is_some_and(|c| c.each().into_iter().eq(self.columns.each()))
    }

    /// Of its columns.
    pub fn bytes(&self) -> usize {
        self.columns.each().iter().map(|column| column.len()).sum()
    }

    /// Whether it tells all metadata of entries.
    pub fn knows_metadata(&self) -> bool {
        self.layout == Layout::Plain || (!self.columns.kinds.is_empty() && self.columns.omitted.is_empty())
    }

    /// Whether it tells the metadata of these names.
    pub fn knows(&self, names: &[impl AsRef<str>]) -> bool {
        let mut rest = &self.columns.omitted[..];
        let mut omitted = std::iter::from_fn(|| (!rest.is_empty()).then(|| uvarint(&mut rest)));
        let is_known = |number: Option<u64>| {
            let name = number.and_then(|number| self.symbols.get(number));
            name.is_some_and(|name| names.iter().all(|n| n.as_ref() != name))
        };
        self.layout == Layout::Plain || (!self.columns.kinds.is_empty() && omitted.all(is_known))
    }

    /// `None` if it is malformed. Metadata that are not known are not there.
    pub fn entries(&self) -> Option<EntryOutlines<'_>> {
        let mut rest = &self.columns.kinds[..];
        let mut kinds = Vec::new();
        while !rest.is_empty() {
            kinds.push(bytes(&mut rest).filter(|_| kinds.len() < KINDS_MAX)?);
        }
        Some(EntryOutlines {
            times: Times { rest: &self.columns.times, last_ms: None },
            lengths: &self.columns.lengths,
            kinds_of_entries: &self.columns.kinds_of_entries,
            kinds,
            symbols: &self.symbols,
        })
    }
}

struct Times<'a> {
    rest: &'a [u8],
    last_ms: Option<i64>,
}

impl Iterator for Times<'_> {
    type Item = Option<(i64, i64)>;
    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let ms = match self.last_ms {
            None => varint(&mut self.rest),
            Some(last_ms) => uvarint(&mut self.rest).and_then(|later| last_ms.checked_add(later.try_into().ok()?)),
        };
        let newest_ns = ms.and_then(|ms| ms.checked_mul(NANOS_PER_MILLI));
        let times = newest_ns.and_then(|newest_ns| Some((newest_ns.checked_sub(NANOS_PER_MILLI - 1)?, newest_ns)));
        self.last_ms = ms;
        if times.is_none() {
            self.rest = &[];
        }
        Some(times)
    }
}

/// Walks an outline.
pub struct EntryOutlines<'a> {
    times: Times<'a>,
    lengths: &'a [u8],
    kinds_of_entries: &'a [u8],
    kinds: Vec<&'a [u8]>,
    symbols: &'a Symbols,
}

impl<'a> Iterator for EntryOutlines<'a> {
    type Item = Option<EntryOutline<'a>>;
    /// `None` inside once where a column is malformed.
    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let times = self.times.next()?;
        let entry = times.and_then(|(oldest_ns, newest_ns)| {
            let line_bytes = uvarint(&mut self.lengths)?;
            let pairs = match self.kinds.as_slice() {
                [] => &[],
                kinds => *kinds.get(usize::try_from(uvarint(&mut self.kinds_of_entries)?).ok()?)?,
            };
            Some(EntryOutline { oldest_ns, newest_ns, line_bytes, metadata: Metadata::new(pairs, self.symbols) })
        });
        if entry.is_none() {
            self.times.rest = &[];
        }
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BlockBuilder, SymbolsBuilder};

    type Entry<'a> = (i64, &'a str, &'a [(&'a str, &'a str)]);

    /// The outline of a block with these entries.
    fn outline(layout: Layout, entries: &[Entry<'_>]) -> Option<Outline> {
        let (mut block, mut symbols) = (BlockBuilder::new(layout), SymbolsBuilder::default());
        for (ts_ns, line, metadata) in entries {
            block.push(*ts_ns, line.as_bytes(), metadata.iter().copied(), &mut symbols);
        }
        let columns = Columns::of(block.data(), layout)?.each().map(|column| Bytes::copy_from_slice(column));
        Some(Outline::new(Columns::from_each(columns), layout, Arc::new(symbols.finish())))
    }

    const ENTRIES: [Entry<'_>; 6] = [
        (-1_000_001, "", &[]),
        (0, "one", &[("level", "info")]),
        (1, "two more", &[("level", "warn"), ("trace", "7")]),
        (1_000_000, "three", &[("level", "info")]),
        (1_000_001, "", &[]),
        (i64::MAX / 2, "six", &[("level", "info")]),
    ];

    #[test]
    fn an_outline_tells_of_each_entry_all_but_the_line_and_the_exact_time() {
        for layout in [Layout::Metadata, Layout::Plain] {
            let outline = outline(layout, &ENTRIES).unwrap();
            assert!(outline.knows_metadata());
            let mut outlines = outline.entries().unwrap();
            for (ts_ns, line, metadata) in ENTRIES {
                let e = outlines.next().unwrap().unwrap();
                assert!(
                    e.oldest_ns <= ts_ns && ts_ns <= e.newest_ns && e.newest_ns - e.oldest_ns == 999_999,
                    "{ts_ns}"
                );
                assert_eq!(e.line_bytes, line.len() as u64);
                let known = if layout == Layout::Plain { vec![] } else { metadata.to_vec() };
                assert_eq!(e.metadata.iter().collect::<Vec<_>>(), known);
            }
            assert!(outlines.next().is_none());
        }
    }

    /// Entries whose metadata is a trace and, of `levels` of them, a level.
    fn traced(traces: usize, levels: usize) -> Outline {
        let values: Vec<String> = (0..traces.max(levels)).map(|i| i.to_string()).collect();
        let pair = |i: usize| [("level", values[i % levels].as_str()), ("trace", values[i % traces].as_str())];
        let metadata: Vec<[(&str, &str); 2]> = (0..300).map(pair).collect();
        let entries: Vec<Entry<'_>> = metadata.iter().enumerate().map(|(i, m)| (i as i64, "line", &m[..])).collect();
        outline(Layout::Metadata, &entries).unwrap()
    }

    #[test]
    fn names_of_many_values_are_left_out_where_kinds_are_too_many() {
        for (traces, levels, level_known, trace_known) in [
            (64, 1, true, true),
            (65, 1, true, false),
            (300, 16, true, false),
            (300, 17, false, false),
            // Of few values each, and of too many kinds together.
            (16, 15, false, false),
        ] {
            let outline = traced(traces, levels);
            let case = format!("{traces} {levels}");
            assert_eq!(outline.knows_metadata(), level_known && trace_known, "{case}");
            assert_eq!((outline.knows(&["level"]), outline.knows(&["trace"])), (level_known, trace_known), "{case}");
            assert_eq!(outline.knows(&["level", "trace"]), trace_known, "{case}");
            for (i, entry) in outline.entries().unwrap().enumerate() {
                let metadata = entry.unwrap().metadata;
                let (level, trace) = (metadata.get("level"), metadata.get("trace"));
                assert_eq!(level, level_known.then_some((i % levels).to_string()).as_deref(), "{case}");
                assert_eq!(trace, trace_known.then_some((i % traces).to_string()).as_deref(), "{case}");
            }
        }
    }

    #[test]
    fn times_that_go_back_have_no_outline() {
        assert!(outline(Layout::Plain, &[(5_000_000, "", &[]), (4_000_000, "", &[])]).is_none());
        assert!(outline(Layout::Plain, &[(5, "", &[]), (4, "", &[])]).is_some(), "the same millisecond");
    }

    #[test]
    fn malformed_columns_end_with_none() {
        let whole = outline(Layout::Metadata, &ENTRIES).unwrap();
        let columns = whole.columns.each().map(Clone::clone);
        for column in 0..COLUMNS {
            for cut in 0..columns[column].len() {
                let mut cut_columns = columns.clone();
                cut_columns[column].truncate(cut);
                let outline = Outline::new(Columns::from_each(cut_columns), Layout::Metadata, whole.symbols.clone());
                let seen: Vec<_> = outline.entries().map(Iterator::collect).unwrap_or_default();
                let is_whole = seen.len() == ENTRIES.len() && seen.iter().all(Option::is_some);
                // Fewer times are fewer entries; without kinds metadata are not known.
                assert!(!is_whole || (column == 3 && !outline.knows_metadata()), "column {column} cut at {cut}");
            }
        }
        let is_refused = |times: &[u8]| {
            let (times, lengths) = (Bytes::copy_from_slice(times), Bytes::from_static(&[0; 2]));
            let columns = Columns { times, lengths, ..Default::default() };
            let outline = Outline::new(columns, Layout::Plain, Default::default());
            outline.entries().unwrap().any(|entry| entry.is_none())
        };
        let mut far = Vec::new();
        put_varint(&mut far, i64::MAX);
        assert!(is_refused(&far), "later than nanoseconds can be");
        put_uvarint(&mut far, u64::MAX);
        assert!(is_refused(&far) && !is_refused(&[2, 2]));
    }
}
