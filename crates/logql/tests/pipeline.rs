//! What the recorded corpus does not show of pipelines: templates as Go runs them, hints, grouping, unwrap, identity.

use logql::ast::{Expr, Grouping, LogRange, MetricExpr};
use logql::parse::parse;
use logql::pipeline::{Hints, Pipeline, StreamPipeline, Unwrapped, Unwrapper};
use model::block::{BlockBuilder, Layout, RawBlock};
use model::{Labels, SymbolsBuilder};
use std::sync::Arc;

const TS_NS: i64 = 1_768_471_620_123_456_789;

fn block(line: &str) -> RawBlock {
    let mut symbols = SymbolsBuilder::default();
    let mut block = BlockBuilder::new(Layout::Metadata);
    block.push(TS_NS, line.as_bytes(), [("trace", "t1")].into_iter(), &mut symbols);
    RawBlock { data: block.into_data().into(), layout: Layout::Metadata, symbols: Arc::new(symbols.finish()) }
}

fn process(stream: &mut StreamPipeline<'_>, line: &str) -> bool {
    let block = block(line);
    let entry = block.entries().try_next().expect("a block").expect("an entry");
    stream.process(entry.ts_ns, entry.line, entry.metadata)
}

fn compiled(query: &str, hints: &Hints) -> Pipeline {
    let Ok(Expr::Log(log)) = parse(query) else { panic!("{query}: {:?}", parse(query).err()) };
    Pipeline::compile(&log.stages, hints).expect(query)
}

/// The line that a template makes of `n=7 s="a b"`, or the error's details.
fn format(template: &str) -> String {
    let query = format!("{{app=\"x\"}} | logfmt | line_format {}", model::quote::quote(template));
    let pipeline = compiled(&query, &Hints::default());
    let labels = Labels::new([("app", "x")]);
    let mut stream = pipeline.stream(&labels);
    assert!(process(&mut stream, "n=7 s=\"a b\""));
    match stream.error() {
        Some((_, details)) => format!("error: {details}"),
        None => String::from_utf8_lossy(stream.line()).into_owned(),
    }
}

/// Templates, and what Go makes of them.
const GO_TEMPLATES: [(&str, &str); 36] = [
    ("{{if .n}}a{{else if .s}}b{{else}}c{{end}}", "a"),
    ("{{if .x}}a{{else if .s}}b{{else}}c{{end}}", "b"),
    ("{{with .x}}{{.}}{{else with .s}}<{{.}}>{{end}}", "<a b>"),
    ("{{range $i, $c := fromJson `{\"b\":1,\"a\":[true,null]}`}}{{$i}}={{$c}} {{end}}", "a=[true <nil>] b=1 "),
    ("{{range 3}}{{.}}{{end}}", "012"),
    ("{{range fromJson `[1,2,3]`}}{{if eq . 2.0}}{{continue}}{{end}}{{.}}{{end}}", "13"),
    ("{{range fromJson `[1,2,3]`}}{{if eq . 2.0}}{{break}}{{end}}{{.}}{{end}}", "1"),
    ("{{$x := 1}}{{if true}}{{$x = 2}}{{end}}{{$x}}", "2"),
    ("{{define `t`}}[{{.}}]{{end}}{{template `t` .n}}", "[7]"),
    ("{{/* note */}}x{{- /* note */ -}} y", "xy"),
    ("{{and .n .s}}|{{and .x .s}}|{{or .x .s}}|{{not .x}}", "a b||a b|true"),
    ("{{printf `%-5s|%5.1s|%q|%x` .s .s .s .s}}", "a b  |    a|\"a b\"|612062"),
    (
        "{{printf `%6.2f|%e|%g|%08.3f|%+d|%x|%o|%b|%c|%U` 3.14159 1234.5 1e-7 3.5 5 255 8 5 65 65}}",
        "  3.14|1.234500e+03|1e-07|0003.500|+5|ff|10|101|A|U+0041",
    ),
    (
        "{{printf `%d %s` 1 2}} {{printf `%d` }} {{printf `x` 1}} {{printf `%`}}",
        "1 %!s(int=2) %!d(MISSING) x%!(EXTRA int=1) %!(NOVERB)",
    ),
    ("{{printf `%5t|%v|%T|%%|%*d` true nil 1.5 4 7}}", " true|<nil>|float64|%|   7"),
    ("{{print 1 2 `a` 3 4}}", "1 2a3 4"),
    ("{{index (fromJson `{\"a\":[5,6]}`) `a` 1}} {{index .s 0}} {{slice .s 1}} {{len .s}}", "6 97  b 3"),
    (
        "{{1e6}} {{123456.0}} {{1.5}} {{0.0001}} {{0.00001}} {{100000.0}} {{12345678.0}}",
        "1e+06 123456 1.5 0.0001 1e-05 100000 1.2345678e+07",
    ),
    (
        "{{addf 1.1 2.2}} {{subf 0.3 0.1}} {{mulf 1.1 1.1}} {{divf 10 4}} {{divf 2 3}}",
        "3.3 0.2 1.21 2.5 0.6666666666666667",
    ),
    ("{{mod 7 3}} {{div 7 2}} {{sub 1 2}} {{mul 2 3 4}} {{add 1 `2` 3.9}}", "1 3 -1 24 6"),
    ("{{ceil 1.2}} {{floor -1.2}} {{round 1.005 2}} {{maxf 1 2.5}} {{min 3 `2`}}", "2 -2 1 2.5 2"),
    (
        "{{title `hello wOrld-x`}} {{trunc -2 .s}} {{replace ` ` `_` .s}} {{trimAll `ab` `abcba`}}",
        "Hello WOrld-X  b a_b c",
    ),
    ("{{urlencode `a b&c=é`}} {{urldecode `%41+b`}} {{urlquery `a/b`}}", "a+b%26c%3D%C3%A9 A b a%2Fb"),
    ("{{b64enc `hi`}} {{b64dec `aGk=`}} {{b64dec `a*b=`}}", "aGk= hi illegal base64 data at input byte 1"),
    ("{{count `a|b` .s}} {{regexReplaceAll `(\\w) (\\w)` .s `${2}-$1`}}", "2 b-a"),
    ("{{__timestamp__}}", "2026-01-15 10:07:00.123456789 +0000 UTC"),
    ("{{__timestamp__ | date `Monday, 02-Jan-06 15:04:05.000 MST`}}", "Thursday, 15-Jan-26 10:07:00.123 UTC"),
    (
        "{{__timestamp__ | date `2006-01-02T15:04:05.999Z07:00 -0700 002 3:4:5pm`}}",
        "2026-01-15T10:07:00.123Z +0000 015 10:7:0am",
    ),
    (
        "{{__timestamp__.Month}} {{__timestamp__.Weekday}} {{__timestamp__.Unix}} {{(__timestamp__.AddDate 0 1 20).Format `Jan 2`}}",
        "January Thursday 1768471620 Mar 7",
    ),
    ("{{toDateInZone `2006-01-02 15:04` `Europe/Berlin` `2021-07-02 10:30` | unixEpoch}}", "1625214600"),
    ("{{toDateInZone `2006-01-02` `America/New_York` `2021-01-02`}}", "2021-01-02 00:00:00 -0500 EST"),
    ("{{toDate `Jan 2, 2006 3:04PM -0700` `Feb 3, 2013 7:54PM -0800` | unixEpoch}}", "1359950040"),
    ("{{toDate `2006-01-02` `2021-02-29` | unixEpoch}}", "-62135596800"),
    ("{{.n.x}}", "error: template: line:1:4: executing \"line\" at <.n.x>: can't evaluate field x in type string"),
    (
        "{{trunc .n .s}}",
        "error: template: line:1:8: executing \"line\" at <.n>: wrong type for value; expected int; got string",
    ),
    (
        "{{lt 1 `a`}}",
        "error: template: line:1:2: executing \"line\" at <lt 1 `a`>: error calling lt: incompatible types for comparison",
    ),
];

#[test]
fn templates_run_as_in_go() {
    let mut wrong = Vec::new();
    for (template, expected) in GO_TEMPLATES {
        let got = format(template);
        if got != expected {
            wrong.push(format!("{template}\n  {got:?}\n  {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn broken_templates_are_refused_in_go_s_words() {
    for (template, expected) in [
        ("{{foo}}", "function \"foo\" not defined"),
        ("{{.a", "unclosed action"),
        ("{{if .a}}x", "unexpected EOF"),
        ("{{end}}", "unexpected {{end}}"),
        ("{{$x}}", "undefined variable \"$x\""),
        ("{{break}}", "{{break}} outside {{range}}"),
        ("{{ | upper}}", "missing value for command"),
        ("{{\"a}}", "unclosed action"),
    ] {
        let query = format!("{{app=\"x\"}} | line_format {}", model::quote::quote(template));
        let message = parse(&query).expect_err(template).message;
        assert!(message.ends_with(&format!("invalid line template: template: line:1: {expected}")), "{message}");
    }
}

fn range(query: &str) -> (LogRange, Option<Grouping>) {
    match parse(query).expect(query) {
        Expr::Metric(MetricExpr::Aggregate(a)) => match *a.inner {
            MetricExpr::Range(r) => (r.range, a.grouping),
            other => panic!("{other:?}"),
        },
        Expr::Metric(MetricExpr::Range(r)) => (r.range, r.grouping),
        other => panic!("{other:?}"),
    }
}

#[test]
fn parsers_stop_once_all_that_is_asked_for_is_there() {
    let broken = r#"{"level":"error","status":500,"rest":tru}"#;
    for (query, has_error) in [
        (r#"sum by (level) (count_over_time({app="x"} | json [1m]))"#, false),
        (r#"sum by (level) (count_over_time({app="x"} | json | status=500 [1m]))"#, false),
        (r#"sum by (level, app) (count_over_time({app="x"} | json [1m]))"#, true),
        (r#"sum by (nosuch) (count_over_time({app="x"} | json [1m]))"#, true),
        (r#"sum by () (count_over_time({app="x"} | json [1m]))"#, false),
    ] {
        let (range, grouping) = range(query);
        let hints = Hints::for_samples(&range.log.stages, range.unwrap.as_ref(), grouping.as_ref());
        let pipeline = Pipeline::compile(&range.log.stages, &hints).expect(query);
        let labels = Labels::new([("app", "x")]);
        let mut stream = pipeline.stream(&labels);
        assert!(process(&mut stream, broken), "{query}");
        assert_eq!(stream.error().is_some(), has_error, "{query}");
        assert_eq!(stream.label("rest"), None);
    }
}

#[test]
fn an_unwrapped_label_leaves_the_labels_unless_it_is_no_number() {
    let (range, _) = range(r#"sum_over_time({app="x"} | logfmt | unwrap n | s!="drop" [1m])"#);
    let unwrapper = Unwrapper::compile(range.unwrap.as_ref().expect("an unwrap")).expect("well formed");
    let pipeline = Pipeline::compile(&range.log.stages, &Hints::default()).expect("well formed");
    let labels = Labels::new([("app", "x")]);
    let mut stream = pipeline.stream(&labels);
    for (line, unwrapped, expected) in [
        ("n=7 s=a", Unwrapped::Value(7.0), r#"{app="x", s="a", trace="t1"}"#),
        ("s=a", Unwrapped::Skip, r#"{app="x", s="a", trace="t1"}"#),
        ("n=7 s=drop", Unwrapped::Skip, r#"{app="x", n="7", s="drop", trace="t1"}"#),
        (
            "n=x s=a",
            Unwrapped::Error,
            r#"{__error__="SampleExtractionErr", __error_details__="strconv.ParseFloat: parsing \"x\": invalid syntax", app="x", n="x", s="a", trace="t1"}"#,
        ),
    ] {
        assert!(process(&mut stream, line));
        assert_eq!(unwrapper.value(&mut stream), unwrapped, "{line}");
        assert_eq!(stream.labels().to_string(), expected);
    }
    assert!(process(&mut stream, "n=7 s=a"));
    assert_eq!(unwrapper.value(&mut stream), Unwrapped::Value(7.0));
    let by_n = Grouping { without: false, labels: vec!["n".into()] };
    assert_eq!(stream.group(&by_n).to_string(), r#"{n="7"}"#);
    let without_s = Grouping { without: true, labels: vec!["s".into()] };
    assert_eq!(stream.group(&without_s).to_string(), r#"{app="x", trace="t1"}"#);
}

#[test]
fn equal_labels_have_equal_identities_however_they_came_about() {
    let pipeline = compiled(r#"{app=~".+"} | logfmt | drop trace | label_format app=app2"#, &Hints::default());
    let other = compiled(r#"{app=~".+"} | drop trace"#, &Hints::default());
    let (one, two) = (Labels::new([("app", "old")]), Labels::new([("app", "new"), ("k", "v")]));
    let (mut a, mut b) = (pipeline.stream(&one), other.stream(&two));
    assert!(process(&mut a, "app2=new k=v") && process(&mut b, "x"));
    assert_eq!(a.labels(), b.labels());
    assert_eq!(a.identity(), b.identity());
    let by = Grouping { without: false, labels: vec!["k".into(), "app".into()] };
    let without = Grouping { without: true, labels: vec!["k".into()] };
    for grouping in [by, without] {
        assert_eq!(a.group(&grouping), b.group(&grouping));
        assert_eq!(a.group_identity(&grouping), b.group_identity(&grouping));
    }
    assert!(process(&mut a, "app2=new k=w"));
    assert_ne!(a.identity(), b.identity());
}

#[test]
fn a_stream_with_ever_new_fields_stays_right() {
    let pipeline = compiled(r#"{app="x"} | logfmt"#, &Hints::default());
    let labels = Labels::new([("app", "x")]);
    let mut stream = pipeline.stream(&labels);
    let grouping = Grouping { without: false, labels: vec!["last".into()] };
    for i in 0..10_000 {
        assert!(process(&mut stream, &format!("field{i}=1 last={}", i % 7)));
        if i % 97 == 0 {
            assert_eq!(stream.labels().get(&format!("field{i}")), Some("1"));
            assert_eq!(stream.group(&grouping).get("last"), Some((i % 7).to_string().as_str()));
        }
    }
}
