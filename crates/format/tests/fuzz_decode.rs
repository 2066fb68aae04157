//! Mutated chunks, index files and logs: errors, never panics, and what they claim is not believed. Checksums are put
//! right again for half of the mutations, so that what stands behind them is reached.

mod chunks;
#[path = "../../../tests/fuzz/mod.rs"]
mod fuzz;

use flate2::read::GzDecoder;
use format::Codec;
use format::chunk::{Chunk, seal};
use format::crc::crc32c;
use format::tsdb::Index;
use format::wal::{Found, Records, head};
use fuzz::fuzz;
use model::matcher::{MatchOp, Matcher};
use model::{Batch, BlockBuilder, Layout, SymbolsBuilder, TenantId};
use std::io::Read;
use std::path::Path;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden");
/// Larger seeds make few inputs a second.
const SEED_BYTES_MAX: u64 = 20 << 10;

fn files(dir: &Path, found: &mut Vec<Vec<u8>>, is_wanted: &dyn Fn(&Path) -> bool) {
    let mut entries: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(&path, found, is_wanted);
        } else if is_wanted(&path) && std::fs::metadata(&path).unwrap().len() < SEED_BYTES_MAX {
            found.push(std::fs::read(&path).unwrap());
        }
    }
}

fn be32(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize)
}

fn be64(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?)).ok()
}

/// Writes the checksum of `body` behind it, if both lie in `bytes`.
fn put_right(bytes: &mut [u8], body: std::ops::Range<usize>) -> Option<()> {
    let crc = crc32c(bytes.get(body.clone())?).to_be_bytes();
    bytes.get_mut(body.end..body.end.checked_add(4)?)?.copy_from_slice(&crc);
    Some(())
}

#[test]
fn chunks_of_any_bytes_are_read_or_refused() {
    let mut seeds = vec![];
    for bucket in ["encodings", "uncompacted", "schemas"] {
        files(&Path::new(GOLDEN).join(bucket), &mut seeds, &|path| {
            !path.components().any(|c| c.as_os_str() == "index")
        });
    }
    // Of our own, which have outlines, as many as of Loki's.
    seeds.extend(vec![own_chunk(); seeds.len()]);
    fuzz(&seeds, &[], |input, random| {
        let mut object = input.to_vec();
        if random.below(2) == 0 {
            let _ = chunk_put_right(&mut object);
        }
        let Ok(chunk) = Chunk::decode(object.into()) else { return false };
        let mut entries_read = 0;
        for i in 0..chunk.blocks().len() {
            if let Some(outline) = chunk.outline(i) {
                let entries = outline.entries().into_iter().flatten().flatten();
                entries_read += entries.map(|entry| 1 + entry.metadata.iter().count()).sum::<usize>();
            }
            let Ok(raw) = chunk.block(i) else { continue };
            let mut entries = raw.entries();
            while let Ok(Some(entry)) = entries.try_next() {
                entries_read += 1 + entry.metadata.iter().count();
            }
        }
        entries_read > 0
    });
}

/// A chunk with outlines.
fn own_chunk() -> Vec<u8> {
    let (mut block, mut symbols) = (BlockBuilder::new(Layout::Metadata), SymbolsBuilder::default());
    for i in 0..100 {
        let metadata = [("level", ["info", "error"][i as usize % 2])];
        block.push(i * 1_000_000_007, b"a line", metadata.into_iter(), &mut symbols);
    }
    chunks::chunk(Codec::Zstd, Layout::Metadata, &[seal(Codec::Zstd, &block)], &symbols).1
}

/// The checksums of the symbols and the table that the trailer of a chunk of version 4 points to, and of the last outline.
fn chunk_put_right(object: &mut [u8]) -> Option<()> {
    let data = be32(object, 0)?.checked_add(4)?;
    let data = object.get_mut(data..)?;
    let trailer = data.len().checked_sub(32)?;
    for at in [trailer, trailer + 16] {
        let (length, offset) = (be64(data, at)?, be64(data, at + 8)?);
        put_right(data, offset..offset.checked_add(length)?)?;
    }
    // The outline of the last block ends where the checksum of the block begins, ahead of the table.
    let end = be64(data, trailer + 24)?.checked_sub(4)?;
    let length = u32::from_le_bytes(data.get(end.checked_sub(4)?..end)?.try_into().ok()?) as usize;
    let summed = end.checked_sub(length)?..end.checked_sub(8)?;
    let crc = crc32c(data.get(summed.clone())?).to_le_bytes();
    data.get_mut(summed.end..summed.end + 4)?.copy_from_slice(&crc);
    Some(())
}

#[test]
fn index_files_of_any_bytes_are_read_or_refused() {
    let mut zipped = vec![];
    files(Path::new(GOLDEN), &mut zipped, &|path| path.to_string_lossy().ends_with(".tsdb.gz"));
    let unzipped = |file: &Vec<u8>| {
        let mut out = vec![];
        GzDecoder::new(&file[..]).read_to_end(&mut out).unwrap();
        out
    };
    let seeds: Vec<Vec<u8>> = zipped.iter().map(unzipped).collect();
    let matchers = [("app", MatchOp::Ne, "x"), ("env", MatchOp::Re, "p.*|"), ("nothing", MatchOp::Eq, "")]
        .map(|(name, op, value)| Matcher::new(name, op, value).unwrap());
    fuzz(&seeds, &[], |input, random| {
        let mut file = input.to_vec();
        if random.below(2) == 0 {
            let _ = index_put_right(&mut file);
        }
        let Ok(index) = Index::open(file) else { return false };
        let all = index.series(&[], i64::MIN, i64::MAX, None);
        let _ = index.series(&matchers, i64::MIN, i64::MAX, Some((0, u64::MAX >> 1)));
        all.is_ok_and(|series| !series.is_empty())
    });
}

/// The checksums of the table of contents and of the sections that it points to.
fn index_put_right(file: &mut [u8]) -> Option<()> {
    let toc = file.len().checked_sub(76)?;
    for section in 0..7 {
        let at = be64(file, toc + 8 * section)?;
        // Series carry a checksum each.
        if section != 1 && section != 2 && section != 4 {
            let (from, length) = (at.checked_add(4)?, be32(file, at)?);
            let _ = put_right(file, from..from.checked_add(length)?);
        }
    }
    put_right(file, toc..toc + 72)
}

#[test]
fn logs_of_any_bytes_give_their_records_and_name_the_rest() {
    const SALT: u64 = 0x1234_5678_9abc_def0;
    let record = |tenant: &str, batch: &[u8]| {
        let mut record = head(SALT, &TenantId::parse(tenant).unwrap(), batch).unwrap();
        record.extend_from_slice(batch);
        record
    };
    let batch = one_batch();
    let log: Vec<u8> = (0..5).flat_map(|i| record(["acme", "globex"][i % 2], &batch)).collect();
    let seeds = [log.clone(), record("t", &batch), record("t", b""), log[..log.len() / 2].to_vec()];
    fuzz(&seeds, &[b"acme"], |input, _| {
        let (mut records, mut damaged, mut covered) = (0, 0, 0);
        for found in Records::new(SALT, input.to_vec().into()) {
            match found {
                Found::Record { batch, .. } => {
                    records += 1;
                    walk(&batch);
                }
                Found::Damaged { offset, bytes } => {
                    damaged += 1;
                    assert!(bytes > 0 && offset + bytes <= input.len() && offset >= covered, "{offset} {bytes}");
                    covered = offset + bytes;
                }
            }
        }
        records > 0 && damaged == 0
    });
}

fn one_batch() -> Vec<u8> {
    let mut builder = model::BatchBuilder::default();
    for (labels, lines) in [("{a=\"1\"}", 3), ("{b=\"2\", c=\"3\"}", 2)] {
        for i in 0..lines {
            builder.entry(1_000 + i, b"a line of it", [("trace_id", "t1"), ("user", "u")].into_iter());
        }
        builder.end_stream(labels, model::Labels::parse(labels).unwrap().fingerprint());
    }
    builder.finish().data.to_vec()
}

/// What the ingester does with a batch: every stream and entry is looked at.
fn walk(batch: &Batch) {
    for stream in batch.streams() {
        let Ok(stream) = stream else { return };
        let _ = stream.for_each(|entry| assert!(entry.metadata().count() <= entry.line.len() + batch.data.len()));
    }
}

#[test]
fn batches_of_any_bytes_are_walked_or_refused() {
    fuzz(&[one_batch(), vec![]], &[], |input, _| {
        let batch = Batch { data: input.to_vec().into() };
        walk(&batch);
        batch.streams().all(|stream| stream.is_ok_and(|s| s.for_each(|_| ()).is_ok()))
    });
}
