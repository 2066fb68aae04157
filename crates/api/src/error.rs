//! Errors on the HTTP surface: which status a kind becomes, and how the text is sent. Decided here once.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use model::{Error, Kind};

/// The longest text of an error that is sent whole.
const TEXT_BYTES_MAX: usize = 8 << 10;

/// An error as Loki answers it: plain text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    pub error: Error,
    /// Loki ends the errors of ingestion and of its middleware with a newline, those of queries not.
    newline: bool,
}

impl ApiError {
    /// An error of a query.
    pub fn query(error: Error) -> Self {
        ApiError { error, newline: false }
    }

    /// An error of ingestion, of authentication, or of a request that reached no handler.
    pub fn ingest(error: Error) -> Self {
        ApiError { error, newline: true }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut text = shortened(self.error.message);
        if self.newline {
            text.push('\n');
        }
        text_response(status(self.error.kind), text)
    }
}

/// The text of an error at a length that a client can show: parts of a request, which may be long, are in it.
fn shortened(mut text: String) -> String {
    let bytes = text.len();
    if bytes > TEXT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        text.push_str(&format!("... ({bytes} bytes)"));
    }
    text
}

/// Plain text that no browser takes for anything else.
pub fn text_response(status: StatusCode, text: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (status, headers, text).into_response()
}

/// The HTTP status of a kind of error.
pub fn status(kind: Kind) -> StatusCode {
    match kind {
        Kind::Invalid => StatusCode::BAD_REQUEST,
        Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
        Kind::Forbidden => StatusCode::FORBIDDEN,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::Empty => StatusCode::UNPROCESSABLE_ENTITY,
        Kind::Limited => StatusCode::TOO_MANY_REQUESTS,
        // The status of a client that went away; no standard has a name for it.
        Kind::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        Kind::Internal | Kind::Corrupt => StatusCode::INTERNAL_SERVER_ERROR,
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Timeout => StatusCode::GATEWAY_TIMEOUT,
    }
}
