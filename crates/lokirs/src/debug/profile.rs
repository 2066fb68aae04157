//! A CPU profile in pprof's format: stacks are sampled for some seconds, then encoded. The kernel has one timer for a process,
//! so a second profile at the same time is refused.

use super::TEXT;
use axum::extract::Query;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use pprof::{Frames, ProfilerGuardBuilder, Symbol};
use prost::Message;
use serde::Deserialize;
use std::collections::HashMap;
use std::io::Write;
use std::time::Duration;

/// Samples in a second: an odd rate does not beat with what runs every hundredth.
const HERTZ: i32 = 99;
const SECONDS_DEFAULT: u64 = 30;
const SECONDS_MAX: u64 = 120;

#[derive(Deserialize)]
pub struct Asked {
    #[serde(default = "seconds_default")]
    seconds: u64,
}

fn seconds_default() -> u64 {
    SECONDS_DEFAULT
}

/// A CPU profile of the next `seconds`, in pprof's format.
pub async fn cpu(Query(asked): Query<Asked>) -> Response {
    let refuse = |status: StatusCode, text: String| (status, TEXT, text).into_response();
    if !(1..=SECONDS_MAX).contains(&asked.seconds) {
        return refuse(StatusCode::BAD_REQUEST, format!("seconds: want 1 to {SECONDS_MAX}\n"));
    }
    match sample(Duration::from_secs(asked.seconds)).await {
        Ok(profile) => ([(header::CONTENT_TYPE, "application/octet-stream")], profile).into_response(),
        Err(fault) => refuse(StatusCode::INTERNAL_SERVER_ERROR, format!("no profile: {fault}\n")),
    }
}

async fn sample(time: Duration) -> Result<Vec<u8>, String> {
    let guard = ProfilerGuardBuilder::default().frequency(HERTZ).build().map_err(|error| error.to_string())?;
    tokio::time::sleep(time).await;
    // Frames become names here, which takes a while.
    let work = move || -> Result<Vec<u8>, String> {
        let report = guard.report().build().map_err(|error| error.to_string())?;
        let mut gzip = GzEncoder::new(vec![], Compression::fast());
        gzip.write_all(&profile(&report.data, time).encode_to_vec()).map_err(|error| error.to_string())?;
        gzip.finish().map_err(|error| error.to_string())
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Profile {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(int64, tag = "10")]
    duration_nanos: i64,
    #[prost(message, optional, tag = "11")]
    period_type: Option<ValueType>,
    #[prost(int64, tag = "12")]
    period: i64,
}

/// Numbers are places in the table of strings.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ValueType {
    #[prost(int64, tag = "1")]
    r#type: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Sample {
    /// Innermost first.
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Line {
    #[prost(uint64, tag = "1")]
    function_id: u64,
    #[prost(int64, tag = "2")]
    line: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
    #[prost(int64, tag = "4")]
    filename: i64,
}

fn profile(stacks: &HashMap<Frames, isize>, time: Duration) -> Profile {
    let mut tables = Tables::default();
    tables.string("");
    let count = ValueType { r#type: tables.string("samples"), unit: tables.string("count") };
    let cpu = ValueType { r#type: tables.string("cpu"), unit: tables.string("nanoseconds") };
    let period = 1_000_000_000 / i64::from(HERTZ);
    let sample = stacks.iter().map(|(stack, count)| {
        let symbols = stack.frames.iter().flatten();
        let location_id = symbols.map(|symbol| tables.location(symbol)).collect();
        Sample { location_id, value: vec![*count as i64, *count as i64 * period] }
    });
    let sample = sample.collect();
    Profile {
        sample_type: vec![count, cpu.clone()],
        sample,
        location: tables.locations,
        function: tables.functions,
        string_table: tables.strings,
        duration_nanos: time.as_nanos() as i64,
        period_type: Some(cpu),
        period,
    }
}

/// What samples refer to, each once.
#[derive(Default)]
struct Tables {
    strings: Vec<String>,
    string_ids: HashMap<String, i64>,
    functions: Vec<Function>,
    locations: Vec<Location>,
    location_ids: HashMap<(String, u32), u64>,
}

impl Tables {
    fn string(&mut self, text: &str) -> i64 {
        if let Some(id) = self.string_ids.get(text) {
            return *id;
        }
        let id = self.strings.len() as i64;
        self.strings.push(text.to_string());
        self.string_ids.insert(text.to_string(), id);
        id
    }

    fn location(&mut self, symbol: &Symbol) -> u64 {
        let (name, line) = (symbol.name(), symbol.lineno());
        if let Some(id) = self.location_ids.get(&(name.clone(), line)) {
            return *id;
        }
        let id = self.locations.len() as u64 + 1;
        let function = Function { id, name: self.string(&name), filename: self.string(&symbol.filename()) };
        self.functions.push(function);
        self.locations.push(Location { id, line: vec![Line { function_id: id, line: i64::from(line) }] });
        self.location_ids.insert((name, line), id);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::GzDecoder;
    use std::io::Read;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_busy_thread_is_seen() {
        let busy = std::thread::spawn(|| {
            let started = std::time::Instant::now();
            let mut sum = 0u64;
            while started.elapsed() < Duration::from_secs(2) {
                sum = std::hint::black_box(sum.wrapping_add(1));
            }
            sum
        });
        let gzip = sample(Duration::from_secs(1)).await.unwrap();
        busy.join().unwrap();
        let mut bytes = vec![];
        GzDecoder::new(gzip.as_slice()).read_to_end(&mut bytes).unwrap();
        let profile = Profile::decode(bytes.as_slice()).unwrap();
        assert_eq!((profile.string_table[0].as_str(), profile.sample_type.len()), ("", 2));
        let samples: i64 = profile.sample.iter().map(|sample| sample.value[0]).sum();
        assert!(samples > 5, "{samples}");
        let known = profile.location.len() as u64;
        assert!(profile.sample.iter().flat_map(|s| &s.location_id).all(|id| (1..=known).contains(id)));
    }
}
