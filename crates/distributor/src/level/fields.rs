//! A level field of a JSON or logfmt line, found without parsing the line: the ends of keys are searched for (`:`, `=`),
//! and only a key that is a level field is looked at closely.

use memchr::memchr_iter;

#[derive(Clone, Debug)]
pub struct LevelFields {
    names: Vec<String>,
    json_depth_max: usize,
    /// Which bytes end a name, in any case: all but a few keys are dismissed by their last byte.
    last_byte: [bool; 256],
}

impl LevelFields {
    pub fn new(names: &[String], json_depth_max: usize) -> Self {
        let mut last_byte = [false; 256];
        for b in names.iter().filter_map(|n| n.bytes().last()) {
            last_byte[usize::from(b.to_ascii_lowercase())] = true;
            last_byte[usize::from(b.to_ascii_uppercase())] = true;
        }
        LevelFields { names: names.to_vec(), json_depth_max, last_byte }
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// The value of the line's level field.
    pub fn value_in<'l>(&self, line: &'l [u8]) -> Option<&'l [u8]> {
        match line.trim_ascii() {
            [b'{', .., b'}'] => self.value_in_json(line),
            _ => self.value_in_logfmt(line),
        }
    }

    /// The first string field with a level's name, in objects nested at most as deep as allowed and in no array.
    fn value_in_json<'l>(&self, line: &'l [u8]) -> Option<&'l [u8]> {
        for colon in memchr_iter(b':', line) {
            let Some(key) = line[..colon].trim_ascii_end().strip_suffix(b"\"") else { continue };
            if !key.last().is_some_and(|b| self.last_byte[usize::from(*b)]) {
                continue;
            }
            let Some(start) = self.names.iter().find_map(|n| key.strip_suffix(n.as_bytes())?.strip_suffix(b"\""))
            else {
                continue;
            };
            let Some(value) = line[colon + 1..].trim_ascii_start().strip_prefix(b"\"") else { continue };
            let depth = object_depth(start);
            if depth.is_some_and(|d| self.json_depth_max == 0 || d <= self.json_depth_max) {
                return Some(string(value));
            }
        }
        None
    }

    /// The value of the preferred field; of a repeated field the first. Names are compared without case.
    fn value_in_logfmt<'l>(&self, line: &'l [u8]) -> Option<&'l [u8]> {
        let mut best: Option<(usize, &[u8])> = None;
        for equals in memchr_iter(b'=', line) {
            let before = &line[..equals];
            if !before.last().is_some_and(|b| self.last_byte[usize::from(*b)]) {
                continue;
            }
            let key_start = before.iter().rposition(|b| *b <= b' ' || *b == b'"' || *b == b'=').map_or(0, |i| i + 1);
            let key = &before[key_start..];
            let Some(rank) = self.names.iter().position(|n| key.eq_ignore_ascii_case(n.as_bytes())) else { continue };
            if best.is_some_and(|(r, _)| r <= rank) || inside_quotes(&before[..key_start]) {
                continue;
            }
            let value = &line[equals + 1..];
            best = Some((rank, value.strip_prefix(b"\"").map_or_else(|| word(value), string)));
            if rank == 0 {
                break;
            }
        }
        best.map(|(_, value)| value)
    }
}

/// How many objects are open at the end of `json`; `None` inside an array or a string.
fn object_depth(json: &[u8]) -> Option<usize> {
    let (mut objects, mut arrays) = (0usize, 0usize);
    let mut at = 0;
    while let Some(b) = json.get(at) {
        match b {
            b'"' => at += end_of_string(&json[at + 1..])? + 1,
            b'{' => objects += 1,
            b'}' => objects = objects.saturating_sub(1),
            b'[' => arrays += 1,
            b']' => arrays = arrays.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    (arrays == 0).then_some(objects)
}

/// Where the string that begins at the front of `text` ends: the index of its closing quote.
fn end_of_string(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let found = at + memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[found] == b'"' {
            return Some(found);
        }
        at = found + 2;
    }
}

fn string(text: &[u8]) -> &[u8] {
    &text[..end_of_string(text).unwrap_or(text.len())]
}

fn word(text: &[u8]) -> &[u8] {
    &text[..text.iter().position(|b| *b <= b' ').unwrap_or(text.len())]
}

fn inside_quotes(text: &[u8]) -> bool {
    let mut at = 0;
    while let Some(open) = memchr::memchr(b'"', &text[at..]) {
        match end_of_string(&text[at + open + 1..]) {
            Some(len) => at += open + len + 2,
            None => return true,
        }
    }
    false
}
