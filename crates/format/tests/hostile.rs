//! Damaged chunk objects are an error or read as they were; none panics and none is believed when it states a size.

mod chunks;

use chunks::{chunk, tenant};
use format::chunk::{Chunk, SealedBlock, seal};
use format::crc::crc32c;
use format::{ChunkRef, Codec};
use model::varint::{put_uvarint, put_varint};
use model::{BlockBuilder, Layout, SymbolsBuilder, TenantId};

struct Sample {
    tenant: TenantId,
    reference: ChunkRef,
    object: Vec<u8>,
}

fn sample(codec: Codec, layout: Layout) -> Sample {
    let mut symbols = SymbolsBuilder::default();
    let blocks: Vec<SealedBlock> = (0..3)
        .map(|b| {
            let mut block = BlockBuilder::new(layout);
            for i in 0..5 {
                block.push(
                    b * 1000 + i,
                    format!("line {i} of block {b}").as_bytes(),
                    [("level", "info")].into_iter(),
                    &mut symbols,
                );
            }
            seal(codec, &block)
        })
        .collect();
    let (reference, object) = chunk(codec, layout, &blocks, &symbols);
    Sample { tenant: tenant(), reference, object }
}

type Lines = Vec<(i64, Vec<u8>, Vec<(String, String)>)>;

/// Every entry, or `None` when anything does not read.
fn read(object: &[u8]) -> Option<Lines> {
    let chunk = Chunk::decode(object.to_vec().into()).ok()?;
    let mut lines = vec![];
    for i in 0..chunk.blocks().len() {
        let block = chunk.block(i).ok()?;
        let mut entries = block.entries();
        while let Some(e) = entries.try_next().ok()? {
            let metadata = e.metadata.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
            lines.push((e.ts_ns, e.line.to_vec(), metadata));
        }
    }
    Some(lines)
}

#[test]
fn every_truncation_is_an_error() {
    for codec in Codec::ALL {
        let s = sample(codec, Layout::Metadata);
        assert_eq!(read(&s.object).unwrap().len(), 15);
        for cut in 0..s.object.len() {
            assert!(read(&s.object[..cut]).is_none(), "{codec:?} cut at {cut}");
        }
    }
}

#[test]
fn flipped_bits_are_errors_or_change_nothing_that_is_read() {
    for (codec, layout) in
        [(Codec::None, Layout::Metadata), (Codec::Zstd, Layout::Metadata), (Codec::Snappy, Layout::Plain)]
    {
        let s = sample(codec, layout);
        let good = read(&s.object).unwrap();
        let mut seed = 42u64;
        for _ in 0..10_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (byte, bit) = ((seed >> 20) as usize % s.object.len(), (seed >> 60) as u8 & 7);
            let mut bad = s.object.clone();
            bad[byte] ^= 1 << bit;
            assert!(
                Chunk::open(bad.clone().into(), &s.tenant, &s.reference).is_err(),
                "byte {byte} bit {bit}: the checksum of the whole"
            );
            // Without a reference, the inner checksums still guard every line; codec and version bytes have none.
            if let Some(lines) = read(&bad) {
                assert!(lines.len() <= good.len() && lines.iter().all(|l| good.contains(l)), "byte {byte} bit {bit}");
            }
        }
    }
}

#[test]
fn every_field_of_the_reference_must_agree() {
    let s = sample(Codec::Snappy, Layout::Metadata);
    let other = TenantId::parse("t2").unwrap();
    let open = |tenant: &TenantId, reference: ChunkRef| Chunk::open(s.object.clone().into(), tenant, &reference);
    assert!(open(&s.tenant, s.reference).is_ok());
    assert!(open(&other, s.reference).is_err());
    for wrong in [
        ChunkRef { checksum: s.reference.checksum ^ 1, ..s.reference },
        ChunkRef { from_ms: s.reference.from_ms + 1, ..s.reference },
        ChunkRef { through_ms: s.reference.through_ms + 1, ..s.reference },
        ChunkRef { fingerprint: model::Fingerprint(1), ..s.reference },
    ] {
        assert!(open(&s.tenant, wrong).is_err(), "{wrong:?}");
    }
}

/// The sample's object with other data behind its header.
fn with_data(data: &[u8]) -> Vec<u8> {
    let s = sample(Codec::None, Layout::Metadata);
    let header = u32::from_be_bytes(s.object[..4].try_into().unwrap()) as usize;
    let mut object = s.object[..header].to_vec();
    object.extend_from_slice(&(data.len() as u32).to_be_bytes());
    object.extend_from_slice(data);
    object
}

fn put_crc(data: &mut Vec<u8>, start: usize) {
    let crc = crc32c(&data[start..]);
    data.extend_from_slice(&crc.to_be_bytes());
}

/// Data of version 1, 2 or 3 with one block whose table entry states `offset` and `len`.
fn plain_data(version: u8, payload: &[u8], offset: Option<u64>, len: u64) -> Vec<u8> {
    let mut data = vec![1, 0x2e, 0xe5, 0x6a, version];
    if version > 1 {
        data.push(Codec::Gzip.byte());
    }
    let at = data.len();
    data.extend_from_slice(payload);
    put_crc(&mut data, at);
    let metas = data.len();
    put_uvarint(&mut data, 1);
    put_uvarint(&mut data, 2);
    put_varint(&mut data, 1);
    put_varint(&mut data, 2);
    put_uvarint(&mut data, offset.unwrap_or(at as u64));
    if version >= 3 {
        put_uvarint(&mut data, u64::MAX);
    }
    put_uvarint(&mut data, len);
    put_crc(&mut data, metas);
    data.extend_from_slice(&(metas as u64).to_be_bytes());
    data
}

#[test]
fn old_versions_and_old_writers_are_read() {
    let raw = b"\x02\x03one\x04\x03two";
    let payload = Codec::Gzip.compress(raw);
    let expected: Lines = vec![(1, b"one".to_vec(), vec![]), (2, b"two".to_vec(), vec![])];
    for version in [1, 2, 3] {
        let len = payload.len() as u64;
        let object = with_data(&plain_data(version, &payload, None, len));
        assert_eq!(read(&object).as_ref(), Some(&expected), "version {version}");
        let wrong_offset = with_data(&plain_data(version, &payload, Some(1 << 40), len));
        assert_eq!(
            read(&wrong_offset).as_ref(),
            Some(&expected),
            "version {version}: the block is found where it must be"
        );
        let mut legacy = object.clone();
        let header = u32::from_be_bytes(legacy[..4].try_into().unwrap());
        legacy[..4].copy_from_slice(&(header - 4).to_be_bytes());
        assert_eq!(read(&legacy).as_ref(), Some(&expected), "version {version}: a header length without its own bytes");
        for bad in [0, len - 1, len + 1, u64::MAX] {
            assert_eq!(
                read(&with_data(&plain_data(version, &payload, None, bad))),
                None,
                "version {version}: length {bad}"
            );
        }
    }
    for version in [0, 5, 255] {
        assert_eq!(
            read(&with_data(&plain_data(version, &payload, None, payload.len() as u64))),
            None,
            "version {version}"
        );
    }
}

#[test]
fn an_unreadable_block_is_named_and_the_others_are_given() {
    let s = sample(Codec::None, Layout::Metadata);
    let mut bad = s.object.clone();
    let at = bad.windows(15).position(|w| w == b"line 0 of block".as_slice()).unwrap();
    bad[at] ^= 1;
    let chunk = Chunk::decode(bad.into()).unwrap();
    assert_eq!(chunk.block(0).unwrap_err().message, "the checksum of block 0 differs");
    for block in [1, 2] {
        let raw = chunk.block(block).unwrap();
        let mut entries = raw.entries();
        let times: Vec<i64> = std::iter::from_fn(|| entries.try_next().unwrap()).map(|e| e.ts_ns).collect();
        assert_eq!(times, (0..5).map(|i| block as i64 * 1000 + i).collect::<Vec<_>>());
    }
}

#[test]
fn a_bomb_is_stopped_at_the_limit() {
    let bomb = Codec::Gzip.compress(&vec![0u8; format::chunk::BLOCK_RAW_BYTES_MAX + 1]);
    let chunk = Chunk::decode(with_data(&plain_data(3, &bomb, None, bomb.len() as u64)).into()).unwrap();
    let e = chunk.block(0).unwrap_err();
    assert!(e.message.contains("exceeds"), "{e}");
}

/// Data of version 4 with junk where symbols and table are, under checksums that agree.
fn junk_data(codec: Codec, symbols: &[u8], table: &[u8]) -> Vec<u8> {
    let mut data = vec![1, 0x2e, 0xe5, 0x6a, 4, codec.byte()];
    data.extend_from_slice(symbols);
    put_crc(&mut data, 6);
    let at = data.len();
    data.extend_from_slice(table);
    put_crc(&mut data, at);
    for number in [symbols.len(), 6, table.len(), at] {
        data.extend_from_slice(&(number as u64).to_be_bytes());
    }
    data
}

#[test]
fn junk_under_checksums_that_agree_never_panics() {
    let mut seed = 99u64;
    let mut random = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed >> 33
    };
    let (mut opened, mut refused) = (0, 0);
    for round in 0..20_000u64 {
        let codec = Codec::ALL[random() as usize % Codec::ALL.len()];
        // Small numbers are what counts and offsets look like; large ones overflow.
        let mut bytes = |len: u64| -> Vec<u8> {
            let small = random() % 2 == 0;
            (0..random() % len).map(|_| if small { random() as u8 & 7 } else { random() as u8 }).collect()
        };
        let (mut symbols, mut table) = (bytes(40), bytes(60));
        if round % 2 == 0 {
            symbols = vec![0];
            table.insert(0, (table.len() / 6) as u8);
        }
        match Chunk::decode(with_data(&junk_data(codec, &symbols, &table)).into()) {
            Err(_) => refused += 1,
            Ok(chunk) => {
                opened += 1;
                for i in 0..chunk.blocks().len() {
                    assert!(chunk.block(i).is_err() || chunk.blocks()[i].len == 0, "no block lies where junk says");
                }
            }
        }
    }
    assert!(opened > 500 && refused > 500, "both ways are taken: {opened} opened, {refused} refused");
}
