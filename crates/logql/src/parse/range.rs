//! A log pipeline over a window, as the functions over ranges take it.

use super::cursor::Cursor;
use super::error::ParseError;
use super::label_filter::label_filter;
use super::selector::selector;
use super::stages::{STAGES_MAX, stages};
use super::token::{Function, Token};
use crate::ast::{LogExpr, LogRange, Unwrap};

type Result<T> = std::result::Result<T, ParseError>;

/// A range whose window may be still to come, behind a parenthesis.
struct Partial {
    log: LogExpr,
    unwrap: Option<Unwrap>,
    window: Option<Window>,
}

#[derive(Clone, Copy)]
struct Window {
    window_ns: i64,
    offset_ns: i64,
}

/// Stages and `unwrap` may stand before or behind the window, and all or a part in parentheses. `expected` names what
/// else could have been here.
pub fn log_range(cursor: &mut Cursor, expected: &[&str]) -> Result<LogRange> {
    let partial = partial(cursor, expected)?;
    let Some(window) = partial.window else {
        let is_unwrapped = partial.unwrap.is_some();
        return Err(cursor.unexpected(if is_unwrapped { &["RANGE", "|"] } else { &[] }));
    };
    Ok(LogRange { log: partial.log, window_ns: window.window_ns, offset_ns: window.offset_ns, unwrap: partial.unwrap })
}

fn partial(cursor: &mut Cursor, expected: &[&str]) -> Result<Partial> {
    let mut partial = if cursor.is("(") {
        cursor.enter()?;
        cursor.next();
        let inner = self::partial(cursor, &["{", "("])?;
        cursor.expect(")", if inner.window.is_some() { &[")"] } else { &[] })?;
        cursor.leave();
        inner
    } else if cursor.is("{") {
        Partial {
            log: LogExpr { matchers: selector(cursor)?, stages: stages(cursor)? },
            unwrap: unwrap(cursor)?,
            window: None,
        }
    } else {
        return Err(cursor.unexpected(expected));
    };
    if partial.window.is_some() {
        return Ok(partial);
    }
    let Token::Range(window_ns) = *cursor.peek() else { return Ok(partial) };
    cursor.next();
    partial.window = Some(Window { window_ns, offset_ns: offset(cursor)? });
    if partial.log.stages.is_empty() && partial.unwrap.is_none() {
        partial.log.stages = stages(cursor)?;
    }
    if partial.unwrap.is_none() {
        partial.unwrap = unwrap(cursor)?;
    }
    Ok(partial)
}

fn offset(cursor: &mut Cursor) -> Result<i64> {
    if !cursor.accept("offset") {
        return Ok(0);
    }
    match *cursor.peek() {
        Token::Duration(ns) => {
            cursor.next();
            Ok(ns)
        }
        _ => Err(cursor.unexpected(&["DURATION"])),
    }
}

/// `| unwrap label`, `| unwrap duration(label)` and the label filters behind it, if they are next.
fn unwrap(cursor: &mut Cursor) -> Result<Option<Unwrap>> {
    const OPERANDS: [&str; 4] = ["IDENTIFIER", "BYTES_CONV", "DURATION_CONV", "DURATION_SECONDS_CONV"];
    if !(cursor.is("|") && matches!(cursor.peek_second(), Token::Fixed("unwrap"))) {
        return Ok(None);
    }
    cursor.next();
    cursor.next();
    let (label, conversion) = match *cursor.peek() {
        Token::Function(Function::Conversion(conversion)) => {
            cursor.next();
            cursor.expect("(", &["("])?;
            let label = cursor.identifier(&["IDENTIFIER"])?;
            cursor.expect(")", &[")"])?;
            (label, Some(conversion))
        }
        _ => (cursor.identifier(&OPERANDS)?, None),
    };
    let mut filters = Vec::new();
    while cursor.accept("|") {
        if filters.len() == STAGES_MAX {
            return Err(ParseError::new(format_args!("more than {STAGES_MAX} filters after unwrap")));
        }
        filters.push(label_filter(cursor)?);
    }
    Ok(Some(Unwrap { label, conversion, filters }))
}
