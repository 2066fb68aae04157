//! OpenMetrics text rewritten as the text format 0.0.4: families of counters carry `_total` in their head, there are no
//! units, no exemplars and no end mark.

pub fn from_openmetrics(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut help: Option<(&str, &str)> = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = Some(rest.split_once(' ').unwrap_or((rest, "")));
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or((rest, "unknown"));
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                other => ("", other),
            };
            if let Some((_, help)) = help.take().filter(|(named, _)| *named == name) {
                out.push_str(&format!("# HELP {name}{suffix} {help}\n"));
            }
            out.push_str(&format!("# TYPE {name}{suffix} {kind}\n"));
        } else if !line.starts_with('#') {
            out.push_str(without_exemplar(line));
            out.push('\n');
        }
    }
    out
}

/// A sample without what follows ` # {` outside its label values.
fn without_exemplar(line: &str) -> &str {
    match line.rfind(" # {") {
        Some(at) if !inside_quotes(line, at) => &line[..at],
        _ => line,
    }
}

fn inside_quotes(line: &str, at: usize) -> bool {
    let mut inside = false;
    let mut escaped = false;
    for c in line[..at].chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => inside = !inside,
            _ => {}
        }
    }
    inside
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_lose_their_exemplars_only() {
        for (line, expected) in [
            ("a_bucket{le=\"1\"} 3 # {trace=\"x\"} 0.5", "a_bucket{le=\"1\"} 3"),
            ("a{q=\"x # {y\"} 3", "a{q=\"x # {y\"} 3"),
            ("a 3", "a 3"),
        ] {
            assert_eq!(from_openmetrics(line), format!("{expected}\n"));
        }
    }
}
