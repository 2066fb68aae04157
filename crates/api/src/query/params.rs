//! The parameters of a read: query string and form body merged, defaults and refusals as Loki's.

use super::tags::tags;
use super::units::{since_ns, step_ns, time_ns};
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, header};
use model::{Direction, Error, Result, TimeRange};
use rpc::queries::QueryTime;

/// The largest form body of a read; a query text may have 128 KiB.
const FORM_BYTES_MAX: usize = 4 << 20;
/// Steps that a range query may have.
const STEPS_MAX: i64 = 11_000;
const LIMIT_DEFAULT: u32 = 100;
const HOUR_NS: i64 = 3_600_000_000_000;
const SECOND_NS: i64 = 1_000_000_000;

/// A read's parameters, in order; a name may occur several times.
pub struct Params {
    pairs: Vec<(String, String)>,
    pub headers: HeaderMap,
}

impl Params {
    pub async fn read(request: Request<Body>) -> Result<Self> {
        let (parts, body) = request.into_parts();
        let mut pairs = decode_form(parts.uri.query().unwrap_or(""), "query")?;
        let is_form = parts
            .headers
            .get(header::CONTENT_TYPE)
            .and_then(|v| v.to_str().ok())
            .is_some_and(|v| v.starts_with("application/x-www-form-urlencoded"));
        if parts.method == Method::POST && is_form {
            let bytes = to_bytes(body, FORM_BYTES_MAX)
                .await
                .map_err(|_| Error::too_large(format!("request body too large, limit: {FORM_BYTES_MAX} bytes")))?;
            let mut form = decode_form(&String::from_utf8_lossy(&bytes), "POST form")?;
            form.append(&mut pairs);
            pairs = form;
        }
        Ok(Params { pairs, headers: parts.headers })
    }

    /// The first value of a parameter; an empty one counts as absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str()).filter(|v| !v.is_empty())
    }
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }
    pub fn query(&self) -> &str {
        self.get("query").unwrap_or("")
    }

    /// `start`, `end` and `since`: the last hour by default; before a future `end` the hour ends now.
    pub fn range(&self, now_ns: i64) -> Result<TimeRange> {
        let since = self.get("since").map_or(Ok(HOUR_NS), since_ns)?;
        let end_ns = self.get("end").map_or(Ok(now_ns), |t| time_ns("end", t))?;
        let start_ns = self.start(end_ns.min(now_ns).saturating_sub(since))?;
        Ok(TimeRange { start_ns, end_ns })
    }

    /// `start` alone.
    pub fn start(&self, default_ns: i64) -> Result<i64> {
        self.get("start").map_or(Ok(default_ns), |t| time_ns("start", t))
    }

    /// Like [`Params::range`], refusing an end before the start.
    pub fn ordered_range(&self, now_ns: i64) -> Result<TimeRange> {
        let range = self.range(now_ns)?;
        if range.end_ns < range.start_ns {
            return Err(Error::invalid("end timestamp must not be before or equal to start time"));
        }
        Ok(range)
    }

    pub fn limit(&self) -> Result<u32> {
        self.positive("limit", LIMIT_DEFAULT)
    }

    /// A positive integer parameter.
    pub fn positive(&self, name: &str, default: u32) -> Result<u32> {
        let Some(text) = self.get(name) else { return Ok(default) };
        let n: i64 =
            text.parse().map_err(|_| Error::invalid(format!("strconv.Atoi: parsing \"{text}\": invalid syntax")))?;
        if n <= 0 {
            return Err(Error::invalid("limit must be a positive value"));
        }
        Ok(u32::try_from(n).unwrap_or(u32::MAX))
    }

    pub fn direction(&self) -> Result<Direction> {
        match self.get("direction") {
            None => Ok(Direction::Backward),
            Some(d) if d.eq_ignore_ascii_case("backward") => Ok(Direction::Backward),
            Some(d) if d.eq_ignore_ascii_case("forward") => Ok(Direction::Forward),
            Some(d) => Err(Error::invalid(format!("invalid direction '{d}'"))),
        }
    }

    /// Range, step and interval of a range query.
    pub fn range_time(&self, now_ns: i64) -> Result<QueryTime> {
        let TimeRange { start_ns, end_ns } = self.ordered_range(now_ns)?;
        let step_ns = self.step(TimeRange { start_ns, end_ns })?;
        let interval_ns = self.get("interval").map_or(Ok(0), step_ns_of)?;
        if interval_ns < 0 {
            return Err(Error::invalid("interval must be >= 0"));
        }
        check_steps(TimeRange { start_ns, end_ns }, step_ns)?;
        Ok(QueryTime::Range { start_ns, end_ns, step_ns, interval_ns })
    }

    /// `step`, by default a 250th of the range and at least a second.
    pub fn step(&self, range: TimeRange) -> Result<i64> {
        let span_s = range.end_ns.saturating_sub(range.start_ns) / SECOND_NS;
        let step = self.get("step").map_or(Ok((span_s / 250).max(1) * SECOND_NS), step_ns_of)?;
        if step <= 0 {
            return Err(Error::invalid(
                "zero or negative query resolution step widths are not accepted. Try a positive integer",
            ));
        }
        Ok(step)
    }

    pub fn instant(&self, now_ns: i64) -> Result<QueryTime> {
        let time_ns = self.get("time").map_or(Ok(now_ns), |t| time_ns("time", t))?;
        Ok(QueryTime::Instant { time_ns })
    }

    /// How the client wants an answer of streams to be written, sorted, each flag once; flags unknown to this process are
    /// among them, since Loki names all of them in the answer.
    pub fn encoding_flags(&self) -> Vec<&str> {
        let header = self.headers.get("X-Loki-Response-Encoding-Flags").and_then(|v| v.to_str().ok()).unwrap_or("");
        let mut flags: Vec<&str> = header.split(',').map(str::trim).filter(|flag| !flag.is_empty()).collect();
        flags.sort_unstable();
        flags.dedup();
        flags
    }

    /// Whether the client wants no answer that was kept: `Cache-Control: no-cache`, or `no-store`.
    pub fn no_cache(&self) -> bool {
        let said = self.headers.get_all(header::CACHE_CONTROL).into_iter().filter_map(|v| v.to_str().ok());
        said.flat_map(|v| v.split(',')).any(|directive| {
            let directive = directive.trim();
            directive.eq_ignore_ascii_case("no-cache") || directive.eq_ignore_ascii_case("no-store")
        })
    }

    /// What the client says of its query.
    pub fn tags(&self) -> Vec<(String, String)> {
        tags(&self.headers)
    }

    /// Whether Logs Drilldown asks: it takes a partial answer where others get an error.
    pub fn is_drilldown(&self) -> bool {
        let drilldown = |value: &str| value.eq_ignore_ascii_case("grafana-lokiexplore-app");
        self.tags().iter().any(|(name, value)| name == "source" && drilldown(value))
    }
}

/// Refuses more steps than an answer may have.
pub fn check_steps(range: TimeRange, step_ns: i64) -> Result<()> {
    if range.end_ns.saturating_sub(range.start_ns) / step_ns > STEPS_MAX {
        return Err(Error::invalid(
            "exceeded maximum resolution of 11,000 points per time series. Try increasing the value of the step parameter",
        ));
    }
    Ok(())
}

fn step_ns_of(text: &str) -> Result<i64> {
    step_ns(text)
}

/// Decodes `application/x-www-form-urlencoded`; what is no valid escape stays as it is. A bare semicolon was a separator
/// once and is refused, as Go does, since a client that means it so would get another query than it asked.
fn decode_form(text: &str, place: &str) -> Result<Vec<(String, String)>> {
    if text.contains(';') {
        return Err(Error::invalid(format!("invalid semicolon separator in {place}")));
    }
    let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    });
    Ok(pairs.collect())
}

fn decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        let escaped = (bytes[i] == b'%').then(|| text.get(i + 1..i + 3)).flatten();
        match escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(b) => {
                out.push(b);
                i += 3;
            }
            None => {
                out.push(if bytes[i] == b'+' { b' ' } else { bytes[i] });
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_decoded() {
        let pairs = decode_form("query=%7Ba%3D%22b+c%22%7D&match[]=x&match%5B%5D=y&bad=%zz&empty=", "query").unwrap();
        let expected = [("query", "{a=\"b c\"}"), ("match[]", "x"), ("match[]", "y"), ("bad", "%zz"), ("empty", "")];
        assert_eq!(pairs, expected.map(|(n, v)| (n.to_string(), v.to_string())));
        let refused = decode_form("query=a;limit=1", "query").unwrap_err();
        assert_eq!(refused.message, "invalid semicolon separator in query");
        assert_eq!(decode_form("query=a%3Bb", "query").unwrap()[0].1, "a;b");
    }

    #[test]
    fn clients_say_that_they_want_no_kept_answer() {
        for (values, expected) in [
            (vec!["no-cache"], true),
            (vec!["max-age=0, No-Store"], true),
            (vec!["max-age=0", "no-cache"], true),
            (vec!["max-age=0"], false),
            (vec![], false),
        ] {
            let values = values.iter().map(|v| (header::CACHE_CONTROL, v.parse::<axum::http::HeaderValue>().unwrap()));
            let mut headers = HeaderMap::new();
            for (name, value) in values {
                headers.append(name, value);
            }
            assert_eq!(Params { pairs: vec![], headers }.no_cache(), expected);
        }
    }

    #[test]
    fn encoding_flags_are_taken_as_sent() {
        for (header, expected) in [
            ("categorize-labels", vec!["categorize-labels"]),
            ("Categorize-Labels", vec!["Categorize-Labels"]),
            ("z, categorize-labels,,z", vec!["categorize-labels", "z"]),
            ("", vec![]),
        ] {
            let headers = HeaderMap::from_iter([(
                "x-loki-response-encoding-flags".parse().unwrap(),
                header.parse::<axum::http::HeaderValue>().unwrap(),
            )]);
            assert_eq!(Params { pairs: vec![], headers }.encoding_flags(), expected, "{header}");
        }
    }
}
