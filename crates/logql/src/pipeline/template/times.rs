//! Times in templates: functions, and the methods of time values.

use super::functions::{Answer, Arguments, Function, Kind, bytes, function, text};
use super::go_time::{Time, ZoneName, zone};
use super::time_parse::parse;
use super::value::Value;

const TEXT: Kind = Kind::Text;
const NANOS: i64 = 1_000_000_000;

pub const FUNCTIONS: &[Function] = &[
    function("__timestamp__", &[], |c, _| Ok(Value::Time(Time::from_ns(c.ts_ns)))),
    function("now", &[], |c, _| Ok(Value::Time(Time::from_ns(c.now_ns)))),
    function("date", &[TEXT, Kind::Any], |c, a| {
        let time = match &a[1] {
            Value::Time(t) => t.in_utc(),
            Value::Int(seconds) => Time::from_seconds(*seconds),
            _ => Time::from_ns(c.now_ns),
        };
        Ok(Value::text(time.format(&text(&a[0]))))
    }),
    function("toDate", &[TEXT, TEXT], |_, a| Ok(read(&text(&a[0]), &text(&a[1]), &ZoneName::utc()))),
    function("toDateInZone", &[TEXT, TEXT, TEXT], |_, a| {
        let zone = zone(&text(&a[1])).unwrap_or_else(ZoneName::utc);
        Ok(read(&text(&a[0]), &text(&a[2]), &zone))
    }),
    function("unixEpoch", &[Kind::Time], |_, a| Ok(Value::text(on_time(&a[0], |t| t.seconds).to_string()))),
    function("unixEpochMillis", &[Kind::Time], |_, a| {
        Ok(Value::text(on_time(&a[0], |t| t.unix_ns().div_euclid(1_000_000)).to_string()))
    }),
    function("unixEpochNanos", &[Kind::Time], |_, a| Ok(Value::text(on_time(&a[0], Time::unix_ns).to_string()))),
    function("unixToTime", &[TEXT], |_, a| unix_to_time(&text(&a[0]), bytes(&a[0]).len())),
];

fn on_time(value: &Value<'_>, f: impl Fn(&Time) -> i64) -> i64 {
    if let Value::Time(t) = value { f(t) } else { 0 }
}

/// What cannot be read is the zero time.
fn read<'e>(layout: &str, text: &str, zone: &ZoneName) -> Value<'e> {
    Value::Time(parse(layout, text, zone).unwrap_or_else(Time::zero))
}

/// The number of digits says the unit: days, seconds, milliseconds, microseconds, nanoseconds.
fn unix_to_time<'e>(epoch: &str, len: usize) -> Answer<'e> {
    let fail = |cause: &str| Err(format!("unable to parse time '{epoch}': {cause}"));
    let Ok(number) = epoch.parse::<i64>() else {
        return fail(&format!("strconv.ParseInt: parsing {}: invalid syntax", model::quote::quote(epoch)));
    };
    Ok(Value::Time(match len {
        5 => Time::from_seconds(number.saturating_mul(86_400)),
        10 => Time::from_seconds(number),
        13 => Time::from_ns(number.saturating_mul(1_000_000)),
        16 => Time::from_ns(number.saturating_mul(1000)),
        19 => Time::from_ns(number),
        _ => return fail("%!w(<nil>)"),
    }))
}

/// A method of a time; `None` if it has no such method.
pub fn time_method<'e>(time: &Time, name: &str, args: Arguments<'_, 'e>) -> Option<Answer<'e>> {
    let wrong = |count: usize| {
        (args.len() != count).then(|| Err(format!("wrong number of args for {name}: want {count} got {}", args.len())))
    };
    let number = |i: usize| args.get(i).and_then(Value::as_int);
    let other = |args: &[Value<'_>]| if let Some(Value::Time(t)) = args.first() { Some(t.clone()) } else { None };
    let wants = match name {
        "Format" | "Add" | "Sub" | "Before" | "After" | "Equal" | "Truncate" | "Round" => 1,
        "AddDate" => 3,
        _ => 0,
    };
    let value = field(time, name).or_else(|| {
        let argument = || format!("wrong type for value; expected argument of {name}");
        Some(match name {
            "Format" => args.first().map(|layout| Value::text(time.format(&text(layout)))).ok_or_else(argument),
            "Add" => number(0).map(|ns| Value::Time(time.plus_ns(ns))).ok_or_else(argument),
            "AddDate" => match (number(0), number(1), number(2)) {
                (Some(y), Some(m), Some(d)) => Ok(Value::Time(time.plus_date(y, m, d))),
                _ => Err(argument()),
            },
            "Truncate" => number(0).map(|ns| Value::Time(truncate(time, ns))).ok_or_else(argument),
            "Round" => number(0).map(|ns| Value::Time(truncate(&time.plus_ns(ns / 2), ns))).ok_or_else(argument),
            "Sub" => other(args).map(|t| Value::Duration(difference(time, &t))).ok_or_else(argument),
            "Before" => other(args).map(|t| Value::Bool(difference(time, &t) < 0)).ok_or_else(argument),
            "After" => other(args).map(|t| Value::Bool(difference(time, &t) > 0)).ok_or_else(argument),
            "Equal" => other(args).map(|t| Value::Bool(difference(time, &t) == 0)).ok_or_else(argument),
            _ => return None,
        })
    })?;
    Some(wrong(wants).unwrap_or(value))
}

fn difference(a: &Time, b: &Time) -> i64 {
    let seconds = a.seconds.saturating_sub(b.seconds);
    seconds.saturating_mul(NANOS).saturating_add(i64::from(a.nanos) - i64::from(b.nanos))
}

/// Down to a multiple of `ns` since the zero time.
fn truncate(time: &Time, ns: i64) -> Time {
    if ns <= 0 {
        return time.clone();
    }
    let since_zero =
        (i128::from(time.seconds) - i128::from(Time::zero().seconds)) * i128::from(NANOS) + i128::from(time.nanos);
    let excess = since_zero.rem_euclid(i128::from(ns));
    time.plus_ns(-(excess as i64))
}

/// Methods without arguments.
fn field<'e>(time: &Time, name: &str) -> Option<Answer<'e>> {
    let civil = time.civil();
    let number = |n: i64| Some(Ok(Value::Int(n)));
    match name {
        "Unix" => number(time.seconds),
        "UnixMilli" => number(time.unix_ns().div_euclid(1_000_000)),
        "UnixMicro" => number(time.unix_ns().div_euclid(1000)),
        "UnixNano" => number(time.unix_ns()),
        "Year" => number(civil.year),
        "Day" => number(i64::from(civil.day)),
        "Hour" => number(i64::from(civil.hour)),
        "Minute" => number(i64::from(civil.minute)),
        "Second" => number(i64::from(civil.second)),
        "Nanosecond" => number(i64::from(time.nanos)),
        "YearDay" => number(i64::from(civil.year_day)),
        "Month" => Some(Ok(Value::Month(civil.month))),
        "Weekday" => Some(Ok(Value::Weekday(civil.weekday))),
        "UTC" | "Local" => Some(Ok(Value::Time(time.in_utc()))),
        "IsZero" => Some(Ok(Value::Bool(time.is_zero()))),
        "String" => Some(Ok(Value::text(time.to_string()))),
        _ => None,
    }
}

/// A method of a duration.
pub fn duration_method<'e>(ns: i64, name: &str) -> Option<Value<'e>> {
    Some(match name {
        "Nanoseconds" => Value::Int(ns),
        "Microseconds" => Value::Int(ns / 1000),
        "Milliseconds" => Value::Int(ns / 1_000_000),
        "Seconds" => Value::Float((ns / NANOS) as f64 + (ns % NANOS) as f64 / 1e9),
        "Minutes" => Value::Float(ns as f64 / 60e9),
        "Hours" => Value::Float(ns as f64 / 3600e9),
        "String" => Value::text(super::go_time::duration_text(ns)),
        _ => return None,
    })
}
