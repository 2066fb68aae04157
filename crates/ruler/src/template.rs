//! Templates in labels and annotations of alerts: Go's `text/template` with the data and functions of Prometheus's alerting
//! rules (<https://prometheus.io/docs/prometheus/latest/configuration/template_reference/>), but for those that ask
//! queries or make links. Output and rounds are bounded.

mod builtins;
mod names;

use gotmpl::parse::Node;
use gotmpl::{Template, TemplateError, Value};
use jiff::Timestamp;
use model::Labels;
use model::duration::parse_prometheus;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

/// Bytes that one text may expand to.
const OUTPUT_BYTES_MAX: usize = 64 << 10;
/// Rounds of all loops of one text.
const ROUNDS_MAX: u64 = 10_000;
/// Of the template in its errors.
const NAME: &str = "__alert";
/// Behind a text that is checked.
const LAST: char = '\u{1}';
/// What the text may refer to without the dot.
const VARIABLES: &str =
    "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}{{$externalURL := .ExternalURL}}{{$value := .Value}}";

type Made = Result<Value, TemplateError>;

/// What a text is expanded with.
pub struct Data<'a> {
    pub labels: &'a Labels,
    pub value: f64,
    /// `ruler.external_url`.
    pub external_url: &'a str,
    /// `ruler.external_labels`.
    pub external_labels: &'a BTreeMap<String, String>,
}

/// Refuses a text that is no template.
pub fn check(text: &str) -> Result<(), String> {
    if is_plain(text) {
        return Ok(());
    }
    // The parser takes an `end` too many for the end of the whole: then what was put there is missing.
    let template = parsed(&format!("{text}{LAST}"), String::new())?;
    let last = template.lookup(NAME).and_then(|list| list.nodes.last());
    if !matches!(last, Some(Node::Text(last)) if last.text.ends_with(LAST)) {
        return Err("unexpected {{end}}".into());
    }
    let mut trees = template.templates().into_iter().chain([NAME]).filter_map(|name| template.lookup(name));
    match trees.find_map(names::unknown_function) {
        Some(name) => Err(format!("function {name:?} not defined")),
        None => Ok(()),
    }
}

/// The text with what it names filled in; what goes wrong becomes the text, as in Prometheus.
pub fn expand(text: &str, data: &Data<'_>) -> String {
    if is_plain(text) {
        return text.to_string();
    }
    try_expand(text, data).unwrap_or_else(|e| format!("<error expanding template: {e}>"))
}

fn is_plain(text: &str) -> bool {
    !text.contains("{{")
}

fn try_expand(text: &str, data: &Data<'_>) -> Result<String, String> {
    let own = data.labels.iter().map(|label| (label.name.as_str(), label.value.as_str()));
    let labels = labels_of(text, ["$labels.", ".Labels."], own);
    let external = data.external_labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let external = labels_of(text, ["$externalLabels.", ".ExternalLabels."], external);
    let all = [
        ("Labels", labels),
        ("ExternalLabels", external),
        ("ExternalURL", Value::from(data.external_url)),
        ("Value", Value::Float(data.value)),
    ];
    let all: BTreeMap<Arc<str>, Value> = all.into_iter().map(|(name, value)| (name.into(), value)).collect();
    let external_url = data.external_url.to_string();
    let template = parsed(text, external_url)?;
    let mut out = Bounded(String::new());
    template.execute_fmt(&mut out, &Value::from(all)).map_err(|e| e.to_string())?;
    Ok(out.0)
}

/// Labels as a text sees them; one that it names, behind one of `before`, and that is not there reads as empty.
fn labels_of<'a>(text: &str, before: [&str; 2], labels: impl Iterator<Item = (&'a str, &'a str)>) -> Value {
    let named = before.into_iter().flat_map(|before| text.split(before).skip(1)).filter_map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        rest.get(..end).filter(|name| !name.is_empty())
    });
    let mut all: BTreeMap<Arc<str>, Value> = named.map(|name| (name.into(), Value::from(""))).collect();
    all.extend(labels.map(|(name, value)| (name.into(), Value::from(value))));
    Value::from(Arc::new(all))
}

struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        if self.0.len() + text.len() > OUTPUT_BYTES_MAX {
            return Err(std::fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

fn parsed(text: &str, external_url: String) -> Result<Template, String> {
    let path = external_url.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, path)| path);
    let path = format!("/{}", path.trim_end_matches('/'));
    let template = Template::new(NAME)
        .max_range_iters(ROUNDS_MAX)
        .func("humanize", |args| Ok(humanize(number(args, 0)?).into()))
        .func("humanize1024", |args| Ok(humanize_1024(number(args, 0)?).into()))
        .func("humanizeDuration", |args| Ok(humanize_duration(number(args, 0)?).into()))
        .func("humanizePercentage", |args| Ok(format!("{}%", significant(number(args, 0)? * 100.0)).into()))
        .func("humanizeTimestamp", |args| humanize_timestamp(number(args, 0)?))
        .func("title", |args| Ok(title(&text_of(args, 0)?).into()))
        .func("toUpper", |args| Ok(text_of(args, 0)?.to_uppercase().into()))
        .func("toLower", |args| Ok(text_of(args, 0)?.to_lowercase().into()))
        .func("stripPort", |args| Ok(strip_port(&text_of(args, 0)?).into()))
        .func("stripDomain", |args| Ok(strip_domain(&text_of(args, 0)?).into()))
        .func("match", |args| Ok(Value::Bool(regex(&text_of(args, 0)?)?.is_match(&text_of(args, 1)?))))
        .func("reReplaceAll", |args| {
            let (pattern, with, within) = (text_of(args, 0)?, text_of(args, 1)?, text_of(args, 2)?);
            builtins::replace_all(&regex(&pattern)?, &with, &within)
        })
        .func("parseDuration", |args| {
            let nanos = parse_prometheus(&text_of(args, 0)?).map_err(TemplateError::Exec)?;
            Ok(Value::Float(nanos as f64 / 1e9))
        })
        .func("printf", builtins::printf)
        .func("safeHtml", |args| Ok(text_of(args, 0)?.into()))
        .func("args", builtins::args)
        .func("pathPrefix", move |_| Ok(path.clone().into()))
        .func("externalURL", move |_| Ok(external_url.clone().into()))
        .func("query", |_| Err(TemplateError::Exec("query is not available in templates of log rules".into())));
    let bounded = |template: Template, name: &'static str| template.func(name, move |args| builtins::call(name, args));
    let template = builtins::NAMES.into_iter().fold(template, bounded);
    template.parse(&format!("{VARIABLES}{text}")).map_err(|e| e.to_string())
}

fn regex(pattern: &str) -> Result<regex::Regex, TemplateError> {
    model::pattern::compile(pattern).map_err(|e| TemplateError::Exec(e.to_string()))
}

fn text_of(args: &[Value], i: usize) -> Result<String, TemplateError> {
    let value = args.get(i).ok_or_else(|| TemplateError::Exec(format!("argument {i} is missing")))?;
    let mut text = Bounded(String::new());
    write!(text, "{value}").map_err(|_| TemplateError::Exec(format!("argument {i} is too long")))?;
    Ok(text.0)
}

fn number(args: &[Value], i: usize) -> Result<f64, TemplateError> {
    let value = args.get(i).ok_or_else(|| TemplateError::Exec(format!("argument {i} is missing")))?;
    let number = value.as_float().or_else(|| value.as_int().map(|n| n as f64));
    number
        .or_else(|| text_of(args, i).ok()?.parse().ok())
        .ok_or_else(|| TemplateError::Exec(format!("{value} is no number")))
}

/// Four significant digits, as Go's `%.4g` without an exponent in this range.
fn significant(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return special(value).unwrap_or_else(|| "0".into());
    }
    let magnitude = value.abs().log10().floor() as i32;
    if !(-4..4).contains(&magnitude) {
        let text = format!("{value:.3e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let digits = if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits };
        let exponent: i32 = exponent.parse().unwrap_or(0);
        return format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs());
    }
    let text = format!("{value:.*}", (3 - magnitude).max(0) as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_string() } else { text }
}

fn special(value: f64) -> Option<String> {
    match value {
        v if v.is_nan() => Some("NaN".into()),
        v if v.is_infinite() => Some(if v > 0.0 { "+Inf" } else { "-Inf" }.into()),
        _ => None,
    }
}

fn humanize(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return significant(value);
    }
    const LARGE: [&str; 9] = ["", "k", "M", "G", "T", "P", "E", "Z", "Y"];
    const SMALL: [&str; 9] = ["", "m", "u", "n", "p", "f", "a", "z", "y"];
    let (mut scaled, mut at) = (value, 0);
    if value.abs() >= 1.0 {
        while scaled.abs() >= 1000.0 && at + 1 < LARGE.len() {
            (scaled, at) = (scaled / 1000.0, at + 1);
        }
        return format!("{}{}", significant(scaled), LARGE[at]);
    }
    while scaled.abs() < 1.0 && at + 1 < SMALL.len() {
        (scaled, at) = (scaled * 1000.0, at + 1);
    }
    format!("{}{}", significant(scaled), SMALL[at])
}

fn humanize_1024(value: f64) -> String {
    const UNITS: [&str; 9] = ["", "ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"];
    if value.abs() <= 1.0 || !value.is_finite() {
        return significant(value);
    }
    let (mut scaled, mut at) = (value, 0);
    while scaled.abs() >= 1024.0 && at + 1 < UNITS.len() {
        (scaled, at) = (scaled / 1024.0, at + 1);
    }
    format!("{}{}", significant(scaled), UNITS[at])
}

fn humanize_duration(seconds: f64) -> String {
    if let Some(text) = special(seconds) {
        return text;
    }
    if seconds == 0.0 {
        return "0s".into();
    }
    if seconds.abs() < 1.0 {
        let (mut scaled, mut unit) = (seconds, "");
        for smaller in ["m", "u", "n", "p", "f", "a", "z", "y"] {
            if scaled.abs() >= 1.0 {
                break;
            }
            (scaled, unit) = (scaled * 1000.0, smaller);
        }
        return format!("{}{unit}s", significant(scaled));
    }
    let (sign, whole) = (if seconds < 0.0 { "-" } else { "" }, seconds.abs() as u64);
    let (days, hours, minutes, rest) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60, whole % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{}s", significant(seconds)),
        (0, 0, _) => format!("{sign}{minutes}m {rest}s"),
        (0, _, _) => format!("{sign}{hours}h {minutes}m {rest}s"),
        _ => format!("{sign}{days}d {hours}h {minutes}m {rest}s"),
    }
}

fn humanize_timestamp(seconds: f64) -> Made {
    if let Some(text) = special(seconds) {
        return Ok(text.into());
    }
    let at = Timestamp::from_nanosecond((seconds * 1e9) as i128).map_err(|e| TemplateError::Exec(e.to_string()))?;
    Ok(at.strftime("%Y-%m-%d %H:%M:%S%.f +0000 UTC").to_string().into())
}

fn title(text: &str) -> String {
    let mut in_word = false;
    let upper = text.chars().map(|c| {
        let first = !in_word && c.is_alphabetic();
        in_word = c.is_alphanumeric() || c == '_' || c == '\'';
        if first { c.to_uppercase().next().unwrap_or(c) } else { c }
    });
    upper.collect()
}

fn strip_port(host: &str) -> String {
    host.rsplit_once(':').map_or(host, |(host, _)| host).trim_matches(['[', ']']).to_string()
}

fn strip_domain(host: &str) -> String {
    let (name, port) = host.rsplit_once(':').map_or((host, ""), |(name, port)| (name, port));
    let name = name.split('.').next().unwrap_or(name);
    if port.is_empty() { name.to_string() } else { format!("{name}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_expand_as_prometheus_expands_them() {
        let labels = Labels::new([("app", "web"), ("host", "a.example.org:80")]);
        for (text, expected) in [
            ("plain $labels.app", "plain $labels.app"),
            ("{{ $labels.app }} has {{ $value }}", "web has 1234.5"),
            ("{{ .Labels.app }} {{ .Value }}", "web 1234.5"),
            ("[{{ $labels.missing }}]", "[]"),
            ("{{ $externalLabels.cluster }} [{{ .ExternalLabels.zone }}]", "c1 []"),
            ("{{ $value | humanize }}", "1.234k"),
            ("{{ humanize1024 2048 }}", "2ki"),
            ("{{ humanizeDuration 3725 }}", "1h 2m 5s"),
            ("{{ humanizeDuration 0.25 }}", "250ms"),
            ("{{ humanizePercentage 0.1234 }}", "12.34%"),
            ("{{ humanizeTimestamp 0 }}", "1970-01-01 00:00:00 +0000 UTC"),
            ("{{ humanize 0.00001 }}", "10u"),
            ("{{ printf \"%.1f\" $value }}", "1234.5"),
            ("{{ if gt $value 1000.0 }}high{{ else }}low{{ end }}", "high"),
            ("{{ $labels.app | toUpper }} {{ title \"a bc\" }}", "WEB A Bc"),
            ("{{ reReplaceAll \"(w)eb\" \"${1}x\" $labels.app }}", "wx"),
            ("{{ match \"^w\" $labels.app }}", "true"),
            ("{{ $labels.host | stripPort }} {{ stripDomain $labels.host }}", "a.example.org a:80"),
            ("{{ parseDuration \"1h\" }}", "3600"),
            ("{{ externalURL }} {{ pathPrefix }}", "http://g/sub /sub"),
            ("{{ range $k, $v := $labels }}{{ $k }}={{ $v }};{{ end }}", "app=web;host=a.example.org:80;"),
        ] {
            let external_labels = &BTreeMap::from([("cluster".to_string(), "c1".to_string())]);
            let data = Data { labels: &labels, value: 1234.5, external_url: "http://g/sub", external_labels };
            assert_eq!(expand(text, &data), expected, "{text}");
            check(text).unwrap();
        }
    }

    #[test]
    fn what_fails_says_so_in_the_text_and_ends() {
        let external_labels = &BTreeMap::new();
        let data = Data { labels: &Labels::default(), value: 1.0, external_url: "", external_labels };
        for text in ["{{ query \"up\" }}", "{{ humanize \"x\" }}", "{{ match \"(\" \"a\" }}", "{{ template \"none\" }}"]
        {
            assert!(expand(text, &data).starts_with("<error expanding template: "), "{text}: {}", expand(text, &data));
        }
        for long in [
            "{{ printf \"%.65535e\" 1.5 }}",
            "{{ printf \"%65535d\" 1 }}",
            "{{ printf \"%.*g\" 65535 1.5 }}",
            "{{ printf \"%.99999999999999999999f\" 1.5 }}",
        ] {
            let text = expand(long, &data);
            assert!(text.ends_with("printf: a width or precision above 4096>"), "{long}: {text}");
        }
        for (text, expected) in [
            ("{{ printf \"%.3e|%5d|%-4s|%%|%v\" 1234.5 42 \"a\" true }}", "1.234e+03|   42|a   |%|true"),
            ("{{ printf \"%*d\" 5 42 }}", "   42"),
            ("{{ printf \"plain\" }}", "plain"),
            ("{{ 3 | printf \"%02d\" }}", "03"),
        ] {
            assert_eq!(expand(text, &data), expected, "{text}");
        }
        assert_eq!(expand("{{ printf \"%.4096e\" 1.5 }}", &data).len(), 4096 + 6);
        // What would double, or nest, in each round of a loop.
        for growing in [
            "printf \"%s%s\" $x $x",
            "print $x $x",
            "println $x $x",
            "js $x",
            "html $x $x",
            "urlquery $x $x",
            "reReplaceAll \"(.)\" \"$1$1\" $x",
            "reReplaceAll \"\" $x $x",
            "args $x $x",
        ] {
            let text = format!(
                "{{{{ $x := \"\\\\\" }}}}{{{{ range 9000 }}}}{{{{ $x = {growing} }}}}{{{{ end }}}}{{{{ $x }}}}"
            );
            check(&text).unwrap();
            assert!(expand(&text, &data).starts_with("<error expanding template: "), "{text}");
        }
        assert_eq!(expand("{{ with args $labels 1 }}{{ .arg1 }}{{ end }}", &data), "1");
        let long = format!("{{{{ printf \"%0{}d\" 1 }}}}", OUTPUT_BYTES_MAX + 1);
        assert!(expand(&long, &data).len() < OUTPUT_BYTES_MAX);
        for bad in
            ["{{ $labels.app", "{{ nothing 1 }}", "{{ end }}", "{{ if true }}{{ else }}{{ $value | nothing }}{{ end }}"]
        {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
