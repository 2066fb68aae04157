//! Chunks written by Loki 3.7.6 hold what was pushed, and what we write again equals what Loki wrote.

use format::chunk::{Chunk, ChunkParts, SealedBlock, encode, seal};
use format::key::{filesystem_name, key_of_filesystem_name, parse_key};
use format::schema::SchemaVersion;
use format::{ChunkRef, Codec};
use model::{BlockBuilder, Labels, Layout, SymbolsBuilder, TenantId};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden");
const BUCKETS: [&str; 5] = ["uncompacted", "compacted", "after-deletes", "encodings", "schemas"];
/// Loki's delete rewrite damaged the metadata of this chunk's last entry.
const DAMAGED: &str = "acme/16a4dee85bd8f561/19553c711b0:19553cd14c0:45f555fc";

struct Stored {
    key: String,
    tenant: TenantId,
    reference: ChunkRef,
    object: Vec<u8>,
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

fn chunks(bucket: &str) -> Vec<Stored> {
    let root = Path::new(GOLDEN).join(bucket);
    let mut found = vec![];
    files(&root, &mut found);
    let mut stored = vec![];
    for path in found {
        let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_string();
        if name.starts_with("index/") {
            continue;
        }
        let key = key_of_filesystem_name(&name).unwrap();
        assert_eq!(filesystem_name(&key), name);
        let (tenant, reference) = parse_key(&key).unwrap();
        let schema = if key.matches('/').count() == 2 { SchemaVersion::V13 } else { SchemaVersion::V11 };
        assert_eq!(reference.key(&tenant, schema), key);
        stored.push(Stored { key, tenant, reference, object: std::fs::read(&path).unwrap() });
    }
    assert!(!stored.is_empty(), "{bucket}");
    stored
}

fn open(stored: &Stored) -> Chunk {
    Chunk::open(stored.object.clone().into(), &stored.tenant, &stored.reference)
        .unwrap_or_else(|e| panic!("{}: {e}", stored.key))
}

/// Time, line, sorted metadata.
type Entry = (i64, String, BTreeMap<String, String>);
type Streams = BTreeMap<(String, String), BTreeSet<Entry>>;

fn stored_streams(bucket: &str) -> Streams {
    let mut streams = Streams::new();
    for stored in chunks(bucket) {
        let chunk = open(&stored);
        assert_eq!(chunk.labels.fingerprint(), chunk.fingerprint, "{}", stored.key);
        let stream = streams.entry((chunk.tenant.clone(), chunk.labels.to_string())).or_default();
        let mut newest = i64::MIN;
        for (i, meta) in chunk.blocks().iter().enumerate() {
            let block = chunk.block(i).unwrap();
            let mut entries = block.entries();
            let mut count = 0;
            while let Some(e) = entries.try_next().unwrap() {
                assert!(newest <= e.ts_ns && meta.min_ts_ns <= e.ts_ns && e.ts_ns <= meta.max_ts_ns, "{}", stored.key);
                newest = e.ts_ns;
                count += 1;
                let metadata = e.metadata.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
                stream.insert((e.ts_ns, String::from_utf8(e.line.to_vec()).unwrap(), metadata));
            }
            assert_eq!(count, meta.entries, "{}", stored.key);
        }
    }
    streams
}

/// What the pushes become at ingest. `globex` has service names and levels discovered.
fn pushed_streams(file: &str) -> Streams {
    let text = std::fs::read_to_string(Path::new(GOLDEN).join(file)).unwrap();
    let pushes: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let mut streams = Streams::new();
    for push in &pushes {
        let tenant = push["tenant"].as_str().unwrap();
        let mut labels: BTreeMap<String, String> = serde_json::from_value(push["stream"].clone()).unwrap();
        if tenant == "globex" {
            let name = labels.get("service").or(labels.get("app")).unwrap().clone();
            labels.insert("service_name".into(), name);
        }
        // Streams that began under schema v11 or v12 have chunks of version 3, which drop metadata.
        let plain =
            matches!(labels.get("a").map(String::as_str), Some("v11" | "v12" | "late" | "cross11_12" | "cross12_13"));
        let stream = streams.entry((tenant.to_string(), Labels::new(labels).to_string())).or_default();
        for value in push["values"].as_array().unwrap() {
            let line = value[1].as_str().unwrap().to_string();
            let metadata = value.get(2).filter(|_| !plain).and_then(|m| m.as_object());
            let metadata =
                metadata.into_iter().flatten().map(|(n, v)| (normalised(n), v.as_str().unwrap().to_string()));
            stream.insert((
                value[0].as_str().unwrap().parse().unwrap(),
                line,
                metadata.filter(|(_, v)| !v.is_empty()).collect(),
            ));
        }
    }
    streams
}

fn normalised(name: &str) -> String {
    name.replace(['.', '-'], "_")
}

#[test]
fn every_golden_chunk_holds_what_was_pushed() {
    for (bucket, file) in [
        ("uncompacted", "pushed.json"),
        ("compacted", "pushed.json"),
        ("encodings", "pushed-encodings.json"),
        ("schemas", "pushed-schemas.json"),
    ] {
        let mut stored = stored_streams(bucket);
        for ((tenant, labels), entries) in &mut stored {
            if tenant == "globex" {
                let found = std::mem::take(entries).into_iter().map(|(ts, line, mut metadata)| {
                    assert!(metadata.remove("detected_level").is_some(), "{labels} {line}");
                    (ts, line, metadata)
                });
                *entries = found.collect();
            }
        }
        let pushed = pushed_streams(file);
        assert_eq!(stored.keys().collect::<Vec<_>>(), pushed.keys().collect::<Vec<_>>(), "{bucket}");
        for (stream, entries) in &pushed {
            let found = &stored[stream];
            let missing: Vec<_> = entries.difference(found).collect();
            let extra: Vec<_> = found.difference(entries).collect();
            assert!(
                missing.is_empty() && extra.is_empty(),
                "{bucket} {stream:?}\nmissing {missing:#?}\nextra {extra:#?}"
            );
        }
    }
}

/// The blocks of `chunk`, walked and built again.
fn rebuilt(chunk: &Chunk, stored: &Stored) -> (Vec<SealedBlock>, SymbolsBuilder) {
    let mut symbols = SymbolsBuilder::default();
    for symbol in chunk.symbols.iter() {
        symbols.intern(symbol);
    }
    let mut blocks = vec![];
    for (i, meta) in chunk.blocks().iter().enumerate() {
        let raw = chunk.block(i).unwrap();
        let mut builder = BlockBuilder::new(chunk.layout());
        let mut entries = raw.entries();
        while let Some(e) = entries.try_next().unwrap() {
            builder.push(e.ts_ns, e.line, e.metadata.iter(), &mut symbols);
        }
        assert!(builder.data() == &raw.data[..], "{} block {i}", stored.key);
        assert_eq!((builder.size_bytes, builder.entries), (meta.size_bytes, meta.entries), "{} block {i}", stored.key);
        blocks.push(seal(chunk.codec, &builder));
    }
    assert_eq!(symbols.symbols(), &*chunk.symbols, "{}", stored.key);
    (blocks, symbols)
}

#[test]
fn chunks_written_again_equal_loki_s() {
    let (mut whole, mut headers) = (0, 0);
    for stored in BUCKETS.into_iter().flat_map(chunks).filter(|s| s.key != DAMAGED) {
        let chunk = open(&stored);
        let (blocks, symbols) = rebuilt(&chunk, &stored);
        let (tenant, labels, fingerprint) = (&stored.tenant, &chunk.labels, chunk.fingerprint);
        let (codec, layout) = (chunk.codec, chunk.layout());
        let parts =
            ChunkParts { tenant, labels, fingerprint, codec, layout, symbols: symbols.symbols(), blocks: &blocks };
        let (reference, object) = encode(&parts).unwrap();
        let header = u32::from_be_bytes(object[..4].try_into().unwrap()) as usize;
        assert!(object[..header] == stored.object[..header], "{}", stored.key);
        headers += 1;
        if codec == Codec::None {
            assert!(object == stored.object, "{}", stored.key);
            assert_eq!(ChunkRef { kb: 0, entries: 0, ..reference }, stored.reference);
            whole += 1;
        }
        let again = Chunk::open(object, &stored.tenant, &reference).unwrap();
        assert_eq!(again.blocks().iter().map(|b| b.entries).sum::<u64>(), u64::from(reference.entries));
        assert_eq!((&again.labels, &again.symbols), (&chunk.labels, &chunk.symbols));
        rebuilt(&again, &stored);
    }
    assert!(whole >= 2 && headers >= 60, "{whole} whole objects and {headers} headers compared");
}

#[test]
fn metadata_that_loki_s_delete_damaged_reads_without_it() {
    let all = chunks("after-deletes");
    let chunk = open(all.iter().find(|s| s.key == DAMAGED).unwrap());
    let last = chunk.block(chunk.blocks().len() - 1).unwrap();
    let mut entries = last.entries();
    let mut pairs = vec![];
    while let Some(e) = entries.try_next().unwrap() {
        pairs = e.metadata.iter().map(|(n, v)| format!("{n}={v}")).collect();
    }
    assert_eq!(pairs, [""; 0], "the pair ('', '') is left out");
}

#[test]
fn every_codec_and_chunk_version_is_among_the_golden_chunks() {
    let kinds: BTreeSet<(u8, u8)> =
        BUCKETS.into_iter().flat_map(chunks).map(|s| open(&s)).map(|c| (c.version, c.codec.byte())).collect();
    for codec in Codec::ALL {
        assert!(kinds.contains(&(4, codec.byte())), "{codec:?}");
    }
    assert!(kinds.iter().any(|(version, _)| *version == 3));
}

/// The one-line chunk that the storage format annotates byte by byte.
#[test]
fn the_annotated_chunk_is_written_byte_for_byte() {
    let mut symbols = SymbolsBuilder::default();
    let mut block = BlockBuilder::new(Layout::Metadata);
    block.push(1_740_000_000_000_000_005, b"one line", std::iter::empty(), &mut symbols);
    let (tenant, labels) = (TenantId::parse("t1").unwrap(), Labels::new([("enc", "none"), ("small", "1")]));
    let parts = ChunkParts {
        tenant: &tenant,
        labels: &labels,
        fingerprint: labels.fingerprint(),
        codec: Codec::None,
        layout: Layout::Metadata,
        symbols: symbols.symbols(),
        blocks: &[seal(Codec::None, &block)],
    };
    let (reference, object) = encode(&parts).unwrap();
    assert_eq!(reference.key(&tenant, SchemaVersion::V13), "t1/ffc6003b987cad8f/1952014f800:1952014f801:6cc3e0cb");
    let name = "encodings/t1/ffc6003b987cad8f/MTk1MjAxNGY4MDA6MTk1MjAxNGY4MDE6NmNjM2UwY2I=";
    assert!(object == std::fs::read(Path::new(GOLDEN).join(name)).unwrap());
    for (at, bytes) in [
        (0x00, &[0u8, 0, 0, 0xb9][..]),
        (0x04, b"\xff\x06\x00\x00sNaPpY\x01\xa7\x00\x00\x15\x58\xe6\xbe{\"fingerprint\":18430418781021711759,"),
        (0xb9, &[0, 0, 0, 0x5e, 1, 0x2e, 0xe5, 0x6a, 4, 0, 0, 0x52, 0x7d, 0x53, 0x51]),
        (0xc8, b"\x8a\x80\xf0\xd2\xfe\xb1\xdc\xa5\x30\x08one line\x01\x00\x6d\xd4\xd5\x7c\x01\x01"),
        (0xf7, &[0x31, 0x81, 0x24, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 6]),
        (0x10b, &[0, 0, 0, 0, 0, 0, 0, 0x17, 0, 0, 0, 0, 0, 0, 0, 0x23]),
    ] {
        assert_eq!(&object[at..at + bytes.len()], bytes, "at {at:#x}");
    }
    assert_eq!(object.len(), 283);
}
