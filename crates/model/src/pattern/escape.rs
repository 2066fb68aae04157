//! Single characters of a Go regular expression: escapes read, literals written. It must not know groups or classes.

use super::syntax;
use crate::Result;

/// The character code that the escape at the front of `src` (which starts with a backslash) stands for, and the rest.
/// The code may be a surrogate, which Go allows and no text contains.
pub fn unescape(src: &str) -> Result<(u32, &str)> {
    let mut rest = src[1..].chars();
    let Some(c) = rest.next() else { return Err(syntax("trailing backslash at end of expression", "")) };
    let after = rest.as_str();
    let invalid = |after: &str| Err(syntax("invalid escape sequence", &src[..src.len() - after.len()]));
    match c {
        // A single digit other than zero is a back reference, which RE2 does not have.
        '1'..='7' if !after.starts_with(is_octal) => invalid(after),
        '0'..='7' => Ok(octal(c, after)),
        'x' => hex(src, after),
        'a' => Ok((7, after)),
        'f' => Ok((12, after)),
        'n' => Ok((10, after)),
        'r' => Ok((13, after)),
        't' => Ok((9, after)),
        'v' => Ok((11, after)),
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => Ok((c as u32, after)),
        _ => invalid(after),
    }
}

fn is_octal(c: char) -> bool {
    ('0'..='7').contains(&c)
}

/// Up to two more octal digits after the first.
fn octal(first: char, after: &str) -> (u32, &str) {
    let more = after.chars().take(2).take_while(|c| is_octal(*c)).count();
    let digits = after[..more].chars();
    let value = digits.fold(first as u32 - '0' as u32, |v, c| v * 8 + (c as u32 - '0' as u32));
    (value, &after[more..])
}

/// `\xFF` or `\x{10FFFF}`; `after` starts behind the `x`.
fn hex<'a>(src: &'a str, after: &'a str) -> Result<(u32, &'a str)> {
    let invalid = |end: &str| Err(syntax("invalid escape sequence", &src[..src.len() - end.len()]));
    if let Some(braced) = after.strip_prefix('{') {
        let digits = braced.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(braced.len());
        let value = u32::from_str_radix(&braced[..digits], 16).ok().filter(|v| *v <= char::MAX as u32);
        return match (value, braced[digits..].strip_prefix('}')) {
            (Some(value), Some(rest)) => Ok((value, rest)),
            _ => {
                let next = braced[digits..].chars().next().map_or(0, char::len_utf8);
                invalid(&braced[digits + next..])
            }
        };
    }
    let digits = after.chars().take(2).take_while(char::is_ascii_hexdigit).count();
    if digits < 2 {
        let read: usize = after.chars().take(digits + 1).map(char::len_utf8).sum();
        return invalid(&after[read..]);
    }
    let value = u32::from_str_radix(&after[..2], 16).expect("two hexadecimal digits");
    Ok((value, &after[2..]))
}

/// Appends the literal `c`, escaped so that neither a class nor an expression of the `regex` crate gives it a meaning.
pub fn push_literal(out: &mut String, c: char) {
    if regex_syntax::is_meta_character(c) {
        out.push('\\');
    }
    out.push(c);
}
