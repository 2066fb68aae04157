//! Reads times in Go's layouts, as `time.ParseInLocation` does.

use super::go_time::{Element, MONTHS, Time, WEEKDAYS, ZoneName, at_offset, days_from_civil, is_offset, next_element};

#[derive(Default)]
struct Parts {
    year: i64,
    month: Option<u8>,
    day: Option<u8>,
    year_day: Option<u16>,
    hour: u32,
    minute: u32,
    second: u32,
    nanos: u32,
    is_pm: Option<bool>,
    offset: Option<i32>,
    zone: Option<String>,
}

/// The time that `text` says in `layout`, in `zone` if it names none; `None` if it does not fit.
pub fn parse(layout: &str, text: &str, zone: &ZoneName) -> Option<Time> {
    let mut parts = Parts::default();
    let (mut layout, mut text) = (layout, text);
    loop {
        let (literal, element, after) = next_element(layout);
        text = skip_literal(text, literal)?;
        let Some(element) = element else { break };
        text = take(element, text, &mut parts)?;
        // A fraction behind the seconds is taken though the layout does not have it.
        let next = next_element(after);
        let layout_has_fraction = next.0.is_empty() && matches!(next.1, Some(Element::Fraction { .. }));
        if matches!(element, Element::Second | Element::Second2) && !layout_has_fraction {
            text = take_fraction(text, &mut parts).unwrap_or(text);
        }
        layout = after;
    }
    if text.is_empty() { finish(parts, zone) } else { None }
}

/// A space of the layout fits any number of spaces.
fn skip_literal<'t>(mut text: &'t str, literal: &str) -> Option<&'t str> {
    let mut rest = literal;
    while let Some(c) = rest.chars().next() {
        if c == ' ' {
            if !text.is_empty() && !text.starts_with(' ') {
                return None;
            }
            (rest, text) = (rest.trim_start_matches(' '), text.trim_start_matches(' '));
            continue;
        }
        text = text.strip_prefix(c)?;
        rest = &rest[c.len_utf8()..];
    }
    Some(text)
}

fn digits(text: &str, min: usize, max: usize) -> Option<(u32, &str)> {
    let len = text.bytes().take(max).take_while(u8::is_ascii_digit).count();
    if len < min {
        return None;
    }
    Some((text[..len].parse().ok()?, &text[len..]))
}

fn name<'t>(text: &'t str, names: &[&str], short: bool) -> Option<(u8, &'t str)> {
    names.iter().enumerate().find_map(|(i, name)| {
        let name = if short { &name[..3] } else { name };
        let head = text.get(..name.len()).filter(|head| head.eq_ignore_ascii_case(name))?;
        Some((i as u8, &text[head.len()..]))
    })
}

fn take<'t>(element: Element, text: &'t str, p: &mut Parts) -> Option<&'t str> {
    let number = |min, max| digits(text, min, max);
    Some(match element {
        Element::Year => {
            let (year, rest) = number(4, 4)?;
            p.year = i64::from(year);
            rest
        }
        Element::Year2 => {
            let (year, rest) = number(2, 2)?;
            p.year = i64::from(year) + if year >= 69 { 1900 } else { 2000 };
            rest
        }
        Element::MonthName | Element::MonthAbbreviation => {
            let (i, rest) = name(text, &MONTHS, element == Element::MonthAbbreviation)?;
            p.month = Some(i + 1);
            rest
        }
        Element::Month | Element::Month2 => {
            let (month, rest) = number(if element == Element::Month2 { 2 } else { 1 }, 2)?;
            p.month = Some(u8::try_from(month).ok().filter(|m| (1..=12).contains(m))?);
            rest
        }
        Element::WeekdayName | Element::WeekdayAbbreviation => {
            name(text, &WEEKDAYS, element == Element::WeekdayAbbreviation)?.1
        }
        Element::Day | Element::Day2 | Element::DaySpace => {
            let text = if element == Element::DaySpace { text.strip_prefix(' ').unwrap_or(text) } else { text };
            let (day, rest) = digits(text, if element == Element::Day2 { 2 } else { 1 }, 2)?;
            p.day = Some(day as u8);
            rest
        }
        Element::YearDay3 | Element::YearDaySpace => {
            let text = if element == Element::YearDaySpace { text.trim_start_matches(' ') } else { text };
            let (day, rest) = digits(text, if element == Element::YearDay3 { 3 } else { 1 }, 3)?;
            p.year_day = Some(day as u16);
            rest
        }
        Element::UpperNoon | Element::LowerNoon => {
            let is_pm = text.get(..2).filter(|t| t.eq_ignore_ascii_case("pm") || t.eq_ignore_ascii_case("am"))?;
            p.is_pm = Some(is_pm.eq_ignore_ascii_case("pm"));
            &text[2..]
        }
        Element::ZoneName => {
            let len = text.bytes().take(5).take_while(u8::is_ascii_uppercase).count();
            if len < 3 {
                return None;
            }
            p.zone = Some(text[..len].to_string());
            &text[len..]
        }
        Element::Offset { .. } => take_offset(element, text, p)?,
        Element::Fraction { digits, is_fixed: true, .. } => {
            let rest = text.strip_prefix(['.', ','])?;
            let (value, after) = (rest.get(..digits)?, &rest[digits..]);
            p.nanos = nanos(value)?;
            after
        }
        Element::Fraction { .. } => take_fraction(text, p).unwrap_or(text),
        _ => take_clock(element, text, p)?,
    })
}

fn take_clock<'t>(element: Element, text: &'t str, p: &mut Parts) -> Option<&'t str> {
    let is_short = matches!(element, Element::Hour12 | Element::Minute | Element::Second);
    let min = if is_short || element == Element::Hour24 { 1 } else { 2 };
    let (value, rest) = digits(text, min, 2)?;
    let (slot, limit) = match element {
        Element::Hour24 => (&mut p.hour, 24),
        Element::Hour12 | Element::Hour12Two => (&mut p.hour, 13),
        Element::Minute | Element::Minute2 => (&mut p.minute, 60),
        _ => (&mut p.second, 60),
    };
    *slot = Some(value).filter(|v| *v < limit)?;
    Some(rest)
}

fn nanos(digits: &str) -> Option<u32> {
    let digits = digits.get(..digits.len().min(9))?;
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    format!("{digits:0<9}").parse().ok()
}

fn take_fraction<'t>(text: &'t str, p: &mut Parts) -> Option<&'t str> {
    let rest = text.strip_prefix(['.', ','])?;
    let len = rest.bytes().take_while(u8::is_ascii_digit).count();
    p.nanos = nanos(&rest[..len])?;
    Some(&rest[len..])
}

fn take_offset<'t>(element: Element, text: &'t str, p: &mut Parts) -> Option<&'t str> {
    let Element::Offset { z, colon, minutes, seconds } = element else { return None };
    if z && let Some(rest) = text.strip_prefix('Z') {
        p.offset = Some(0);
        return Some(rest);
    }
    let negative = text.starts_with('-');
    let mut rest = text.strip_prefix(['+', '-'])?;
    let mut total = 0i32;
    for (i, (wanted, scale)) in [(true, 3600), (minutes, 60), (seconds, 1)].into_iter().enumerate() {
        if !wanted {
            continue;
        }
        if colon && i > 0 {
            rest = rest.strip_prefix(':')?;
        }
        let (value, after) = digits(rest, 2, 2)?;
        total += value as i32 * scale;
        rest = after;
    }
    p.offset = Some(if negative { -total } else { total }).filter(|o| is_offset(*o));
    p.offset?;
    Some(rest)
}

fn finish(mut p: Parts, zone: &ZoneName) -> Option<Time> {
    match p.is_pm {
        Some(true) if p.hour < 12 => p.hour += 12,
        Some(false) if p.hour == 12 => p.hour = 0,
        _ => {}
    }
    let days = match p.year_day {
        Some(day) => {
            let length = days_from_civil(p.year + 1, 1, 1) - days_from_civil(p.year, 1, 1);
            Some(i64::from(day)).filter(|d| (1..=length).contains(d))? - 1 + days_from_civil(p.year, 1, 1)
        }
        None => {
            let (month, day) = (p.month.unwrap_or(1), p.day.unwrap_or(1));
            let start = days_from_civil(p.year, month, 1);
            let (next_year, next) = if month == 12 { (p.year + 1, 1) } else { (p.year, month + 1) };
            if i64::from(day) < 1 || i64::from(day) > days_from_civil(next_year, next, 1) - start {
                return None;
            }
            start + i64::from(day) - 1
        }
    };
    let seconds = days * 86_400 + i64::from(p.hour * 3600 + p.minute * 60 + p.second);
    Some(match (p.offset, p.zone) {
        (Some(offset), name) => at_offset(seconds, p.nanos, offset, name.unwrap_or_default()),
        (None, Some(name)) => at_offset(seconds, p.nanos, 0, name),
        (None, None) => zone.at_wall(seconds, p.nanos),
    })
}
