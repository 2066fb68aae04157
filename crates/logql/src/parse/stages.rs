//! The stages of a pipeline: line filters, parsers, label filters, formatters.

use super::cursor::Cursor;
use super::error::ParseError;
use super::label_filter::{ip_operand, label_filter};
use super::selector::{match_op, matcher};
use super::token::{Function, Token};
use crate::ast::{Extraction, LabelFormat, LabelSelector, LineFilter, LineOp, LineOperand, Stage};
use crate::check::captures;
use smol_str::SmolStr;

type Result<T> = std::result::Result<T, ParseError>;

/// The most stages of one pipeline; each costs work per line.
pub const STAGES_MAX: usize = 1000;

/// All stages up to something that starts none; `unwrap` starts none.
pub fn stages(cursor: &mut Cursor) -> Result<Vec<Stage>> {
    let mut stages = Vec::new();
    while let Some(stage) = stage(cursor)? {
        if stages.len() == STAGES_MAX {
            return Err(ParseError::new(format_args!("more than {STAGES_MAX} stages in a pipeline")));
        }
        stages.push(stage);
    }
    Ok(stages)
}

fn stage(cursor: &mut Cursor) -> Result<Option<Stage>> {
    if let Some(op) = line_op(cursor) {
        return line_filter(cursor, op).map(Stage::LineFilter).map(Some);
    }
    if !cursor.is("|") || matches!(cursor.peek_second(), Token::Fixed("unwrap")) {
        return Ok(None);
    }
    cursor.next();
    let keyword = match cursor.peek() {
        Token::Fixed(word) => *word,
        Token::Identifier(_) => return label_filter(cursor).map(Stage::LabelFilter).map(Some),
        _ => return Err(cursor.unexpected(&[])),
    };
    if keyword == "(" {
        return label_filter(cursor).map(Stage::LabelFilter).map(Some);
    }
    let unknown = cursor.unexpected(&[]);
    cursor.next();
    Ok(Some(match keyword {
        "json" => Stage::Json(extractions(cursor, false)?),
        "logfmt" => logfmt(cursor)?,
        "regexp" => {
            let text = cursor.text(&["STRING"])?;
            captures::check_regexp(&text)?;
            Stage::Regexp(text)
        }
        "pattern" => {
            let text = cursor.text(&["STRING"])?;
            captures::check_pattern(&text)?;
            Stage::Pattern(text)
        }
        "unpack" => Stage::Unpack,
        "decolorize" => Stage::Decolorize,
        "line_format" => Stage::LineFormat(cursor.text(&["STRING"])?),
        "label_format" => Stage::LabelFormat(list(cursor, label_format)?),
        "drop" => Stage::Drop(list(cursor, label_selector)?),
        "keep" => Stage::Keep(list(cursor, label_selector)?),
        _ => return Err(unknown),
    }))
}

/// What a line filter's operator means here; `!=` and the others are read only in front of an operand, since they may
/// as well compare two expressions.
fn line_op(cursor: &Cursor) -> Option<LineOp> {
    match cursor.peek() {
        Token::Fixed("|=") => Some(LineOp::Contains),
        Token::Fixed("|~") => Some(LineOp::Matches),
        Token::Fixed("|>") => Some(LineOp::Pattern),
        Token::Fixed("!=") => Some(LineOp::NotContains),
        Token::Fixed("!~") => Some(LineOp::NotMatches),
        Token::Fixed("!>") => Some(LineOp::NotPattern),
        _ => None,
    }
}

fn line_filter(cursor: &mut Cursor, op: LineOp) -> Result<LineFilter> {
    cursor.next();
    let mut operands = vec![line_operand(cursor)?];
    while cursor.accept("or") {
        operands.push(line_operand(cursor)?);
    }
    Ok(LineFilter { op, operands })
}

fn line_operand(cursor: &mut Cursor) -> Result<LineOperand> {
    if matches!(cursor.peek(), Token::Function(Function::Ip)) {
        return ip_operand(cursor).map(LineOperand::Ip);
    }
    cursor.text(&["STRING", "ip"]).map(LineOperand::Text)
}

fn logfmt(cursor: &mut Cursor) -> Result<Stage> {
    let (mut strict, mut keep_empty) = (false, false);
    while let Token::Flag(flag) = cursor.peek() {
        match flag.as_str() {
            "strict" => strict = true,
            "keep-empty" => keep_empty = true,
            _ => return Err(ParseError::new(format_args!("invalid logfmt parser flag: --{flag}"))),
        }
        cursor.next();
    }
    Ok(Stage::Logfmt { strict, keep_empty, fields: extractions(cursor, strict || keep_empty)? })
}

/// `a="x", b`, or nothing.
fn extractions(cursor: &mut Cursor, has_flags: bool) -> Result<Vec<Extraction>> {
    match cursor.peek() {
        Token::Identifier(_) => list(cursor, extraction),
        Token::Flag(_) if !has_flags => Err(cursor.unexpected(&[])),
        _ => Ok(Vec::new()),
    }
}

fn extraction(cursor: &mut Cursor) -> Result<Extraction> {
    let name = cursor.identifier(&["IDENTIFIER"])?;
    let expression = if cursor.accept("=") { cursor.text(&["STRING"])? } else { name.clone() };
    Ok(Extraction { name, expression })
}

fn label_format(cursor: &mut Cursor) -> Result<LabelFormat> {
    let to = cursor.identifier(&["IDENTIFIER"])?;
    cursor.expect("=", &["="])?;
    match cursor.peek() {
        Token::Identifier(from) => {
            let from = from.clone();
            cursor.next();
            Ok(LabelFormat::Rename { to, from })
        }
        _ => Ok(LabelFormat::Template { to, template: cursor.text(&["IDENTIFIER", "STRING"])? }),
    }
}

fn label_selector(cursor: &mut Cursor) -> Result<LabelSelector> {
    let name: SmolStr = cursor.identifier(&["IDENTIFIER"])?;
    match match_op(cursor) {
        None => Ok(LabelSelector::Name(name)),
        Some(op) => matcher(cursor, name, op).map(LabelSelector::Matcher),
    }
}

/// One item, and more behind commas.
fn list<T>(cursor: &mut Cursor, item: fn(&mut Cursor) -> Result<T>) -> Result<Vec<T>> {
    let mut items = vec![item(cursor)?];
    while cursor.accept(",") {
        items.push(item(cursor)?);
    }
    Ok(items)
}
