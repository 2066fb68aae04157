//! Index objects: read, verified; built, compressed, stored, and verified again as stored.

use crate::objects::Objects;
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use format::schema::TsdbVersion;
use format::tsdb::{Index, IndexBuilder, SeriesChunks};
use model::{Error, Kind, Result};
use std::io::{Read, Write};

/// An index file in memory.
pub type File = Index<Vec<u8>>;

/// The largest index file, decompressed: a file's parts are addressed in 32 bits but for the series.
const INDEX_BYTES_MAX: u64 = 4 << 30;

/// Downloads, decompresses and opens an index object; an error names it.
pub async fn read(objects: &Objects, key: &str) -> Result<File> {
    let object = objects.get(key).await?;
    let compressed = key.ends_with(".gz");
    let opened = off_thread(move || Index::open(if compressed { gunzip(&object)? } else { object.to_vec() }));
    opened.await.map_err(|e| e.context(key))
}

/// Writes `rows`, of which at least one has a chunk, as `<dir>/<stamp_ns>-compactor-<from>-<through>-<crc>.tsdb.gz`,
/// and reads the object back: only a file that verifies may replace others. One that does not is taken away again.
/// Answers the key and the object's size.
pub async fn write(
    objects: &Objects,
    dir: &str,
    stamp_ns: i64,
    version: TsdbVersion,
    rows: Vec<SeriesChunks>,
) -> Result<(String, usize)> {
    let (index, object) = off_thread(move || build(version, rows)).await?;
    let (from, through, crc) = (index.from_ms(), index.through_ms(), index.toc_checksum());
    let key = format!("{dir}/{stamp_ns}-compactor-{from}-{through}-{crc:x}.tsdb.gz");
    let bytes = object.len();
    objects.put(&key, object).await?;
    let verified = match read(objects, &key).await {
        Ok(stored) if stored.as_bytes() == index.as_bytes() => return Ok((key, bytes)),
        Ok(_) => Error::corrupt(format!("{key}: reads back differently from what was written")),
        Err(e) => e,
    };
    if verified.kind == Kind::Corrupt
        && let Err(e) = objects.delete(&key).await
    {
        tracing::warn!(file = %key, error = %e, "an index file that does not verify could not be taken away");
    }
    Err(verified)
}

/// The file of `rows`, and the object that it is stored as.
pub fn build(version: TsdbVersion, rows: Vec<SeriesChunks>) -> Result<(File, Bytes)> {
    let mut builder = IndexBuilder::new(version);
    for series in rows.into_iter().filter(|s| !s.chunks.is_empty()) {
        builder.add(series.labels, series.fingerprint, series.chunks);
    }
    let index = Index::open(builder.build()?)?;
    let object = gzip(index.as_bytes())?;
    Ok((index, object))
}

/// Runs what may take a while away from the threads that wait for others.
pub async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::internal(format!("index file: {e}")))?
}

fn gunzip(object: &[u8]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut limited = MultiGzDecoder::new(object).take(INDEX_BYTES_MAX + 1);
    limited.read_to_end(&mut bytes).map_err(|e| Error::corrupt(format!("gzip: {e}")))?;
    if bytes.len() as u64 > INDEX_BYTES_MAX {
        return Err(Error::corrupt(format!("the index is larger than {INDEX_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

fn gzip(bytes: &[u8]) -> Result<Bytes> {
    let mut out = GzEncoder::new(Vec::new(), flate2::Compression::default());
    let written = out.write_all(bytes).and_then(|()| out.finish());
    Ok(written.map_err(|e| Error::internal(format!("gzip: {e}")))?.into())
}
