//! Rules as operators write them, and what becomes of labels.

use super::*;
use runtime::settings::NoReference;

settings! {
    pub struct Rules {
        pub rules: Vec<RelabelConfig> = vec![],
    }
}

fn compile(yaml: &str) -> Result<Relabel, String> {
    let mut rules = Rules::default();
    let mut reader = Reader::at("", &NoReference);
    rules.read(&Tree::parse(&format!("rules:\n{yaml}\n")).unwrap(), &mut reader);
    assert!(reader.errors.is_empty(), "{yaml}: {:?}", reader.errors);
    Relabel::compile(&rules.rules)
}

/// Of `{a="foo", b="bar", m_x="1"}`; nothing stands for labels that are dropped.
#[test]
fn labels_become_what_prometheus_makes_of_them() {
    const SAME: &str = r#"{a="foo", b="bar", m_x="1"}"#;
    let with = |d: &str| format!(r#"{{a="foo", b="bar", {d}, m_x="1"}}"#);
    for (rules, expected) in [
        ("- {source_labels: [a], regex: 'f(.*)', target_label: d, replacement: 'ch${1}-$1'}", with(r#"d="choo-oo""#)),
        ("- {source_labels: [a, b], target_label: d}", with(r#"d="foo;bar""#)),
        ("- {source_labels: [a, b], separator: ' ', target_label: d}", with(r#"d="foo bar""#)),
        ("- {source_labels: [a], regex: oo, target_label: d}", SAME.into()),
        ("- {source_labels: [none], target_label: a}", r#"{b="bar", m_x="1"}"#.into()),
        ("- {source_labels: [a], regex: '(f)(.*)', target_label: 'c_${2}', replacement: $1}", with(r#"c_oo="f""#)),
        ("- {source_labels: [a], target_label: 'd$none', replacement: '$$1'}", with(r#"d="$1""#)),
        ("- {source_labels: [a], regex: '(?P<n>.)oo', target_label: d, replacement: '$n'}", with(r#"d="f""#)),
        ("- {source_labels: [a], regex: '(.)oo', target_label: '${1}1', replacement: '-'}", with(r#"f1="-""#)),
        ("- {source_labels: [a], regex: f.*, target_label: d, replacement: ' x '}", with(r#"d=" x ""#)),
        ("- {target_label: d, replacement: static}", with(r#"d="static""#)),
        ("- {source_labels: [a], target_label: d, action: hashmod, modulus: 1000}", with(r#"d="696""#)),
        ("- {regex: 'm_(.+)', action: labelmap, replacement: 'd_${1}'}", with(r#"d_x="1""#)),
        (
            "- {regex: 'm_(.+)', action: labelmap}\n- {regex: 'm_.+', action: labeldrop}",
            r#"{a="foo", b="bar", x="1"}"#.into(),
        ),
        ("- {regex: 'a|b', action: labelkeep}", r#"{a="foo", b="bar"}"#.into()),
        ("- {source_labels: [a], target_label: d, action: UpperCase}", with(r#"d="FOO""#)),
        (
            "- {source_labels: [a], target_label: d, action: uppercase}\n\
             - {source_labels: [d], target_label: d, action: lowercase}",
            with(r#"d="foo""#),
        ),
        ("- {source_labels: [a], regex: 'fo+', action: keep}", SAME.into()),
        ("- {source_labels: [a], regex: 'fo', action: keep}", String::new()),
        ("- {source_labels: [a], regex: 'fo', action: drop}", SAME.into()),
        ("- {source_labels: [a], regex: '.*o', action: drop}\n- {target_label: y, replacement: z}", String::new()),
        ("- {source_labels: [a], target_label: b, action: keepequal}", String::new()),
        ("- {source_labels: [a], target_label: b, action: dropequal}", SAME.into()),
        (
            "- {source_labels: [a], target_label: d}\n- {source_labels: [a], target_label: d, action: dropequal}",
            String::new(),
        ),
        ("- {regex: '.*', action: labeldrop}", String::new()),
    ] {
        let relabel = compile(rules).unwrap_or_else(|error| panic!("{rules}: {error}"));
        let got = relabel.apply(&Labels::parse(SAME).unwrap()).map(|labels| labels.to_string());
        assert_eq!(got.unwrap_or_default(), expected, "{rules}");
    }
}

#[test]
fn no_rules_change_nothing_and_empty_values_are_no_labels() {
    let given = Labels::new([("a", "1"), ("b", "")]);
    assert_eq!(Relabel::default().apply(&given), Some(given.clone()));
    assert_eq!(compile("- {source_labels: [a], action: keep}").unwrap().apply(&given), Some(Labels::new([("a", "1")])));
}

#[test]
fn a_rule_that_cannot_be_used_is_named() {
    for (rules, error) in [
        ("- {action: replaces}", "rule 1: unknown action \"replaces\""),
        ("- {action: keep}\n- {action: hashmod, target_label: a}", "rule 2: action hashmod needs a modulus above 0"),
        ("- {source_labels: [a]}", "rule 1: action replace needs target_label"),
        ("- {action: lowercase, target_label: '${1}'}", "rule 1: target_label: \"${1}\" is no label name"),
        ("- {target_label: 'a-b'}", "rule 1: target_label: \"a-b\" is no label name"),
        ("- {target_label: '${1'}", "rule 1: target_label: \"${1\" is no label name"),
        ("- {source_labels: ['a b'], target_label: a}", "rule 1: source_labels: \"a b\" is no label name"),
        ("- {action: labelmap, replacement: 'a-$1'}", "rule 1: replacement: \"a-$1\" makes no label name"),
        ("- {action: labeldrop, source_labels: [a]}", "rule 1: action labeldrop reads regex and no other setting"),
        (
            "- {action: keepequal, source_labels: [a], target_label: b, regex: x}",
            "rule 1: action keepequal reads source_labels and target_label and no other setting",
        ),
        (
            "- {source_labels: [a], regex: '(', target_label: b}",
            "rule 1: regex: error parsing regexp: missing closing ): `(`",
        ),
    ] {
        assert_eq!(compile(rules).err().as_deref(), Some(error), "{rules}");
    }
}
