//! Printing and parsing are inverses on random trees, and limits hold on hostile text.

mod generator;

use generator::Random;
use logql::parse::{DEPTH_MAX, FILTER_DEPTH_MAX, QUERY_BYTES_MAX, parse, parse_syntax};
use logql::print::pretty;

/// Less than the stack of any thread that parses, so that debug builds have room to spare.
const STACK_BYTES: usize = 1 << 20;

#[test]
fn printed_trees_parse_back_to_themselves() {
    for seed in 0..4000 {
        let expr = Random(seed).expr();
        for printed in [expr.to_string(), pretty(&expr)] {
            assert_eq!(parse_syntax(&printed).as_ref(), Ok(&expr), "seed {seed}:\n{printed}");
        }
    }
}

#[test]
fn pretty_text_is_stable() {
    for seed in 0..500 {
        let text = pretty(&Random(seed).expr());
        assert_eq!(parse_syntax(&text).map(|e| pretty(&e)), Ok(text), "seed {seed}");
    }
}

#[test]
fn numbers_without_a_literal_print_as_what_folds_to_them() {
    for (query, printed) in [("1 / 0", "(0 / 0)"), ("1e308 * 10", "(1e+308 * 10)"), ("-1e308 * 10", "(-1e+308 * 10)")] {
        let text = parse(query).expect(query).to_string();
        assert_eq!(text, printed);
        assert_eq!(parse(&text).expect(printed).to_string(), printed);
    }
}

/// Parses, prints, clones, compares and drops on a small stack; answers whether it parsed.
fn survives(query: String) -> bool {
    let work = move || match parse(&query) {
        Err(error) => {
            assert!(error.message.starts_with("parse error"), "{}", error.message);
            false
        }
        Ok(expr) => {
            assert_eq!(parse_syntax(&expr.to_string()).as_ref(), Ok(&expr.clone()));
            pretty(&expr);
            true
        }
    };
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(work).expect("a thread starts");
    thread.join().map_err(|p| p.downcast_ref::<String>().cloned()).expect("neither a panic nor an overflow")
}

#[test]
fn depth_is_limited_and_what_is_allowed_fits_a_small_stack() {
    let nested = |open: &str, inner: &str, close: &str, n: usize| open.repeat(n) + inner + &close.repeat(n);
    let range = r#"rate({a="b"}[1m])"#;
    for (query, expected) in [
        (nested("(", "1", ")", DEPTH_MAX - 1), true),
        (nested("(", "1", ")", 60_000), false),
        ("(".repeat(60_000), false),
        (nested("sum(", range, ")", DEPTH_MAX - 1), true),
        (nested("sum(", range, ")", 10_000), false),
        (nested("topk(1,", range, ")", DEPTH_MAX), false),
        (nested("label_replace(", range, r#","a","b","c","d")"#, 1000), false),
        (nested("2 ^ ", "vector(1)", "", DEPTH_MAX - 1), true),
        (nested("vector(1) + ", "vector(1)", "", DEPTH_MAX - 1), true),
        (nested("vector(1) + ", "vector(1)", "", 9000), false),
        (nested("2 ^ ", "vector(1)", "", 9000), false),
        (format!("rate({})", nested("(", r#"{a="b"}[1m]"#, ")", DEPTH_MAX + 1)), false),
        (format!(r#"{{a="b"}} | {}"#, nested("(", "x=1", ")", 60_000)), true),
        (format!(r#"{{a="b"}} | {}"#, nested("x=1 or ", "x=1", "", FILTER_DEPTH_MAX - 1)), true),
        (format!(r#"{{a="b"}} | {}"#, nested("x=1,", "x=1", "", FILTER_DEPTH_MAX - 1)), true),
        (format!(r#"{{a="b"}} | {}"#, nested("x=1 and ", "x=1", "", 10_000)), false),
        (format!(r#"{{a="b"}} {}"#, r#"|="x""#.repeat(20_000)), false),
        (format!(r#"{{a="b"}} |="x" {}"#, r#"or "x""#.repeat(15_000)), true),
        (format!(r#"{{{}}}"#, r#"a="b","#.repeat(20_000)), false),
        ("x".repeat(QUERY_BYTES_MAX), false),
    ] {
        let start: String = query.chars().take(40).collect();
        assert_eq!(survives(query), expected, "{start}");
    }
    let long = parse(&"x".repeat(QUERY_BYTES_MAX)).expect_err("it is too long");
    assert_eq!(long.message, "parse error : input size too long (131072 > 131072)");
}
