//! Log lines: real ones whose digits are drawn anew, and JSON and logfmt as services write them. It must not know streams.

use flate2::read::GzDecoder;
use std::io::{Read, Write};
use std::path::Path;

/// A word that about one line in a million ends with, for queries of something rare.
pub const NEEDLE: &str = "needle-7f3a9c";
const NEEDLE_ONE_IN: u64 = 1_000_000;

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "DELETE", "PATCH"];
const PATHS: [&str; 8] = [
    "/api/v1/users",
    "/api/v1/orders",
    "/api/v1/cart",
    "/healthz",
    "/api/v1/items/search",
    "/login",
    "/api/v1/payments",
    "/metrics",
];
const MESSAGES: [&str; 8] = [
    "request completed",
    "cache miss",
    "retrying upstream call",
    "connection reset by peer",
    "user session refreshed",
    "slow query detected",
    "payload validated",
    "background job finished",
];
const PLANS: [&str; 3] = ["free", "pro", "team"];
const CALLERS: [&str; 4] = ["engine", "metrics", "distributor", "flush"];

/// SplitMix64: small, fast, and the same everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Small numbers more often than large ones.
    fn skewed(&mut self, end: u64) -> u64 {
        let unit = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        (unit * unit * end as f64) as u64
    }

    fn one_of(&mut self, words: &[&'static str]) -> &'static str {
        words[self.below(words.len() as u64) as usize]
    }

    fn level(&mut self) -> &'static str {
        match self.below(100) {
            0..=9 => "debug",
            10..=84 => "info",
            85..=94 => "warn",
            _ => "error",
        }
    }

    fn put_hex(&mut self, digits: usize, out: &mut Vec<u8>) {
        out.extend((0..digits).map(|_| b"0123456789abcdef"[self.below(16) as usize]));
    }
}

/// Lines of one real program.
pub struct Sample {
    pub name: String,
    lines: Vec<Vec<u8>>,
}

/// Every sample, by name.
pub fn samples() -> Vec<Sample> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benches/load/samples");
    let files = std::fs::read_dir(&dir).expect("the samples are in the repository");
    let mut samples: Vec<Sample> = files.filter_map(|file| sample(&file.expect("a file").path())).collect();
    samples.sort_by(|a, b| a.name.cmp(&b.name));
    samples
}

fn sample(path: &Path) -> Option<Sample> {
    let name = path.file_name()?.to_str()?.strip_suffix(".log.gz")?.to_string();
    let packed = std::fs::read(path).expect("a sample");
    let mut text = Vec::new();
    GzDecoder::new(packed.as_slice()).read_to_end(&mut text).expect("a sample is whole");
    let lines = text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let lines = lines.filter(|line| !line.is_empty() && std::str::from_utf8(line).is_ok());
    Some(Sample { name, lines: lines.map(<[u8]>::to_vec).collect() })
}

/// How the lines of a stream are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Text,
    Json,
    Logfmt,
}

impl Shape {
    pub fn name(self) -> &'static str {
        match self {
            Shape::Text => "text",
            Shape::Json => "json",
            Shape::Logfmt => "logfmt",
        }
    }
}

/// Appends one line to `out`; tells whether it has the needle.
pub fn put_line(shape: Shape, sample: &Sample, random: &mut Random, out: &mut Vec<u8>) -> bool {
    match shape {
        Shape::Text => put_text(sample, random, out),
        Shape::Json => put_json(random, out),
        Shape::Logfmt => put_logfmt(random, out),
    }
    let rare = random.below(NEEDLE_ONE_IN) == 0;
    if rare {
        out.push(b' ');
        out.extend_from_slice(NEEDLE.as_bytes());
    }
    rare
}

/// A real line with most of its digits drawn anew, so that two copies differ as two real lines do.
fn put_text(sample: &Sample, random: &mut Random, out: &mut Vec<u8>) {
    let line = &sample.lines[random.below(sample.lines.len() as u64) as usize];
    let mut coins = random.next();
    for byte in line {
        match byte.is_ascii_digit() && coins & 3 != 0 {
            true => out.push(b'0' + random.below(10) as u8),
            false => out.push(*byte),
        }
        coins = coins.rotate_right(3).wrapping_add(u64::from(*byte));
    }
}

fn put_json(random: &mut Random, out: &mut Vec<u8>) {
    let status = match random.below(100) {
        0..=89 => 200,
        90..=93 => 404,
        94..=96 => 301,
        97..=98 => 500,
        _ => 503,
    };
    put(
        out,
        format_args!(
            r#"{{"level":"{}","msg":"{}","method":"{}","path":"{}/{}","status":{status},"duration_ms":{}.{:03},"bytes":{},"trace_id":""#,
            random.level(),
            random.one_of(&MESSAGES),
            METHODS[random.skewed(5) as usize],
            PATHS[random.skewed(8) as usize],
            random.skewed(5000),
            random.skewed(900),
            random.below(1000),
            random.skewed(100_000),
        ),
    );
    random.put_hex(32, out);
    put(
        out,
        format_args!(
            r#"","user":{{"id":{},"plan":"{}"}},"peer":"10.{}.{}.{}"}}"#,
            random.skewed(20_000),
            random.one_of(&PLANS),
            random.below(16),
            random.below(256),
            random.below(256),
        ),
    );
}

fn put_logfmt(random: &mut Random, out: &mut Vec<u8>) {
    put(
        out,
        format_args!(
            r#"level={} ts=2026-01-01T00:00:{:02}.{:06}Z caller={}.go:{} msg="{}" org_id={} duration={}ms rows={} query_hash="#,
            random.level(),
            random.below(60),
            random.below(1_000_000),
            random.one_of(&CALLERS),
            random.below(900),
            random.one_of(&MESSAGES),
            random.skewed(40),
            random.skewed(3000),
            random.skewed(10_000),
        ),
    );
    random.put_hex(16, out);
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a Vec takes any text");
}
