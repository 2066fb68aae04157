//! Structured metadata as it is stored: names that are label names, each once. It must not know where it came from.

use model::labels::is_label_name;
use model::{Error, Kind, Result};
use rpc::pusher::Pairs;
use std::borrow::Cow;

/// Up to so many pairs, repeated names are found by comparing each with each.
const PAIRS_COMPARED_MAX: usize = 16;

/// Line-independent size of metadata as limits and rates count it, in bytes.
pub fn size_bytes(metadata: &Pairs<'_>) -> usize {
    metadata.iter().map(|(name, value)| name.len() + value.len()).sum()
}

/// Makes every name a label name, drops pairs without a value, and keeps the last of a repeated name. A name of which
/// nothing remains is an error that Loki answers with status 500, and so is the kind here.
pub fn normalise(metadata: &mut Pairs<'_>) -> Result<()> {
    for (name, _) in metadata.iter_mut() {
        if !is_plain(name) {
            *name = Cow::Owned(label_name(name)?);
        }
    }
    metadata.retain(|(_, value)| !value.is_empty());
    drop_repeated(metadata);
    Ok(())
}

/// Whether a name stays as it is: a label name without two underscores in a row.
fn is_plain(name: &str) -> bool {
    is_label_name(name) && !name.as_bytes().windows(2).any(|w| w == b"__") && name != "_"
}

/// The label name for an OTLP or metadata name: other characters and runs of them become one underscore, a digit in
/// front gets `key_`. Names between double underscores keep these.
pub fn label_name(name: &str) -> Result<String> {
    if name.is_empty() {
        return Err(Error::new(Kind::Internal, "label name is empty"));
    }
    let inner = name.strip_prefix("__").and_then(|n| n.strip_suffix("__")).filter(|n| !n.is_empty());
    let mut out = String::with_capacity(name.len() + 4);
    let mut gap = false;
    for c in inner.unwrap_or(name).chars() {
        if c.is_ascii_alphanumeric() {
            out.push(c);
            gap = false;
        } else if !gap {
            out.push('_');
            gap = true;
        }
    }
    if out.starts_with(|c: char| c.is_ascii_digit()) {
        out.insert_str(0, "key_");
    }
    if out.bytes().all(|b| b == b'_') {
        return Err(Error::new(
            Kind::Internal,
            format!("normalization for label name {} resulted in invalid name \"{out}\"", model::quote::quote(name)),
        ));
    }
    Ok(match inner {
        Some(_) => format!("__{out}__"),
        None => out,
    })
}

fn drop_repeated(metadata: &mut Pairs<'_>) {
    if metadata.len() > PAIRS_COMPARED_MAX {
        // Stable: of equal names the last pushed comes last, and after the reversal first, where `dedup` keeps it.
        metadata.sort_by(|a, b| a.0.cmp(&b.0));
        metadata.reverse();
        metadata.dedup_by(|a, b| a.0 == b.0);
        metadata.reverse();
        return;
    }
    let mut i = 0;
    while i < metadata.len() {
        match metadata[i + 1..].iter().any(|(name, _)| *name == metadata[i].0) {
            true => drop(metadata.remove(i)),
            false => i += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_label_names() {
        for (name, normal) in [
            ("a.b", "a_b"),
            ("c-d", "c_d"),
            ("9e", "key_9e"),
            ("h__i", "h_i"),
            ("_j", "_j"),
            ("a..b", "a_b"),
            ("ünï", "_n_"),
            ("weird key!", "weird_key_"),
            ("__x.y__", "__x_y__"),
        ] {
            assert_eq!(label_name(name).unwrap(), normal);
        }
        assert_eq!(label_name("").unwrap_err().message, "label name is empty");
        let nothing = label_name("ключ").unwrap_err();
        assert_eq!(nothing.message, "normalization for label name \"ключ\" resulted in invalid name \"_\"");
    }

    #[test]
    fn the_last_of_a_repeated_name_stays_and_empty_values_go() {
        let check = |pairs: &[(&'static str, &'static str)], expected: &str| {
            let mut metadata: Pairs<'_> = pairs.iter().map(|(n, v)| (Cow::from(*n), Cow::from(*v))).collect();
            normalise(&mut metadata).unwrap();
            let text: Vec<String> = metadata.iter().map(|(n, v)| format!("{n}={v}")).collect();
            assert_eq!(text.join(" "), expected);
        };
        check(&[("k", "1"), ("z", "0"), ("k", "2"), ("e", "")], "z=0 k=2");
        check(&[("a.b", "1"), ("a_b", "2")], "a_b=2");
        let many: Vec<(&str, &str)> = (0..20).map(|i| ("k", if i == 19 { "last" } else { "x" })).collect();
        check(&many, "k=last");
    }
}
