//! Quantities as Loki reads and writes them: sizes as `humanize` has them, numbers as Go's `strconv` and `fmt` have them.
//! Used for literals of a query and for label values alike. Errors are the texts of the Go functions named at each item.
//! Durations are [`model::duration`]'s.

pub mod bytes;
pub mod number;
