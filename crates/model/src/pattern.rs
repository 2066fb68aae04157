//! Regular expressions in Go's syntax (RE2), compiled by the `regex` crate under a size limit.
//! What this must not know: where an expression came from; callers add that to the error.

mod class;
mod escape;
mod shape;
mod translate;

pub(crate) use shape::Shape;

use crate::{Error, Result};
use regex::{Regex, RegexBuilder};

/// The largest compiled program, in bytes; a larger expression is refused rather than compiled.
pub const REGEX_PROGRAM_BYTES_MAX: usize = 10 << 20;

/// The deepest nesting of groups. Compilation recurses over the expression, and this depth fits a small thread stack
/// (Go's own bound is 1000, on a growing stack).
pub const REGEX_NESTING_MAX: usize = 200;

/// Nesting that `regex` itself may count beyond the groups: a repetition, an alternation, a concatenation and a class
/// inside each group.
const NESTING_PER_GROUP: u32 = 4;

/// Compiles `go` unanchored, for text; the dot does not match a newline, as in Go.
pub fn compile(go: &str) -> Result<Regex> {
    build(&translate(go)?, go)
}

/// Compiles `go` so that it must match a whole label value; the dot matches newlines, as in Prometheus' matchers.
pub fn anchored(go: &str) -> Result<Regex> {
    build(&format!("^(?s:{})$", translate(go)?), go)
}

/// Compiles `go` unanchored, for lines that may not be UTF-8. Go reads a byte that is no UTF-8 as one character, so
/// `.*`, `.+` and negated classes of ASCII characters under `*` and `+` run across such bytes; elsewhere a character
/// of the expression is a whole UTF-8 character.
pub fn compile_bytes(go: &str) -> Result<regex::bytes::Regex> {
    let rust = translate::translate(go, translate::Subject::Bytes)?;
    regex::bytes::RegexBuilder::new(&rust)
        .size_limit(REGEX_PROGRAM_BYTES_MAX)
        .nest_limit(NESTING_PER_GROUP * REGEX_NESTING_MAX as u32)
        .build()
        .map_err(|e| refused(&e, go))
}

/// The same expression in the syntax of the `regex` crate; `Invalid` with Go's text if `go` is not one for Go.
///
/// Named groups keep their names, except that the second of two equal names and a name that starts with a digit
/// become unnamed groups: `regex` has no such names.
pub fn translate(go: &str) -> Result<String> {
    translate::translate(go, translate::Subject::Text)
}

fn build(rust: &str, go: &str) -> Result<Regex> {
    RegexBuilder::new(rust)
        .size_limit(REGEX_PROGRAM_BYTES_MAX)
        .nest_limit(NESTING_PER_GROUP * REGEX_NESTING_MAX as u32)
        .build()
        .map_err(|e| refused(&e, go))
}

fn refused(error: &regex::Error, go: &str) -> Error {
    match error {
        regex::Error::CompiledTooBig(_) => syntax("expression too large", go),
        other => Error::invalid(format!("error parsing regexp: {other}: `{go}`")),
    }
}

/// An error in the words of Go's `regexp/syntax`: what is wrong and the part of the expression that is.
fn syntax(what: &str, part: &str) -> Error {
    Error::invalid(format!("error parsing regexp: {what}: `{part}`"))
}

#[cfg(test)]
mod tests;
