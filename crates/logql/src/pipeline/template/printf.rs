//! Go's `fmt.Sprintf` over template values: verbs, flags, width, precision, and the marks it leaves for mistakes.

use super::value::{Value, general, special};
use model::quote::quote;

/// The largest width and precision, as in Go.
const WIDTH_MAX: usize = 1_000_000;

#[derive(Default)]
struct Flags {
    plus: bool,
    minus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// Appends `format` with its verbs replaced; stops growing beyond `bytes_max`.
pub fn sprintf(format: &[u8], args: &[Value<'_>], out: &mut Vec<u8>, bytes_max: usize) {
    let mut next = 0;
    let mut rest = format;
    while let Some(i) = memchr::memchr(b'%', rest) {
        out.extend_from_slice(&rest[..i]);
        if out.len() > bytes_max {
            return;
        }
        rest = &rest[i + 1..];
        let mut flags = Flags::default();
        rest = flags.read(rest, args, &mut next, out);
        let verb_len = utf8_len(rest);
        if verb_len == 0 {
            out.extend_from_slice(b"%!(NOVERB)");
            break;
        }
        let verb = String::from_utf8_lossy(&rest[..verb_len]).chars().next().unwrap_or('?');
        rest = &rest[verb_len..];
        if verb == '%' {
            out.push(b'%');
        } else if let Some(arg) = args.get(next) {
            next += 1;
            flags.verb(verb, arg, out);
        } else {
            out.extend_from_slice(format!("%!{verb}(MISSING)").as_bytes());
        }
    }
    out.extend_from_slice(rest);
    if next < args.len() {
        out.extend_from_slice(b"%!(EXTRA ");
        for (i, arg) in args[next..].iter().enumerate() {
            if i > 0 {
                out.extend_from_slice(b", ");
            }
            typed(arg, out);
        }
        out.push(b')');
    }
}

fn utf8_len(rest: &[u8]) -> usize {
    match rest.first() {
        None => 0,
        Some(b) if *b < 0x80 => 1,
        Some(_) => rest.iter().skip(1).take(3).take_while(|b| **b & 0xc0 == 0x80).count() + 1,
    }
}

/// `type=value`
fn typed(arg: &Value<'_>, out: &mut Vec<u8>) {
    if !matches!(arg, Value::Nil) {
        out.extend_from_slice(arg.type_name().as_bytes());
        out.push(b'=');
    }
    arg.print(out);
}

impl Flags {
    fn read<'f>(&mut self, mut rest: &'f [u8], args: &[Value<'_>], next: &mut usize, out: &mut Vec<u8>) -> &'f [u8] {
        loop {
            match rest.first() {
                Some(b'+') => self.plus = true,
                Some(b'-') => self.minus = true,
                Some(b'#') => self.sharp = true,
                Some(b' ') => self.space = true,
                Some(b'0') => self.zero = true,
                _ => break,
            }
            rest = &rest[1..];
        }
        let mut number = |rest: &mut &'f [u8], what: &[u8]| -> Option<i64> {
            if rest.first() == Some(&b'*') {
                *rest = &rest[1..];
                let value = args.get(*next).and_then(Value::as_int).filter(|v| v.unsigned_abs() <= WIDTH_MAX as u64);
                *next += 1;
                if value.is_none() {
                    out.extend_from_slice(what);
                }
                return value;
            }
            let len = rest.iter().take_while(|b| b.is_ascii_digit()).count();
            let value = std::str::from_utf8(&rest[..len]).ok().and_then(|d| d.parse::<i64>().ok());
            *rest = &rest[len..];
            value.filter(|v| *v <= WIDTH_MAX as i64)
        };
        if let Some(width) = number(&mut rest, b"%!(BADWIDTH)") {
            self.minus |= width < 0;
            self.width = Some(width.unsigned_abs() as usize);
        }
        if rest.first() == Some(&b'.') {
            rest = &rest[1..];
            self.precision = Some(number(&mut rest, b"%!(BADPREC)").unwrap_or(0).max(0) as usize);
        }
        rest
    }

    fn verb(&self, verb: char, arg: &Value<'_>, out: &mut Vec<u8>) {
        match (verb, arg) {
            ('T', _) => self.pad(arg.type_name().as_bytes(), out),
            ('v', Value::Bool(_)) | ('t', Value::Bool(_)) => self.printed(arg, out),
            ('v', Value::Int(i)) => self.integer(*i, 10, false, out),
            ('v' | 'g' | 'G' | 'e' | 'E' | 'f' | 'F', Value::Float(f)) => self.float(*f, verb, out),
            ('d', _) if arg.as_int().is_some() => self.integer(arg.as_int().unwrap_or_default(), 10, false, out),
            ('b' | 'o' | 'x' | 'X', _) if arg.as_int().is_some() => {
                let radix = match verb {
                    'b' => 2,
                    'o' => 8,
                    _ => 16,
                };
                self.integer(arg.as_int().unwrap_or_default(), radix, verb == 'X', out);
            }
            ('c' | 'q' | 'U', Value::Int(i)) => self.character(*i, verb, out),
            ('s' | 'v' | 'q' | 'x' | 'X', Value::Text(text)) => self.text(text, verb, out),
            ('v' | 's', Value::Nil) => {
                self.pad(if verb == 'v' { b"<nil>" } else { b"%!s(<nil>)" }, out);
            }
            ('v' | 's', Value::Time(_) | Value::Duration(_) | Value::Month(_) | Value::Weekday(_)) => {
                self.printed(arg, out)
            }
            ('v', _) => self.printed(arg, out),
            (_, Value::List(items)) => {
                out.push(b'[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(b' ');
                    }
                    self.verb(verb, item, out);
                }
                out.push(b']');
            }
            _ => {
                out.extend_from_slice(format!("%!{verb}(").as_bytes());
                if matches!(arg, Value::Nil) {
                    out.extend_from_slice(b"<nil>")
                } else {
                    typed(arg, out)
                }
                out.push(b')');
            }
        }
    }

    fn printed(&self, arg: &Value<'_>, out: &mut Vec<u8>) {
        let mut text = Vec::new();
        arg.print(&mut text);
        self.pad(&text, out);
    }

    /// Widths count characters.
    fn pad(&self, text: &[u8], out: &mut Vec<u8>) {
        let chars = String::from_utf8_lossy(text).chars().count();
        let fill = self.width.unwrap_or(0).saturating_sub(chars);
        let with = if self.zero && !self.minus { b'0' } else { b' ' };
        if !self.minus {
            out.resize(out.len() + fill, with);
        }
        out.extend_from_slice(text);
        if self.minus {
            out.resize(out.len() + fill, b' ');
        }
    }

    /// Pads a number: zeros go behind the sign.
    fn pad_number(&self, sign: &str, digits: &str, out: &mut Vec<u8>) {
        let fill = self.width.unwrap_or(0).saturating_sub(sign.len() + digits.len());
        let zeros = self.zero && !self.minus && self.precision.is_none();
        match (self.minus, zeros) {
            (true, _) => out.extend_from_slice(format!("{sign}{digits}{}", " ".repeat(fill)).as_bytes()),
            (false, true) => out.extend_from_slice(format!("{sign}{}{digits}", "0".repeat(fill)).as_bytes()),
            (false, false) => out.extend_from_slice(format!("{}{sign}{digits}", " ".repeat(fill)).as_bytes()),
        }
    }

    fn sign(&self, negative: bool) -> &'static str {
        match (negative, self.plus, self.space) {
            (true, ..) => "-",
            (false, true, _) => "+",
            (false, false, true) => " ",
            _ => "",
        }
    }

    fn integer(&self, i: i64, radix: u32, upper: bool, out: &mut Vec<u8>) {
        let magnitude = i.unsigned_abs();
        let mut digits = match radix {
            2 => format!("{magnitude:b}"),
            8 => format!("{magnitude:o}"),
            16 if upper => format!("{magnitude:X}"),
            16 => format!("{magnitude:x}"),
            _ => magnitude.to_string(),
        };
        if let Some(precision) = self.precision {
            digits = format!("{digits:0>precision$}");
        }
        let prefix = match radix {
            2 if self.sharp => "0b",
            8 if self.sharp => "0",
            16 if self.sharp && upper => "0X",
            16 if self.sharp => "0x",
            _ => "",
        };
        self.pad_number(&format!("{}{prefix}", self.sign(i < 0)), &digits, out);
    }

    fn float(&self, f: f64, verb: char, out: &mut Vec<u8>) {
        let magnitude = f.abs();
        let negative = f.is_sign_negative() && !f.is_nan();
        if let Some(text) = special(magnitude) {
            let sign = if text == "NaN" {
                ""
            } else if negative {
                "-"
            } else {
                "+"
            };
            let plain = Flags { width: self.width, minus: self.minus, ..Flags::default() };
            return plain.pad_number(sign, text.trim_start_matches('+'), out);
        }
        let digits = match verb {
            'f' | 'F' => format!("{magnitude:.*}", self.precision.unwrap_or(6)),
            'e' | 'E' => exponential(magnitude, self.precision.unwrap_or(6), verb),
            'G' => general(magnitude, self.precision, 'E'),
            _ => general(magnitude, self.precision, 'e'),
        };
        let padded = Flags { precision: None, ..*self };
        padded.pad_number(self.sign(negative), &digits, out);
    }

    fn character(&self, i: i64, verb: char, out: &mut Vec<u8>) {
        let c = u32::try_from(i).ok().and_then(char::from_u32).unwrap_or('\u{fffd}');
        let text = match verb {
            'U' => format!("U+{:04X}", i),
            'q' => format!("'{c}'"),
            _ => c.to_string(),
        };
        self.pad(text.as_bytes(), out);
    }

    fn text(&self, text: &[u8], verb: char, out: &mut Vec<u8>) {
        let shown = String::from_utf8_lossy(text);
        let cut: &[u8] = match (self.precision, verb) {
            (Some(p), 's' | 'v' | 'q') if shown.chars().count() > p => {
                &text[..shown.char_indices().nth(p).map_or(text.len(), |(i, _)| i.min(text.len()))]
            }
            (Some(p), 'x' | 'X') => &text[..p.min(text.len())],
            _ => text,
        };
        match verb {
            'q' if self.sharp && !cut.contains(&b'`') => {
                self.pad(format!("`{}`", String::from_utf8_lossy(cut)).as_bytes(), out);
            }
            'q' => self.pad(quote(&String::from_utf8_lossy(cut)).as_bytes(), out),
            'x' | 'X' => {
                let hex = |b: &u8| if verb == 'x' { format!("{b:02x}") } else { format!("{b:02X}") };
                let bytes: Vec<String> = cut.iter().map(hex).collect();
                self.pad(bytes.join(if self.space { " " } else { "" }).as_bytes(), out);
            }
            _ => self.pad(cut, out),
        }
    }
}

fn exponential(f: f64, precision: usize, verb: char) -> String {
    let text = format!("{f:.precision$e}");
    let (mantissa, power) = text.split_once('e').unwrap_or((&text, "0"));
    let power: i32 = power.parse().unwrap_or_default();
    format!("{mantissa}{verb}{}{:02}", if power < 0 { '-' } else { '+' }, power.abs())
}
