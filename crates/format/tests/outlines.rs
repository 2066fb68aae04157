//! The outline of a block comes out of a chunk as it went in, or not at all; and nobody has to know of it.

mod chunks;

use chunks::chunk;
use format::Codec;
use format::chunk::{Chunk, SealedBlock, outline, seal, sealed, without_outline};
use model::{BlockBuilder, Layout, SymbolsBuilder};

/// So many entries from `first_ns` on, the first of them an empty line.
fn block(layout: Layout, first_ns: i64, entries: i64, symbols: &mut SymbolsBuilder) -> BlockBuilder {
    let (levels, mut block) = (["info", "warn", "error"], BlockBuilder::new(layout));
    for i in 0..entries {
        let line = "x".repeat(i as usize);
        let level = [("level", levels[i as usize % 3])];
        block.push(first_ns + i * 777_777_777, line.as_bytes(), level.into_iter(), symbols);
    }
    block
}

#[test]
fn each_block_gets_its_outline_back_if_it_is_worth_one() {
    for codec in Codec::ALL {
        for layout in [Layout::Metadata, Layout::Plain] {
            let mut symbols = SymbolsBuilder::default();
            let sizes = [100, 63, 64];
            let blocks =
                [0, 1, 2].map(|i| seal(codec, &block(layout, i * 1_000_000_000_000, sizes[i as usize], &mut symbols)));
            let object = chunk(codec, layout, &blocks, &symbols).1;
            let chunk = Chunk::decode(object.into()).unwrap();
            assert_eq!(chunk.audit(), [""; 0]);
            for (i, entries) in sizes.into_iter().enumerate() {
                let outline = chunk.outline(i).filter(|outline| outline.is_of(&chunk.block(i).unwrap()));
                assert_eq!(outline.is_some(), codec == Codec::Zstd && entries >= 64, "{codec:?} {layout:?} {entries}");
            }
            assert!(chunk.outline(3).is_none());
        }
    }
}

#[test]
fn the_compressed_block_is_a_frame_and_one_that_decoders_step_over() {
    let mut symbols = SymbolsBuilder::default();
    let block = block(Layout::Metadata, 0, 100, &mut symbols);
    let with = seal(Codec::Zstd, &block).payload;
    let frame = without_outline(&with);
    assert_eq!(with[frame.len()..frame.len() + 4], [0x5b, 0x2a, 0x4d, 0x18]);
    assert_eq!(without_outline(frame), frame, "there is one");
    assert_eq!(sealed(Codec::Zstd, &block, frame.to_vec()).payload, with, "what another process compressed");
    let raw = block.data();
    // In one pass, in a stream that grows, in a stream up to the limit.
    for (hint, limit) in [(raw.len(), raw.len()), (1, 1 << 20), (1, raw.len())] {
        for payload in [frame, &with] {
            assert!(Codec::Zstd.decompress(payload, hint, limit).unwrap() == raw, "{hint} {limit}");
            assert!(Codec::Zstd.decompress(payload, hint, raw.len() - 1).is_err());
        }
        for cut in frame.len() + 1..with.len() {
            assert!(Codec::Zstd.decompress(&with[..cut], hint, limit).is_err(), "{hint} {limit} cut at {cut}");
        }
    }
}

#[test]
fn a_damaged_outline_is_none_and_every_line_is_there() {
    let mut symbols = SymbolsBuilder::default();
    let block = block(Layout::Metadata, 0, 100, &mut symbols);
    let good = seal(Codec::Zstd, &block).payload;
    let symbols = std::sync::Arc::new(symbols.finish());
    let read = |payload: &[u8]| outline(payload, Layout::Metadata, &symbols);
    assert!(read(&good).is_some());
    let begin = without_outline(&good).len();
    for byte in begin..good.len() {
        let mut bad = good.to_vec();
        bad[byte] ^= 0x10;
        assert!(read(&bad).is_none(), "byte {byte}");
        assert!(read(&good[..byte]).is_none() && read(&good[byte..]).is_none() || byte == begin, "cut at {byte}");
        // Its magic and its length are the compressed block's, which has a checksum of its own.
        if byte >= begin + 8 {
            assert!(Codec::Zstd.decompress(&bad, block.data().len(), 1 << 20).unwrap() == block.data());
        }
    }
}

#[test]
fn an_outline_of_other_entries_is_found() {
    let mut symbols = SymbolsBuilder::default();
    let own = block(Layout::Metadata, 0, 100, &mut symbols);
    let other = seal(Codec::Zstd, &block(Layout::Metadata, 5_000_000, 100, &mut symbols)).payload;
    let payload = [without_outline(&seal(Codec::Zstd, &own).payload), &other[without_outline(&other).len()..]].concat();
    let blocks = [SealedBlock { payload: payload.into(), ..seal(Codec::Zstd, &own) }];
    let object = chunk(Codec::Zstd, Layout::Metadata, &blocks, &symbols).1;
    assert_eq!(Chunk::decode(object.into()).unwrap().audit(), ["block 0: its outline is another block's"]);
}
