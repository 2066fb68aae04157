//! A small chunk, for tests that damage one or look inside.

use format::chunk::{ChunkParts, SealedBlock, encode};
use format::{ChunkRef, Codec};
use model::{Labels, Layout, SymbolsBuilder, TenantId};

pub fn tenant() -> TenantId {
    TenantId::parse("t1").unwrap()
}

/// The chunk of `{app="x"}` with these blocks.
pub fn chunk(codec: Codec, layout: Layout, blocks: &[SealedBlock], symbols: &SymbolsBuilder) -> (ChunkRef, Vec<u8>) {
    let (tenant, labels) = (tenant(), Labels::new([("app", "x")]));
    let fingerprint = labels.fingerprint();
    let (tenant, labels, symbols) = (&tenant, &labels, symbols.symbols());
    let parts = ChunkParts { tenant, labels, fingerprint, codec, layout, symbols, blocks };
    let (reference, object) = encode(&parts).unwrap();
    (reference, object.to_vec())
}
