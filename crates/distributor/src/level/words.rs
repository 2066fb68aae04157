//! The first level word of a line. Places where a word begins are found in blocks, in a loop that compiles to vector
//! instructions; only those few are compared with the words.

/// Bytes looked at together.
const BLOCK: usize = 32;

/// The level of the first word between delimiters that is a level, in any case.
pub fn first(line: &[u8]) -> Option<&'static str> {
    let mut at = 0;
    let mut previous = b' ';
    while line.len() - at >= BLOCK {
        // One byte before the block is needed; at the line's front there is none and a delimiter stands in.
        let mut window = [0; BLOCK + 1];
        window[0] = previous;
        window[1..].copy_from_slice(&line[at..at + BLOCK]);
        if let Some(level) = first_in_block(line, at, &window) {
            return Some(level);
        }
        at += BLOCK;
        previous = line[at - 1];
    }
    let rest = &line[at..];
    let mut window = [0; BLOCK + 1];
    window[0] = previous;
    window[1..=rest.len()].copy_from_slice(rest);
    first_in_block(line, at, &window)
}

/// `window` holds the bytes of the line from `at - 1` on, padded with zeros.
#[inline]
fn first_in_block(line: &[u8], at: usize, window: &[u8; BLOCK + 1]) -> Option<&'static str> {
    let mut starts = [0u8; BLOCK];
    for i in 0..BLOCK {
        starts[i] = u8::from(is_delimiter(window[i]) & is_initial(window[i + 1] | 0x20));
    }
    for (group, flags) in starts.as_chunks::<8>().0.iter().enumerate() {
        let mut flags = u64::from_le_bytes(*flags);
        while flags != 0 {
            let start = at + group * 8 + flags.trailing_zeros() as usize / 8;
            if let Some(level) = level_at(&line[start..]) {
                return Some(level);
            }
            flags &= flags - 1;
        }
    }
    None
}

#[inline]
fn is_initial(lower: u8) -> bool {
    (lower == b't')
        | (lower == b'd')
        | (lower == b'i')
        | (lower == b'w')
        | (lower == b'e')
        | (lower == b'c')
        | (lower == b'f')
}

/// Blanks and control bytes, quotes, `()*+,`, `:;`, `=`, `[\]`, `{|}`. Angle brackets are none: `<info>` has no level.
#[inline]
fn is_delimiter(b: u8) -> bool {
    (b <= b' ')
        | (b == b'"')
        | (b.wrapping_sub(0x27) <= 0x2c - 0x27)
        | (b.wrapping_sub(b':') <= 1)
        | (b == b'=')
        | (b.wrapping_sub(b'[') <= 2)
        | (b.wrapping_sub(b'{') <= 2)
}

fn level_at(text: &[u8]) -> Option<&'static str> {
    let candidates: &[(&str, &str)] = match text.first()? | 0x20 {
        b't' => &[("trace", "trace")],
        b'd' => &[("debug", "debug")],
        b'i' => &[("info", "info")],
        b'w' => &[("warn", "warn"), ("warning", "warn")],
        b'e' => &[("error", "error"), ("err", "error")],
        b'c' => &[("critical", "critical")],
        b'f' => &[("fatal", "fatal")],
        _ => return None,
    };
    let is_word = |word: &str| {
        text.get(..word.len()).is_some_and(|t| t.eq_ignore_ascii_case(word.as_bytes()))
            && text.get(word.len()).is_none_or(|b| is_delimiter(*b))
    };
    candidates.iter().find(|(word, _)| is_word(word)).map(|(_, level)| *level)
}
