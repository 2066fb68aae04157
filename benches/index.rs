//! What an index file of 50,000 streams costs to build, to open and to ask.

use criterion::{Criterion, criterion_group, criterion_main};
use format::ChunkRef;
use format::schema::TsdbVersion;
use format::tsdb::{Index, IndexBuilder};
use model::{Labels, MatchOp, Matcher};
use std::hint::black_box;

const SERIES: u32 = 50_000;
const CHUNKS: u32 = 8;

fn series(i: u32) -> (Labels, Vec<ChunkRef>) {
    let labels = Labels::new([
        ("app", format!("app-{}", i % 500)),
        ("cluster", "eu-west-1".to_string()),
        ("env", ["prod", "staging", "dev"][i as usize % 3].to_string()),
        ("namespace", format!("namespace-{}", i % 50)),
        ("pod", format!("app-{}-7c9f6d5b8-{i:05}", i % 500)),
    ]);
    let fingerprint = labels.fingerprint();
    let chunk = |n: u32| {
        let from_ms = i64::from(n * 7_200_000 + i);
        ChunkRef {
            fingerprint,
            from_ms,
            through_ms: from_ms + 7_000_000,
            checksum: i * CHUNKS + n,
            kb: 1500,
            entries: 9000,
        }
    };
    (labels, (0..CHUNKS).map(chunk).collect())
}

fn index(c: &mut Criterion) {
    let all: Vec<_> = (0..SERIES).map(series).collect();
    let build = || {
        let mut builder = IndexBuilder::new(TsdbVersion::V3);
        for (labels, chunks) in &all {
            builder.add(labels.clone(), chunks[0].fingerprint, chunks.iter().copied());
        }
        builder.build().expect("a valid index")
    };
    let bytes = build();
    let opened = Index::open(bytes.as_slice()).expect("a valid index");
    let mut group = c.benchmark_group("index of 50,000 streams");
    group.sample_size(10);
    group.bench_function("build", |b| b.iter(|| black_box(build().len())));
    group.bench_function("open", |b| {
        b.iter(|| Index::open(black_box(bytes.as_slice())).expect("a valid index").heap_bytes())
    });
    for (name, matchers) in [
        ("one pod", vec![Matcher::equal("pod", "app-7-7c9f6d5b8-00007")]),
        ("one app of one environment", vec![Matcher::equal("app", "app-7"), Matcher::equal("env", "prod")]),
        ("a namespace by pattern", vec![Matcher::new("namespace", MatchOp::Re, "namespace-1.*").expect("a pattern")]),
        ("a pod by pattern", vec![Matcher::new("pod", MatchOp::Re, "app-7-.*").expect("a pattern")]),
        ("everything", vec![]),
    ] {
        group.bench_function(format!("series: {name}"), |b| {
            b.iter(|| {
                let mut chunks = 0;
                let count = |s: format::tsdb::SeriesView<'_>| {
                    chunks += s.chunks.len();
                    Ok(())
                };
                opened.for_each_series(&matchers, 0, 14_400_000, None, count).expect("an answer");
                chunks
            })
        });
        group.bench_function(format!("values of namespace: {name}"), |b| {
            b.iter(|| opened.label_values("namespace", &matchers).expect("an answer").len())
        });
    }
    group.finish();
}

criterion_group!(benches, index);
criterion_main!(benches);
