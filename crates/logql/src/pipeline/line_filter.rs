//! `|=`, `!=`, `|~`, `!~`, `|>`, `!>`: what a line must contain, or not.

use super::ip::IpPattern;
use super::pattern::LinePattern;
use super::regex_bytes;
use crate::ast::{self, LineOp, LineOperand};
use memchr::memmem::Finder;
use model::{Error, Result};
use regex::bytes::Regex;

pub struct LineFilter {
    /// The line must satisfy one operand, or none if negated.
    negated: bool,
    operands: Vec<Operand>,
}

enum Operand {
    Literal(Box<Finder<'static>>),
    Regex(Regex),
    Pattern(LinePattern),
    Ip(IpPattern),
    /// Holds for every line: the empty literal.
    Always,
}

impl LineFilter {
    pub fn compile(filter: &ast::LineFilter) -> Result<Self> {
        let negated = matches!(filter.op, LineOp::NotContains | LineOp::NotMatches | LineOp::NotPattern);
        let is_chain = filter.operands.len() > 1;
        let operands = filter.operands.iter().map(|o| operand(filter.op, o, is_chain)).collect::<Result<Vec<_>>>()?;
        Ok(LineFilter { negated, operands })
    }

    #[inline]
    pub fn keeps(&self, line: &[u8]) -> bool {
        self.operands.iter().any(|o| o.is_in(line)) != self.negated
    }
}

/// In a chain of `|=` Loki takes the pattern of an `ip()` as text to be contained.
fn operand(op: LineOp, operand: &LineOperand, is_chain: bool) -> Result<Operand> {
    let text = match operand {
        LineOperand::Text(text) => text,
        LineOperand::Ip(text) if is_chain && op == LineOp::Contains => text,
        LineOperand::Ip(pattern) => {
            if !matches!(op, LineOp::Contains | LineOp::NotContains) {
                return Err(Error::invalid("ip: invalid operation"));
            }
            return Ok(Operand::Ip(IpPattern::parse(pattern).map_err(Error::invalid)?));
        }
    };
    Ok(match op {
        LineOp::Contains | LineOp::NotContains if text.is_empty() => Operand::Always,
        LineOp::Contains | LineOp::NotContains => Operand::Literal(Box::new(Finder::new(text.as_bytes()).into_owned())),
        LineOp::Matches | LineOp::NotMatches => Operand::Regex(regex_bytes::line_filter(text)?),
        LineOp::Pattern | LineOp::NotPattern => Operand::Pattern(LinePattern::parse(text)?),
    })
}

impl Operand {
    #[inline]
    fn is_in(&self, line: &[u8]) -> bool {
        match self {
            Operand::Literal(finder) => finder.find(line).is_some(),
            Operand::Regex(regex) => regex.is_match(line),
            Operand::Pattern(pattern) => pattern.matches(line),
            Operand::Ip(pattern) => pattern.is_in(line),
            Operand::Always => true,
        }
    }
}
