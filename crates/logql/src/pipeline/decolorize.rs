//! `| decolorize`: a line without its ANSI escape sequences.

use memchr::memchr2;

/// Appends `line` without sequences to `out`; `false`, and nothing appended, if it has none.
pub fn strip(line: &[u8], out: &mut Vec<u8>) -> bool {
    let Some(first) = next_sequence(line, 0) else { return false };
    out.extend_from_slice(&line[..first.start]);
    let mut last = first.end;
    while let Some(sequence) = next_sequence(line, last) {
        out.extend_from_slice(&line[last..sequence.start]);
        last = sequence.end;
    }
    out.extend_from_slice(&line[last..]);
    true
}

/// The next sequence from `from` on.
fn next_sequence(line: &[u8], from: usize) -> Option<std::ops::Range<usize>> {
    let mut at = from;
    loop {
        at += memchr2(0x1b, 0xc2, line.get(at..)?)?;
        if let Some(len) = sequence_len(&line[at..]) {
            return Some(at..at + len);
        }
        at += 1;
    }
}

/// The length of the sequence at the front of `text`: an introducer (ESC or the one-character CSI U+009B), brackets and
/// such, then either parameters up to a bell, or at most a few numbers and a final byte.
fn sequence_len(text: &[u8]) -> Option<usize> {
    let mut at = match text {
        [0x1b, ..] => 1,
        [0xc2, 0x9b, ..] => 2,
        _ => return None,
    };
    at += text[at..].iter().take_while(|b| matches!(b, b'[' | b']' | b'(' | b')' | b'#' | b';' | b'?')).count();
    let string = text[at..].iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b';').count();
    if text.get(at + string) == Some(&0x07) {
        return Some(at + string + 1);
    }
    let mut end = at;
    let digits = |from: usize| text[from..].iter().take(4).take_while(|b| b.is_ascii_digit()).count();
    end += digits(end);
    while end > at && text.get(end) == Some(&b';') {
        end += 1 + digits(end + 1);
    }
    // The last digit may itself be the final byte.
    (at..=end).rev().find(|i| text.get(*i).is_some_and(is_final)).map(|i| i + 1)
}

fn is_final(b: &u8) -> bool {
    matches!(b, b'0'..=b'9' | b'A'..=b'P' | b'R' | b'Z' | b'c' | b'f'..=b'n' | b'q' | b'r' | b't' | b'y' | b'=' | b'>' | b'<' | b'~')
}
