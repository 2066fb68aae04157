//! Short text, eight bytes at a time: where its first byte of some kind is, and whether it is some other text. Fields are
//! mostly shorter than what makes a call of a vectorised search worth it. It must not know what the bytes delimit.

const LOW: u64 = u64::from_le_bytes([1; 8]);
const HIGH: u64 = u64::from_le_bytes([0x80; 8]);

/// Sets the high bit of each byte that is `byte`; of those above the first, some others too.
#[inline]
const fn is(word: u64, byte: u8) -> u64 {
    is_below(word ^ u64::from_le_bytes([byte; 8]), 1)
}

/// Sets the high bit of each byte that is less than `limit`, which is at most 128; of those above the first, some others
/// too.
#[inline]
const fn is_below(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(LOW * limit as u64) & !word & HIGH
}

/// Where the first byte is that `of_word` marks in a word and `of_byte` is true for, from `at` on.
#[inline]
fn find(text: &[u8], mut at: usize, of_word: impl Fn(u64) -> u64, of_byte: impl Fn(u8) -> bool) -> Option<usize> {
    while let Some(word) = text.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let marks = of_word(u64::from_le_bytes(*word));
        if marks != 0 {
            return Some(at + marks.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    text.get(at..)?.iter().position(|byte| of_byte(*byte)).map(|i| at + i)
}

/// A quote or a backslash.
#[inline]
pub fn quote_or_backslash(text: &[u8], at: usize) -> Option<usize> {
    find(text, at, |word| is(word, b'"') | is(word, b'\\'), |byte| matches!(byte, b'"' | b'\\'))
}

/// A space or control character, a quote or an equals sign: what ends a key or a bare value of logfmt.
#[inline]
pub fn logfmt_end(text: &[u8], at: usize) -> Option<usize> {
    let ends = |byte| byte <= b' ' || matches!(byte, b'=' | b'"');
    find(text, at, |word| is_below(word, b' ' + 1) | is(word, b'=') | is(word, b'"'), ends)
}

/// Whether two short texts are equal: most names are shorter than what a call of `memcmp` is worth.
#[inline]
pub fn is_same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    match (a.first_chunk::<8>(), b.first_chunk::<8>(), a.last_chunk::<8>(), b.last_chunk::<8>()) {
        (Some(a_first), Some(b_first), Some(a_last), Some(b_last)) if a.len() <= 16 => {
            a_first == b_first && a_last == b_last
        }
        (Some(_), ..) => a == b,
        _ => a.iter().zip(b).all(|(x, y)| x == y),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_found_wherever_it_is_and_whatever_is_around_it() {
        for len in 0..40 {
            for place in 0..=len {
                for fill in [b'a', b'!', b'#', b'<', b'>', b'[', b']', 0x7f, 0x80, 0xa2, 0xdc, 0xff] {
                    let mut text = vec![fill; len];
                    for end in [b'"', b'\\', b'=', b' ', b'\n', 0] {
                        text.truncate(place);
                        text.resize(len, end);
                        let check = |found: Option<usize>, is_end: bool| {
                            assert_eq!(found, (is_end && place < len).then_some(place), "{fill} {end} {place} {len}");
                        };
                        for at in 0..=place {
                            check(quote_or_backslash(&text, at), matches!(end, b'"' | b'\\'));
                            check(logfmt_end(&text, at), end != b'\\');
                        }
                    }
                }
            }
        }
        assert_eq!(quote_or_backslash(b"abc", 4), None);
    }

    #[test]
    fn texts_are_equal_when_every_byte_is() {
        for len in 0..24 {
            let text = vec![b'x'; len];
            assert!(is_same(&text, &text.clone()));
            assert!(!is_same(&text, &vec![b'x'; len + 1]));
            for place in 0..len {
                let mut other = text.clone();
                other[place] = b'y';
                assert!(!is_same(&text, &other), "{len} {place}");
            }
        }
    }
}
