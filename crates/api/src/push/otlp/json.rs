//! `ExportLogsServiceRequest` in JSON: protobuf's mapping with hexadecimal ids. Keys are taken in camel case and in the
//! case of the `.proto` files; 64-bit numbers as numbers or as text; severities as number or name.

use super::emit::{Emitter, Record, Scope};
use super::value::{Attributes, DEPTH_MAX, NESTED_MAX, Value};
use crate::push::json_reader::{JsonReader, Read};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::{Error, Result};
use std::borrow::Cow;

pub fn walk<'a>(data: &'a [u8], emitter: &mut Emitter<'_, 'a>) -> Result<()> {
    let mut reader = JsonReader::new(data);
    match document(&mut reader, emitter) {
        Ok(()) => Ok(()),
        Err(Stop::Json(what)) => Err(Error::invalid(reader.error(&what))),
        Err(Stop::Emitter(error)) => Err(error),
    }
}

/// What stopped the walk.
enum Stop {
    Json(Cow<'static, str>),
    Emitter(Error),
}

impl From<Cow<'static, str>> for Stop {
    fn from(what: Cow<'static, str>) -> Self {
        Stop::Json(what)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Emitter(error)
    }
}

type Walk = std::result::Result<(), Stop>;

fn document<'a>(reader: &mut JsonReader<'a>, emitter: &mut Emitter<'_, 'a>) -> Walk {
    object(reader, |key, reader| match key {
        b"resourceLogs" | b"resource_logs" => array(reader, |reader| resource_logs(reader, emitter)),
        _ => skip(reader),
    })
}

fn resource_logs<'a>(reader: &mut JsonReader<'a>, emitter: &mut Emitter<'_, 'a>) -> Walk {
    // The resource may stand after its logs.
    let (mut resource, mut logs) = (Attributes::new(), Vec::new());
    object(reader, |key, reader| match key {
        b"resource" => object(reader, |key, reader| match key {
            b"attributes" => {
                resource = attributes(reader, 0, &mut 0)?;
                Ok(())
            }
            _ => skip(reader),
        }),
        b"scopeLogs" | b"scope_logs" => {
            logs.push(reader.clone());
            skip(reader)
        }
        _ => skip(reader),
    })?;
    emitter.resource(resource)?;
    for mut logs in logs {
        array(&mut logs, |reader| scope_logs(reader, emitter)).inspect_err(|_| reader.at = logs.at)?;
    }
    emitter.end_resource();
    Ok(())
}

fn scope_logs<'a>(reader: &mut JsonReader<'a>, emitter: &mut Emitter<'_, 'a>) -> Walk {
    let (mut found, mut records) = (Scope::default(), Vec::new());
    object(reader, |key, reader| match key {
        b"scope" => {
            found = scope(reader)?;
            Ok(())
        }
        b"logRecords" | b"log_records" => {
            records.push(reader.clone());
            skip(reader)
        }
        _ => skip(reader),
    })?;
    emitter.scope(found)?;
    for mut records in records {
        array(&mut records, |reader| Ok(emitter.record(record(reader)?)?)).inspect_err(|_| reader.at = records.at)?;
    }
    Ok(())
}

fn scope<'a>(reader: &mut JsonReader<'a>) -> std::result::Result<Scope<'a>, Stop> {
    let mut scope = Scope::default();
    object(reader, |key, reader| {
        match key {
            b"name" => scope.name = reader.text()?,
            b"version" => scope.version = reader.text()?,
            b"attributes" => scope.attributes = attributes(reader, 0, &mut 0)?,
            b"droppedAttributesCount" | b"dropped_attributes_count" => {
                scope.dropped_attributes_count = number(reader, "ReadUint32")?;
            }
            _ => skip(reader)?,
        }
        Ok(())
    })?;
    Ok(scope)
}

fn record<'a>(reader: &mut JsonReader<'a>) -> std::result::Result<Record<'a>, Stop> {
    let mut record = Record::default();
    object(reader, |key, reader| {
        match key {
            b"timeUnixNano" | b"time_unix_nano" => record.time_unix_nano = number(reader, "ReadUint64")?,
            b"observedTimeUnixNano" | b"observed_time_unix_nano" => {
                record.observed_time_unix_nano = number(reader, "ReadUint64")?;
            }
            b"severityNumber" | b"severity_number" => record.severity_number = severity(reader)?,
            b"severityText" | b"severity_text" => record.severity_text = reader.text()?,
            b"body" => record.body = any_value(reader, 0, &mut 0)?,
            b"attributes" => record.attributes = attributes(reader, 0, &mut 0)?,
            b"droppedAttributesCount" | b"dropped_attributes_count" => {
                record.dropped_attributes_count = number(reader, "ReadUint32")?;
            }
            b"flags" => record.flags = number(reader, "ReadUint32")?,
            b"traceId" | b"trace_id" => record.trace_id = id(reader)?,
            b"spanId" | b"span_id" => record.span_id = id(reader)?,
            _ => skip(reader)?,
        }
        Ok(())
    })?;
    Ok(record)
}

fn attributes<'a>(
    reader: &mut JsonReader<'a>,
    depth: usize,
    count: &mut usize,
) -> std::result::Result<Attributes<'a>, Stop> {
    let mut pairs = Attributes::new();
    array(reader, |reader| {
        let (mut key, mut value) = (Cow::Borrowed(""), Value::Empty);
        *count += 1;
        object(reader, |name, reader| {
            match name {
                b"key" => key = reader.text()?,
                b"value" => value = any_value(reader, depth, count)?,
                _ => skip(reader)?,
            }
            Ok(())
        })?;
        pairs.push((key, value));
        if *count > NESTED_MAX { Err(Cow::Borrowed("too many attributes").into()) } else { Ok(()) }
    })?;
    Ok(pairs)
}

fn any_value<'a>(reader: &mut JsonReader<'a>, depth: usize, count: &mut usize) -> std::result::Result<Value<'a>, Stop> {
    *count += 1;
    if depth > DEPTH_MAX || *count > NESTED_MAX {
        return Err(Cow::Borrowed("a value nests too deep or holds too many values").into());
    }
    let mut result = Value::Empty;
    object(reader, |key, reader| {
        result = match key {
            b"stringValue" | b"string_value" => Value::Text(reader.text()?),
            b"boolValue" | b"bool_value" => Value::Bool(boolean(reader)?),
            b"intValue" | b"int_value" => Value::Int(number(reader, "ReadInt64")?),
            b"doubleValue" | b"double_value" => Value::Double(number(reader, "ReadFloat64")?),
            b"bytesValue" | b"bytes_value" => Value::Bytes(Cow::Owned(base64_bytes(reader)?)),
            b"arrayValue" | b"array_value" => {
                let mut values = Vec::new();
                object(reader, |key, reader| match key {
                    b"values" => array(reader, |reader| {
                        values.push(any_value(reader, depth + 1, count)?);
                        Ok(())
                    }),
                    _ => skip(reader),
                })?;
                Value::List(values)
            }
            b"kvlistValue" | b"kvlist_value" => {
                let mut pairs = Attributes::new();
                object(reader, |key, reader| match key {
                    b"values" => {
                        pairs = attributes(reader, depth + 1, count)?;
                        Ok(())
                    }
                    _ => skip(reader),
                })?;
                Value::Map(pairs)
            }
            _ => return skip(reader),
        };
        Ok(())
    })?;
    Ok(result)
}

/// Calls `f` behind each key of the object that comes next; `null` is an empty object.
fn object<'a>(reader: &mut JsonReader<'a>, mut f: impl FnMut(&[u8], &mut JsonReader<'a>) -> Walk) -> Walk {
    let first = char::from(reader.peek());
    if reader.null() {
        return Ok(());
    }
    if !reader.take(b'{') {
        return Err(Stop::Json(format!("ReadObject: expect {{ or , or }} or n, but found {first}").into()));
    }
    let mut is_first = true;
    while let Some(key) = reader.next_key(&mut is_first)? {
        f(&key, reader)?;
    }
    Ok(())
}

/// Calls `f` before each element of the array that comes next; `null` is an empty array.
fn array<'a>(reader: &mut JsonReader<'a>, mut f: impl FnMut(&mut JsonReader<'a>) -> Walk) -> Walk {
    let first = char::from(reader.peek());
    if reader.null() {
        return Ok(());
    }
    if !reader.take(b'[') {
        return Err(Stop::Json(format!("ReadArray: expect [ or , or ] or n, but found {first}").into()));
    }
    let mut is_first = true;
    while reader.next_element(&mut is_first)? {
        f(reader)?;
    }
    Ok(())
}

fn skip(reader: &mut JsonReader<'_>) -> Walk {
    reader.raw_value()?;
    Ok(())
}

/// A number, plain or as text.
fn number<N: std::str::FromStr>(reader: &mut JsonReader<'_>, what: &str) -> Read<N> {
    let text = match reader.peek() {
        b'"' => reader.text()?,
        _ => String::from_utf8_lossy(reader.raw_value()?),
    };
    text.parse().map_err(|_| format!("{what}: strconv.ParseUint: parsing {text:?}: invalid syntax").into())
}

fn boolean(reader: &mut JsonReader<'_>) -> Read<bool> {
    match reader.raw_value()? {
        b"true" => Ok(true),
        b"false" => Ok(false),
        _ => Err("ReadBool: expect t or f".into()),
    }
}

fn base64_bytes(reader: &mut JsonReader<'_>) -> Read<Vec<u8>> {
    STANDARD.decode(&*reader.text()?).map_err(|e| format!("base64: {e}").into())
}

/// An id in hexadecimal; an empty text is none.
fn id<const N: usize>(reader: &mut JsonReader<'_>) -> Read<[u8; N]> {
    let text = reader.text()?;
    let mut id = [0; N];
    if text.is_empty() {
        return Ok(id);
    }
    if text.len() != 2 * N {
        return Err("ID.UnmarshalJSONIter: length mismatch".into());
    }
    for (byte, digits) in id.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digit = |b: u8| char::from(b).to_digit(16).ok_or("ID.UnmarshalJSONIter: encoding/hex: invalid byte");
        *byte = (digit(digits[0])? << 4 | digit(digits[1])?) as u8;
    }
    Ok(id)
}

/// A severity by number or by name, such as `SEVERITY_NUMBER_INFO2`.
fn severity(reader: &mut JsonReader<'_>) -> Read<i32> {
    if reader.peek() != b'"' {
        return number(reader, "ReadInt32");
    }
    let name = reader.text()?;
    let level = name.strip_prefix("SEVERITY_NUMBER_").unwrap_or_default();
    let (level, step) = match level.as_bytes().last() {
        Some(digit @ b'2'..=b'4') => (&level[..level.len() - 1], i32::from(digit - b'1')),
        _ => (level, 0),
    };
    const LEVELS: [&str; 6] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
    let known = LEVELS.iter().position(|l| *l == level).map(|at| at as i32 * 4 + 1 + step);
    Ok(known.or_else(|| name.parse().ok()).unwrap_or(0))
}
