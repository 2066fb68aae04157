//! Levels as the recorded server detected them: the lines of the corpus' data set and the answers to its cases.

use super::*;

fn detector() -> LevelDetector {
    let limits = runtime::limits::Limits::default();
    LevelDetector::new(&limits.log_level_fields, limits.log_level_from_json_max_depth)
}

#[test]
fn lines_have_the_recorded_levels() {
    let cases = [
        (r#"{"a":{"level":"error"}}"#, "error"),
        (r#"{"a":{"b":{"level":"error"}}}"#, "error"),
        (r#"{"level":5}"#, "unknown"),
        (r#"{"level":null,"severity":"fatal"}"#, "fatal"),
        (r#"{"level":{"level":"debug"}}"#, "debug"),
        (r#"{"msg":"an error happened"}"#, "error"),
        (r#"{"msg":"nothing","lvl":"bogus"}"#, "unknown"),
        (r#"{"level":"bogus error"}"#, "error"),
        ("level=bogus something failed with error", "error"),
        ("nothing to see", "unknown"),
        ("TERROR incoming", "unknown"),
        ("an error", "error"),
        ("ERR42", "unknown"),
        ("myerror", "unknown"),
        ("no errors found", "unknown"),
        ("[WARN] x", "warn"),
        ("<info> y", "unknown"),
        ("warnings: 3", "unknown"),
        ("info=1 warn=2", "info"),
        ("x=1 lvl=ERROR", "error"),
        (r#"level="error""#, "error"),
        ("level =error", "error"),
        ("LEVEL=Info Level=error", "info"),
        (r#"["level","error"]"#, "error"),
        (r#" {"level":"debug"}"#, "debug"),
        ("Fatality!", "unknown"),
        ("debugging trace of info", "trace"),
        ("E0115 10:00:00.000 klog", "unknown"),
        ("INFO", "info"),
        ("", "unknown"),
        ("critical error", "critical"),
        ("error critical", "error"),
        ("warn then error", "warn"),
        ("error then fatal", "error"),
        ("ünï ERROR ünï", "error"),
        ("m=3 log.level=warn", "warn"),
        ("m=4 log_level=warn", "warn"),
        ("m=17 levelname=warn", "warn"),
        (r#"msg="m3" level=trc"#, "trace"),
        (r#"msg="level=error" level=info"#, "info"),
        (r#"{"level": "information", "msg": "m11"}"#, "info"),
        (r#"{"level": "crit", "msg": "m24"}"#, "unknown"),
        ("inf: message number 10", "unknown"),
        ("Warning: message number 17", "warn"),
    ];
    let detector = detector();
    for (line, level) in cases {
        assert_eq!(detector.of_line(line.as_bytes()), level, "{line}");
        let far = format!("{}{line}", "padding that fills more than one block of bytes ".repeat(3));
        if !line.trim_start().starts_with('{') {
            assert_eq!(detector.of_line(far.as_bytes()), level, "{far}");
        }
    }
}

#[test]
fn labels_come_before_metadata_and_metadata_before_the_line() {
    let check = |label: Option<&str>, pairs: &[(&'static str, &'static str)], line: &str, expected: &str| {
        let detector = detector();
        let of_labels = label.and_then(|l| detector.of_labels(&model::Labels::new([("level", l)])));
        let mut metadata: Pairs<'_> = pairs.iter().map(|(n, v)| (Cow::from(*n), Cow::from(*v))).collect();
        detector.annotate(of_labels.as_ref(), line.as_bytes(), &mut metadata);
        let levels: Vec<&str> = metadata.iter().filter(|(n, _)| n == DETECTED_LEVEL).map(|(_, v)| &**v).collect();
        assert_eq!(levels, [expected], "{label:?} {pairs:?} {line}");
    };
    check(Some("WARNING"), &[("level", "debug")], "level=error", "warn");
    check(None, &[("level", "debug")], "a level=error", "debug");
    check(None, &[("severity", "CRITICAL")], "b", "critical");
    check(None, &[("detected_level", "ERR")], "c", "error");
    check(None, &[("detected_level", "odd")], "j", "odd");
    check(None, &[("severity_text", "custom"), ("severity_number", "17")], "c", "custom");
    for (number, level) in
        [("17", "error"), ("0", "unknown"), ("99", "unknown"), ("x", "info"), ("25", "unknown"), ("21", "fatal")]
    {
        check(None, &[("severity_number", number)], "info", level);
    }
    check(None, &[("other", "x")], "f error", "error");
}
