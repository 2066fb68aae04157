//! Marks: chunks whose index rows are going, remembered in the bucket until they may be deleted. A mark survives on a
//! machine that does not. It must not know why a chunk went, nor when it is to be deleted.

use format::ChunkRef;
use format::crc::crc32c;
use format::key::parse_key;
use format::schema::SchemaVersion;
use model::{Error, Kind, Result, TenantId};
use storage::objects::Objects;

/// Where marks live; Loki looks into this folder neither for chunks nor for index files.
const PREFIX: &str = "lokirs/expired/";
/// Chunks of one mark: some megabytes of JSON.
const CHUNKS_PER_MARK: usize = 50_000;

/// A mark as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    key: String,
    pub marked_ns: i64,
}

/// Remembers that the table of `day` stops to list `chunks`. The name is by time and content: to mark again is harmless.
pub async fn put(objects: &Objects, tenant: &TenantId, day: i64, chunks: &[ChunkRef], now_ns: i64) -> Result<()> {
    for part in chunks.chunks(CHUNKS_PER_MARK) {
        let body = encode(part.iter().map(|chunk| (tenant, chunk)))?;
        let key = format!("{PREFIX}{now_ns:020}-{day}-{tenant}-{:08x}.json", crc32c(&body));
        objects.put(&key, body.into()).await?;
    }
    Ok(())
}

/// All marks, oldest first.
pub async fn list(objects: &Objects) -> Result<Vec<Mark>> {
    let listed = objects.list(PREFIX).await?.into_iter();
    let mark = |key: String| {
        let marked_ns = key.strip_prefix(PREFIX)?.split_once('-')?.0.parse().ok()?;
        Some(Mark { key, marked_ns })
    };
    Ok(listed.filter_map(|object| mark(object.key)).collect())
}

/// Every chunk that waits to be deleted.
pub async fn marked(objects: &Objects) -> Result<Vec<(TenantId, ChunkRef)>> {
    let mut chunks = Vec::new();
    for mark in list(objects).await? {
        match mark.chunks(objects).await {
            // The sweep was here in between.
            Err(e) if e.kind == Kind::NotFound => {}
            of_mark => chunks.extend(of_mark?),
        }
    }
    Ok(chunks)
}

impl Mark {
    pub fn key(&self) -> &str {
        &self.key
    }

    pub async fn chunks(&self, objects: &Objects) -> Result<Vec<(TenantId, ChunkRef)>> {
        let body = objects.get(&self.key).await?;
        let keys: Vec<String> =
            serde_json::from_slice(&body).map_err(|e| Error::corrupt(format!("{}: {e}", self.key)))?;
        let chunks = keys.iter().map(|key| parse_key(key));
        chunks.collect::<Result<_>>().map_err(|e| Error::corrupt(format!("{}: {e}", self.key)))
    }

    /// Leaves only `chunks` in the mark; none: the mark goes.
    pub async fn reduce(&self, objects: &Objects, chunks: &[(TenantId, ChunkRef)]) -> Result<()> {
        if chunks.is_empty() {
            return objects.delete(&self.key).await;
        }
        objects.put(&self.key, encode(chunks.iter().map(|(tenant, chunk)| (tenant, chunk)))?.into()).await
    }
}

/// A list of chunk keys, in the newest layout whatever the chunk's period: they name, they are not looked up.
fn encode<'c>(chunks: impl Iterator<Item = (&'c TenantId, &'c ChunkRef)>) -> Result<Vec<u8>> {
    let keys: Vec<String> = chunks.map(|(tenant, chunk)| chunk.key(tenant, SchemaVersion::V13)).collect();
    serde_json::to_vec(&keys).map_err(|e| Error::internal(format!("mark: {e}")))
}
