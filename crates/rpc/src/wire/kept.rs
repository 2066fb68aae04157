//! Calls and answers as bytes for those who keep them: the messages that travel, one after the other.

use super::convert_calls::{broken, call_to_wire};
use super::convert_replies::{add_items, reply_of_head, reply_to_wire};
use super::proto;
use crate::call::{Call, Reply};
use crate::queries::Tenants;
use model::{Error, Result};
use prost::Message;

/// A call and whose it is: equal bytes for equal calls, and for no others.
pub fn call_bytes(tenants: &Tenants, call: Call) -> Vec<u8> {
    call_to_wire(tenants, call).encode_to_vec()
}

/// An answer, for [`reply_of_bytes`].
pub fn reply_bytes(reply: Reply) -> Vec<u8> {
    let (head, items) = reply_to_wire(reply);
    let mut bytes = head.encode_length_delimited_to_vec();
    items.for_each(|items| bytes.extend(items.encode_length_delimited_to_vec()));
    bytes
}

/// `Corrupt` when the bytes are no answer.
pub fn reply_of_bytes(mut bytes: &[u8]) -> Result<Reply> {
    let head = proto::ReplyHead::decode_length_delimited(&mut bytes).map_err(torn)?;
    let mut reply = reply_of_head(head)?;
    while !bytes.is_empty() {
        add_items(&mut reply, proto::ReplyItems::decode_length_delimited(&mut bytes).map_err(torn)?)?;
    }
    Ok(reply)
}

fn torn(error: prost::DecodeError) -> Error {
    broken(&error.to_string())
}
