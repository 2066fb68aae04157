//! Index files against what Loki wrote, against a scan of every series, and against damage.

use flate2::read::GzDecoder;
use format::ChunkRef;
use format::schema::TsdbVersion;
use format::tsdb::{Index, IndexBuilder, SeriesChunks, TENANT_LABEL};
use model::{Fingerprint, Labels, MatchOp, Matcher};
use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden");
const VERSIONS: [TsdbVersion; 2] = [TsdbVersion::V2, TsdbVersion::V3];

fn gunzip(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
    bytes
}

fn files_below(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, found);
        } else if path.to_str().unwrap().ends_with(".tsdb.gz") {
            found.push(path);
        }
    }
}

fn everything(index: &Index<impl AsRef<[u8]>>) -> Vec<SeriesChunks> {
    index.series(&[], i64::MIN, i64::MAX, None).unwrap()
}

fn rebuilt(version: TsdbVersion, series: &[SeriesChunks]) -> Vec<u8> {
    let mut builder = IndexBuilder::new(version);
    for one in series {
        builder.add(one.labels.clone(), one.fingerprint, one.chunks.clone());
    }
    builder.build().unwrap()
}

#[test]
fn every_file_of_loki_opens_and_is_written_again_byte_for_byte() {
    let mut files = Vec::new();
    files_below(Path::new(GOLDEN), &mut files);
    assert!(files.len() >= 27, "{} golden index files", files.len());
    let mut versions = BTreeSet::new();
    for path in files {
        let bytes = gunzip(&path);
        let index = Index::open(bytes.as_slice()).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let series = everything(&index);
        assert!(!series.is_empty());
        for one in &series {
            let labels =
                one.labels.iter().filter(|l| l.name != TENANT_LABEL).map(|l| (l.name.clone(), l.value.clone()));
            assert_eq!(Labels::new(labels).fingerprint(), one.fingerprint, "{}", path.display());
        }
        versions.insert(index.version());
        assert!(rebuilt(index.version(), &series) == bytes, "{}", path.display());
        // The order in which series and chunks come, and how often, makes no difference.
        let mut shuffled: Vec<SeriesChunks> = series.iter().chain(&series).cloned().collect();
        shuffled.reverse();
        assert!(rebuilt(index.version(), &shuffled) == bytes, "{}", path.display());
    }
    assert_eq!(versions.len(), VERSIONS.len());
}

#[test]
fn a_series_becomes_the_file_that_loki_makes_of_it() {
    let path = Path::new(GOLDEN).join("uncompacted/index/index_20149/1795409560-vm-1795409560161455003.tsdb.gz");
    let labels =
        Labels::parse(r#"{__loki_tenant__="acme", __name__="logs", host="h-01", job="nightly", none=""}"#).unwrap();
    let fingerprint = Fingerprint(0x2504_92da_b81a_843a);
    let (from_ms, through_ms) = (1_740_872_700_000, 1_740_874_440_001);
    let chunk = ChunkRef { fingerprint, from_ms, through_ms, checksum: 0x8a98_ad53, kb: 1, entries: 30 };
    let mut builder = IndexBuilder::new(TsdbVersion::V3);
    builder.add(labels, fingerprint, [chunk]);
    let bytes = builder.build().unwrap();
    assert_eq!(bytes.len(), 471);
    assert_eq!(bytes, gunzip(&path));
    let index = Index::open(bytes).unwrap();
    assert_eq!((index.from_ms(), index.through_ms()), (from_ms, through_ms));
    assert_eq!(index.label_names(&[]).unwrap(), [TENANT_LABEL, "host", "job"]);
    for (from, through, overlaps) in [
        (from_ms, through_ms, true),
        (through_ms, i64::MAX, true),
        (through_ms + 1, i64::MAX, false),
        (0, from_ms, false),
        (0, from_ms + 1, true),
    ] {
        assert_eq!(index.overlaps(from, through), overlaps);
        assert_eq!(index.series(&[], from, through, None).unwrap().len(), usize::from(overlaps), "{from} {through}");
    }
}

#[test]
fn what_cannot_be_indexed_is_refused() {
    let chunk = |from_ms, through_ms| ChunkRef {
        fingerprint: Fingerprint(1),
        from_ms,
        through_ms,
        checksum: 1,
        kb: 0,
        entries: 0,
    };
    for (labels, chunk) in [(Labels::new([("", "x")]), chunk(0, 1)), (Labels::new([("a", "b")]), chunk(1, 0))] {
        let mut builder = IndexBuilder::new(TsdbVersion::V3);
        builder.add(labels, Fingerprint(1), [chunk]);
        assert_eq!(builder.build().unwrap_err().kind, model::Kind::Invalid);
    }
    let empty = Index::open(IndexBuilder::new(TsdbVersion::V3).build().unwrap()).unwrap();
    assert!(!empty.overlaps(i64::MIN, i64::MAX));
    assert!(everything(&empty).is_empty() && empty.label_names(&[]).unwrap().is_empty());
}

/// Numbers that depend on the seed alone.
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % bound
    }
    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len() as u64) as usize]
    }
}

/// Streams with up to `chunks_max` chunks, oldest first, sorted by fingerprint as a file has them.
fn generated(seed: u64, series: u64, chunks_max: u64) -> Vec<SeriesChunks> {
    let mut rng = Rng(seed);
    let mut all = Vec::new();
    for i in 0..series {
        let mut pairs = vec![("pod", format!("pod-{i}")), ("app", format!("app-{}", rng.below(200)))];
        for (name, values) in [("env", 3), ("level", 5), ("zone", 40)] {
            if rng.below(4) > 0 {
                pairs.push((name, format!("{name}-{}", rng.below(values))));
            }
        }
        let labels = Labels::new(pairs);
        let fingerprint = labels.fingerprint();
        let mut from_ms = rng.below(1_000_000) as i64;
        let mut chunks = Vec::new();
        for _ in 0..1 + rng.below(chunks_max) {
            from_ms += rng.below(50_000) as i64;
            let through_ms = from_ms + rng.below(100_000) as i64;
            let (checksum, kb, entries) = (rng.below(1 << 32) as u32, rng.below(2000) as u32, rng.below(90_000) as u32);
            chunks.push(ChunkRef { fingerprint, from_ms, through_ms, checksum, kb, entries });
        }
        chunks.sort_by_key(|c| (c.from_ms, c.through_ms, c.checksum));
        all.push(SeriesChunks { labels, fingerprint, chunks });
    }
    all.sort_by(|a, b| (a.fingerprint, &a.labels).cmp(&(b.fingerprint, &b.labels)));
    all
}

fn random_matcher(rng: &mut Rng) -> Matcher {
    let name = rng.pick(&["app", "env", "level", "zone", "pod", "missing", "__name__"]);
    let op = [MatchOp::Eq, MatchOp::Ne, MatchOp::Re, MatchOp::NotRe][rng.below(4) as usize];
    let value = match (op, rng.below(5)) {
        (_, 0) => String::new(),
        (MatchOp::Eq | MatchOp::Ne, _) => format!("{name}-{}", rng.below(220)),
        (_, 1) => ".+".into(),
        (_, 2) => ".*".into(),
        (_, 3) => format!("{name}-{}|{name}-1|", rng.below(50)),
        _ => format!("{name}-[0-{}].*", rng.below(9)),
    };
    Matcher::new(name, op, value).unwrap()
}

/// What a scan of every series finds.
fn scanned(
    all: &[SeriesChunks],
    matchers: &[Matcher],
    from_ms: i64,
    through_ms: i64,
    shard: Option<(u64, u64)>,
) -> Vec<SeriesChunks> {
    let mut found = Vec::new();
    for one in all.iter().filter(|s| model::matcher::all_match(matchers, &s.labels)) {
        let mut one = one.clone();
        one.chunks.retain(|c| from_ms <= c.through_ms && c.from_ms < through_ms);
        let inside = shard.is_none_or(|(low, high)| (low..=high).contains(&one.fingerprint.0));
        if !one.chunks.is_empty() && inside {
            found.push(one);
        }
    }
    found
}

#[test]
fn queries_find_what_a_scan_of_every_series_finds() {
    for (version, (series, chunks_max)) in
        VERSIONS.into_iter().flat_map(|v| [(5_000, 3), (40, 300)].map(|size| (v, size)))
    {
        let all = generated(7, series, chunks_max);
        let index = Index::open(rebuilt(version, &all)).unwrap();
        let end_ms = index.through_ms();
        let mut rng = Rng(0x9e37_79b9_7f4a_7c15);
        let mut nonempty = 0;
        for round in 0..150 {
            let matchers: Vec<Matcher> = (0..rng.below(4)).map(|_| random_matcher(&mut rng)).collect();
            let from_ms = rng.below(end_ms as u64) as i64;
            let through_ms = from_ms + rng.below(end_ms as u64 / 2) as i64;
            let low = rng.below(u64::MAX);
            let shard = [None, Some((low, u64::MAX)), Some((0, low)), Some((low / 2, low))][round % 4];
            let expected = scanned(&all, &matchers, from_ms, through_ms, shard);
            let found = index.series(&matchers, from_ms, through_ms, shard).unwrap();
            assert!(found == expected, "{matchers:?} {from_ms} {through_ms} {shard:?}");
            nonempty += usize::from(!found.is_empty());

            let matching = || all.iter().filter(|s| model::matcher::all_match(&matchers, &s.labels));
            let names: BTreeSet<&str> = matching().flat_map(|s| &s.labels).map(|l| l.name.as_str()).collect();
            assert!(index.label_names(&matchers).unwrap().into_iter().eq(names), "{matchers:?}");
            for name in ["app", "pod", "zone", "missing"] {
                let values: BTreeSet<&str> = matching().filter_map(|s| s.labels.get(name)).collect();
                assert!(index.label_values(name, &matchers).unwrap().into_iter().eq(values), "{name} {matchers:?}");
            }
        }
        assert!(nonempty > 50, "{nonempty} of 150 queries found anything");
    }
}

/// Everything that a file answers, or the first error.
fn answers(bytes: &[u8]) -> model::Result<(Vec<SeriesChunks>, Vec<String>)> {
    let index = Index::open(bytes)?;
    let mut texts = Vec::new();
    let some = [Matcher::new("env", MatchOp::Ne, "env-1").unwrap()];
    for matchers in [&[][..], &some[..]] {
        for name in index.label_names(matchers)? {
            texts.extend(index.label_values(&name, matchers)?.iter().map(|v| format!("{name}={v}")));
        }
    }
    let mut series = index.series(&[], i64::MIN, i64::MAX, None)?;
    series.extend(index.series(&some, 500_000, 900_000, Some((u64::MAX / 4, u64::MAX / 2)))?);
    Ok((series, texts))
}

#[test]
fn a_cut_file_is_an_error() {
    for version in VERSIONS {
        let bytes = rebuilt(version, &generated(3, 12, 70));
        for length in 0..bytes.len() {
            assert!(Index::open(&bytes[..length]).is_err(), "cut to {length} bytes");
        }
    }
}

#[test]
fn a_flipped_bit_is_an_error_or_changes_nothing() {
    for version in VERSIONS {
        let bytes = rebuilt(version, &generated(5, 12, 70));
        let intact = answers(&bytes).unwrap();
        let mut noticed = 0;
        for at in 0..bytes.len() {
            for bit in [0, 3, 7] {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                match answers(&damaged) {
                    Ok(found) => assert!(found == intact, "bit {bit} of byte {at} changes the answer"),
                    Err(e) => noticed += usize::from(e.kind == model::Kind::Corrupt),
                }
            }
        }
        assert!(noticed > bytes.len(), "{noticed} of {} flips noticed", bytes.len() * 3);
    }
}

#[test]
fn junk_behind_valid_checksums_never_panics() {
    // The checksums are made anew after the damage, so that the parsers meet it.
    let bytes = rebuilt(TsdbVersion::V3, &generated(11, 6, 70));
    let mut rng = Rng(99);
    for _ in 0..20_000 {
        let mut damaged = bytes.clone();
        for _ in 0..1 + rng.below(3) {
            let at = rng.below(damaged.len() as u64) as usize;
            damaged[at] = [0, 1, 0x7f, 0x80, 0xff, rng.below(256) as u8][rng.below(6) as usize];
        }
        seal(&mut damaged);
        let _ = answers(&damaged);
    }
}

/// Corrects every checksum that can still be found.
fn seal(file: &mut [u8]) {
    let toc = file.len() - 76;
    let at = |file: &[u8], field: usize| u64::from_be_bytes(file[toc + field * 8..][..8].try_into().unwrap()) as usize;
    for section in [0, 3, 5, 6].map(|field| at(file, field)) {
        seal_section(file, section);
    }
    let (mut list, lists_end) = (at(file, 4).next_multiple_of(4), at(file, 3));
    while list < lists_end {
        let Some(next) = seal_section(file, list) else { break };
        list = next.next_multiple_of(4);
    }
    let (mut series, series_end) = (at(file, 1).next_multiple_of(16), at(file, 2));
    while series < series_end.min(toc) {
        let mut rest = &file[series..];
        let Some(length) = model::varint::uvarint(&mut rest) else { break };
        let start = file.len() - rest.len();
        let Some(end) = start.checked_add(length as usize).filter(|end| *end + 4 <= toc) else { break };
        let crc = format::crc::crc32c(&file[start..end]);
        file[end..end + 4].copy_from_slice(&crc.to_be_bytes());
        series = (end + 4).next_multiple_of(16);
    }
    let crc = format::crc::crc32c(&file[toc..toc + 72]);
    file[toc + 72..].copy_from_slice(&crc.to_be_bytes());
}

fn seal_section(file: &mut [u8], at: usize) -> Option<usize> {
    let length = u32::from_be_bytes(*file.get(at..)?.first_chunk::<4>()?) as usize;
    let crc = format::crc::crc32c(file.get(at + 4..at + 4 + length)?);
    file.get_mut(at + 4 + length..at + 8 + length)?.copy_from_slice(&crc.to_be_bytes());
    Some(at + 8 + length)
}
