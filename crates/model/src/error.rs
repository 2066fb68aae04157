//! One error for every role: a kind that says what to do next, and the text that a client reads.
//! Which HTTP or gRPC status a kind becomes is decided once, in `api` and in `rpc`.

use std::fmt;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller should do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request is wrong and stays wrong: do not repeat it (HTTP 400).
    Invalid,
    /// No tenant was named (401).
    Unauthenticated,
    /// The tenant may not do this (403).
    Forbidden,
    /// There is no such thing, or the feature is off (404).
    NotFound,
    /// The body is larger than a limit (413).
    TooLarge,
    /// The request is well formed but says nothing (422).
    Empty,
    /// A rate or count limit: repeat it later (429).
    Limited,
    /// The client went away (499).
    Cancelled,
    /// A defect of ours (500).
    Internal,
    /// Stored or logged bytes do not verify (500).
    Corrupt,
    /// A part is down, full or starting: repeat it (503).
    Unavailable,
    /// The deadline passed (504).
    Timeout,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub kind: Kind,
    pub message: String,
}

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into() }
    }
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, message)
    }
    pub fn limited(message: impl Into<String>) -> Self {
        Self::new(Kind::Limited, message)
    }
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(Kind::TooLarge, message)
    }
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Kind::Unavailable, message)
    }
    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(Kind::Corrupt, message)
    }
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }
    /// The same error with `what` in front of its text: where it happened, outermost first.
    pub fn context(self, what: impl fmt::Display) -> Self {
        Error { kind: self.kind, message: format!("{what}: {}", self.message) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
