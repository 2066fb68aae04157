//! The JSON push, in Loki's shape `{"streams":[{"stream":{..},"values":[["<ns>","line",{..}?]]}]}` and in the older one
//! `{"streams":[{"labels":"{..}","entries":[{"ts":"<RFC 3339>","line":".."}]}]}`; a request may mix them. Accepted and
//! refused is what Loki accepts and refuses, with its decoders' words.

use super::json_reader::{JsonReader, MALFORMED, NO_ARRAY, NO_NUMBER, NO_OBJECT, Read, UNKNOWN_TYPE};
use bytes::Bytes;
use model::quote::quote_into;
use model::{Error, Result, label_text};
use rpc::pusher::{Format, Pairs, PushRequest, Sink};
use std::borrow::Cow;

/// Digits of a timestamp in nanoseconds; more do not fit 64 bits.
const TIMESTAMP_DIGITS_MAX: usize = 19;

/// A decompressed request.
pub struct JsonPush(pub Bytes);

/// Whether a body may be JSON, by its first byte.
pub fn begins(body: &[u8]) -> bool {
    matches!(body.trim_ascii_start().first(), Some(b'{' | b'n' | b'['))
}

impl PushRequest for JsonPush {
    /// What follows the first document is ignored, as in Loki.
    fn walk(&self, sink: &mut dyn Sink) -> Result<()> {
        let mut reader = JsonReader::new(&self.0);
        if reader.null() {
            return Ok(());
        }
        let first = reader.peek();
        if !reader.take(b'{') {
            reader.at = (reader.at + 1).min(self.0.len());
            let found = char::from(first);
            return Err(Error::invalid(reader.error(&format!("readObjectStart: expect {{ or n, but found {found}"))));
        }
        let mut walker = Walker { sink, metadata: Pairs::new(), line: Vec::new(), labels: String::new() };
        let mut is_first = true;
        loop {
            let key = reader.next_key(&mut is_first).map_err(|what| Error::invalid(reader.error(&what)))?;
            match key {
                None => return Ok(()),
                Some(key) if key.eq_ignore_ascii_case(b"streams") => walker.streams(&mut reader)?,
                Some(_) => drop(reader.raw_value().map_err(|what| Error::invalid(reader.error(&what)))?),
            }
        }
    }

    fn format(&self) -> Format {
        Format::Loki
    }
}

struct Walker<'s, 'a> {
    sink: &'s mut dyn Sink,
    metadata: Pairs<'a>,
    line: Vec<u8>,
    labels: String,
}

/// What stopped the walk of a stream: the JSON, or the sink.
enum Stop {
    Json(Cow<'static, str>),
    Sink(Error),
}

impl From<Cow<'static, str>> for Stop {
    fn from(what: Cow<'static, str>) -> Self {
        Stop::Json(what)
    }
}

impl From<&'static str> for Stop {
    fn from(what: &'static str) -> Self {
        Stop::Json(what.into())
    }
}

impl<'a> Walker<'_, 'a> {
    fn streams(&mut self, reader: &mut JsonReader<'a>) -> Result<()> {
        const WHERE: &str = "loghttp.PushRequest.Streams: []loghttp.LogProtoStream: ";
        let first = char::from(reader.peek());
        if reader.null() {
            return Ok(());
        }
        if !reader.take(b'[') {
            reader.at += 1;
            let what = format!("{WHERE}decode slice: expect [ or n, but found {first}");
            return Err(Error::invalid(reader.error(&what)));
        }
        let mut is_first = true;
        loop {
            match reader.next_element(&mut is_first) {
                Ok(false) => return Ok(()),
                Ok(true) => {}
                Err(what) => return Err(Error::invalid(reader.error(&format!("{WHERE}{what}")))),
            }
            let start = reader.clone();
            match self.stream(reader) {
                Ok(()) => {}
                Err(Stop::Sink(error)) => return Err(error),
                Err(Stop::Json(what)) => {
                    // Loki's decoder takes a stream whole before it looks inside, so it complains behind it.
                    let mut end = start;
                    let what = match end.raw_value() {
                        Ok(_) => format!("{WHERE}unmarshalerDecoder: {what}"),
                        Err(cut) => format!("{WHERE}{cut}"),
                    };
                    return Err(Error::invalid(end.error(&what)));
                }
            }
        }
    }

    fn stream(&mut self, reader: &mut JsonReader<'a>) -> Result<(), Stop> {
        if !reader.take(b'{') {
            return Err(NO_OBJECT.into());
        }
        self.labels.clear();
        // Entries that come before the labels wait for them.
        let mut waiting: Vec<(Entries, JsonReader<'a>)> = Vec::new();
        let (mut labelled, mut opened) = (false, false);
        let mut is_first = true;
        while let Some(key) = reader.next_key(&mut is_first)? {
            let entries = match &*key {
                b"stream" | b"labels" if opened => {
                    reader.raw_value()?;
                    continue;
                }
                b"stream" => {
                    self.label_object(reader)?;
                    labelled = true;
                    continue;
                }
                b"labels" => {
                    self.labels = reader.text()?.into_owned();
                    labelled = true;
                    continue;
                }
                b"values" => Entries::Values,
                b"entries" => Entries::Legacy,
                _ => {
                    reader.raw_value()?;
                    continue;
                }
            };
            if labelled {
                self.open(&mut opened)?;
                self.entries(entries, reader)?;
            } else {
                waiting.push((entries, reader.clone()));
                reader.raw_value()?;
            }
        }
        self.open(&mut opened)?;
        for (entries, mut reader) in waiting {
            self.entries(entries, &mut reader)?;
        }
        self.sink.end_stream();
        Ok(())
    }

    fn open(&mut self, opened: &mut bool) -> Result<(), Stop> {
        if !*opened {
            self.sink.stream(self.labels.as_bytes()).map_err(Stop::Sink)?;
        }
        *opened = true;
        Ok(())
    }

    /// Writes the object's labels as text, the form in which streams are known. Values that are no strings count as the
    /// text they are written in; of a repeated key the last value counts.
    fn label_object(&mut self, reader: &mut JsonReader<'a>) -> Result<(), Stop> {
        if !reader.take(b'{') {
            return Err(NO_OBJECT.into());
        }
        let mut labels: Vec<(Cow<'a, str>, Cow<'a, str>)> = Vec::new();
        let mut is_first = true;
        while let Some(key) = reader.next_key(&mut is_first)? {
            let value = match reader.peek() {
                b'"' => reader.text()?,
                _ => String::from_utf8_lossy(reader.raw_value()?),
            };
            if labels.len() == label_text::LABELS_MAX {
                let max = label_text::LABELS_MAX;
                return Err(Stop::Sink(Error::invalid(format!("a stream has more than {max} labels"))));
            }
            labels.push((Cow::Owned(String::from_utf8_lossy(&key).into_owned()), value));
        }
        labels.sort_by(|a, b| a.0.cmp(&b.0));
        self.labels.clear();
        self.labels.push('{');
        for (i, (name, value)) in labels.iter().enumerate() {
            if labels.get(i + 1).is_some_and(|next| next.0 == *name) {
                continue;
            }
            if self.labels.len() > 1 {
                self.labels.push_str(", ");
            }
            self.labels.push_str(name);
            self.labels.push('=');
            quote_into(&mut self.labels, value);
        }
        self.labels.push('}');
        Ok(())
    }

    fn entries(&mut self, shape: Entries, reader: &mut JsonReader<'a>) -> Result<(), Stop> {
        match reader.peek() {
            b'[' => reader.at += 1,
            _ if reader.null() => return Ok(()),
            b'"' => return Err(UNKNOWN_TYPE.into()),
            _ => return Err(NO_ARRAY.into()),
        }
        let mut is_first = true;
        while reader.next_element(&mut is_first)? {
            if reader.null() {
                continue;
            }
            match shape {
                Entries::Values => self.value(reader)?,
                Entries::Legacy => self.legacy_entry(reader)?,
            }
        }
        Ok(())
    }

    /// `["<ns>", "line", {..}]`; a missing line is an empty one, and what follows the metadata is ignored.
    fn value(&mut self, reader: &mut JsonReader<'a>) -> Result<(), Stop> {
        match reader.peek() {
            b'[' => reader.at += 1,
            b'{' => return Err(NO_NUMBER.into()),
            _ => return Err(MALFORMED.into()),
        }
        self.metadata.clear();
        let mut is_first = true;
        if !reader.next_element(&mut is_first)? {
            return Ok(());
        }
        let ts_ns = timestamp(reader)?;
        let mut line: &[u8] = b"";
        if reader.next_element(&mut is_first)? {
            line = reader.string(&mut self.line)?;
            if reader.next_element(&mut is_first)? {
                metadata(reader, &mut self.metadata)?;
                while reader.next_element(&mut is_first)? {
                    reader.raw_value()?;
                }
            }
        }
        self.sink.entry(ts_ns, line, &mut self.metadata).map_err(Stop::Sink)
    }

    fn legacy_entry(&mut self, reader: &mut JsonReader<'a>) -> Result<(), Stop> {
        if !reader.take(b'{') {
            return Err(NO_OBJECT.into());
        }
        self.metadata.clear();
        let mut ts_ns = 0;
        let mut line: Cow<'_, [u8]> = Cow::Borrowed(b"");
        let mut is_first = true;
        while let Some(key) = reader.next_key(&mut is_first)? {
            match &*key {
                b"ts" => ts_ns = rfc3339_ns(&reader.text()?)?,
                b"line" => line = reader.string_owned_if_escaped()?,
                b"structuredMetadata" => metadata(reader, &mut self.metadata)?,
                _ => drop(reader.raw_value()?),
            }
        }
        self.sink.entry(ts_ns, &line, &mut self.metadata).map_err(Stop::Sink)
    }
}

#[derive(Clone, Copy)]
enum Entries {
    Values,
    Legacy,
}

fn timestamp(reader: &mut JsonReader<'_>) -> Read<i64> {
    if reader.peek() != b'"' {
        return Err(NO_NUMBER.into());
    }
    let text = reader.string_owned_if_escaped()?;
    let digits = text.strip_prefix(b"-").unwrap_or(&text);
    if digits.is_empty() || digits.len() > TIMESTAMP_DIGITS_MAX || !digits.iter().all(u8::is_ascii_digit) {
        return Err(NO_NUMBER.into());
    }
    std::str::from_utf8(&text).ok().and_then(|t| t.parse().ok()).ok_or_else(|| NO_NUMBER.into())
}

/// The nearest that 64 bits of nanoseconds hold.
fn rfc3339_ns(text: &str) -> Read<i64> {
    let time: jiff::Timestamp = text.parse().map_err(|e| format!("parsing time {text:?}: {e}"))?;
    let ns = time.as_nanosecond();
    Ok(i64::try_from(ns).unwrap_or(if ns < 0 { i64::MIN } else { i64::MAX }))
}

fn metadata<'a>(reader: &mut JsonReader<'a>, into: &mut Pairs<'a>) -> Read<()> {
    if !reader.take(b'{') {
        return Err(NO_OBJECT.into());
    }
    let mut is_first = true;
    while let Some(name) = reader.next_key(&mut is_first)? {
        let name = match name {
            Cow::Borrowed(name) => String::from_utf8_lossy(name),
            Cow::Owned(name) => Cow::Owned(String::from_utf8_lossy(&name).into_owned()),
        };
        let value = reader.text()?;
        into.push((name, value));
    }
    Ok(())
}
