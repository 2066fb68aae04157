//! Throughput of a chunk's life, in bytes of raw block: append lines, seal, decode, search.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use format::Codec;
use format::chunk::{BLOCK_SIZE_BYTES_DEFAULT, Chunk, ChunkParts, encode, seal};
use model::{BlockBuilder, Labels, Layout, SymbolsBuilder, TenantId};
use std::hint::black_box;

const METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];
const PATHS: [&str; 5] = ["/api/v1/orders", "/api/v1/basket", "/healthz", "/static/app.js", "/api/v1/users"];

/// Lines like those of a web service, about 160 bytes each, until a block is full.
fn lines() -> Vec<String> {
    let mut seed = 7u64;
    let mut random = move |n: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % n
    };
    let (mut lines, mut bytes) = (vec![], 0);
    while bytes < BLOCK_SIZE_BYTES_DEFAULT {
        let line = format!(
            "level={} ts=2025-03-01T22:{:02}:{:02}.{:06}Z method={} path={} status={} duration_ms={} bytes={} trace_id={:016x} msg=\"request served\"",
            if random(20) == 0 { "error" } else { "info" },
            random(60),
            random(60),
            random(1_000_000),
            METHODS[random(4) as usize],
            PATHS[random(5) as usize],
            [200, 200, 200, 304, 404, 500][random(6) as usize],
            random(900),
            random(100_000),
            random(u64::MAX >> 33).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        );
        bytes += line.len() as u64;
        lines.push(line);
    }
    lines
}

fn fill(lines: &[String], symbols: &mut SymbolsBuilder) -> BlockBuilder {
    let mut block = BlockBuilder::new(Layout::Metadata);
    for (i, line) in lines.iter().enumerate() {
        let ts_ns = 1_740_866_400_000_000_000 + i as i64 * 1_000_000;
        block.push(ts_ns, line.as_bytes(), [("detected_level", "info")].into_iter(), symbols);
    }
    block
}

fn chunk(codec: Codec, block: &BlockBuilder, symbols: &SymbolsBuilder) -> Chunk {
    let (tenant, labels) = (TenantId::anonymous(), Labels::new([("app", "shop")]));
    let blocks = [seal(codec, block)];
    let ratio = blocks[0].raw_bytes as f64 / blocks[0].payload.len() as f64;
    eprintln!("{}: ratio {ratio:.2}", codec.name());
    let parts = ChunkParts {
        tenant: &tenant,
        labels: &labels,
        fingerprint: labels.fingerprint(),
        codec,
        layout: Layout::Metadata,
        symbols: symbols.symbols(),
        blocks: &blocks,
    };
    let (reference, object) = encode(&parts).expect("a chunk of one block");
    Chunk::open(object, &tenant, &reference).expect("what was just encoded")
}

fn bench(c: &mut Criterion) {
    let lines = lines();
    let mut symbols = SymbolsBuilder::default();
    let block = fill(&lines, &mut symbols);
    let mut group = c.benchmark_group("chunk");
    group.throughput(Throughput::Bytes(block.data().len() as u64));
    group.bench_function("append", |b| b.iter(|| fill(black_box(&lines), &mut SymbolsBuilder::default())));
    for codec in Codec::ALL {
        let chunk = chunk(codec, &block, &symbols);
        group.bench_function(format!("seal/{}", codec.name()), |b| b.iter(|| seal(codec, black_box(&block))));
        group.bench_function(format!("decode/{}", codec.name()), |b| b.iter(|| chunk.block(black_box(0))));
    }
    let raw = chunk(Codec::None, &block, &symbols).block(0).expect("a block of its own");
    let finder = memchr::memmem::Finder::new("status=500 duration_ms=77 ");
    group.bench_function("search", |b| b.iter(|| finder.find_iter(black_box(&raw.data)).count()));
    group.bench_function("walk", |b| {
        b.iter(|| {
            let mut entries = raw.entries();
            let mut bytes = 0;
            while let Ok(Some(e)) = entries.try_next() {
                bytes += e.line.len();
            }
            bytes
        })
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
