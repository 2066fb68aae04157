//! Patterns: literals and `<name>` captures. `| pattern` reads labels with them, `|>` and `!>` test lines.

use super::hints::Interest;
use super::labels::{Flow, WorkingLabels, go_text};
use super::names::NameId;
use memchr::memmem::Finder;
use model::labels::is_label_name;
use model::{Error, Result};

enum Part {
    Literal(Box<Finder<'static>>),
    /// The name, `None` for `<_>`.
    Capture(Option<String>),
}

/// Splits a pattern; what is no capture is a literal, however it looks.
fn parts(text: &str) -> Result<Vec<Part>> {
    let mut parts: Vec<Part> = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    let mut last_capture = None;
    while let Some(c) = rest.chars().next() {
        let Some(name) = capture(rest) else {
            literal.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        if !literal.is_empty() {
            parts.push(Part::Literal(Box::new(Finder::new(literal.as_bytes()).into_owned())));
            literal.clear();
        } else if let Some(previous) = last_capture {
            return Err(Error::invalid(format!(
                "found consecutive capture '<{previous}><{name}>': invalid expression"
            )));
        }
        parts.push(Part::Capture((name != "_").then(|| name.to_string())));
        last_capture = Some(name);
        rest = &rest[name.len() + 2..];
    }
    if !literal.is_empty() {
        parts.push(Part::Literal(Box::new(Finder::new(literal.as_bytes()).into_owned())));
    }
    Ok(parts)
}

/// The name of the capture at the front of `text`.
fn capture(text: &str) -> Option<&str> {
    let name = &text.strip_prefix('<')?[..text.find('>')?.checked_sub(1)?];
    is_label_name(name).then_some(name)
}

/// The pattern of a line filter.
pub struct LinePattern(Vec<Part>);

impl LinePattern {
    pub fn parse(text: &str) -> Result<Self> {
        let parts = parts(text)?;
        let named = parts.iter().find_map(|p| match p {
            Part::Capture(name) => name.as_ref(),
            Part::Literal(_) => None,
        });
        match named {
            Some(name) => Err(Error::invalid(format!("named captures are not allowed: found '<{name}>'"))),
            None => Ok(LinePattern(parts)),
        }
    }

    /// The literals in order, each wildcard at least one byte; a pattern that ends in a literal must end the line, one that
    /// starts with a literal may start anywhere.
    pub fn matches(&self, line: &[u8]) -> bool {
        let Some(last) = self.0.last() else { return line.is_empty() };
        if line.is_empty() {
            return false;
        }
        let mut at = 0;
        for (i, part) in self.0.iter().enumerate() {
            let Part::Literal(literal) = part else { continue };
            match literal.find(&line[at..]) {
                None => return false,
                Some(0) if i > 0 => return false,
                Some(offset) => at += offset + literal.needle().len(),
            }
        }
        matches!(last, Part::Capture(_)) == (at < line.len())
    }

    /// The literals that a matching line has.
    pub fn literals(text: &str) -> Vec<Vec<u8>> {
        let parts = parts(text).unwrap_or_default();
        parts.iter().filter_map(|p| if let Part::Literal(f) = p { Some(f.needle().to_vec()) } else { None }).collect()
    }
}

/// The pattern of a parser.
pub struct Pattern {
    parts: Vec<(Part, Option<NameId>)>,
}

impl Pattern {
    pub fn compile(text: &str, interest: &mut Interest) -> Result<Self> {
        let parts = parts(text).map_err(|e| e.context("invalid pattern parser"))?;
        let mut seen: Vec<&str> = Vec::new();
        for part in &parts {
            if let Part::Capture(Some(name)) = part {
                if seen.contains(&name.as_str()) {
                    return Err(Error::invalid(format!(
                        "invalid pattern parser: duplicate capture name ({name}): invalid expression"
                    )));
                }
                seen.push(name);
            }
        }
        if seen.is_empty() {
            return Err(Error::invalid("invalid pattern parser: at least one capture is required"));
        }
        let with_name = |part: Part| {
            let name = match &part {
                Part::Capture(Some(name)) => Some(interest.name(name)),
                _ => None,
            };
            (part, name)
        };
        Ok(Pattern { parts: parts.into_iter().map(with_name).collect() })
    }

    /// Whether the line stays. A line that stops to match gives the captures so far, the last one up to the line's end.
    pub fn extract(&self, line: &[u8], labels: &mut WorkingLabels<'_>) -> bool {
        if labels.interest.no_labels() || line.is_empty() {
            return true;
        }
        let mut at = 0;
        let mut parts = &self.parts[..];
        if let [(Part::Literal(literal), _), rest @ ..] = parts {
            if !line.starts_with(literal.needle()) {
                return true;
            }
            at = literal.needle().len();
            parts = rest;
        }
        while let [(_, name), rest @ ..] = parts {
            let found = match rest.first() {
                Some((Part::Literal(literal), _)) => {
                    literal.find(&line[at..]).map(|i| (at + i, at + i + literal.needle().len()))
                }
                _ => None,
            };
            let (end, next) = found.unwrap_or((line.len(), line.len()));
            if let Some(name) = name.and_then(|name| labels.target_id(name)) {
                match labels.extract(name, &go_text(&line[at..end])) {
                    Flow::Continue => {}
                    flow => return flow != Flow::Reject,
                }
            }
            if found.is_none() {
                return true;
            }
            at = next;
            parts = rest.get(1..).unwrap_or(&[]);
        }
        true
    }
}
