//! Protobuf's wire format, walked in place: fields are slices of the body. It must not know any message.

use model::varint::{take, uvarint};
use model::{Error, Result};

/// A field's value as it is encoded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

impl<'a> Value<'a> {
    /// The bytes of a string, a message or a bytes field; an error for a field of another type.
    pub fn bytes(self) -> Result<&'a [u8]> {
        match self {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(Error::invalid("proto: wrong wireType for a length-delimited field")),
        }
    }

    pub fn varint(self) -> Result<u64> {
        match self {
            Value::Varint(value) => Ok(value),
            _ => Err(Error::invalid("proto: wrong wireType for a varint field")),
        }
    }

    pub fn fixed32(self) -> Result<u32> {
        match self {
            Value::Fixed32(value) => Ok(value),
            _ => Err(Error::invalid("proto: wrong wireType for a fixed32 field")),
        }
    }

    pub fn fixed64(self) -> Result<u64> {
        match self {
            Value::Fixed64(value) => Ok(value),
            _ => Err(Error::invalid("proto: wrong wireType for a fixed64 field")),
        }
    }
}

/// The fields of a message in the order in which they come.
#[derive(Clone)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub fn new(message: &'a [u8]) -> Self {
        Fields { rest: message }
    }

    #[inline]
    pub fn try_next(&mut self) -> Result<Option<(u64, Value<'a>)>> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = uvarint(&mut self.rest).ok_or_else(cut_short)?;
        let value = match tag & 7 {
            0 => uvarint(&mut self.rest).map(Value::Varint),
            1 => self.array().map(|b| Value::Fixed64(u64::from_le_bytes(b))),
            2 => uvarint(&mut self.rest).and_then(|len| take(&mut self.rest, len)).map(Value::Bytes),
            5 => self.array().map(|b| Value::Fixed32(u32::from_le_bytes(b))),
            other => return Err(Error::invalid(format!("proto: illegal wireType {other}"))),
        };
        match tag >> 3 {
            0 => Err(Error::invalid(format!("proto: illegal tag 0 (wire type {})", tag & 7))),
            number => Ok(Some((number, value.ok_or_else(cut_short)?))),
        }
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        take(&mut self.rest, N as u64)?.try_into().ok()
    }
}

fn cut_short() -> Error {
    Error::invalid("unexpected EOF")
}
