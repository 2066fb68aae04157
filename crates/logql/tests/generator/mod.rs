//! Random trees of LogQL from a seed: only such as a query can mean.

use logql::ast::*;
use model::{MatchOp, Matcher};
use smol_str::SmolStr;

/// SplitMix64: small, and the same on every machine.
pub struct Random(pub u64);

const NAMES: [&str; 8] = ["app", "a", "_x9", "LongName", "rate", "sum", "ip", "duration"];
const TEXTS: [&str; 9] =
    ["", "x", "a\"b\\c\nd", "`back`", "grün 日本", "\u{200b}\u{7f}\t", "{{.a}}", "# no comment", "<_> x"];
const REGEXES: [&str; 6] = ["a|b", ".*", "(?i)x+", r"\d{2,3}\.[[:alpha:]]", "", "^a$"];
const NUMBERS: [f64; 9] = [0.0, 1.0, 1.5, 0.1, 1e21, 1e-7, 123456789.125, 1e308, 5e-324];
const DURATIONS_NS: [i64; 8] =
    [0, 1, 1_500, 90_000_000_000, 3_600_000_000_001, 86_400_000_000_000, -1_000_000, i64::MAX];
const WINDOWS_MS: [i64; 6] = [0, 1, 90_000, 86_400_000, 694_800_000, 31_536_000_000];
const SIZES: [u64; 7] = [0, 9, 10_000, 1024, 1_234_567, 5_000_000_000_000_000_000, 1 << 50];

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
    fn many<T>(&mut self, min: usize, max: usize, mut item: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..min + self.below(max - min + 1)).map(|_| item(self)).collect()
    }
    fn name(&mut self) -> SmolStr {
        self.pick(&NAMES).into()
    }
    fn text(&mut self) -> SmolStr {
        self.pick(&TEXTS).into()
    }

    fn matcher(&mut self) -> Matcher {
        let op = self.pick(&[MatchOp::Eq, MatchOp::Ne, MatchOp::Re, MatchOp::NotRe]);
        let value = if op.is_regex() { self.pick(&REGEXES).into() } else { self.text() };
        Matcher::new(self.name(), op, value).expect("valid")
    }

    pub fn expr(&mut self) -> Expr {
        match self.below(12) {
            0..4 => Expr::Log(self.log()),
            4 => Expr::Metric(MetricExpr::Variants {
                variants: self.many(1, 3, |r| r.metric(2)),
                of: Box::new(self.range(false)),
            }),
            _ => Expr::Metric(self.metric(5)),
        }
    }

    fn log(&mut self) -> LogExpr {
        let mut matchers = self.many(0, 2, Self::matcher);
        matchers.push(Matcher::equal(self.name(), "selective"));
        let mut stages = self.many(0, 5, Self::stage);
        // `keep a != "x"` is a condition: behind a bare name LogQL cannot say these line filters.
        let is_sayable = |pair: &[Stage]| match pair {
            [Stage::Drop(labels) | Stage::Keep(labels), Stage::LineFilter(filter)] => {
                matches!(labels.last(), Some(LabelSelector::Matcher(_)))
                    || !matches!(filter.op, LineOp::NotContains | LineOp::NotMatches)
            }
            _ => true,
        };
        while let Some(at) = stages.windows(2).position(|pair| !is_sayable(pair)) {
            stages.remove(at);
        }
        LogExpr { matchers, stages }
    }

    fn stage(&mut self) -> Stage {
        match self.below(13) {
            0 | 1 => Stage::LineFilter(self.line_filter()),
            2 => Stage::Json(self.many(0, 2, Self::extraction)),
            3 => Stage::Logfmt {
                strict: self.one_in(2),
                keep_empty: self.one_in(2),
                fields: self.many(0, 2, Self::extraction),
            },
            4 => Stage::Regexp(r"(?P<a>\d+) (?<b>.*)".into()),
            5 => Stage::Pattern("<_> [<a>] <b c>\"".into()),
            6 => Stage::Unpack,
            7 | 8 => Stage::LabelFilter(self.label_filter(4)),
            9 => Stage::LineFormat(self.text()),
            10 => Stage::LabelFormat(self.many(1, 3, |r| match r.one_in(2) {
                true => LabelFormat::Rename { to: r.name(), from: r.name() },
                false => LabelFormat::Template { to: r.name(), template: r.text() },
            })),
            11 => Stage::Decolorize,
            _ => {
                let labels = self.many(1, 3, |r| match r.one_in(2) {
                    true => LabelSelector::Name(r.name()),
                    false => LabelSelector::Matcher(r.matcher()),
                });
                if self.one_in(2) { Stage::Drop(labels) } else { Stage::Keep(labels) }
            }
        }
    }

    fn line_filter(&mut self) -> LineFilter {
        let ops = [
            LineOp::Contains,
            LineOp::NotContains,
            LineOp::Matches,
            LineOp::NotMatches,
            LineOp::Pattern,
            LineOp::NotPattern,
        ];
        let operands = self.many(1, 3, |r| match r.one_in(4) {
            true => LineOperand::Ip(r.text()),
            false => LineOperand::Text(r.text()),
        });
        LineFilter { op: self.pick(&ops), operands }
    }

    fn extraction(&mut self) -> Extraction {
        Extraction { name: self.name(), expression: self.text() }
    }

    fn label_filter(&mut self, depth: usize) -> LabelFilter {
        let name = self.name();
        let op = self.pick(&[CompareOp::Eq, CompareOp::Ne, CompareOp::Gt, CompareOp::Ge, CompareOp::Lt, CompareOp::Le]);
        match self.below(if depth == 0 { 5 } else { 9 }) {
            0 => LabelFilter::String(self.matcher()),
            1 => LabelFilter::Number { name, op, value: self.number() },
            2 => LabelFilter::Duration { name, op, value_ns: self.pick(&DURATIONS_NS) },
            3 => LabelFilter::Bytes { name, op, value: self.pick(&SIZES) },
            4 => LabelFilter::Ip { name, negated: self.one_in(2), pattern: self.text() },
            n => {
                let (left, right) = (self.label_filter(depth - 1).into(), self.label_filter(depth - 1).into());
                if n % 2 == 0 { LabelFilter::And(left, right) } else { LabelFilter::Or(left, right) }
            }
        }
    }

    fn number(&mut self) -> f64 {
        let value = self.pick(&NUMBERS);
        if self.one_in(2) { -value } else { value }
    }

    fn labels(&mut self) -> Vec<SmolStr> {
        self.many(0, 3, Self::name)
    }

    fn range(&mut self, is_unwrapped: bool) -> LogRange {
        let conversions =
            [None, Some(Conversion::Bytes), Some(Conversion::Duration), Some(Conversion::DurationSeconds)];
        LogRange {
            log: self.log(),
            window_ns: self.pick(&WINDOWS_MS) * 1_000_000,
            offset_ns: if self.one_in(2) { self.pick(&DURATIONS_NS) } else { 0 },
            unwrap: is_unwrapped.then(|| Unwrap {
                label: self.name(),
                conversion: self.pick(&conversions),
                filters: self.many(0, 2, |r| r.label_filter(2)),
            }),
        }
    }

    fn metric(&mut self, depth: usize) -> MetricExpr {
        match self.below(if depth == 0 { 6 } else { 14 }) {
            0 => MetricExpr::Literal(self.number()),
            1 => MetricExpr::Vector(self.pick(&NUMBERS)),
            2..6 => self.range_aggregation(),
            6..9 => self.vector_aggregation(depth - 1),
            9 => MetricExpr::LabelReplace(Box::new(LabelReplace {
                inner: self.metric(depth - 1),
                dst: self.text(),
                replacement: self.text(),
                src: self.text(),
                regex: self.pick(&REGEXES).into(),
            })),
            _ => self.binary(depth - 1),
        }
    }

    fn range_aggregation(&mut self) -> MetricExpr {
        let op = self.pick(&RangeOp::ALL);
        let is_unwrapped = op.needs_unwrap() || (op.allows_unwrap() && self.one_in(2));
        let is_grouped = op.allows_grouping() && self.one_in(2);
        MetricExpr::Range(RangeAggregation {
            op,
            parameter: (op == RangeOp::Quantile).then(|| self.pick(&NUMBERS)),
            range: self.range(is_unwrapped),
            grouping: is_grouped.then(|| Grouping { without: self.one_in(2), labels: self.labels() }),
        })
    }

    fn vector_aggregation(&mut self, depth: usize) -> MetricExpr {
        let op = self.pick(&VectorOp::ALL);
        let is_grouped = !matches!(op, VectorOp::Sort | VectorOp::SortDesc | VectorOp::ApproxTopK) && self.one_in(2);
        MetricExpr::Aggregate(VectorAggregation {
            op,
            parameter: op.takes_parameter().then(|| 1 + self.next() % 1000),
            inner: Box::new(self.metric(depth)),
            grouping: is_grouped.then(|| Grouping { without: self.one_in(2), labels: self.labels() }),
        })
    }

    /// Never of two literals, which are one, and never of a literal and a logical operator.
    fn binary(&mut self, depth: usize) -> MetricExpr {
        let op = self.pick(&BinaryOp::ALL);
        let is_literal = |e: &MetricExpr| matches!(e, MetricExpr::Literal(_));
        let (mut left, mut right) = (self.metric(depth), self.metric(depth));
        if is_literal(&left) && (op.is_logical() || is_literal(&right)) {
            left = MetricExpr::Vector(1.0);
        }
        if is_literal(&right) && op.is_logical() {
            right = MetricExpr::Vector(2.0);
        }
        let matching = self.one_in(2).then(|| {
            let group = self.pick(&[None, Some(GroupSide::Left), Some(GroupSide::Right)]);
            let include = if group.is_some() { self.labels() } else { Vec::new() };
            VectorMatching { on: self.one_in(2), labels: self.labels(), group, include }
        });
        let return_bool = self.one_in(3);
        MetricExpr::Binary(Box::new(Binary { op, left, right, return_bool, matching }))
    }
}
