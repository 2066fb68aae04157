//! From the text of a query to its tree. What is refused here is refused in Loki's words, with the place.
//! It must not know how a query is evaluated.

mod cursor;
mod error;
mod fold;
mod label_filter;
mod lexer;
mod metric;
mod range;
mod selector;
mod stages;
mod token;

pub use cursor::DEPTH_MAX;
pub use error::ParseError;
pub use fold::fold;
pub use label_filter::FILTER_DEPTH_MAX;
pub use metric::binding;
pub use selector::MATCHERS_MAX;
pub use stages::STAGES_MAX;

use crate::ast::{Expr, LogExpr};
use crate::check;
use cursor::Cursor;
use metric::Operand;
use model::Matcher;
use token::{Function, Token};

/// The longest query, in bytes, not inclusive: Loki's own bound.
pub const QUERY_BYTES_MAX: usize = 131_072;

/// Which selectors [`parse_selector`] lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breadth {
    /// At least one matcher must refuse the empty value, as in queries.
    Selective,
    /// The same, but `{}` means every stream, as for series.
    SelectiveOrAll,
    /// Any selector, as for volumes.
    Any,
}

/// A query whose parts can all work.
pub fn parse(query: &str) -> Result<Expr, ParseError> {
    let expr = parse_syntax(query)?;
    check::check(&expr)?;
    Ok(expr)
}

/// A well-formed query over selective matchers; a stage may be one that cannot work (`|~ "("`). Formatting a query
/// needs no more.
pub fn parse_syntax(query: &str) -> Result<Expr, ParseError> {
    let expr = grammar(query)?;
    check::selectivity::check(&expr)?;
    Ok(expr)
}

/// A log query; `only log selector is supported` if it answers numbers.
pub fn parse_log(query: &str) -> Result<LogExpr, model::Error> {
    match parse(query)? {
        Expr::Log(log) => Ok(log),
        Expr::Metric(_) => Err(model::Error::invalid("only log selector is supported")),
    }
}

/// The matchers of a bare selector; `only label matchers are supported` if there is more.
pub fn parse_selector(query: &str, breadth: Breadth) -> Result<Vec<Matcher>, model::Error> {
    let expr = grammar(query)?;
    let is_all = matches!(&expr, Expr::Log(log) if log.matchers.is_empty() && log.stages.is_empty());
    if breadth == Breadth::Selective || (breadth == Breadth::SelectiveOrAll && !is_all) {
        check::selectivity::check(&expr)?;
    }
    match expr {
        Expr::Log(log) if log.stages.is_empty() => Ok(log.matchers),
        _ => Err(model::Error::invalid("only label matchers are supported")),
    }
}

fn grammar(query: &str) -> Result<Expr, ParseError> {
    if query.len() >= QUERY_BYTES_MAX {
        let what = format!("input size too long ({} > {QUERY_BYTES_MAX})", query.len());
        return Err(ParseError::new(what));
    }
    let mut cursor = Cursor::new(query);
    let expr = if matches!(cursor.peek(), Token::Function(Function::Variants)) {
        Expr::Metric(metric::variants(&mut cursor)?)
    } else {
        match metric::expression(&mut cursor)? {
            Operand::Log(log) => Expr::Log(log),
            Operand::Metric(expr, _) => Expr::Metric(*expr),
        }
    };
    match cursor.peek() {
        Token::End => Ok(expr),
        _ => Err(cursor.unexpected(&[])),
    }
}
