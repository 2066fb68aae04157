//! What queries mean: each text and the canonical text of the tree it becomes, and refusals that the recorded corpus
//! does not have.

use logql::ast::{Expr, LabelFilter, LogExpr, MetricExpr, Stage};
use logql::parse::{Breadth, parse, parse_log, parse_selector, parse_syntax};

fn canonical(query: &str) -> String {
    parse(query).unwrap_or_else(|e| panic!("{query}: {e}")).to_string()
}

#[test]
fn texts_mean_these_trees() {
    for (query, expected) in [
        // Operators.
        ("2 ^ 3 ^ 2", "512"),
        ("10 - 4 - 3", "3"),
        ("-2 ^ 2", "4"),
        ("vector(1) + vector(2) * vector(3)", "(vector(1.000000) + (vector(2.000000) * vector(3.000000)))"),
        ("vector(1) ^ vector(2) ^ 3", "(vector(1.000000) ^ (vector(2.000000) ^ 3))"),
        ("vector(1) or vector(2) unless vector(3)", "(vector(1.000000) or (vector(2.000000) unless vector(3.000000)))"),
        ("vector(1) - 2 > bool 3", "((vector(1.000000) - 2) > bool 3)"),
        (
            "vector(1) * on (a, b) group_left (c) vector(2)",
            "(vector(1.000000) * on (a,b) group_left (c) vector(2.000000))",
        ),
        (
            "vector(1) * ignoring () group_right vector(2)",
            "(vector(1.000000) * ignoring () group_right vector(2.000000))",
        ),
        ("vector(1) - -1", "(vector(1.000000) - -1)"),
        ("vector(0.0000001)", "vector(1e-07)"),
        // Spelling.
        ("SUM BY (a) (RATE({a=\"b\"}[1m]))", r#"sum by (a)(rate({a="b"}[1m]))"#),
        ("{a=`b\"`, } # comment\n |= \"#x\" # more", "{a=\"b\\\"\"} |= \"#x\""),
        (r#"{sum="x", rate="y", duration="z"}"#, r#"{sum="x", rate="y", duration="z"}"#),
        (r#"{a="\u00fc\x41\101"}"#, r#"{a="üAA"}"#),
        // Label filters.
        (r#"{a="b"} | x=1 or y=2 and z=3"#, r#"{a="b"} | ( x==1 or ( y==2 , z==3 ) )"#),
        (r#"{a="b"} | x=1 or y=2, z=3"#, r#"{a="b"} | ( x==1 or ( y==2 , z==3 ) )"#),
        (r#"{a="b"} | x=1, y=2 or z=3"#, r#"{a="b"} | ( x==1 , ( y==2 or z==3 ) )"#),
        (r#"{a="b"} | x=1 y="2""#, r#"{a="b"} | ( x==1 , y="2" )"#),
        (
            r#"{a="b"} | (x>=1.5h or y<2KiB) (z!=ip("::1"))"#,
            r#"{a="b"} | ( ( x>=1h30m0s or y<2048B ) , z!=ip("::1") )"#,
        ),
        (r#"{a="b"} | x>-5 | y<-5m | z==+1 | w=1d"#, r#"{a="b"} | x>-5 | y<-5m0s | z==1 | w==24h0m0s"#),
        // Stages.
        (r#"{a="b"} | json x, y="z[0].w""#, r#"{a="b"} | json x="x",y="z[0].w""#),
        (r#"{a="b"} | logfmt --keep-empty --strict x"#, r#"{a="b"} | logfmt --strict --keep-empty x="x""#),
        (r#"{a="b"} | drop x, y=~"z" | keep w"#, r#"{a="b"} | drop x,y=~"z" | keep w"#),
        (
            r#"{a="b"} != "x" or ip("10.0.0.0/8") !~ "y" !> "<_>z""#,
            r#"{a="b"} != "x" or ip("10.0.0.0/8") !~ "y" !> "<_>z""#,
        ),
        // Ranges.
        (r#"rate({a="b"}[5m] |= "x" | json)"#, r#"rate({a="b"} |= "x" | json[5m])"#),
        (r#"rate(({a="b"} |= "x")[5m] offset 1h)"#, r#"rate({a="b"} |= "x"[5m] offset 1h0m0s)"#),
        (r#"rate((({a="b"}[5m] offset -90s)))"#, r#"rate({a="b"}[5m] offset -1m30s)"#),
        (
            r#"sum_over_time({a="b"}[1d] | unwrap bytes(x) | x>1)"#,
            r#"sum_over_time({a="b"} | unwrap bytes(x) | x>1[1d])"#,
        ),
        (r#"sum_over_time(({a="b"} | json | unwrap x)[1h])"#, r#"sum_over_time({a="b"} | json | unwrap x[1h])"#),
        (
            r#"max without (x) (max_over_time({a="b"}|unwrap x[1m]) by (y))"#,
            r#"max without (x)(max_over_time({a="b"} | unwrap x[1m]) by (y))"#,
        ),
        (r#"bottomk(3, rate({a="b"}[1m])) by (x)"#, r#"bottomk by (x)(3,rate({a="b"}[1m]))"#),
        (r#"variants(rate({a="b"}[1m])) of ({a="b"}[1m])"#, r#"variants(rate({a="b"}[1m])) of ({a="b"}[1m])"#),
    ] {
        assert_eq!(canonical(query), expected, "{query}");
    }
}

#[test]
fn refusals_name_the_place_and_what_was_expected() {
    for (query, expected) in [
        ("", "parse error : syntax error: unexpected $end"),
        ("\n\n  {", "parse error at line 3, col 4: syntax error: unexpected $end, expecting IDENTIFIER or }"),
        ("{a=\"b\"}\n| json |", "parse error at line 2, col 9: syntax error: unexpected $end"),
        ("{ü=\"b\"}", "parse error at line 1, col 2: syntax error: unexpected STRING, expecting IDENTIFIER or }"),
        ("{a=\"ü\" b}", "parse error at line 1, col 8: syntax error: unexpected IDENTIFIER, expecting } or ,"),
        ("{a=\"\\q\"}", "parse error at line 1, col 4: invalid char escape"),
        ("{a='b'}", "parse error at line 1, col 4: syntax error: unexpected IDENTIFIER, expecting STRING"),
        (
            "sum by (a b) (vector(1))",
            "parse error at line 1, col 11: syntax error: unexpected IDENTIFIER, expecting , or )",
        ),
        (
            "rate({a=\"b\"}[5m] offset x)",
            "parse error at line 1, col 25: syntax error: unexpected IDENTIFIER, expecting DURATION",
        ),
        ("{a=\"b\"} |~ ip(\"::1\")", "parse error : stage '|~ ip(\"::1\")' : ip: invalid operation"),
        (
            "quantile_over_time({a=\"b\"}|unwrap x[1m])",
            "parse error : parameter required for operation quantile_over_time",
        ),
        ("variants(vector(1)) of ({a=\"b\"}[1m]) + 1", "parse error at line 1, col 38: syntax error: unexpected +"),
        (
            "vector(1e999)",
            "parse error : unable to parse literal as a float: strconv.ParseFloat: parsing \"1e999\": value out of range",
        ),
    ] {
        assert_eq!(parse(query).map(|e| e.to_string()).map_err(|e| e.message), Err(expected.into()), "{query}");
    }
    let error = parse("1 +\n )").expect_err("no operand");
    assert_eq!((error.line, error.column), (2, 2));
}

#[test]
fn selectors_are_as_broad_as_asked() {
    use Breadth::*;
    let not_selective = "queries require at least one regexp";
    let only = "only label matchers are supported";
    for (query, breadth, refused) in [
        ("{a=\"b\"}", Selective, None),
        ("{}", Selective, Some(not_selective)),
        ("{}", SelectiveOrAll, None),
        ("{}", Any, None),
        ("{a=~\".*\"}", SelectiveOrAll, Some(not_selective)),
        ("{a=~\".*\"}", Any, None),
        ("{a=\"b\"} | json", Any, Some(only)),
        ("rate({a=\"b\"}[1m])", Selective, Some(only)),
        ("{", Any, Some("unexpected $end")),
    ] {
        let got = parse_selector(query, breadth).err().map(|e| e.message);
        assert_eq!(got.is_some(), refused.is_some(), "{query} {breadth:?}: {got:?}");
        assert!(got.unwrap_or_default().contains(refused.unwrap_or_default()), "{query} {breadth:?}");
    }
    assert_eq!(parse_log("vector(1)").map_err(|e| e.message), Err("only log selector is supported".into()));
}

#[test]
fn stages_that_cannot_work_are_well_formed_but_refused() {
    let query = r#"rate({a="b"} |~ "("[1m])"#;
    assert!(parse_syntax(query).is_ok());
    assert!(
        parse(query).is_err_and(|e| e.message.starts_with("parse error : stage '|~ \"(\"' : error parsing regexp"))
    );
}

#[test]
fn templates_are_compiled_as_part_of_the_check() {
    for (query, expected) in [
        (
            r#"{a="x"} | line_format "{{""#,
            r#"parse error : stage '| line_format "{{"' : invalid line template: template: line:1: unclosed action"#,
        ),
        (
            r#"rate({a="x"} | label_format a="{{" [1m])"#,
            r#"parse error : stage '| label_format a="{{"' : invalid template for label 'a': template: label:1: unclosed action"#,
        ),
    ] {
        assert!(parse_syntax(query).is_ok(), "templates aside it is right");
        assert_eq!(parse(query).map_err(|e| e.message), Err(expected.into()));
    }
}

#[test]
fn literals_keep_their_kinds() {
    let filter = |query: &str| match parse(query).expect(query) {
        Expr::Log(LogExpr { mut stages, .. }) => stages.pop(),
        Expr::Metric(_) => None,
    };
    assert!(matches!(filter(r#"{a="b"} | x>5"#), Some(Stage::LabelFilter(LabelFilter::Number { .. }))));
    assert!(matches!(filter(r#"{a="b"} | x>5m"#), Some(Stage::LabelFilter(LabelFilter::Duration { .. }))));
    assert!(matches!(filter(r#"{a="b"} | x>5M"#), Some(Stage::LabelFilter(LabelFilter::Bytes { .. }))));
    assert!(matches!(filter(r#"{a="b"} | x="5""#), Some(Stage::LabelFilter(LabelFilter::String(_)))));
    assert!(matches!(parse("1 > 2"), Ok(Expr::Metric(MetricExpr::Literal(0.0)))));
}
