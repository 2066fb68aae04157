//! `logproto.PushRequest`: `streams = 1 {labels = 1, entries = 2 {timestamp = 1 {seconds = 1, nanos = 2}, line = 2,
//! structuredMetadata = 3 {name = 1, value = 2}}, hash = 3}`. Source: Loki's `pkg/push/push.proto`.

use super::wire::Fields;
use bytes::Bytes;
use model::{Error, Result};
use rpc::pusher::{Format, Pairs, PushRequest, Sink};

const NANOS_PER_SECOND: i128 = 1_000_000_000;
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
        (_, 0..1_000_000_000) => {
            let ns = i128::from(seconds) * NANOS_PER_SECOND + i128::from(nanos);
            Ok(ns.clamp(i64::MIN.into(), i64::MAX.into()) as i64)
        }
        _ => fail(": nanos not in range [0, 1e9)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::varint::put_uvarint;

    #[test]
    fn a_time_is_exact_or_the_nearest_that_64_bits_hold() {
        let (last, first) = (i64::MAX / 1_000_000_000, i64::MIN / 1_000_000_000 - 1);
        for (seconds, nanos, expected) in [
            (0, 0, Some(0)),
            (1_768_471_200, 999_999_999, Some(1_768_471_200_999_999_999)),
            (-1, 999_999_999, Some(-1)),
            (-1, 0, Some(-1_000_000_000)),
            (last, 854_775_806, Some(i64::MAX - 1)),
            (last, 854_775_807, Some(i64::MAX)),
            (last, 854_775_808, Some(i64::MAX)),
            (last + 1, 0, Some(i64::MAX)),
            (first, 145_224_193, Some(i64::MIN + 1)),
            (first, 145_224_192, Some(i64::MIN)),
            (first, 145_224_191, Some(i64::MIN)),
            (first - 1, 999_999_999, Some(i64::MIN)),
            (SECONDS_MIN, 999_999_999, Some(i64::MIN)),
            (SECONDS_END - 1, 0, Some(i64::MAX)),
            (SECONDS_MIN - 1, 0, None),
            (SECONDS_END, 0, None),
            (i64::MAX, 0, None),
            (i64::MIN, 0, None),
            (0, 1_000_000_000, None),
            (0, -1, None),
        ] {
            let mut message = vec![1 << 3];
            put_uvarint(&mut message, seconds as u64);
            message.push(2 << 3);
            put_uvarint(&mut message, i64::from(nanos) as u64);
            assert_eq!(timestamp_ns(&message).ok(), expected, "{seconds} s and {nanos} ns");
        }
    }
}
