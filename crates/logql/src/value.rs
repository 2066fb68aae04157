//! What a query answers.

use bytes::Bytes;
use model::Labels;

#[derive(Clone, Debug, PartialEq)]
pub enum QueryValue {
    Streams(Vec<LogStream>),
    /// Range metric queries.
    Matrix(Vec<Series>),
    /// Instant metric queries, in the order to be printed.
    Vector(Vec<Sample>),
    Scalar {
        time_ns: i64,
        value: f64,
    },
}

/// Entries that share their index labels, in the query's direction.
#[derive(Clone, Debug, PartialEq)]
pub struct LogStream {
    /// The stream's labels after the pipeline (`drop`, `keep` and `label_format` may have changed them).
    pub labels: Labels,
    pub entries: Vec<LogEntry>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct LogEntry {
    pub ts_ns: i64,
    pub line: Bytes,
    pub structured_metadata: Labels,
    /// Labels that the pipeline's stages made.
    pub parsed: Labels,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    pub labels: Labels,
    /// Time in nanoseconds and value; steps without a value are left out.
    pub points: Vec<(i64, f64)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub labels: Labels,
    pub time_ns: i64,
    pub value: f64,
}
