//! Errors across the wire: the kind travels as a gRPC code and by name, so that what the caller should do is the same on
//! both sides. It must not know which call failed.

use model::{Error, Kind};
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

const KIND_METADATA: &str = "x-lokirs-error-kind";
/// An error's text travels in a header, which HTTP/2 peers bound.
const MESSAGE_BYTES_MAX: usize = 4 << 10;

const KINDS: [(Kind, &str, Code); 12] = [
    (Kind::Invalid, "invalid", Code::InvalidArgument),
    (Kind::Unauthenticated, "unauthenticated", Code::Unauthenticated),
    (Kind::Forbidden, "forbidden", Code::PermissionDenied),
    (Kind::NotFound, "not_found", Code::NotFound),
    (Kind::TooLarge, "too_large", Code::OutOfRange),
    (Kind::Empty, "empty", Code::FailedPrecondition),
    (Kind::Limited, "limited", Code::ResourceExhausted),
    (Kind::Cancelled, "cancelled", Code::Cancelled),
    (Kind::Internal, "internal", Code::Internal),
    (Kind::Corrupt, "corrupt", Code::DataLoss),
    (Kind::Unavailable, "unavailable", Code::Unavailable),
    (Kind::Timeout, "timeout", Code::DeadlineExceeded),
];

pub(super) fn kind_name(kind: Kind) -> &'static str {
    KINDS.iter().find(|(k, ..)| *k == kind).map_or("internal", |(_, name, _)| name)
}

pub(super) fn kind_of_name(name: &str) -> Option<Kind> {
    KINDS.iter().find(|(_, n, _)| *n == name).map(|(kind, ..)| *kind)
}

pub fn status_of(error: Error) -> Status {
    let code = KINDS.iter().find(|(kind, ..)| *kind == error.kind).map_or(Code::Internal, |(.., code)| *code);
    let mut message = error.message;
    message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
    let mut status = Status::new(code, message);
    status.metadata_mut().insert(KIND_METADATA, MetadataValue::from_static(kind_name(error.kind)));
    status
}

/// A status without a kind comes from the transport: what it could not carry may be carried later. It calls a request
/// cancelled that a broken connection took along; a caller that went away would not read it.
pub fn error_of(status: &Status) -> Error {
    let name = status.metadata().get(KIND_METADATA).and_then(|v| v.to_str().ok());
    let kind = name.and_then(kind_of_name).unwrap_or(match status.code() {
        Code::OutOfRange => Kind::TooLarge,
        Code::DeadlineExceeded => Kind::Timeout,
        Code::Unimplemented | Code::InvalidArgument => Kind::Internal,
        _ => Kind::Unavailable,
    });
    Error::new(kind, status.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_survive_the_wire() {
        for (kind, ..) in KINDS {
            let error = Error::new(kind, "größer");
            assert_eq!(error_of(&status_of(error.clone())), error);
        }
        assert_eq!(error_of(&Status::cancelled("connection closed")).kind, Kind::Unavailable);
        assert_eq!(error_of(&Status::resource_exhausted("h2")).kind, Kind::Unavailable);
        assert_eq!(error_of(&status_of(Error::invalid("ü".repeat(10_000)))).message.len(), MESSAGE_BYTES_MAX);
    }
}
