//! `| json` without expressions: every scalar of an object becomes a label, nested names joined by `_`.
//! Only fields that the query needs are stored, and the walk stops once all are there.

use super::json_scan::{self, Kind, Malformed, OBJECT_DEPTH_MAX, Value};
use super::labels::{Flow, WorkingLabels};

pub const JSON_ERROR: &str = "JSONParserErr";

/// Buffers that are reused from line to line.
#[derive(Default)]
pub struct JsonScratch {
    /// The names of the objects around a field, joined by `_`.
    path: Vec<u8>,
    key: String,
}

/// Why a walk ended before the end of the document.
enum Stop {
    Malformed(Malformed),
    Flow(Flow),
}

impl From<Malformed> for Stop {
    fn from(m: Malformed) -> Self {
        Stop::Malformed(m)
    }
}

/// Whether the line stays.
pub fn extract(line: &[u8], labels: &mut WorkingLabels<'_>, scratch: &mut JsonScratch) -> bool {
    if line.is_empty() || labels.interest.no_labels() {
        return true;
    }
    scratch.path.clear();
    let walk = Walk { line, labels, scratch };
    match walk.document() {
        Ok(()) | Err(Stop::Flow(Flow::Done | Flow::Continue)) => true,
        Err(Stop::Flow(Flow::Reject)) => false,
        Err(Stop::Malformed(m)) => {
            labels.set_error(JSON_ERROR, m.text());
            true
        }
    }
}

struct Walk<'w, 'p> {
    line: &'w [u8],
    labels: &'w mut WorkingLabels<'p>,
    scratch: &'w mut JsonScratch,
}

impl Walk<'_, '_> {
    fn document(mut self) -> Result<(), Stop> {
        let start = json_scan::next_token(self.line, 0).ok_or(Malformed::Object)?;
        self.object(start, 0).map(|_| ())
    }

    /// Walks the object at `at`; answers the position after it.
    fn object(&mut self, at: usize, depth: usize) -> Result<usize, Stop> {
        let line = self.line;
        if line[at] != b'{' || depth >= OBJECT_DEPTH_MAX {
            return Err(Malformed::Object.into());
        }
        let mut at = json_scan::next_token(line, at + 1).ok_or(Malformed::Json)?;
        if line[at] == b'}' {
            return Ok(at + 1);
        }
        loop {
            match line[at] {
                b'"' => {}
                b'}' => return Ok(at + 1),
                _ => return Err(Malformed::Object.into()),
            }
            let (key_end, escaped) = json_scan::string_end(line, at + 1).ok_or(Malformed::Json)?;
            let key = at + 1..key_end - 1;
            let colon = json_scan::next_token(line, key_end).filter(|i| line[*i] == b':').ok_or(Malformed::Json)?;
            let value_at = json_scan::next_token(line, colon + 1).ok_or(Malformed::Json)?;
            at = self.field(key, escaped, value_at, depth)?;
            at = json_scan::next_token(line, at).ok_or(Malformed::Array)?;
            match line[at] {
                b'}' => return Ok(at + 1),
                b',' => at = json_scan::next_token(line, at + 1).ok_or(Malformed::Array)?,
                _ => return Err(Malformed::Object.into()),
            }
        }
    }

    /// Takes one field; answers the position after its value.
    fn field(&mut self, key: std::ops::Range<usize>, escaped: bool, at: usize, depth: usize) -> Result<usize, Stop> {
        let mut key = &self.line[key];
        if escaped {
            self.scratch.key.clear();
            if !json_scan::unescape(key, &mut self.scratch.key) {
                return Err(Malformed::Escape.into());
            }
            key = &[];
        }
        let outer = self.scratch.path.len();
        if depth > 0 {
            self.scratch.path.push(b'_');
        }
        if escaped {
            self.scratch.path.extend_from_slice(self.scratch.key.as_bytes());
        } else {
            self.scratch.path.extend_from_slice(key);
        }
        let end = if self.line[at] == b'{' { self.nested(at, depth) } else { self.scalar(at) };
        self.scratch.path.truncate(outer);
        end
    }

    fn nested(&mut self, at: usize, depth: usize) -> Result<usize, Stop> {
        if !self.labels.interest.is_prefix_required(&self.scratch.path) {
            return Ok(json_scan::block_end(self.line, at, b'{', b'}').ok_or(Malformed::Object)?);
        }
        let mark = self.labels.mark();
        let end = self.object(at, depth + 1);
        // An object whose end is missing gives no label at all, however much of it is well formed.
        let is_cut = depth == 0
            && matches!(end, Err(Stop::Malformed(_)))
            && json_scan::block_end(self.line, at, b'{', b'}').is_none();
        if is_cut {
            self.labels.rollback(mark);
            return Err(Malformed::Object.into());
        }
        end
    }

    fn scalar(&mut self, at: usize) -> Result<usize, Stop> {
        let (value, end) = json_scan::value(self.line, at)?;
        if matches!(value.kind, Kind::Null | Kind::Array | Kind::Object) {
            return Ok(end);
        }
        let Some(name) = self.labels.target(&self.scratch.path) else { return Ok(end) };
        match self.labels.extract_with(name, |out| push_value(value, out)) {
            Flow::Continue => Ok(end),
            flow => Err(Stop::Flow(flow)),
        }
    }
}

/// Appends a value as a label has it; a string with a malformed escape is empty.
pub fn push_value(value: Value<'_>, out: &mut String) {
    if value.escaped {
        json_scan::unescape(value.text, out);
    } else {
        json_scan::push_text(value.text, out);
    }
}
