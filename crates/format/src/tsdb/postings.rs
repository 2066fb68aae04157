//! Postings: for each label pair the sorted references of the series that have it; and the table that says where each
//! list is, which also answers for label names and values without a look at any series.

use super::section::{self, u32_be};
use model::varint::{bytes, uvarint};
use model::{Error, Result};
use smol_str::SmolStr;
use std::ops::Range;

/// Of the values of a name one in so many is remembered with its place; a lookup walks on from there.
const VALUE_SAMPLE: usize = 32;

/// Numbers at the head of each table entry.
const ENTRY_STRINGS: u64 = 2;

/// The table of postings offsets, verified, with a sparse index into it.
#[derive(Debug)]
pub(super) struct PostingsTable {
    body_at: usize,
    all: u64,
    names: Vec<Name>,
}

#[derive(Debug)]
struct Name {
    name: SmolStr,
    /// Where entries 0, 32, 64, … of the name are in the table's body.
    samples: Vec<u32>,
    end: u32,
}

impl PostingsTable {
    /// Verifies the table at `at`: its checksum, that pairs ascend, and that lists lie in `lists`.
    pub(super) fn read(file: &[u8], at: u64, lists: Range<u64>) -> Result<Self> {
        let body = section::read(file, at, "postings table")?;
        let junk = || Error::corrupt(format!("postings table at {at}: malformed"));
        let mut rest = body;
        let count = u32_be(&mut rest).ok_or_else(junk)?;
        let mut table = PostingsTable { body_at: at as usize + section::LENGTH_BYTES, all: 0, names: Vec::new() };
        let (mut in_name, mut previous) = (0, None::<(&str, &str)>);
        for i in 0..count {
            let place = (body.len() - rest.len()) as u32;
            let entry = Pair::read(&mut rest).ok_or_else(junk)?;
            let pair = (entry.name, entry.value);
            let first = pair == ("", "");
            if !lists.contains(&entry.list) || previous.is_some_and(|p| p >= pair) || first != (i == 0) {
                return Err(junk());
            }
            if first {
                table.all = entry.list;
                continue;
            }
            if previous.is_none_or(|p| p.0 != entry.name) {
                table.names.push(Name { name: entry.name.into(), samples: Vec::new(), end: place });
                in_name = 0;
            }
            previous = Some(pair);
            let name = table.names.last_mut().ok_or_else(junk)?;
            if in_name % VALUE_SAMPLE == 0 {
                name.samples.push(place);
            }
            in_name += 1;
            name.end = (body.len() - rest.len()) as u32;
        }
        if count == 0 || !rest.is_empty() {
            return Err(junk());
        }
        Ok(table)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &SmolStr> {
        self.names.iter().map(|n| &n.name)
    }

    /// The list of all series.
    pub(super) fn all<'a>(&self, file: &'a [u8]) -> Result<List<'a>> {
        List::read(file, self.all)
    }

    /// The places of all lists.
    pub(super) fn lists<'a>(&'a self, file: &'a [u8]) -> impl Iterator<Item = Result<u64>> + 'a {
        let of_pairs = self.names.iter().flat_map(|n| self.values(file, &n.name)).map(|entry| Ok(entry?.1));
        std::iter::once(Ok(self.all)).chain(of_pairs)
    }

    /// The values of `name`, ascending, each with the place of its list.
    pub(super) fn values<'a>(&self, file: &'a [u8], name: &str) -> Values<'a> {
        let found = self.names.binary_search_by(|n| n.name.as_str().cmp(name)).ok();
        let range = found.map(|i| self.names[i].samples[0]..self.names[i].end);
        self.walk(file, range.unwrap_or(0..0))
    }

    /// How many values `name` has, rounded up to the next sample.
    pub(super) fn values_about(&self, name: &str) -> usize {
        let found = self.names.binary_search_by(|n| n.name.as_str().cmp(name)).ok();
        found.map_or(0, |i| self.names[i].samples.len() * VALUE_SAMPLE)
    }

    /// The list of the pair, if the file has it.
    pub(super) fn list<'a>(&self, file: &'a [u8], name: &str, value: &str) -> Result<Option<List<'a>>> {
        let Ok(i) = self.names.binary_search_by(|n| n.name.as_str().cmp(name)) else { return Ok(None) };
        let Name { samples, end, .. } = &self.names[i];
        let (mut low, mut high) = (0, samples.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.walk(file, samples[middle]..*end).next().transpose()? {
                Some((sampled, _)) if sampled <= value => low = middle + 1,
                _ => high = middle,
            }
        }
        let Some(sample) = low.checked_sub(1) else { return Ok(None) };
        for entry in self.walk(file, samples[sample]..*end).take(VALUE_SAMPLE) {
            match entry? {
                (candidate, list) if candidate == value => return List::read(file, list).map(Some),
                (candidate, _) if candidate > value => break,
                _ => {}
            }
        }
        Ok(None)
    }

    fn walk<'a>(&self, file: &'a [u8], range: Range<u32>) -> Values<'a> {
        let range = self.body_at + range.start as usize..self.body_at + range.end as usize;
        Values { rest: file.get(range).unwrap_or_default() }
    }

    /// Heap bytes held.
    pub(super) fn heap_bytes(&self) -> usize {
        let of_name = |n: &Name| size_of::<Name>() + n.samples.capacity() * size_of::<u32>();
        self.names.iter().map(of_name).sum()
    }
}

struct Pair<'a> {
    name: &'a str,
    value: &'a str,
    list: u64,
}

impl<'a> Pair<'a> {
    fn read(rest: &mut &'a [u8]) -> Option<Self> {
        if uvarint(rest)? != ENTRY_STRINGS {
            return None;
        }
        let name = std::str::from_utf8(bytes(rest)?).ok()?;
        let value = std::str::from_utf8(bytes(rest)?).ok()?;
        Some(Pair { name, value, list: uvarint(rest)? })
    }
}

/// Values of one name and the places of their lists.
pub(super) struct Values<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Values<'a> {
    type Item = Result<(&'a str, u64)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match Pair::read(&mut self.rest) {
            Some(pair) => Some(Ok((pair.value, pair.list))),
            None => {
                self.rest = &[];
                Some(Err(Error::corrupt("postings table: malformed")))
            }
        }
    }
}

/// A postings list as stored: ascending series references.
#[derive(Clone, Copy)]
pub(super) struct List<'a> {
    refs: &'a [[u8; 4]],
}

impl<'a> List<'a> {
    /// Verifies and gives the list at `at`.
    pub(super) fn read(file: &'a [u8], at: u64) -> Result<Self> {
        let mut body = section::read(file, at, "postings list")?;
        let count = u32_be(&mut body);
        let (refs, rest) = body.as_chunks::<4>();
        if count != u32::try_from(refs.len()).ok() || !rest.is_empty() {
            return Err(Error::corrupt(format!("postings list at {at}: malformed")));
        }
        Ok(List { refs })
    }

    pub(super) fn len(&self) -> usize {
        self.refs.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.refs.iter().map(|r| u32::from_be_bytes(*r))
    }

    /// Keeps those of the ascending `refs` whose presence in the list equals `present`.
    pub(super) fn retain(&self, refs: &mut Vec<u32>, present: bool) {
        let mut rest = *self;
        refs.retain(|wanted| rest.advance_to(*wanted) == present);
    }

    /// Whether any of the ascending `refs` is in the list.
    pub(super) fn meets(mut self, refs: &[u32]) -> bool {
        refs.iter().any(|wanted| self.advance_to(*wanted))
    }

    /// Drops what lies before `wanted`, and tells whether it comes next. It gallops, so that a short selection costs
    /// little however long the list is.
    fn advance_to(&mut self, wanted: u32) -> bool {
        let before = |r: &[u8; 4]| u32::from_be_bytes(*r) < wanted;
        let mut step = 1;
        while self.refs.get(step - 1).is_some_and(before) {
            self.refs = &self.refs[step..];
            step = (step * 2).min(self.refs.len().max(1));
        }
        let within = &self.refs[..step.min(self.refs.len())];
        self.refs = &self.refs[within.partition_point(before)..];
        self.refs.first().map(|r| u32::from_be_bytes(*r)) == Some(wanted)
    }
}
