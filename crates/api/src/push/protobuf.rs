//! `logproto.PushRequest`: `streams = 1 {labels = 1, entries = 2 {timestamp = 1 {seconds = 1, nanos = 2}, line = 2,
//! structuredMetadata = 3 {name = 1, value = 2}}, hash = 3}`. Source: Loki's `pkg/push/push.proto`.

use super::wire::Fields;
use bytes::Bytes;
use model::{Error, Result};
use rpc::pusher::{Format, Pairs, PushRequest, Sink};

const NANOS_PER_SECOND: i64 = 1_000_000_000;
/// The first second of year 1 and of year 10000: what a protobuf timestamp may hold.
const SECONDS_MIN: i64 = -62_135_596_800;
const SECONDS_END: i64 = 253_402_300_800;

/// A decompressed request.
pub struct ProtobufPush(pub Bytes);

impl PushRequest for ProtobufPush {
    fn walk(&self, sink: &mut dyn Sink) -> Result<()> {
        let mut metadata = Pairs::new();
        let mut request = Fields::new(&self.0);
        while let Some((number, value)) = request.try_next()? {
            if number == 1 {
                stream(value.bytes()?, sink, &mut metadata)?;
            }
        }
        Ok(())
    }

    fn format(&self) -> Format {
        Format::Loki
    }
}

/// Labels may stand after the entries, so they are looked for first; skipping over entries is cheap.
fn stream<'a>(message: &'a [u8], sink: &mut dyn Sink, metadata: &mut Pairs<'a>) -> Result<()> {
    let mut labels: &[u8] = b"";
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.try_next()? {
        if number == 1 {
            labels = value.bytes()?;
        }
    }
    sink.stream(labels)?;
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.try_next()? {
        if number == 2 {
            entry(value.bytes()?, sink, metadata)?;
        }
    }
    sink.end_stream();
    Ok(())
}

fn entry<'a>(message: &'a [u8], sink: &mut dyn Sink, metadata: &mut Pairs<'a>) -> Result<()> {
    metadata.clear();
    let mut ts_ns = 0;
    let mut line: &[u8] = b"";
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.try_next()? {
        match number {
            1 => ts_ns = timestamp_ns(value.bytes()?)?,
            2 => line = value.bytes()?,
            3 => metadata.push(pair(value.bytes()?)?),
            _ => {}
        }
    }
    sink.entry(ts_ns, line, metadata)
}

fn pair(message: &[u8]) -> Result<(std::borrow::Cow<'_, str>, std::borrow::Cow<'_, str>)> {
    let (mut name, mut value): (&[u8], &[u8]) = (b"", b"");
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.try_next()? {
        match number {
            1 => name = field.bytes()?,
            2 => value = field.bytes()?,
            _ => {}
        }
    }
    Ok((String::from_utf8_lossy(name), String::from_utf8_lossy(value)))
}

/// Nanoseconds since the epoch; times beyond what 64 bits hold become the nearest that they do.
fn timestamp_ns(message: &[u8]) -> Result<i64> {
    let (mut seconds, mut nanos) = (0i64, 0i32);
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.try_next()? {
        match number {
            1 => seconds = value.varint()? as i64,
            2 => nanos = value.varint()? as i32,
            _ => {}
        }
    }
    let fail = |what: &str| {
        let timestamp = format!("timestamp: &types.Timestamp{{Seconds: {seconds},\nNanos: {nanos},\n}}");
        Err(Error::invalid(format!("{timestamp}{what}")))
    };
    match (seconds, nanos) {
        (..SECONDS_MIN, _) => fail(" before 0001-01-01"),
        (SECONDS_END.., _) => fail(" after 10000-01-01"),
        (_, 0..1_000_000_000) => Ok(seconds.saturating_mul(NANOS_PER_SECOND).saturating_add(i64::from(nanos))),
        _ => fail(": nanos not in range [0, 1e9)"),
    }
}
