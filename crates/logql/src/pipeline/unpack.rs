//! `| unpack`: a line that a `pack` stage made of labels and the line `_entry`.

use super::json::{JSON_ERROR, push_value};
use super::json_scan::{self, Kind, Malformed};
use super::labels::{Flow, WorkingLabels};
use std::ops::Range;

const ENTRY: &[u8] = b"_entry";

/// Buffers that are reused from line to line.
#[derive(Default)]
pub struct UnpackScratch {
    text: String,
    key: String,
    fields: Vec<(Range<usize>, Range<usize>)>,
}

/// What became of the line.
#[derive(Debug, PartialEq, Eq)]
pub enum Unpacked {
    /// The packed line was appended.
    Line,
    Unchanged,
    Dropped,
}

/// Labels are set only if there is an `_entry`, which is appended to `out`.
pub fn extract(
    line: &[u8],
    labels: &mut WorkingLabels<'_>,
    scratch: &mut UnpackScratch,
    out: &mut Vec<u8>,
) -> Unpacked {
    if line.is_empty() || labels.interest.no_labels() {
        return Unpacked::Unchanged;
    }
    if line[0] != b'{' {
        labels.set_error(JSON_ERROR, "expecting json object(6), but it is not");
        return Unpacked::Unchanged;
    }
    scratch.text.clear();
    scratch.fields.clear();
    let entry = match fields(line, scratch) {
        Ok(Some(entry)) => entry,
        Ok(None) => return Unpacked::Unchanged,
        Err(malformed) => {
            labels.set_error(JSON_ERROR, malformed.text());
            return Unpacked::Unchanged;
        }
    };
    out.extend_from_slice(&scratch.text.as_bytes()[entry]);
    let UnpackScratch { text, fields, .. } = scratch;
    for (i, (key, value)) in fields.iter().enumerate() {
        let is_last = !fields[i + 1..].iter().any(|(k, _)| text[k.clone()] == text[key.clone()]);
        let Some(name) = labels.target(&text.as_bytes()[key.clone()]).filter(|_| is_last) else { continue };
        match labels.extract(name, &text[value.clone()]) {
            Flow::Continue => {}
            Flow::Done => break,
            Flow::Reject => return Unpacked::Dropped,
        }
    }
    Unpacked::Line
}

/// Collects the string fields of an object into `scratch`; answers where the text of `_entry` is.
fn fields(line: &[u8], scratch: &mut UnpackScratch) -> Result<Option<Range<usize>>, Malformed> {
    let mut entry = None;
    let mut at = json_scan::next_token(line, 1).ok_or(Malformed::Json)?;
    while line[at] != b'}' {
        if line[at] != b'"' {
            return Err(Malformed::Object);
        }
        let (key_end, escaped) = json_scan::string_end(line, at + 1).ok_or(Malformed::Json)?;
        let key = &line[at + 1..key_end - 1];
        scratch.key.clear();
        if escaped && !json_scan::unescape(key, &mut scratch.key) {
            return Err(Malformed::Escape);
        }
        if !escaped {
            json_scan::push_text(key, &mut scratch.key);
        }
        let colon = json_scan::next_token(line, key_end).filter(|i| line[*i] == b':').ok_or(Malformed::Json)?;
        let value_at = json_scan::next_token(line, colon + 1).ok_or(Malformed::Json)?;
        let (value, end) = json_scan::value(line, value_at)?;
        if value.kind == Kind::String {
            let start = scratch.text.len();
            if scratch.key.as_bytes() == ENTRY {
                if value.escaped && !json_scan::unescape(value.text, &mut scratch.text) {
                    return Err(Malformed::Escape);
                }
                if !value.escaped {
                    json_scan::push_text(value.text, &mut scratch.text);
                }
                entry = Some(start..scratch.text.len());
            } else {
                scratch.text.push_str(&scratch.key);
                let key = start..scratch.text.len();
                push_value(value, &mut scratch.text);
                scratch.fields.push((key.clone(), key.end..scratch.text.len()));
            }
        }
        at = json_scan::next_token(line, end).ok_or(Malformed::Array)?;
        match line[at] {
            b'}' => {}
            b',' => at = json_scan::next_token(line, at + 1).ok_or(Malformed::Array)?,
            _ => return Err(Malformed::Object),
        }
    }
    Ok(entry)
}
