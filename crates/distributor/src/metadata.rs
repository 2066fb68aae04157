//! Structured metadata as it is stored: names that are label names, each once, in their order. It must not know where it
//! came from.

use model::labels::{is_label_name, normalised_name};
use rpc::pusher::Pairs;
use std::borrow::Cow;

/// Line-independent size of metadata as limits and rates count it, in bytes.
pub fn size_bytes(metadata: &Pairs<'_>) -> usize {
    metadata.iter().map(|(name, value)| name.len() + value.len()).sum()
}

/// Makes every name a label name, drops pairs without a value, keeps the last of a repeated name and sorts by name. A name
/// of which nothing remains costs the entry. (Loki answers 500 for it, which agents repeat for ever.)
pub fn normalise(metadata: &mut Pairs<'_>) -> Result<(), String> {
    for (name, _) in metadata.iter_mut() {
        if !is_plain(name) {
            *name = Cow::Owned(normalised_name(name)?);
        }
    }
    metadata.retain(|(_, value)| !value.is_empty());
    in_order(metadata);
    // Stable: of equal names the last pushed comes last, and from behind first, which is the one that stays.
    metadata.reverse();
    metadata.dedup_by(|a, b| a.0 == b.0);
    metadata.reverse();
    Ok(())
}

/// Whether a name stays as it is: a label name without two underscores in a row.
fn is_plain(name: &str) -> bool {
    is_label_name(name) && !name.as_bytes().windows(2).any(|w| w == b"__") && name != "_"
}

/// Sorts by name, as chunks hold metadata: a query that renames a name to one that is there already takes the later value.
pub fn in_order(metadata: &mut Pairs<'_>) {
    metadata.sort_by(|a, b| a.0.cmp(&b.0));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_the_last_of_a_repeated_one_stays_and_empty_values_go() {
        let check = |pairs: &[(&'static str, &'static str)], expected: &str| {
            let mut metadata: Pairs<'_> = pairs.iter().map(|(n, v)| (Cow::from(*n), Cow::from(*v))).collect();
            normalise(&mut metadata).unwrap();
            let text: Vec<String> = metadata.iter().map(|(n, v)| format!("{n}={v}")).collect();
            assert_eq!(text.join(" "), expected);
        };
        check(&[("k", "1"), ("z", "0"), ("k", "2"), ("e", "")], "k=2 z=0");
        check(&[("a.b", "1"), ("a_b", "2")], "a_b=2");
        check(&[("app_extracted", "1"), ("app", "2")], "app=2 app_extracted=1");
        let many: Vec<(&str, &str)> = (0..20).map(|i| ("k", if i == 19 { "last" } else { "x" })).collect();
        check(&many, "k=last");
    }
}
