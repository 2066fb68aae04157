//! Go's time values: an instant in a zone, its layouts and its printing.

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use std::fmt;

pub const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Seconds of 0001-01-01T00:00:00Z, which Go calls the zero time.
const ZERO_SECONDS: i64 = -62_135_596_800;
const NANOS: i64 = 1_000_000_000;

#[derive(Clone, Debug)]
pub struct Time {
    pub seconds: i64,
    pub nanos: u32,
    zone: Zone,
}

#[derive(Clone, Debug)]
enum Zone {
    /// Also Go's local zone: the server runs in UTC.
    Utc,
    Named(TimeZone),
    /// Seconds east, and an abbreviation if there is one.
    Fixed(i32, String),
}

/// The calendar's view of an instant in its zone.
pub struct Civil {
    pub year: i64,
    pub month: u8,
    pub day: u8,
    pub hour: u8,
    pub minute: u8,
    pub second: u8,
    pub weekday: u8,
    pub year_day: u16,
    offset: i32,
    zone: String,
}

impl Time {
    pub fn zero() -> Self {
        Time { seconds: ZERO_SECONDS, nanos: 0, zone: Zone::Utc }
    }

    pub fn from_ns(ns: i64) -> Self {
        Time { seconds: ns.div_euclid(NANOS), nanos: ns.rem_euclid(NANOS) as u32, zone: Zone::Utc }
    }

    pub fn from_seconds(seconds: i64) -> Self {
        Time { seconds, nanos: 0, zone: Zone::Utc }
    }

    /// Nanoseconds since the epoch; wraps outside of what 64 bits can say, as Go's does.
    pub fn unix_ns(&self) -> i64 {
        self.seconds.wrapping_mul(NANOS).wrapping_add(i64::from(self.nanos))
    }

    pub fn is_zero(&self) -> bool {
        self.seconds == ZERO_SECONDS && self.nanos == 0
    }

    pub fn in_utc(&self) -> Self {
        Time { zone: Zone::Utc, ..self.clone() }
    }

    pub fn plus_ns(&self, ns: i64) -> Self {
        let total = i64::from(self.nanos) + ns.rem_euclid(NANOS);
        let seconds = self.seconds.saturating_add(ns.div_euclid(NANOS)).saturating_add(total / NANOS);
        Time { seconds, nanos: (total % NANOS) as u32, zone: self.zone.clone() }
    }

    /// The same wall clock so many years, months and days later; out-of-range parts carry over.
    pub fn plus_date(&self, years: i64, months: i64, days: i64) -> Self {
        let civil = self.civil();
        let month = i64::from(civil.month) - 1 + months.clamp(-1_000_000, 1_000_000);
        let year = civil.year + years.clamp(-100_000, 100_000) + month.div_euclid(12);
        let day = days_from_civil(year, month.rem_euclid(12) as u8 + 1, 1) + i64::from(civil.day) - 1;
        let day = day + days.clamp(-100_000_000, 100_000_000);
        let seconds =
            day * 86_400 + i64::from(civil.hour) * 3600 + i64::from(civil.minute) * 60 + i64::from(civil.second);
        let mut time = Time { seconds, nanos: self.nanos, zone: self.zone.clone() };
        time.seconds -= i64::from(time.offset_of_wall());
        time
    }

    /// The offset in force when the wall clock shows `self.seconds` read as if it were UTC.
    fn offset_of_wall(&self) -> i32 {
        let mut guess = self.clone();
        guess.seconds = self.seconds.saturating_sub(i64::from(self.offset().0));
        guess.offset().0
    }

    fn offset(&self) -> (i32, String) {
        match &self.zone {
            Zone::Utc => (0, "UTC".into()),
            Zone::Fixed(offset, name) => (*offset, name.clone()),
            Zone::Named(zone) => match Timestamp::new(self.seconds, self.nanos as i32) {
                Ok(at) => {
                    let info = zone.to_offset_info(at);
                    (info.offset().seconds(), info.abbreviation().to_string())
                }
                Err(_) => (0, "UTC".into()),
            },
        }
    }

    pub fn civil(&self) -> Civil {
        let (offset, zone) = self.offset();
        let local = self.seconds.saturating_add(i64::from(offset));
        let (days, rest) = (local.div_euclid(86_400), local.rem_euclid(86_400));
        let (year, month, day) = civil_from_days(days);
        Civil {
            year,
            month,
            day,
            hour: (rest / 3600) as u8,
            minute: (rest / 60 % 60) as u8,
            second: (rest % 60) as u8,
            weekday: (days + 4).rem_euclid(7) as u8,
            year_day: (days - days_from_civil(year, 1, 1) + 1) as u16,
            offset,
            zone,
        }
    }

    /// The time in Go's `layout`.
    pub fn format(&self, layout: &str) -> String {
        let civil = self.civil();
        let mut out = String::with_capacity(layout.len() + 8);
        let mut rest = layout;
        while !rest.is_empty() {
            let (literal, element, after) = next_element(rest);
            out.push_str(literal);
            if let Some(element) = element {
                self.push_element(element, &civil, &mut out);
            }
            rest = after;
        }
        out
    }

    fn push_element(&self, element: Element, c: &Civil, out: &mut String) {
        let hour12 = (c.hour + 11) % 12 + 1;
        let month = MONTHS[usize::from(c.month) - 1];
        let weekday = WEEKDAYS[usize::from(c.weekday)];
        let text = match element {
            Element::Year => format!("{:04}", c.year),
            Element::Year2 => format!("{:02}", c.year.rem_euclid(100)),
            Element::MonthName => month.to_string(),
            Element::MonthAbbreviation => month[..3].to_string(),
            Element::Month => c.month.to_string(),
            Element::Month2 => format!("{:02}", c.month),
            Element::WeekdayName => weekday.to_string(),
            Element::WeekdayAbbreviation => weekday[..3].to_string(),
            Element::Day => c.day.to_string(),
            Element::Day2 => format!("{:02}", c.day),
            Element::DaySpace => format!("{:2}", c.day),
            Element::YearDay3 => format!("{:03}", c.year_day),
            Element::YearDaySpace => format!("{:3}", c.year_day),
            Element::Hour24 => format!("{:02}", c.hour),
            Element::Hour12 => hour12.to_string(),
            Element::Hour12Two => format!("{hour12:02}"),
            Element::Minute => c.minute.to_string(),
            Element::Minute2 => format!("{:02}", c.minute),
            Element::Second => c.second.to_string(),
            Element::Second2 => format!("{:02}", c.second),
            Element::UpperNoon => if c.hour >= 12 { "PM" } else { "AM" }.to_string(),
            Element::LowerNoon => if c.hour >= 12 { "pm" } else { "am" }.to_string(),
            Element::ZoneName if c.zone.is_empty() => offset_text(c.offset, false, false, true),
            Element::ZoneName => c.zone.clone(),
            Element::Offset { z: true, .. } if c.offset == 0 => "Z".into(),
            Element::Offset { colon, seconds, minutes, .. } => offset_text(c.offset, colon, seconds, minutes),
            Element::Fraction { digits, separator, is_fixed } => fraction_text(self.nanos, digits, separator, is_fixed),
        };
        out.push_str(&text);
    }
}

fn offset_text(offset: i32, colon: bool, seconds: bool, minutes: bool) -> String {
    let sign = if offset < 0 { '-' } else { '+' };
    let (h, m, s) = (offset.abs() / 3600, offset.abs() / 60 % 60, offset.abs() % 60);
    let separator = if colon { ":" } else { "" };
    let mut text = format!("{sign}{h:02}");
    if minutes {
        text += &format!("{separator}{m:02}");
    }
    if seconds {
        text += &format!("{separator}{s:02}");
    }
    text
}

fn fraction_text(nanos: u32, digits: usize, separator: char, is_fixed: bool) -> String {
    let all = format!("{nanos:09}");
    let mut text = &all[..digits.min(9)];
    if !is_fixed {
        text = text.trim_end_matches('0');
        if text.is_empty() {
            return String::new();
        }
    }
    format!("{separator}{text}")
}

/// `2006-01-02 15:04:05.999999999 -0700 MST`
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.format("2006-01-02 15:04:05.999999999 -0700 MST"))
    }
}

/// A part of a layout that stands for a part of a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Element {
    Year,
    Year2,
    MonthName,
    MonthAbbreviation,
    Month,
    Month2,
    WeekdayName,
    WeekdayAbbreviation,
    Day,
    Day2,
    DaySpace,
    YearDay3,
    YearDaySpace,
    Hour24,
    Hour12,
    Hour12Two,
    Minute,
    Minute2,
    Second,
    Second2,
    UpperNoon,
    LowerNoon,
    ZoneName,
    /// `z`: UTC is written `Z`.
    Offset {
        z: bool,
        colon: bool,
        minutes: bool,
        seconds: bool,
    },
    Fraction {
        digits: usize,
        separator: char,
        is_fixed: bool,
    },
}

const fn offset(z: bool, colon: bool, minutes: bool, seconds: bool) -> Element {
    Element::Offset { z, colon, minutes, seconds }
}

/// Longer spellings first.
const ELEMENTS: [(&str, Element); 34] = [
    ("January", Element::MonthName),
    ("Jan", Element::MonthAbbreviation),
    ("Monday", Element::WeekdayName),
    ("Mon", Element::WeekdayAbbreviation),
    ("MST", Element::ZoneName),
    ("2006", Element::Year),
    ("002", Element::YearDay3),
    ("01", Element::Month2),
    ("02", Element::Day2),
    ("03", Element::Hour12Two),
    ("04", Element::Minute2),
    ("05", Element::Second2),
    ("06", Element::Year2),
    ("15", Element::Hour24),
    ("1", Element::Month),
    ("2", Element::Day),
    ("__2", Element::YearDaySpace),
    ("_2006", Element::Year),
    ("_2", Element::DaySpace),
    ("3", Element::Hour12),
    ("4", Element::Minute),
    ("5", Element::Second),
    ("PM", Element::UpperNoon),
    ("pm", Element::LowerNoon),
    ("-07:00:00", offset(false, true, true, true)),
    ("-070000", offset(false, false, true, true)),
    ("-07:00", offset(false, true, true, false)),
    ("-0700", offset(false, false, true, false)),
    ("-07", offset(false, false, false, false)),
    ("Z07:00:00", offset(true, true, true, true)),
    ("Z070000", offset(true, false, true, true)),
    ("Z07:00", offset(true, true, true, false)),
    ("Z0700", offset(true, false, true, false)),
    ("Z07", offset(true, false, false, false)),
];

/// The literal text up to the next element, the element, and what follows it.
pub fn next_element(layout: &str) -> (&str, Option<Element>, &str) {
    for (i, _) in layout.char_indices() {
        let rest = &layout[i..];
        if let Some((len, element)) = fraction_element(layout, i) {
            return (&layout[..i], Some(element), &rest[len..]);
        }
        let Some((text, element)) = ELEMENTS.iter().find(|(text, _)| rest.starts_with(text)) else { continue };
        match *text {
            // `_2006` is an underscore and a year.
            "_2006" => return (&layout[..=i], Some(Element::Year), &rest[5..]),
            "Jan" | "Mon" if rest[3..].starts_with(|c: char| c.is_ascii_lowercase()) => continue,
            _ => return (&layout[..i], Some(*element), &rest[text.len()..]),
        }
    }
    (layout, None, "")
}

/// `.000` or `,999` behind which no digit stands.
fn fraction_element(layout: &str, at: usize) -> Option<(usize, Element)> {
    let rest = &layout[at..];
    let separator = rest.chars().next().filter(|c| matches!(c, '.' | ','))?;
    let digit = rest[1..].chars().next().filter(|c| matches!(c, '0' | '9'))?;
    let digits = rest[1..].chars().take_while(|c| *c == digit).count();
    if rest[1 + digits..].starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    Some((1 + digits, Element::Fraction { digits, separator, is_fixed: digit == '0' }))
}

/// Days since the epoch of a date in the proleptic Gregorian calendar.
pub fn days_from_civil(year: i64, month: u8, day: u8) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let of_era = y.rem_euclid(400);
    let month = (i64::from(month) + 9) % 12;
    let of_year = (153 * month + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, u8, u8) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let of_era = z.rem_euclid(146_097);
    let years = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * years + years / 4 - years / 100);
    let month = (5 * of_year + 2) / 153;
    let day = (of_year - (153 * month + 2) / 5 + 1) as u8;
    let month = if month < 10 { month + 3 } else { month - 9 } as u8;
    (years + era * 400 + i64::from(month <= 2), month, day)
}

/// A zone by its name: `UTC`, `Local`, or one of the time zone database.
pub fn zone(name: &str) -> Option<ZoneName> {
    match name {
        "" | "UTC" | "Local" => Some(ZoneName(Zone::Utc)),
        _ => TimeZone::get(name).ok().map(|z| ZoneName(Zone::Named(z))),
    }
}

pub struct ZoneName(Zone);

impl ZoneName {
    pub fn utc() -> Self {
        ZoneName(Zone::Utc)
    }

    /// The instant at which the clock in this zone shows the given wall time, `seconds` since the epoch as if in UTC.
    pub fn at_wall(&self, seconds: i64, nanos: u32) -> Time {
        let mut time = Time { seconds, nanos, zone: self.0.clone() };
        time.seconds -= i64::from(time.offset_of_wall());
        time
    }
}

/// The instant of a wall time with a known offset: in UTC if the offset is 0 and nothing else is said.
pub fn at_offset(seconds: i64, nanos: u32, offset: i32, name: String) -> Time {
    let zone = if offset == 0 && (name.is_empty() || name == "UTC") { Zone::Utc } else { Zone::Fixed(offset, name) };
    Time { seconds: seconds - i64::from(offset), nanos, zone }
}

/// Whether an offset is one that a zone can have.
pub fn is_offset(seconds: i32) -> bool {
    Offset::from_seconds(seconds).is_ok()
}

/// A duration as Go prints it: `1h2m3.5s`, `1.5ms`.
pub fn duration_text(ns: i64) -> String {
    if ns == 0 {
        return "0s".into();
    }
    let sign = if ns < 0 { "-" } else { "" };
    let magnitude = ns.unsigned_abs();
    let (unit, scale) = match magnitude {
        0..=999 => return format!("{sign}{magnitude}ns"),
        1_000..=999_999 => ("µs", 3),
        1_000_000..=999_999_999 => ("ms", 6),
        _ => ("s", 9),
    };
    let base = 10u64.pow(scale);
    let (whole, rest) = (magnitude / base, magnitude % base);
    let fraction = format!("{rest:0width$}", width = scale as usize);
    let fraction = fraction.trim_end_matches('0');
    let dot = if fraction.is_empty() { "" } else { "." };
    match (unit, whole / 3600, whole / 60) {
        ("s", 1.., _) => format!("{sign}{}h{}m{}{dot}{fraction}s", whole / 3600, whole / 60 % 60, whole % 60),
        ("s", 0, 1..) => format!("{sign}{}m{}{dot}{fraction}s", whole / 60, whole % 60),
        _ => format!("{sign}{whole}{dot}{fraction}{unit}"),
    }
}
