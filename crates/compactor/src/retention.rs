//! Which chunks have outlived their retention: per tenant (`retention_period`), or per stream (`retention_stream`: the
//! matching rule of the highest priority decides, of equal ones the shortest period). It must not know tables or files.

use format::ChunkRef;
use format::tsdb::SeriesChunks;
use logql::parse::{Breadth, parse_selector};
use model::time::NANOS_PER_MILLI;
use model::{Labels, Matcher, Result};
use runtime::limits::Limits;
use std::cmp::Reverse;
use std::time::Duration;

/// One tenant's rules, as its limits have them at one moment.
#[derive(Debug)]
pub struct Retention {
    /// Zero: for ever.
    period: Duration,
    streams: Vec<StreamRule>,
}

#[derive(Debug)]
struct StreamRule {
    matchers: Vec<Matcher>,
    priority: i64,
    period: Duration,
}

impl Retention {
    /// An error when a selector cannot be read: a rule left out might be the one that keeps a stream longest.
    pub fn of(limits: &Limits) -> Result<Self> {
        let rule = |rule: &runtime::limits::RetentionStream| {
            let matchers = parse_selector(&rule.selector, Breadth::Any)
                .map_err(|e| e.context(format!("retention_stream {:?}", rule.selector)))?;
            Ok(StreamRule { matchers, priority: rule.priority, period: rule.period })
        };
        let streams = limits.retention_stream.iter().map(rule).collect::<Result<_>>()?;
        Ok(Retention { period: limits.retention_period, streams })
    }

    /// Whether some stream's chunk that ends at `through_ms` or later can be expired.
    pub fn may_expire(&self, through_ms: i64, now_ns: i64) -> bool {
        let periods = self.streams.iter().map(|rule| rule.period).chain([self.period]);
        periods.filter(|p| !p.is_zero()).any(|period| expired(through_ms, period, now_ns))
    }

    /// Takes the expired chunks out of `rows`.
    pub fn take_expired(&self, rows: &mut [SeriesChunks], now_ns: i64) -> Vec<ChunkRef> {
        let mut gone = vec![];
        for series in rows {
            let period = self.period_of(&series.labels);
            if !period.is_zero() {
                gone.extend(series.chunks.extract_if(.., |chunk| expired(chunk.through_ms, period, now_ns)));
            }
        }
        gone
    }

    /// How long a stream is kept; zero is for ever.
    fn period_of(&self, labels: &Labels) -> Duration {
        let matching = self.streams.iter().filter(|rule| model::matcher::all_match(&rule.matchers, labels));
        let first = matching.min_by_key(|rule| (Reverse(rule.priority), rule.period));
        first.map_or(self.period, |rule| rule.period)
    }
}

/// Whether what ends at `through_ms` is older than `period`.
fn expired(through_ms: i64, period: Duration, now_ns: i64) -> bool {
    let age_ns = i128::from(now_ns) - i128::from(through_ms) * i128::from(NANOS_PER_MILLI);
    age_ns > i128::try_from(period.as_nanos()).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Fingerprint;
    use runtime::limits::RetentionStream;

    const DAY: Duration = Duration::from_secs(86_400);
    const DAY_MS: i64 = 86_400_000;
    const NOW_MS: i64 = 20_000 * DAY_MS;

    fn limits(days: u32, streams: &[(&str, i64, u32)]) -> Limits {
        let stream = |(selector, priority, days): &(&str, i64, u32)| RetentionStream {
            selector: selector.to_string(),
            priority: *priority,
            period: DAY * *days,
        };
        Limits {
            retention_period: DAY * days,
            retention_stream: streams.iter().map(stream).collect(),
            ..Limits::default()
        }
    }

    #[test]
    fn the_rule_of_the_highest_priority_and_then_the_shortest_period_decides() {
        let rules: &[(&str, i64, u32)] = &[
            (r#"{env="dev"}"#, 1, 2),
            (r#"{env="dev",app="a"}"#, 5, 9),
            (r#"{app=~"a|b"}"#, 5, 7),
            ("{x=\"y\"}", 9, 0),
        ];
        let retention = Retention::of(&limits(30, rules)).unwrap();
        for (labels, days) in [
            (r#"{env="prod"}"#, 30),
            (r#"{env="dev"}"#, 2),
            (r#"{app="a", env="dev"}"#, 7),
            (r#"{app="b", env="dev"}"#, 7),
            (r#"{app="b", x="y"}"#, 0),
        ] {
            assert_eq!(retention.period_of(&Labels::parse(labels).unwrap()), DAY * days, "{labels}");
        }
        assert!(Retention::of(&limits(1, &[("{", 1, 1)])).is_err());
    }

    #[test]
    fn a_chunk_goes_when_its_newest_line_is_older_than_the_period_and_not_before() {
        for (days, through_ms, now_ns, expected) in [
            (1, NOW_MS - DAY_MS, NOW_MS * 1_000_000, false),
            (1, NOW_MS - DAY_MS, NOW_MS * 1_000_000 + 1, true),
            (1, NOW_MS - DAY_MS - 1, NOW_MS * 1_000_000, true),
            (0, 0, NOW_MS * 1_000_000, false),
            (1, NOW_MS + DAY_MS, NOW_MS * 1_000_000, false),
        ] {
            let chunk =
                ChunkRef { fingerprint: Fingerprint(1), from_ms: 0, through_ms, checksum: 1, kb: 1, entries: 1 };
            let labels = Labels::parse(r#"{a="b"}"#).unwrap();
            let mut rows = [SeriesChunks { labels, fingerprint: Fingerprint(1), chunks: vec![chunk] }];
            let retention = Retention::of(&limits(days, &[])).unwrap();
            assert_eq!(retention.may_expire(through_ms, now_ns), expected, "{days} {through_ms} {now_ns}");
            let gone = retention.take_expired(&mut rows, now_ns);
            assert_eq!(
                (gone.len() == 1, rows[0].chunks.is_empty()),
                (expected, expected),
                "{days} {through_ms} {now_ns}"
            );
        }
    }
}
