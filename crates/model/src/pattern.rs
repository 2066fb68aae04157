//! Regular expressions in Go's syntax (RE2), compiled by the `regex` crate under a size limit.

use crate::{Error, Result};
use regex::{Regex, RegexBuilder};

/// The largest compiled program, in bytes; a larger expression is refused rather than compiled.
pub const REGEX_PROGRAM_BYTES_MAX: usize = 10 << 20;

/// Compiles `go` unanchored; the dot does not match a newline, as in Go.
pub fn compile(go: &str) -> Result<Regex> {
    build(&translate(go)?, go)
}

/// Compiles `go` so that it must match a whole label value; the dot matches newlines, as in Prometheus' matchers.
pub fn anchored(go: &str) -> Result<Regex> {
    build(&format!("^(?s:{})$", translate(go)?), go)
}

fn build(rust: &str, go: &str) -> Result<Regex> {
    RegexBuilder::new(rust)
        .size_limit(REGEX_PROGRAM_BYTES_MAX)
        .build()
        .map_err(|e| Error::invalid(format!("error parsing regexp: {e}: `{go}`")))
}

/// The same expression in the syntax of the `regex` crate.
pub fn translate(go: &str) -> Result<String> {
    Ok(go.to_string())
}
