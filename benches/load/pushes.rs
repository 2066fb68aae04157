//! Streams and their pushes: snappy-compressed protobuf, `logproto.PushRequest`. It must not know who is pushed to.

use super::lines::{Random, Sample, Shape, put_line, samples};
use model::varint::{put_str, put_uvarint};

const NANOS_PER_SECOND: u64 = 1_000_000_000;

#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Bytes of all lines.
    pub bytes: u64,
    pub streams: usize,
    /// Line bytes after which a push is full.
    pub push_bytes: usize,
    /// Lines that a stream has in a push at a time.
    pub lines_at_a_time: usize,
    pub seed: u64,
    /// Log time of the first line.
    pub start_ns: u64,
    /// Log time that the lines are spread over.
    pub span_ns: u64,
}

impl Load {
    /// Half real text, a quarter JSON, a quarter logfmt, of 1,000 streams in 1 MB pushes, over the half hour before
    /// `end_ns`.
    pub fn usual(bytes: u64, end_ns: u64) -> Load {
        let span_ns = 1800 * NANOS_PER_SECOND;
        Load {
            bytes,
            streams: 1000,
            push_bytes: 1_000_000,
            lines_at_a_time: 50,
            seed: 42,
            start_ns: end_ns - span_ns,
            span_ns,
        }
    }

    /// The pushes in order, all of them in memory: making them while they are sent would cost the server its cores.
    pub fn pushes(&self) -> Vec<Push> {
        let mut writer = Writer::new(*self);
        std::iter::from_fn(|| writer.next_push()).collect()
    }
}

/// A request's body and what is in it.
pub struct Push {
    pub body: Vec<u8>,
    pub lines: u64,
    pub line_bytes: u64,
    /// Lines with [`super::lines::NEEDLE`].
    pub needles: u64,
}

struct Stream {
    labels: String,
    shape: Shape,
    sample: usize,
}

struct Writer {
    load: Load,
    samples: Vec<Sample>,
    streams: Vec<Stream>,
    random: Random,
    encoder: snap::raw::Encoder,
    /// Line bytes written so far, and pushes.
    written: u64,
    pushes: u64,
    next_stream: usize,
    line: Vec<u8>,
    entry: Vec<u8>,
}

impl Writer {
    fn new(load: Load) -> Self {
        let samples = samples();
        Writer {
            streams: (0..load.streams).map(|i| stream(i, &samples)).collect(),
            samples,
            random: Random(load.seed),
            encoder: snap::raw::Encoder::new(),
            load,
            written: 0,
            pushes: 0,
            next_stream: 0,
            line: Vec::new(),
            entry: Vec::new(),
        }
    }

    fn next_push(&mut self) -> Option<Push> {
        if self.written >= self.load.bytes {
            return None;
        }
        let done = self.written as f64 / self.load.bytes as f64;
        // Pushes of one moment differ by a microsecond, as those of several agents do.
        let at_ns = self.load.start_ns + (done * self.load.span_ns as f64) as u64 + self.pushes % 1000 * 1000;
        let mut push = Push { body: Vec::new(), lines: 0, line_bytes: 0, needles: 0 };
        let (mut request, mut message) = (Vec::new(), Vec::new());
        while push.line_bytes < self.load.push_bytes as u64 {
            message.clear();
            self.put_stream(at_ns, &mut message, &mut push);
            put_field(&mut request, 1, &message);
        }
        self.written += push.line_bytes;
        self.pushes += 1;
        push.body = self.encoder.compress_vec(&request).expect("a push is no larger than snappy takes");
        Some(push)
    }

    /// The next stream's lines; streams take turns.
    fn put_stream(&mut self, at_ns: u64, message: &mut Vec<u8>, push: &mut Push) {
        let stream = &self.streams[self.next_stream % self.streams.len()];
        self.next_stream += 1;
        put_field(message, 1, stream.labels.as_bytes());
        let lines = self.load.lines_at_a_time as u64;
        for i in 0..lines {
            self.line.clear();
            let sample = &self.samples[stream.sample];
            push.needles += u64::from(put_line(stream.shape, sample, &mut self.random, &mut self.line));
            // The lines of a stream in a push lie within a millisecond.
            put_entry(at_ns + i * 1_000_000 / lines, &self.line, &mut self.entry);
            put_field(message, 2, &self.entry);
            push.lines += 1;
            push.line_bytes += self.line.len() as u64;
        }
    }
}

/// Two streams of four are text, one is JSON, one logfmt.
fn stream(i: usize, samples: &[Sample]) -> Stream {
    let sample = i / 4 % samples.len();
    let (shape, app) = match i % 4 {
        0 | 1 => (Shape::Text, samples[sample].name.clone()),
        2 => (Shape::Json, format!("web-{}", i / 4 % 12)),
        _ => (Shape::Logfmt, format!("ctl-{}", i / 4 % 8)),
    };
    let pod = (i as u64).wrapping_mul(2_654_435_761) & 0xf_ffff;
    let labels = format!(
        r#"{{app="{app}", cluster="c{}", format="{}", namespace="ns-{}", pod="{app}-{pod:05x}-{i}"}}"#,
        i % 3,
        shape.name(),
        i % 17,
    );
    Stream { labels, shape, sample }
}

fn put_entry(ts_ns: u64, line: &[u8], entry: &mut Vec<u8>) {
    let mut timestamp = Vec::with_capacity(16);
    for (number, value) in [(1, ts_ns / NANOS_PER_SECOND), (2, ts_ns % NANOS_PER_SECOND)] {
        put_uvarint(&mut timestamp, number << 3);
        put_uvarint(&mut timestamp, value);
    }
    entry.clear();
    put_field(entry, 1, &timestamp);
    put_field(entry, 2, line);
}

fn put_field(out: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    put_uvarint(out, number << 3 | 2);
    put_str(out, bytes);
}
