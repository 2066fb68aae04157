//! `-config.expand-env`: environment variables in the text of the file, before it is YAML. Loki's rules.
//! It must not know YAML.

/// Why a text cannot be expanded. It never holds a value.
pub type Fault = String;

/// Replaces `${...}` by what `variable` knows; `$NAME` without braces stays, `$$` is a `$`.
pub fn expand(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, Fault> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(tail) = rest.strip_prefix("$$") {
            out.push('$');
            rest = tail;
        } else if let Some(tail) = rest.strip_prefix("${") {
            let end = tail.find('}').ok_or("missing closing brace")?;
            out.push_str(&reference(&tail[..end], variable)?);
            rest = &tail[end + 1..];
        } else {
            out.push('$');
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// What stands between the braces.
fn reference(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, Fault> {
    if let Some(name) = text.strip_prefix('#') {
        return Ok(variable(name).unwrap_or_default().chars().count().to_string());
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, operation) = text.split_at(end);
    if name.is_empty() {
        return Err("bad substitution".into());
    }
    let value = variable(name).unwrap_or_default();
    let or = |default: &str| if value.is_empty() { default.to_string() } else { value.clone() };
    Ok(match operation {
        "" => value,
        "^^" => value.to_uppercase(),
        ",," => value.to_lowercase(),
        "^" => first_letter(&value, |c| c.to_uppercase().collect()),
        "," => first_letter(&value, |c| c.to_lowercase().collect()),
        _ => {
            if let Some(default) = operation.strip_prefix(":-").or_else(|| operation.strip_prefix(":=")) {
                or(default)
            } else if let Some(default) = operation.strip_prefix('=') {
                or(default)
            } else if let Some(range) = operation.strip_prefix(':') {
                substring(&value, range).unwrap_or_else(|| or(range))
            } else if let Some(pattern) = operation.strip_prefix("//") {
                let (from, to) = pattern.split_once('/').unwrap_or((pattern, ""));
                if from.is_empty() { value } else { value.replace(from, to) }
            } else if let Some(pattern) = operation.strip_prefix('/') {
                let (from, to) = pattern.split_once('/').unwrap_or((pattern, ""));
                value.replacen(from, to, 1)
            } else if operation.starts_with(['#', '%']) {
                trim(&value, operation)
            } else {
                return Err("missing closing brace".into());
            }
        }
    })
}

fn first_letter(value: &str, change: impl Fn(char) -> String) -> String {
    let mut chars = value.chars();
    chars.next().map(|first| change(first) + chars.as_str()).unwrap_or_default()
}

/// `offset` or `offset:length`, in characters; `None` where that is no range of numbers, so a default.
fn substring(value: &str, range: &str) -> Option<String> {
    let (offset, length) = range.split_once(':').unwrap_or((range, ""));
    let offset: usize = offset.trim().parse().ok()?;
    let length = if length.is_empty() { usize::MAX } else { length.trim().parse().ok()? };
    Some(value.chars().skip(offset).take(length).collect())
}

/// `#p`, `##p`, `%p`, `%%p`: the shortest or longest match of a pattern with `*` is cut off the start or the end.
fn trim(value: &str, operation: &str) -> String {
    let from_start = operation.starts_with('#');
    let longest = operation.starts_with("##") || operation.starts_with("%%");
    let pattern = &operation[if longest { 2 } else { 1 }..];
    let mut cuts: Vec<usize> = value.char_indices().map(|(at, _)| at).chain([value.len()]).collect();
    // The order in which matches are tried decides between the shortest and the longest.
    if from_start == longest {
        cuts.reverse();
    }
    let fits = |at: &usize| matches(pattern, if from_start { &value[..*at] } else { &value[*at..] });
    match cuts.into_iter().find(|at| fits(at)) {
        Some(at) if from_start => value[at..].to_string(),
        Some(at) => value[..at].to_string(),
        None => value.to_string(),
    }
}

/// Whether all of `text` fits a pattern whose `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut rest) = text.strip_prefix(head) else { return false };
    let parts: Vec<&str> = tail.split('*').collect();
    let Some((last, middle)) = parts.split_last() else { return true };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.len() >= last.len() && rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let variable = |name: &str| match name {
            "V" => Some("value".to_string()),
            "P" => Some("a/b/c.tar.gz".to_string()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let expanded = expand(text, &variable).unwrap_or_else(|fault| format!("error: {fault}"));
        assert_eq!(expanded, expected, "{text}");
    }

    #[test]
    fn variables_are_expanded_as_in_loki() {
        for (text, expected) in [
            ("a: ${V}", "a: value"),
            ("${NONE}|${EMPTY}", "|"),
            ("${NONE:-d}${EMPTY:=e}${NONE=f}${V:-x}", "defvalue"),
            ("${NONE:default}${EMPTY:d}", "defaultd"),
            ("${V^^}${V,,}${V^}", "VALUEvalueValue"),
            ("${#V}", "5"),
            ("${V:1:3}${V:3}", "aluue"),
            ("${V/a/b}${V//l/}", "vbluevaue"),
            ("${P##*/}|${P#*/}|${P%.*}|${P%%.*}", "c.tar.gz|b/c.tar.gz|a/b/c.tar|a/b/c"),
            ("$V $$V $", "$V $V $"),
            ("${V-d}", "error: missing closing brace"),
            ("${V", "error: missing closing brace"),
            ("${}", "error: bad substitution"),
        ] {
            check(text, expected);
        }
    }
}
