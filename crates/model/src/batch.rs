//! A batch: the entries of one push of one tenant, encoded once by the distributor and never again. The same bytes go
//! over the wire, into the write-ahead log and, walked, into the streams' heads.
//!
//! Layout, per stream: `str canonical_labels, u64 LE fingerprint, uvarint entries, u32 LE body_bytes, body`;
//! body, per entry: `varint ts_ns, str line, uvarint section_bytes, section`; section, nothing without metadata:
//! `uvarint pairs, pairs x (str name, str value)`. Who only looks at times and lines steps over it.

use crate::varint::{bytes, put_str, put_uvarint, put_varint, take, uvarint, varint};
use crate::{Error, Fingerprint, Result};
use bytes::Bytes;

/// An encoded batch. Cloning is cheap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    pub data: Bytes,
}

impl Batch {
    pub fn streams(&self) -> StreamBatches<'_> {
        StreamBatches { rest: &self.data }
    }
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }
}

pub struct StreamBatches<'a> {
    rest: &'a [u8],
}

/// One stream's part of a batch.
#[derive(Clone, Copy, Debug)]
pub struct StreamBatch<'a> {
    /// Canonical label text.
    pub labels: &'a str,
    pub fingerprint: Fingerprint,
    pub entries: u64,
    body: &'a [u8],
}

impl<'a> Iterator for StreamBatches<'a> {
    type Item = Result<StreamBatch<'a>>;
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let stream = stream(&mut self.rest);
        if stream.is_none() {
            self.rest = &[];
        }
        Some(stream.ok_or_else(|| Error::corrupt("malformed batch: a stream's header is cut short")))
    }
}

fn stream<'a>(rest: &mut &'a [u8]) -> Option<StreamBatch<'a>> {
    let labels = std::str::from_utf8(bytes(rest)?).ok()?;
    let fingerprint = Fingerprint(u64::from_le_bytes(take(rest, 8)?.try_into().ok()?));
    let entries = uvarint(rest)?;
    let len = u32::from_le_bytes(take(rest, 4)?.try_into().ok()?);
    Some(StreamBatch { labels, fingerprint, entries, body: take(rest, u64::from(len))? })
}

/// One entry of a batch; `metadata` is walked with [`BatchEntry::metadata`].
#[derive(Clone, Copy, Debug)]
pub struct BatchEntry<'a> {
    pub ts_ns: i64,
    pub line: &'a [u8],
    pub pairs: u64,
    metadata: &'a [u8],
}

impl<'a> StreamBatch<'a> {
    /// Calls `f` for each entry in order.
    pub fn for_each(&self, mut f: impl FnMut(BatchEntry<'a>)) -> Result<()> {
        let mut rest = self.body;
        while !rest.is_empty() {
            let e = entry(&mut rest).ok_or_else(|| Error::corrupt("malformed batch: an entry is cut short"))?;
            f(e);
        }
        Ok(())
    }
    /// The encoded size of the entries, in bytes.
    pub fn body_bytes(&self) -> usize {
        self.body.len()
    }
}

fn entry<'a>(rest: &mut &'a [u8]) -> Option<BatchEntry<'a>> {
    let ts_ns = varint(rest)?;
    let line = bytes(rest)?;
    let mut metadata = bytes(rest)?;
    let pairs = if metadata.is_empty() { 0 } else { uvarint(&mut metadata)? };
    // Each pair takes two lengths.
    (pairs <= metadata.len() as u64 / 2).then_some(BatchEntry { ts_ns, line, pairs, metadata })
}

impl<'a> BatchEntry<'a> {
    /// The pairs as they are encoded: equal bytes are equal pairs.
    pub fn encoded_metadata(&self) -> &'a [u8] {
        self.metadata
    }

    /// Names and values as they came: whether they are UTF-8 is only looked at where they are new.
    pub fn metadata_bytes(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let mut rest = self.metadata;
        std::iter::from_fn(move || Some((bytes(&mut rest)?, bytes(&mut rest)?)))
    }

    /// Name and value of each pair, up to one that is not UTF-8.
    pub fn metadata(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.metadata_bytes()
            .map_while(|(name, value)| Some((std::str::from_utf8(name).ok()?, std::str::from_utf8(value).ok()?)))
    }
}

/// Builds a batch stream by stream.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    data: Vec<u8>,
    body: Vec<u8>,
    section: Vec<u8>,
    entries: u64,
}

impl BatchBuilder {
    pub fn with_capacity(bytes: usize) -> Self {
        Self::in_buffer(Vec::with_capacity(bytes))
    }

    /// Writes over `data`, whatever is in it.
    pub fn in_buffer(mut data: Vec<u8>) -> Self {
        data.clear();
        BatchBuilder { data, ..BatchBuilder::default() }
    }

    /// Adds an entry to the stream that [`BatchBuilder::end_stream`] will close.
    pub fn entry<'m>(&mut self, ts_ns: i64, line: &[u8], metadata: impl ExactSizeIterator<Item = (&'m str, &'m str)>) {
        put_varint(&mut self.body, ts_ns);
        put_str(&mut self.body, line);
        if metadata.len() == 0 {
            self.body.push(0);
        } else {
            self.section.clear();
            put_uvarint(&mut self.section, metadata.len() as u64);
            for (name, value) in metadata {
                put_str(&mut self.section, name.as_bytes());
                put_str(&mut self.section, value.as_bytes());
            }
            put_str(&mut self.body, &self.section);
        }
        self.entries += 1;
    }

    /// Closes the stream of the entries added since the last one; without entries nothing is written.
    pub fn end_stream(&mut self, labels: &str, fingerprint: Fingerprint) {
        if self.entries == 0 {
            return;
        }
        put_str(&mut self.data, labels.as_bytes());
        self.data.extend_from_slice(&fingerprint.0.to_le_bytes());
        put_uvarint(&mut self.data, self.entries);
        self.data.extend_from_slice(&(self.body.len() as u32).to_le_bytes());
        self.data.extend_from_slice(&self.body);
        self.body.clear();
        self.entries = 0;
    }

    /// Copies a whole stream of another batch, as replication to several ingesters does.
    pub fn copy_stream(&mut self, stream: &StreamBatch<'_>) {
        put_str(&mut self.data, stream.labels.as_bytes());
        self.data.extend_from_slice(&stream.fingerprint.0.to_le_bytes());
        put_uvarint(&mut self.data, stream.entries);
        self.data.extend_from_slice(&(stream.body.len() as u32).to_le_bytes());
        self.data.extend_from_slice(stream.body);
    }

    pub fn finish(self) -> Batch {
        Batch { data: self.into_data().into() }
    }

    /// The batch's bytes, for who gave the buffer.
    pub fn into_data(self) -> Vec<u8> {
        self.data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_round_trip_and_every_truncation_is_an_error() {
        let mut b = BatchBuilder::default();
        b.entry(10, b"line one", [("level", "info")].into_iter());
        b.entry(-3, b"\xff\xfe", [].into_iter());
        b.end_stream("{a=\"1\"}", Fingerprint(7));
        b.end_stream("{empty=\"1\"}", Fingerprint(8));
        b.entry(11, b"", [].into_iter());
        b.end_stream("{b=\"2\"}", Fingerprint(9));
        let batch = b.finish();
        /// Labels, fingerprint, time, line, number of metadata pairs.
        type Seen = (String, u64, i64, Vec<u8>, usize);
        let read = |batch: &Batch| -> Result<Vec<Seen>> {
            let mut seen = vec![];
            for s in batch.streams() {
                let s = s?;
                s.for_each(|e| {
                    seen.push((s.labels.to_string(), s.fingerprint.0, e.ts_ns, e.line.to_vec(), e.metadata().count()))
                })?;
            }
            Ok(seen)
        };
        let all = read(&batch).unwrap();
        assert_eq!(all.len(), 3);
        assert_eq!(all[0], ("{a=\"1\"}".into(), 7, 10, b"line one".to_vec(), 1));
        assert_eq!(all[2].1, 9);
        for cut in 1..batch.data.len() {
            let short = read(&Batch { data: batch.data.slice(..cut) });
            assert!(short.is_err() || short.unwrap().len() < all.len(), "cut at {cut}");
        }
    }
}
