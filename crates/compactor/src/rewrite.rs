//! A chunk without its deleted lines. Every block is decoded and encoded anew, symbols renumbered: the result holds no
//! text of what was deleted, and is the same bytes whenever it is made. It must not know where chunks live.

use bytes::Bytes;
use format::ChunkRef;
use format::chunk::{Chunk, ChunkParts, SealedBlock, encode, seal};
use logql::pipeline::Pipeline;
use logql::pipeline::hints::Hints;
use model::{BlockBuilder, Error, Result, SymbolsBuilder, TenantId};
use rpc::deletes::DeleteFilter;

/// What is left of a chunk.
#[derive(Debug, PartialEq)]
pub enum Rest {
    /// No line was to be deleted.
    All,
    Nothing,
    Some(ChunkRef, Bytes),
}

/// The chunk without the lines that any of `filters` names, and how many those are. That the stream satisfies the
/// matchers of the filters is up to the caller.
pub fn without(chunk: &Chunk, tenant: &TenantId, filters: &[DeleteFilter]) -> Result<(Rest, u64)> {
    let compile = |filter: &DeleteFilter| Pipeline::compile(&filter.stages, &Hints::default());
    let pipelines = filters.iter().map(compile).collect::<Result<Vec<_>>>()?;
    let mut erasers: Vec<_> = filters.iter().zip(pipelines.iter().map(|p| p.stream(&chunk.labels))).collect();
    let (mut symbols, mut blocks, mut deleted) = (SymbolsBuilder::default(), Vec::<SealedBlock>::new(), 0);
    for i in 0..chunk.blocks().len() {
        let raw = chunk.block(i)?;
        let mut rest = BlockBuilder::new(raw.layout);
        let mut entries = raw.entries();
        let malformed = |at: model::block::Malformed| Error::corrupt(format!("block {i}: malformed at {}", at.offset));
        while let Some(entry) = entries.try_next().map_err(malformed)? {
            let goes = erasers.iter_mut().any(|(filter, pipeline)| {
                filter.contains(entry.ts_ns) && pipeline.process(entry.ts_ns, entry.line, entry.metadata)
            });
            match goes {
                true => deleted += 1,
                false => rest.push(entry.ts_ns, entry.line, entry.metadata.iter(), &mut symbols),
            }
        }
        if !rest.is_empty() {
            blocks.push(seal(chunk.codec, &rest));
        }
    }
    if deleted == 0 || blocks.is_empty() {
        return Ok((if deleted == 0 { Rest::All } else { Rest::Nothing }, deleted));
    }
    let symbols = symbols.finish();
    let (reference, object) = encode(&ChunkParts {
        tenant,
        labels: &chunk.labels,
        fingerprint: chunk.fingerprint,
        codec: chunk.codec,
        layout: chunk.layout(),
        symbols: &symbols,
        blocks: &blocks,
    })?;
    Ok((Rest::Some(reference, object), deleted))
}
