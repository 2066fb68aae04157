//! OTLP logs over HTTP (`ExportLogsServiceRequest`, protobuf or JSON): which headers are taken, and how errors are sent.
//! Source of the format: the OpenTelemetry protocol specification 1.x.

mod emit;
mod json;
mod protobuf;
mod rules;
mod value;

use super::body::Encoding;
use crate::error::status;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use emit::Emitter;
use model::varint::put_str;
use model::{Error, Result};
use rpc::pusher::{Format, PushRequest, Sink};
use rules::Rules;
use runtime::limits::Limits;

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notation {
    Protobuf,
    Json,
}

/// The notation, of which Loki takes exactly two spellings.
pub fn notation(headers: &HeaderMap) -> Result<Notation> {
    let value = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    match value {
        "application/x-protobuf" => Ok(Notation::Protobuf),
        "application/json" => Ok(Notation::Json),
        other => Err(Error::invalid(format!("content type: {other} is not supported"))),
    }
}

pub fn encoding(headers: &HeaderMap) -> Result<Encoding> {
    let value = headers.get(header::CONTENT_ENCODING).and_then(|v| v.to_str().ok()).unwrap_or_default();
    match value {
        "" => Ok(Encoding::Identity),
        "gzip" => Ok(Encoding::Gzip),
        "zstd" => Ok(Encoding::Zstd),
        "lz4" => Ok(Encoding::Lz4),
        other => Err(Error::invalid(format!("content encoding: {other} is not supported"))),
    }
}

/// A `google.rpc.Status` with the text in field 2. OTLP clients repeat a 503 but not a 500.
pub fn error_response(error: &Error) -> Response {
    let status = match status(error.kind) {
        StatusCode::INTERNAL_SERVER_ERROR => StatusCode::SERVICE_UNAVAILABLE,
        status => status,
    };
    let mut body = vec![2 << 3 | 2];
    put_str(&mut body, error.message.as_bytes());
    let content_type = HeaderValue::from_static("application/octet-stream");
    let no_sniff = HeaderValue::from_static("nosniff");
    (status, [(header::CONTENT_TYPE, content_type), (header::X_CONTENT_TYPE_OPTIONS, no_sniff)], body).into_response()
}

/// A decompressed request.
pub struct OtlpPush {
    data: Bytes,
    notation: Notation,
    rules: Rules,
    now_ns: i64,
}

impl OtlpPush {
    /// `now_ns` is the time of records that have none.
    pub fn new(data: Bytes, notation: Notation, limits: &Limits, now_ns: i64) -> Result<Self> {
        Ok(OtlpPush { data, notation, rules: Rules::new(limits)?, now_ns })
    }
}

impl PushRequest for OtlpPush {
    fn walk(&self, sink: &mut dyn Sink) -> Result<()> {
        let mut emitter = Emitter::new(sink, &self.rules, self.now_ns);
        match self.notation {
            Notation::Protobuf => protobuf::walk(&self.data, &mut emitter),
            Notation::Json => json::walk(&self.data, &mut emitter),
        }
    }

    fn format(&self) -> Format {
        Format::Otlp
    }
}
