//! Pipelines over junk: no input panics, and each line takes bounded time. The seed is fixed; `LOKIRS_FUZZ_SECONDS` sets
//! how long each test runs.

use logql::ast::Expr;
use logql::parse::parse;
use logql::pipeline::{Hints, Pipeline};
use model::block::{BlockBuilder, Layout, RawBlock};
use model::{Labels, SymbolsBuilder};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The longest that one line may take.
const LINE_TIME_MAX: Duration = Duration::from_secs(2);

/// A xorshift generator.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
    fn pick<'t>(&mut self, choices: &[&'t str]) -> &'t str {
        choices[self.below(choices.len())]
    }
    /// Pieces in a row, now and then a random byte.
    fn text(&mut self, pieces: &[&str], count: usize) -> Vec<u8> {
        let mut out = Vec::new();
        for _ in 0..self.below(count) {
            match self.below(12) {
                0 => out.push(self.next() as u8),
                _ => out.extend_from_slice(self.pick(pieces).as_bytes()),
            }
        }
        out
    }
}

fn until() -> Instant {
    let seconds = std::env::var("LOKIRS_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(2.0);
    Instant::now() + Duration::from_secs_f64(seconds)
}

fn one_entry(line: &[u8]) -> RawBlock {
    let mut symbols = SymbolsBuilder::default();
    let mut block = BlockBuilder::new(Layout::Metadata);
    let metadata = [("trace_id", "t1"), ("app", "meta"), ("a", "")];
    block.push(1, line, metadata.into_iter(), &mut symbols);
    RawBlock { data: block.into_data().into(), layout: Layout::Metadata, symbols: Arc::new(symbols.finish()) }
}

/// Runs one line; what it gives must hang together.
fn run(query: &str, hints: &Hints, line: &[u8]) {
    let Ok(Expr::Log(log)) = parse(query) else { return };
    let Ok(pipeline) = Pipeline::compile(&log.stages, hints) else { return };
    let labels = Labels::new([("app", "x"), ("env", "prod")]);
    let mut stream = pipeline.stream(&labels);
    let block = one_entry(line);
    let entry = block.entries().try_next().expect("a well-formed block").expect("an entry");
    let started = Instant::now();
    for _ in 0..2 {
        if stream.process(entry.ts_ns, entry.line, entry.metadata) {
            let (merged, identity) = (stream.labels(), stream.identity());
            let (s, m, p) = stream.categorized();
            assert_eq!(s.len() + m.len() + p.len(), merged.len(), "{query}");
            assert!(pipeline.prefilter().may_match(&block.data), "{query}");
            assert_eq!(stream.identity(), identity, "{query}");
        }
    }
    assert!(started.elapsed() < LINE_TIME_MAX, "{query}: {:?}", String::from_utf8_lossy(line));
}

fn fuzz(seed: u64, queries: &[&str], pieces: &[&str]) {
    let (mut random, end) = (Random(seed), until());
    let some = Hints { extract_only: Some(vec!["a".into(), "b_c".into()]), ..Hints::default() };
    while Instant::now() < end {
        let line = random.text(pieces, 40);
        let hints = if random.below(3) == 0 { some.clone() } else { Hints::default() };
        run(random.pick(queries), &hints, &line);
    }
}

const JSON: [&str; 26] = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "\"a\":",
    "\"b\":{\"c\":",
    "\"a\"",
    "1",
    "-1.5e3",
    "true",
    "null",
    "tru",
    " ",
    "\\",
    "\\u00e9",
    "\\ud83d",
    "\\ude00",
    "é",
    "\"_entry\":\"x\"",
    "\"__error__\":\"e\"",
    "\n",
    "\"\":",
    "{\"a\":{\"b\":[1,{\"c\":2}]}}",
];

#[test]
fn json_stages_take_any_line() {
    let queries = [
        r#"{app="x"} | json"#,
        r#"{app="x"} | json | a="1" | b_c>0"#,
        r#"{app="x"} | json a="a", b="b.c", c="a[0]", d="b[1].c[\"a\"]""#,
        r#"{app="x"} | unpack | json | logfmt"#,
        r#"{app="x"} | json | drop a, __error__ | keep b_c, app"#,
    ];
    fuzz(0x9e37_79b9_7f4a_7c15, &queries, &JSON);
}

#[test]
fn logfmt_stages_take_any_line() {
    let queries = [
        r#"{app="x"} | logfmt"#,
        r#"{app="x"} | logfmt --strict --keep-empty | a>1 or b="c""#,
        r#"{app="x"} | logfmt a="b", c | label_format d=a, a=c"#,
        r#"{app="x"} | logfmt | a>5s | a>1KB | a=ip("10.0.0.0/8") | env="prod""#,
    ];
    let pieces = [
        "a",
        "b",
        "=",
        "\"",
        " ",
        "\t",
        "\\",
        "\\\"",
        "1",
        "5s",
        "1KB",
        "é",
        "\\u00e9",
        "\\ud800",
        "a=1 ",
        "app=y",
        "10.0.0.1",
        "a=\"x y\"",
        "'",
        "\n",
        "__error__=e ",
    ];
    fuzz(0xdead_beef_cafe_f00d, &queries, &pieces);
}

#[test]
fn text_stages_take_any_line() {
    let queries = [
        r#"{app="x"} |= "a" != "b" |~ "(?i)err[o0]r|warn" !~ "z+""#,
        r#"{app="x"} |> "<_>a<_>" | pattern `<a> - <b> [<_>] <c>`"#,
        r#"{app="x"} | regexp `(?P<a>\w+) (?P<b>[^ ]*)` | a=~"e.*""#,
        r#"{app="x"} |= ip("10.0.0.0/8") | decolorize | line_format "{{.a}} {{__line__}}""#,
        r#"{app="x"} != ip("::1-::ffff") or "x" | decolorize"#,
    ];
    let pieces = [
        "a",
        "b",
        " - ",
        " [",
        "] ",
        "error",
        "WARN",
        "10.0.0.1",
        "::1",
        "fe80::1%",
        "1.2.3.4.5",
        "\x1b[",
        "\x1b[31m",
        "\x1b]0;",
        "\x07",
        "m",
        "\u{9b}1;2",
        "x",
        "<_>",
        "é",
    ];
    fuzz(0x0123_4567_89ab_cdef, &queries, &pieces);
}

/// What templates are made of.
const TEMPLATE_PIECES: [&str; 65] = [
    "{{",
    "}}",
    "{{-",
    "-}}",
    " ",
    ".a",
    ".",
    "$x",
    ":=",
    "=",
    "|",
    "(",
    ")",
    "if ",
    "else",
    "end",
    "range ",
    "with ",
    "define \"t\"",
    "block ",
    "template \"t\"",
    "break",
    "__line__",
    "__timestamp__",
    "printf ",
    "\"%5.2f %v %q\"",
    "add ",
    "div ",
    "1",
    "0",
    "-7",
    "1.5e3",
    "'c'",
    "\"x\"",
    "`r`",
    "fromJson ",
    "`[1,{\"a\":2}]`",
    "index ",
    "slice ",
    "len ",
    "and ",
    "or ",
    "eq ",
    "lt ",
    "date ",
    "toDate ",
    "\"2006-01-02\"",
    "regexReplaceAll ",
    "repeat 3 ",
    "substr 1 2 ",
    "/*",
    "*/",
    "\n",
    ",",
    ".Year",
    ".AddDate 1 2 3",
    "round ",
    "b64dec ",
    "{{.a}}",
    "{{ .a | upper }}",
    "{{range fromJson `[1,2]`}}",
    "{{end}}",
    "{{else}}",
    "alignLeft 9 ",
    "é",
];

#[test]
fn templates_take_any_text() {
    let (mut random, end) = (Random(0x5851_f42d_4c95_7f2d), until());
    while Instant::now() < end {
        let template = String::from_utf8_lossy(&random.text(&TEMPLATE_PIECES, 16)).into_owned();
        let quoted = model::quote::quote(&template);
        let stage = random.pick(&["line_format ", "label_format b="]);
        run(&format!("{{app=\"x\"}} | logfmt | {stage}{quoted}"), &Hints::default(), b"a=1 b=\"x y\" c=3s");
    }
}

#[test]
fn templates_end() {
    for template in [
        "{{ range fromJson `[1,2,3,4,5,6,7,8,9,0]` }}{{ repeat 1000000 `abc` }}{{ end }}",
        "{{ define `t` }}{{ template `t` . }}{{ end }}{{ template `t` . }}",
        "{{ range 1000000000 }}x{{ end }}",
        "{{ printf `%1000000d%1000000d%1000000d%1000000d%1000000d%1000000d` 1 2 3 4 5 6 }}",
        "{{ $x := `aaaaaaaa` }}{{ range 60 }}{{ $x = print $x $x }}{{ end }}{{ len $x }}",
        "{{ indent 3000000 `a\nb\nc` }}",
    ] {
        run(&format!("{{app=\"x\"}} | line_format {}", model::quote::quote(template)), &Hints::default(), b"line");
    }
    let deep = format!("{}1{}", "(".repeat(5000), ")".repeat(5000));
    run(&format!("{{app=\"x\"}} | line_format \"{{{{ {deep} }}}}\""), &Hints::default(), b"line");
    let nested = format!("{}x{}", "{{if true}}".repeat(2000), "{{end}}".repeat(2000));
    run(&format!("{{app=\"x\"}} | line_format \"{nested}\""), &Hints::default(), b"line");
}

#[test]
fn deep_documents_are_malformed_not_fatal() {
    for depth in [10, 200, 20_000] {
        let line = format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        for query in [
            r#"{app="x"} | json"#,
            r#"{app="x"} | json a="a.a.a""#,
            r#"{app="x"} | line_format "{{ fromJson __line__ }}""#,
        ] {
            run(query, &Hints::default(), line.as_bytes());
            run(query, &Hints::default(), &line.as_bytes()[..line.len() / 2]);
        }
    }
}
