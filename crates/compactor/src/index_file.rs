//! Index objects: read, verified; built, compressed, verified again after the upload.

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use format::tsdb::{Index, IndexBuilder};
use model::{Error, Result};
use std::io::{Read, Write};
use storage::objects::Objects;

/// The largest index file, decompressed: four times what a day of a million series takes.
const INDEX_BYTES_MAX: u64 = 8 << 30;
/// The label that tells tenants apart in a file of several.
pub const TENANT_LABEL: &str = "__loki_tenant__";

/// Downloads, decompresses and opens an index object; an error names it.
pub async fn read(objects: &Objects, key: &str) -> Result<Index<Vec<u8>>> {
    let object = objects.get(key).await?;
    let bytes = if key.ends_with(".gz") { gunzip(&object).map_err(|e| e.context(key))? } else { object.to_vec() };
    Index::open(bytes).map_err(|e| e.context(key))
}

/// Builds the file, stores it under the name that `name` gives it by its bounds and checksum, reads it back and opens
/// it: only a file that verifies may replace others. Answers its key.
pub async fn write(
    objects: &Objects,
    builder: IndexBuilder,
    name: impl FnOnce(&Index<Vec<u8>>) -> String,
) -> Result<String> {
    let index = Index::open(builder.build()?)?;
    let key = name(&index);
    objects.put(&key, gzip(index.as_bytes())?).await?;
    let stored = read(objects, &key).await?;
    if stored.as_bytes() != index.as_bytes() {
        return Err(Error::corrupt(format!("{key}: reads back differently from what was written")));
    }
    Ok(key)
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
