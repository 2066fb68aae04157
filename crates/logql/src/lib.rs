//! LogQL: the language (parse, print), pipelines over lines, and evaluation over blocks of entries.
//! It is synchronous and CPU-bound, and must not know storage, network, clock or any role: data come through
//! [`source::Source`], the answer leaves as [`engine`]'s values.

pub mod ast;
pub mod check;
pub mod engine;
pub mod parse;
pub mod pipeline;
pub mod print;
pub mod rewrite;
pub mod source;
pub mod units;
pub mod value;
