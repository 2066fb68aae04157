//! Mutated rule groups and templates: read or refused, never a panic; what is read is written and read again, and what a
//! template gives is bounded.

#[path = "../../../tests/fuzz/mod.rs"]
mod fuzz;

use fuzz::fuzz;
use model::Labels;
use ruler::rule::{Group, parse_file, print_file};
use ruler::template::{self, Data};
use std::collections::BTreeMap;

/// The longest text that a template may give, and an error's around it.
const EXPANDED_BYTES_MAX: usize = (64 << 10) + 4096;

const GROUP: &str = r#"name: g
interval: 1m30s
limit: 5
rules:
  - record: app:errors:rate1m
    expr: sum by (app) (rate({app=~".+"} |= "error" [1m]))
    labels: {team: a}
  - alert: ManyErrors
    expr: 'sum by (app) (rate({app=~".+"} |= "error" [1m])) > 10'
    for: 5m
    keep_firing_for: 1h
    labels: {severity: "{{ if gt $value 100.0 }}critical{{ else }}warning{{ end }}"}
    annotations: {summary: "{{ $labels.app }}: {{ $value | humanize }}"}
"#;

#[test]
fn rule_groups_are_read_or_refused() {
    let file = format!("groups:\n- {}", GROUP.trim().replace('\n', "\n  "));
    let pieces: [&[u8]; 8] =
        [b"- ", b": ", b"&a [*a]", b"{{ end }}", b"!!binary ", b"\n\n  ", b"for: 99999999999999999999y", b"\"\\x"];
    fuzz(&[GROUP.into(), file.into()], &pieces, |input, _| {
        let Ok(text) = std::str::from_utf8(input) else { return false };
        let groups = match Group::parse(text) {
            Ok(group) => vec![group],
            Err(_) => match parse_file(text) {
                Ok(groups) => groups,
                Err(_) => return false,
            },
        };
        let written = print_file(&groups).unwrap();
        assert_eq!(parse_file(&written).unwrap(), groups, "{written}");
        true
    });
}

#[test]
fn templates_are_expanded_or_refused() {
    let seeds = [
        "{{ $labels.app | toUpper }} has {{ printf \"%.2f\" $value }} ({{ humanizeDuration 3725 }})",
        "{{ range $k, $v := $labels }}{{ $k }}={{ $v }};{{ end }}{{ with .Value }}{{ . | humanize1024 }}{{ end }}",
        "{{ define \"x\" }}{{ .arg0 }}{{ end }}{{ template \"x\" (args 1 2) }}{{ reReplaceAll \"(.)b\" \"${1}\" \"ab\" }}",
        "{{ humanizeTimestamp $value }} {{ externalURL }}{{ if and (eq 1 1) (not (lt $value 5.0)) }}{{ end }}",
    ];
    let seeds: Vec<Vec<u8>> = seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect();
    let pieces: [&[u8]; 14] = [
        b"{{ $x := args $value }}",
        b"{{ range 50 }}{{ $x = print $x $x }}{{ end }}",
        b"{{ $x = args $x }}",
        b"{{ $x = printf \"%v%v\" $x $x }}",
        b"%.*e",
        b" 65535 ",
        b"{{",
        b"}}",
        b"{{ end }}",
        b" | ",
        b"%999999999d",
        b"{{ range 1000000000 }}",
        b"{{ template \"x\" . }}",
        b"1e308",
    ];
    let labels = Labels::new([("app", "web"), ("host", "a:80")]);
    let external_labels = BTreeMap::from([("cluster".to_string(), "c1".to_string())]);
    fuzz(&seeds, &pieces, |input, random| {
        let Ok(text) = std::str::from_utf8(input) else { return false };
        let values = [1234.5, -0.0, f64::NAN, f64::INFINITY, 1e300, 5e-324];
        let value = values[random.below(values.len())];
        let data = Data { labels: &labels, value, external_url: "http://g", external_labels: &external_labels };
        assert!(template::expand(text, &data).len() <= EXPANDED_BYTES_MAX);
        template::check(text).is_ok()
    });
}
