//! Reads back what the log holds. It must not know what becomes of the batches.

use super::segment::Hold;
use bytes::Bytes;
use format::wal::{Found, Records};
use model::{Batch, Error, Result, TenantId};

/// What is wrong in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    pub offset: usize,
    pub bytes: usize,
}

/// Gives each sound record of the segment to `f`, oldest first, and damage to `damaged`. The segment is read whole:
/// replay's memory is one segment, and the batches share it.
pub fn replay(
    hold: &Hold,
    mut f: impl FnMut(TenantId, Batch) -> Result<()>,
    mut damaged: impl FnMut(Damage),
) -> Result<()> {
    let segment = hold.segment();
    let log = std::fs::read(&segment.path)
        .map_err(|e| Error::unavailable(format!("cannot read {}: {e}", segment.path.display())))?;
    for found in Records::new(segment.salt, Bytes::from(log)) {
        match found {
            Found::Record { tenant, batch } => f(tenant, batch)?,
            Found::Damaged { offset, bytes } => damaged(Damage { offset, bytes }),
        }
    }
    Ok(())
}
