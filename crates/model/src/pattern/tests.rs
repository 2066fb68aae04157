//! What Go's expressions become, what they match, and in which words they are refused.

use super::*;

#[test]
fn go_syntax_becomes_regex_syntax() {
    for (go, rust) in [
        ("", ""),
        ("abc", "abc"),
        (r"\d+\w\s", r"[0-9]+[0-9A-Za-z_][\t\n\f\r ]"),
        (r"[\d-z\W]", r"[[0-9]\-z[^0-9A-Za-z_]]"),
        (r"\bx\B", r"(?-u:\b)x(?-u:\B)"),
        ("[[a]", r"[\[a]"),
        ("[^[]", r"[^\[]"),
        ("[]a]", r"[\]a]"),
        ("[a&&b]", r"[a\&\&b]"),
        ("[[:alpha:]_]", "[[:alpha:]_]"),
        ("[[:alpha]", r"[\[:alpha]"),
        ("a{,2}b{x}{", r"a\{,2\}b\{x\}\{"),
        ("x{2,}y{3}z{0,1}?", "x{2,}y{3}z{0,1}?"),
        ("x{02}", r"x\{02\}"),
        (r"\Qa.b\E+c", r"a\.b+c"),
        (r"\Qa.", r"a\."),
        (r"\101\07\x41\x{263a}", "A\u{7}A\u{263a}"),
        (r"\<a\_\-", r"<a_\-"),
        (r"\p{Greek}\pN\P{^Greek}\p{^L}", r"\p{Greek}\p{N}\p{Greek}\P{L}"),
        ("(?)a(?i)b(?s:.)(?-i:c)", "a(?i)b(?s:.)(?-i:c)"),
        ("(?P<a>x)(?<b>y)(?P<a>z)(?P<1>w)", "(?P<a>x)(?P<b>y)(z)(w)"),
        (r"[\x{d800}-\x{dfff}]", r"[^\x{0}-\x{10FFFF}]"),
        (r"\x{d800}", r"[^\x{0}-\x{10FFFF}]"),
        ("^*a|$|", "^*a|$|"),
        (r"\z\A", r"\z\A"),
        ("#~a b", r"\#\~a b"),
    ] {
        assert_eq!(translate(go).as_deref(), Ok(rust), "{go}");
        assert!(compile(go).is_ok(), "{go}: {:?}", compile(go));
        assert!(anchored(go).is_ok(), "{go}");
        assert!(compile_bytes(go).is_ok(), "{go}");
    }
}

#[test]
fn what_go_refuses_is_refused_in_its_words() {
    for (go, what) in [
        ("(", "missing closing ): `(`"),
        ("a(b(c)", "missing closing ): `a(b(c)`"),
        ("(?i", "missing closing ): `(?i`"),
        ("a)b", "unexpected ): `a)b`"),
        ("[a", "missing closing ]: `[a`"),
        ("x[]", "missing closing ]: `[]`"),
        ("[z-a]", "invalid character class range: `z-a`"),
        ("[[:foo:]]", "invalid character class range: `[:foo:]`"),
        (r"\p{Foo}", r"invalid character class range: `\p{Foo}`"),
        (r"\p{sc=Greek}", r"invalid character class range: `\p{sc=Greek}`"),
        (r"\pX", r"invalid character class range: `\pX`"),
        (r"\p", r"invalid character class range: `\p`"),
        ("*a", "missing argument to repetition operator: `*`"),
        ("(?:+?)", "missing argument to repetition operator: `+?`"),
        ("a|{2}", "missing argument to repetition operator: `{2}`"),
        ("a**", "invalid nested repetition operator: `**`"),
        ("a*+", "invalid nested repetition operator: `*+`"),
        ("a+?{3}b", "invalid nested repetition operator: `+?{3}`"),
        ("a{2,1}", "invalid repeat count: `{2,1}`"),
        ("a{1001}", "invalid repeat count: `{1001}`"),
        ("a{99999999999}", "invalid repeat count: `{99999999999}`"),
        ("(?:a{40}){40}", "invalid repeat count: `{40}`"),
        ("(?=x)", "invalid or unsupported Perl syntax: `(?=`"),
        ("(?!x)", "invalid or unsupported Perl syntax: `(?!`"),
        ("(?>x)", "invalid or unsupported Perl syntax: `(?>`"),
        ("(?x)a", "invalid or unsupported Perl syntax: `(?x`"),
        ("(?u)a", "invalid or unsupported Perl syntax: `(?u`"),
        ("(?i-)a", "invalid or unsupported Perl syntax: `(?i-)`"),
        ("(?<=x)", "invalid named capture: `(?<=x)`"),
        ("(?P<a-b>x)", "invalid named capture: `(?P<a-b>`"),
        ("(?P<>x)", "invalid named capture: `(?P<>`"),
        ("(?P=a)", "invalid or unsupported Perl syntax: `(?P`"),
        (r"\1", r"invalid escape sequence: `\1`"),
        (r"\8", r"invalid escape sequence: `\8`"),
        (r"\C", r"invalid escape sequence: `\C`"),
        (r"\Z", r"invalid escape sequence: `\Z`"),
        (r"\u0041", r"invalid escape sequence: `\u`"),
        (r"\x4", r"invalid escape sequence: `\x4`"),
        (r"\x{110000}", r"invalid escape sequence: `\x{110000}`"),
        (r"[\b]", r"invalid escape sequence: `\b`"),
        ("a\\", "trailing backslash at end of expression: ``"),
        (r"(?:\pL{1000}){1}", r"expression too large: `(?:\pL{1000}){1}`"),
    ] {
        let expected = format!("error parsing regexp: {what}");
        assert_eq!(compile(go).map(|r| r.to_string()).map_err(|e| e.message), Err(expected.clone()), "{go}");
        assert_eq!(compile_bytes(go).map(|r| r.to_string()).map_err(|e| e.message), Err(expected), "{go}");
    }
    let deep = format!("{}a{}", "(".repeat(60_000), ")".repeat(60_000));
    assert!(compile(&deep).is_err_and(|e| e.message.contains("nests too deeply")));
}

#[test]
fn nesting_at_the_limit_compiles_on_a_small_stack() {
    let deep = format!("{}a{}", "(a|b".repeat(REGEX_NESTING_MAX), ")*".repeat(REGEX_NESTING_MAX));
    let compiled = std::thread::Builder::new().stack_size(1 << 20).spawn(move || compile(&deep).is_ok());
    assert!(compiled.expect("a thread starts").join().expect("it does not overflow"));
}

#[test]
fn characters_are_matched_as_go_matches_them() {
    for (go, text, expected) in [
        (r"^\d$", "٣", false),
        (r"^\w+$", "naïve", false),
        (r"\bna\b", "naïve", true),
        (r"^\s$", "\u{b}", false),
        (r"^\s$", "\u{a0}", false),
        ("(?i)straße", "STRAßE", true),
        ("(?i)k", "\u{212a}", true),
        (".", "\n", false),
        ("(?s).", "\n", true),
        ("^[^a]$", "\n", true),
        ("(?m)^b$", "a\nb\nc", true),
        ("^b$", "a\nb\nc", false),
        ("^.$", "é", true),
        (r"a\Bb", "ab", true),
        ("{\"a\": [0-9]{2}}", "{\"a\": 12}", true),
    ] {
        assert_eq!(compile(go).expect(go).is_match(text), expected, "{go} {text}");
        assert_eq!(compile_bytes(go).expect(go).is_match(text.as_bytes()), expected, "{go} {text}");
    }
    let whole = anchored("(?i)a|b.c").expect("it compiles");
    for (value, expected) in [("A", true), ("b\nc", true), ("xa", false), ("ac", false)] {
        assert_eq!(whole.is_match(value), expected, "{value}");
    }
}

#[test]
fn repetitions_of_any_character_cross_bytes_that_are_no_text() {
    for (go, line, expected) in [
        ("error.*timeout", &b"error \xff\xfe timeout"[..], true),
        ("error.+timeout", b"error \xff\xfe timeout", true),
        ("\"[^\"]*\"end", b"\"a\xe9b\"end", true),
        ("error.*timeout", b"error \n timeout", false),
        ("[^a]*é", "xxé".as_bytes(), true),
    ] {
        assert_eq!(compile_bytes(go).expect(go).is_match(line), expected, "{go}");
    }
    let captures = compile_bytes("(.+)(.+)").expect("it compiles");
    let found = captures.captures("aéü".as_bytes()).expect("it matches");
    assert_eq!((&found[1], &found[2]), ("aé".as_bytes(), "ü".as_bytes()));
}
