//! `X-Query-Tags`: what a client says of its query, for the query log and for rules that block queries.

use axum::http::HeaderMap;

const HEADER: &str = "x-query-tags";
/// Tags of one request; further ones are not read.
const TAGS_MAX: usize = 32;

/// The `name=value` pairs, names in lower case. As in Loki `_` takes the place of what is neither letter nor digit nor one of
/// `-=.@, `.
pub fn tags(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = headers.get(HEADER).map(|value| String::from_utf8_lossy(value.as_bytes())).unwrap_or_default();
    let usual = |c: char| if c.is_ascii_alphanumeric() || "-=.@, ".contains(c) { c } else { '_' };
    let text: String = text.chars().map(usual).collect();
    let pairs = text.split(',').filter_map(|tag| tag.split_once('='));
    let pairs = pairs.map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_string()));
    pairs.filter(|(name, _)| !name.is_empty()).take(TAGS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_and_odd_characters_are_none() {
        for (text, expected) in [
            ("", ""),
            ("Source=grafana-lokiexplore-app", "source=grafana-lokiexplore-app"),
            ("a=b , C = d e,none, =x,f=", "a=b|c=d e|f="),
            ("a=\"b\\nc\"", "a=_b_nc_"),
            ("team=gr\u{fc}n", "team=gr_n"),
            (&"a=b,".repeat(40), "a=b|".repeat(32).trim_end_matches('|')),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, text.parse().unwrap());
            let pairs: Vec<String> =
                tags(&headers).into_iter().map(|(name, value)| format!("{name}={value}")).collect();
            assert_eq!(pairs.join("|"), expected, "{text}");
        }
        assert_eq!(tags(&HeaderMap::new()), []);
    }
}
