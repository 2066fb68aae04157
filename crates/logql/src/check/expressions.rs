//! The expressions of `json a="b.c[0]"` and `logfmt a="b"`: syntax only.

/// A piece of a path into a JSON document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Field(String),
    Index(usize),
}

/// `b.c`, `b["c d"]`, `b[0]`, `[0].b`: Loki's text if it is no path.
pub fn parse_json_path(expression: &str) -> Result<Vec<Step>, String> {
    let failed = |why: &str| format!("cannot parse expression [{expression}]: syntax error: {why}");
    let mut steps = Vec::new();
    let mut rest = expression.trim_start();
    while !rest.is_empty() || steps.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let (step, after) = bracketed(inner.trim_start()).map_err(|why| failed(&why))?;
            steps.push(step);
            rest = after.trim_start();
            continue;
        }
        let field = match rest.strip_prefix('.') {
            Some(_) if steps.is_empty() => return Err(failed("unexpected DOT, expecting LSB or FIELD")),
            Some(field) => field.trim_start(),
            None if steps.is_empty() => rest,
            None => return Err(failed(&format!("unexpected {}", token_name(rest)))),
        };
        let end = field_bytes(field);
        if end == 0 {
            let expected = if steps.is_empty() { "LSB or FIELD" } else { "FIELD" };
            return Err(failed(&format!("unexpected {}, expecting {expected}", token_name(field))));
        }
        steps.push(Step::Field(field[..end].to_string()));
        rest = field[end..].trim_start();
    }
    Ok(steps)
}

/// `"key"]` or `0]`
fn bracketed(inner: &str) -> Result<(Step, &str), String> {
    let digits = inner.len() - inner.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (step, after) = if let Some((key, end)) = model::quote::unquote_prefix(inner).filter(|_| inner.starts_with('"'))
    {
        (Step::Field(key), &inner[end..])
    } else if digits > 0 && !inner[digits..].starts_with('.') {
        let index = inner[..digits].parse().map_err(|_| format!("index {} is too large", &inner[..digits]))?;
        (Step::Index(index), &inner[digits..])
    } else {
        // A fraction is no token at all.
        let name = if digits > 0 { "$end" } else { token_name(inner) };
        return Err(format!("unexpected {name}, expecting STRING or INDEX"));
    };
    match after.trim_start().strip_prefix(']') {
        Some(rest) => Ok((step, rest)),
        None => Err(format!("unexpected {}, expecting RSB", token_name(after))),
    }
}

/// The length of a field name: letters, digits, `_` and what is no ASCII, not starting with a digit.
fn field_bytes(text: &str) -> usize {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return 0;
    }
    let is_field = |c: char| c == '_' || c.is_alphanumeric();
    text.find(|c: char| !is_field(c)).unwrap_or(text.len())
}

fn token_name(text: &str) -> &'static str {
    match text.chars().next() {
        None => "$end",
        Some('.') => "DOT",
        Some('[') => "LSB",
        Some(']') => "RSB",
        Some('"') => "STRING",
        Some(c) if c.is_ascii_digit() => "INDEX",
        Some(c) if c == '_' || c.is_alphabetic() => "FIELD",
        Some(_) => "$end",
    }
}

pub fn check_json(expression: &str) -> Result<(), String> {
    parse_json_path(expression).map(|_| ())
}

/// A key, bare or in double quotes.
pub fn parse_logfmt_key(expression: &str) -> Result<String, String> {
    let failed = |why: String| format!("cannot parse expression [{expression}]: {why}");
    let text = expression.trim();
    if text.is_empty() {
        return Err(failed("syntax error: unexpected $end, expecting STRING or KEY".into()));
    }
    if text.starts_with('"') {
        return match model::quote::unquote_prefix(text) {
            Some((key, end)) if end == text.len() => Ok(key),
            _ => Err(failed("syntax error: unexpected STRING".into())),
        };
    }
    match text.find(|c: char| !(c == '_' || c.is_alphanumeric())) {
        None if !text.starts_with(|c: char| c.is_ascii_digit()) => Ok(text.to_string()),
        Some(at) if text[at..].starts_with(char::is_whitespace) => Err(failed("syntax error: unexpected KEY".into())),
        at => {
            let stray = text[at.unwrap_or(0)..].chars().next().unwrap_or('"');
            Err(failed(format!("unexpected char {stray}")))
        }
    }
}

pub fn check_logfmt(expression: &str) -> Result<(), String> {
    parse_logfmt_key(expression).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_paths() {
        let field = |name: &str| Step::Field(name.into());
        for (expression, steps) in [
            ("a", vec![field("a")]),
            ("a.b_1", vec![field("a"), field("b_1")]),
            ("a[0][\"b c\"].d", vec![field("a"), Step::Index(0), field("b c"), field("d")]),
            ("[\"a.b\"]", vec![field("a.b")]),
            ("[12]", vec![Step::Index(12)]),
        ] {
            assert_eq!(parse_json_path(expression), Ok(steps), "{expression}");
        }
        for (expression, why) in [
            ("", "unexpected $end, expecting LSB or FIELD"),
            ("[x]", "unexpected FIELD, expecting STRING or INDEX"),
            ("b..c", "unexpected DOT, expecting FIELD"),
            ("a.", "unexpected $end, expecting FIELD"),
            ("b[1.5]", "unexpected $end, expecting STRING or INDEX"),
            ("a[0", "unexpected $end, expecting RSB"),
            ("a[99999999999999999999999]", "index 99999999999999999999999 is too large"),
            ("a b", "unexpected FIELD"),
            ("a-b", "unexpected $end"),
        ] {
            let expected = format!("cannot parse expression [{expression}]: syntax error: {why}");
            assert_eq!(parse_json_path(expression), Err(expected), "{expression}");
        }
    }

    #[test]
    fn logfmt_keys() {
        assert_eq!(parse_logfmt_key("a_1"), Ok("a_1".into()));
        assert_eq!(parse_logfmt_key("\"a b\""), Ok("a b".into()));
        for (expression, why) in [
            ("", "syntax error: unexpected $end, expecting STRING or KEY"),
            ("b c", "syntax error: unexpected KEY"),
            ("with-dash", "unexpected char -"),
            ("with.dot", "unexpected char ."),
            ("1a", "unexpected char 1"),
        ] {
            let expected = format!("cannot parse expression [{expression}]: {why}");
            assert_eq!(parse_logfmt_key(expression), Err(expected), "{expression}");
        }
    }
}
