//! Patterns of recent lines, gathered from the ingesters. Replicas of a stream have counted the same lines: of one stream
//! the largest count of each interval holds, over streams counts add up. It must not know how patterns are found.

use crate::ingesters::Calls;
use crate::notes::Notes;
use crate::source::Stores;
use futures::FutureExt;
use model::{Error, Fingerprint, Result};
use patterns::Sample;
use rpc::ingester::{PatternsRequest, RecentRequest, StreamPatterns};
use rpc::queries::{Answer, PatternSeries, PatternsQuery, Tenants};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

/// Lines that a pattern must stand for to be shown, as in Loki: the first lines of a stream are patterns of their own.
const LINES_MIN: u64 = 30;
/// Patterns of one answer, as in Loki.
const PATTERNS_MAX: usize = 300;
/// Samples that one answer is made of; more are refused rather than collected.
const SAMPLES_MAX: usize = 4_000_000;

/// Level and text.
type Name = (String, String);
/// Lines by the time of their step.
type Lines = BTreeMap<i64, u64>;

/// The patterns with the most lines, those first.
pub async fn patterns(stores: &Stores, tenants: &Tenants, query: &PatternsQuery) -> Result<Answer<Vec<PatternSeries>>> {
    let notes = Notes::default();
    let mut total: HashMap<Name, Lines> = HashMap::new();
    for tenant in &tenants.ids {
        let recent =
            RecentRequest { tenant: tenant.clone(), matchers: query.matchers.clone(), range: query.range, shard: None };
        let request = PatternsRequest { recent, step: query.step };
        let calls = Calls::new(&*stores.ingesters, |ingester| {
            let request = request.clone();
            async move { ingester.patterns(request).await }.boxed()
        });
        for lines in of_streams(calls.gather(&notes).await?)?.into_values() {
            for (name, lines) in lines {
                let of_pattern = total.entry(name).or_default();
                lines.into_iter().for_each(|(time_ns, lines)| *of_pattern.entry(time_ns).or_default() += lines);
            }
        }
    }
    Ok(Answer { value: shown(total), warnings: notes.warnings() })
}

/// What each stream's replicas agree on.
fn of_streams(answers: Vec<Vec<StreamPatterns>>) -> Result<HashMap<Fingerprint, HashMap<Name, Lines>>> {
    let mut streams: HashMap<Fingerprint, HashMap<Name, Lines>> = HashMap::new();
    let mut samples = 0;
    for answer in answers {
        // Patterns of one replica that read alike are one; what they count adds up before replicas are compared.
        for stream in answer {
            let mut own: HashMap<Name, Lines> = HashMap::new();
            for level in stream.levels {
                for pattern in level.patterns {
                    samples += pattern.samples.len();
                    let lines = own.entry((level.level.clone(), pattern.text)).or_default();
                    pattern.samples.iter().for_each(|s| *lines.entry(s.time_ns).or_default() += s.lines);
                }
            }
            let known = streams.entry(stream.fingerprint).or_default();
            for (name, lines) in own {
                let known = known.entry(name).or_default();
                for (time_ns, lines) in lines {
                    let most = known.entry(time_ns).or_default();
                    *most = lines.max(*most);
                }
            }
            if samples > SAMPLES_MAX {
                return Err(Error::invalid(format!(
                    "the patterns have more than {SAMPLES_MAX} samples; use a narrower selector, a shorter range or a longer step"
                )));
            }
        }
    }
    Ok(streams)
}

fn shown(total: HashMap<Name, Lines>) -> Vec<PatternSeries> {
    let sum = |lines: &Lines| lines.values().fold(0u64, |sum, lines| sum.saturating_add(*lines));
    let mut all: Vec<(u64, Name, Lines)> = total.into_iter().map(|(name, lines)| (sum(&lines), name, lines)).collect();
    all.retain(|(lines, ..)| *lines >= LINES_MIN);
    all.sort_by(|a, b| (Reverse(a.0), &a.1).cmp(&(Reverse(b.0), &b.1)));
    all.truncate(PATTERNS_MAX);
    let series = all.into_iter().map(|(_, (level, pattern), lines)| {
        let samples = lines.into_iter().map(|(time_ns, lines)| Sample { time_ns, lines }).collect();
        PatternSeries { pattern, level, samples }
    });
    series.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use patterns::Pattern;
    use rpc::ingester::LevelPatterns;

    fn stream(n: u64, patterns: &[(&str, &[(i64, u64)])]) -> StreamPatterns {
        let samples = |samples: &[(i64, u64)]| samples.iter().map(|(t, n)| Sample { time_ns: *t, lines: *n }).collect();
        let patterns = patterns.iter().map(|(text, s)| Pattern { text: text.to_string(), samples: samples(s) });
        let levels = vec![LevelPatterns { level: "info".into(), patterns: patterns.collect() }];
        StreamPatterns { fingerprint: Fingerprint(n), levels }
    }

    #[test]
    fn replicas_count_once_and_streams_add_up() {
        let one = vec![
            stream(1, &[("a <_>", &[(0, 20), (10, 3)]), ("few <_>", &[(0, 29)])]),
            stream(2, &[("a <_>", &[(0, 5)])]),
        ];
        let other = vec![stream(1, &[("a <_>", &[(0, 12), (0, 7), (10, 9)]), ("few <_>", &[(0, 29)])])];
        let streams = of_streams(vec![one, other]).unwrap();
        let mut total: HashMap<Name, Lines> = HashMap::new();
        for (name, lines) in streams.into_values().flatten() {
            lines.into_iter().for_each(|(t, n)| *total.entry(name.clone()).or_default().entry(t).or_default() += n);
        }
        let samples = [(0, 25), (10, 9)].map(|(time_ns, lines)| Sample { time_ns, lines }).to_vec();
        let expected = PatternSeries { pattern: "a <_>".into(), level: "info".into(), samples };
        assert_eq!(shown(total), [expected]);
    }
}
