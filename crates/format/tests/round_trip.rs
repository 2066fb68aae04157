//! Whatever goes into a chunk comes out, for every codec and layout.

use format::Codec;
use format::chunk::{Chunk, ChunkParts, encode, seal};
use format::key::parse_key;
use format::schema::SchemaVersion;
use model::{BlockBuilder, Labels, Layout, SymbolsBuilder, TenantId};
use proptest::prelude::*;

type Entry = (i64, Vec<u8>, Vec<(String, String)>);

fn entry() -> impl Strategy<Value = Entry> {
    let line = prop_oneof![any::<Vec<u8>>(), "[a-z ]{0,2000}".prop_map(String::into_bytes)];
    (0..i64::MAX / 2, line, prop::collection::vec(("[a-z]{1,3}", ".{0,8}"), 0..4))
}

fn labels() -> impl Strategy<Value = Labels> {
    prop::collection::vec(("[a-zA-Z_][a-z]{0,4}", ".{0,12}"), 0..5).prop_map(Labels::new)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn chunks_give_back_what_they_were_given(
        codec in prop::sample::select(Codec::ALL.to_vec()),
        layout in prop_oneof![Just(Layout::Plain), Just(Layout::Metadata)],
        labels in labels(),
        blocks in prop::collection::vec(prop::collection::vec(entry(), 1..20), 1..4),
    ) {
        let tenant = TenantId::parse("team-a").unwrap();
        let mut symbols = SymbolsBuilder::default();
        let sealed: Vec<_> = blocks.iter().map(|entries| {
            let mut block = BlockBuilder::new(layout);
            for (ts, line, metadata) in entries {
                block.push(*ts, line, metadata.iter().map(|(n, v)| (n.as_str(), v.as_str())), &mut symbols);
            }
            seal(codec, &block)
        }).collect();
        let fingerprint = labels.fingerprint();
        let (reference, object) = encode(&ChunkParts {
            tenant: &tenant, labels: &labels, fingerprint, codec, layout, symbols: symbols.symbols(), blocks: &sealed,
        }).unwrap();
        prop_assert_eq!(parse_key(&reference.key(&tenant, SchemaVersion::V13)).unwrap().1.checksum, reference.checksum);

        let chunk = Chunk::open(object, &tenant, &reference).unwrap();
        let kept = labels.iter().filter(|l| l.name != "__name__").map(|l| (l.name.clone(), l.value.clone()));
        prop_assert_eq!(&chunk.labels, &Labels::new(kept));
        prop_assert_eq!((chunk.codec, chunk.layout()), (codec, layout));
        prop_assert_eq!(chunk.entries(), blocks.iter().map(|b| b.len() as u64).sum::<u64>());
        for (i, entries) in blocks.iter().enumerate() {
            let block = chunk.block(i).unwrap();
            let mut walk = block.entries();
            for (ts, line, metadata) in entries {
                let e = walk.try_next().unwrap().unwrap();
                let found: Vec<_> = e.metadata.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
                prop_assert_eq!((e.ts_ns, e.line), (*ts, line.as_slice()));
                let expected = if layout == Layout::Metadata { metadata.clone() } else { vec![] };
                prop_assert_eq!(found, expected);
            }
            prop_assert!(walk.try_next().unwrap().is_none());
        }
    }
}
