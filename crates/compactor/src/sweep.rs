//! Deferred deletion: the keys of expired chunks are written to a mark in the bucket when their index rows go, and the
//! chunks are deleted when the mark is old enough. A mark survives a restart on a machine without the old one's disk.

use format::ChunkRef;
use model::{Error, Fingerprint, Kind, Result, TenantId};
use serde::{Deserialize, Serialize};
use storage::chunks::ChunkStore;
use storage::objects::Objects;

/// Where marks live; Loki looks into this folder neither for chunks nor for index files.
pub const MARKS_PREFIX: &str = "lokirs/expired/";

/// Chunks of one mark.
const CHUNKS_PER_MARK: usize = 50_000;

#[derive(Serialize, Deserialize)]
struct MarkedChunk {
    tenant: String,
    fingerprint: u64,
    from_ms: i64,
    through_ms: i64,
    checksum: u32,
}

/// Writes marks for `expired`, named by the time.
pub async fn mark(objects: &Objects, expired: &[(TenantId, ChunkRef)], now_ns: i64) -> Result<()> {
    for (i, part) in expired.chunks(CHUNKS_PER_MARK).enumerate() {
        let list: Vec<MarkedChunk> = part
            .iter()
            .map(|(tenant, c)| MarkedChunk {
                tenant: tenant.to_string(),
                fingerprint: c.fingerprint.0,
                from_ms: c.from_ms,
                through_ms: c.through_ms,
                checksum: c.checksum,
            })
            .collect();
        let body = serde_json::to_vec(&list).map_err(|e| Error::internal(format!("mark: {e}")))?;
        objects.put(&format!("{MARKS_PREFIX}{:020}.json", now_ns + i as i64), body.into()).await?;
    }
    Ok(())
}

/// Deletes the chunks of every mark older than `delay_ns`, then the mark. Answers how many chunks went.
pub async fn sweep(objects: &Objects, chunks: &ChunkStore, now_ns: i64, delay_ns: i64) -> Result<u64> {
    let mut deleted = 0;
    for object in objects.list(MARKS_PREFIX).await? {
        let name = object.key.trim_start_matches(MARKS_PREFIX).trim_end_matches(".json");
        let old = name.parse::<i64>().is_ok_and(|marked_ns| now_ns.saturating_sub(marked_ns) >= delay_ns);
        if !old {
            continue;
        }
        let body = objects.get(&object.key).await?;
        let list: Vec<MarkedChunk> =
            serde_json::from_slice(&body).map_err(|e| Error::corrupt(format!("{}: {e}", object.key)))?;
        for marked in list {
            let tenant = TenantId::parse(&marked.tenant)?;
            match chunks.delete(&tenant, &marked.chunk()).await {
                Err(e) if e.kind != Kind::NotFound => return Err(e),
                _ => deleted += 1,
            }
        }
        objects.delete(&object.key).await?;
    }
    Ok(deleted)
}

impl MarkedChunk {
    fn chunk(&self) -> ChunkRef {
        ChunkRef {
            fingerprint: Fingerprint(self.fingerprint),
            from_ms: self.from_ms,
            through_ms: self.through_ms,
            checksum: self.checksum,
            kb: 0,
            entries: 0,
        }
    }
}
