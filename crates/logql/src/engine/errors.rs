//! The texts of a metric query's errors, as Loki words them, and when a series' error is one.

use super::vector::with_label;
use model::{Error, Kind, Labels, Result};

pub const ERROR_LABEL: &str = "__error__";
/// Says that the query asks for erroneous lines itself.
pub const PRESERVE_ERROR_LABEL: &str = "__preserve_error__";

/// The errors that a query can ask for: those of parsers. Failed conversions, templates and errors that came with the
/// data fail the query all the same.
const PRESERVED: [&str; 2] = ["JSONParserErr", "LogfmtParserErr"];

/// A series that carries an error fails the query, unless the query asked for it.
pub(crate) fn check_series(labels: &Labels) -> Result<()> {
    let is_preserved = |error| labels.get(PRESERVE_ERROR_LABEL).is_some() && PRESERVED.contains(&error);
    match labels.get(ERROR_LABEL) {
        Some(error) if !error.is_empty() && !is_preserved(error) => Err(Error::invalid(format!(
            "pipeline error: '{error}' for series: '{}'.\n\
             Use a label filter to intentionally skip this error. (e.g | {ERROR_LABEL}!=\"{error}\").\n\
             To skip all potential errors you can match empty errors.(e.g {ERROR_LABEL}=\"\")\n\
             The label filter can also be specified after unwrap. (e.g | unwrap latency | {ERROR_LABEL}=\"\" )\n",
            with_label(labels, PRESERVE_ERROR_LABEL, "")
        ))),
        _ => Ok(()),
    }
}

pub(crate) fn end_before_start() -> Error {
    Error::invalid("end timestamp must not be before or equal to start time")
}

pub(crate) fn too_many_series(max: usize) -> Error {
    Error::invalid(format!(
        "maximum number of series ({max}) reached for a single query; consider reducing query cardinality by adding more \
         specific stream selectors, reducing the time range, or aggregating results with functions like sum(), count() or topk()"
    ))
}

pub(crate) fn partial_series(max: usize) -> String {
    format!("maximum number of series ({max}) reached for a single query; returning partial results")
}

pub(crate) fn log_query_as_instant() -> Error {
    Error::invalid(
        "log queries are not supported as an instant query type, please change your query to a range query type",
    )
}

/// Loki answers label matching failures with status 500; clients tell them by the text.
pub(crate) fn matching(text: &str) -> Error {
    Error::new(Kind::Internal, text)
}
