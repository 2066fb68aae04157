//! `ExportLogsServiceRequest` in protobuf, field by field. Field numbers: `opentelemetry/proto/logs/v1/logs.proto`.

use super::emit::{Emitter, Record, Scope};
use super::value::{Attributes, DEPTH_MAX, NESTED_MAX, Value};
use crate::push::wire::Fields;
use model::{Error, Result};
use std::borrow::Cow;

pub fn walk<'a>(data: &'a [u8], emitter: &mut Emitter<'_, 'a>) -> Result<()> {
    for_each(data, 1, |resource_logs| {
        // The resource may stand after its logs.
        let mut attributes = Attributes::new();
        for_each(resource_logs, 1, |resource| {
            attributes.clear();
            for_each(resource, 1, |pair| push_attribute(pair, &mut attributes))
        })?;
        emitter.resource(attributes)?;
        for_each(resource_logs, 2, |scope_logs| {
            let mut found = Scope::default();
            for_each(scope_logs, 1, |message| {
                found = scope(message)?;
                Ok(())
            })?;
            emitter.scope(found)?;
            for_each(scope_logs, 2, |message| emitter.record(record(message)?))
        })?;
        emitter.end_resource();
        Ok(())
    })
}

/// Calls `f` with each message in field `number`.
fn for_each<'a>(message: &'a [u8], number: u64, mut f: impl FnMut(&'a [u8]) -> Result<()>) -> Result<()> {
    let mut fields = Fields::new(message);
    while let Some((n, value)) = fields.try_next()? {
        if n == number {
            f(value.bytes()?)?;
        }
    }
    Ok(())
}

fn scope(message: &[u8]) -> Result<Scope<'_>> {
    let mut scope = Scope::default();
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.try_next()? {
        match number {
            1 => scope.name = text(value.bytes()?),
            2 => scope.version = text(value.bytes()?),
            3 => push_attribute(value.bytes()?, &mut scope.attributes)?,
            4 => scope.dropped_attributes_count = value.varint()? as u32,
            _ => {}
        }
    }
    Ok(scope)
}

fn record(message: &[u8]) -> Result<Record<'_>> {
    let mut record = Record::default();
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.try_next()? {
        match number {
            1 => record.time_unix_nano = value.fixed64()?,
            2 => record.severity_number = value.varint()? as i32,
            3 => record.severity_text = text(value.bytes()?),
            5 => record.body = any_value(value.bytes()?, 0, &mut 0)?,
            6 => push_attribute(value.bytes()?, &mut record.attributes)?,
            7 => record.dropped_attributes_count = value.varint()? as u32,
            8 => record.flags = value.fixed32()?,
            9 => record.trace_id = id(value.bytes()?)?,
            10 => record.span_id = id(value.bytes()?)?,
            11 => record.observed_time_unix_nano = value.fixed64()?,
            _ => {}
        }
    }
    Ok(record)
}

fn push_attribute<'a>(message: &'a [u8], into: &mut Attributes<'a>) -> Result<()> {
    if into.len() == NESTED_MAX {
        return Err(Error::invalid(format!("more than {NESTED_MAX} attributes")));
    }
    into.push(key_value(message, 0, &mut 0)?);
    Ok(())
}

fn key_value<'a>(message: &'a [u8], depth: usize, count: &mut usize) -> Result<(Cow<'a, str>, Value<'a>)> {
    let (mut key, mut value) = (Cow::Borrowed(""), Value::Empty);
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.try_next()? {
        match number {
            1 => key = text(field.bytes()?),
            2 => value = any_value(field.bytes()?, depth, count)?,
            _ => {}
        }
    }
    Ok((key, value))
}

/// `count` is how many values the outermost one holds so far.
fn any_value<'a>(message: &'a [u8], depth: usize, count: &mut usize) -> Result<Value<'a>> {
    *count += 1;
    if depth > DEPTH_MAX || *count > NESTED_MAX {
        return Err(Error::invalid("a value nests too deep or holds too many values"));
    }
    let mut result = Value::Empty;
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.try_next()? {
        result = match number {
            1 => Value::Text(text(value.bytes()?)),
            2 => Value::Bool(value.varint()? != 0),
            3 => Value::Int(value.varint()? as i64),
            4 => Value::Double(f64::from_bits(value.fixed64()?)),
            5 => {
                let mut values = Vec::new();
                for_each(value.bytes()?, 1, |message| {
                    values.push(any_value(message, depth + 1, count)?);
                    Ok(())
                })?;
                Value::List(values)
            }
            6 => {
                let mut pairs = Attributes::new();
                for_each(value.bytes()?, 1, |message| {
                    pairs.push(key_value(message, depth + 1, count)?);
                    Ok(())
                })?;
                Value::Map(pairs)
            }
            7 => Value::Bytes(value.bytes()?.into()),
            _ => result,
        };
    }
    Ok(result)
}

fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// An id may be missing, but not of another length.
fn id<const N: usize>(bytes: &[u8]) -> Result<[u8; N]> {
    match bytes {
        [] => Ok([0; N]),
        bytes => bytes.try_into().map_err(|_| Error::invalid("invalid length for ID")),
    }
}
