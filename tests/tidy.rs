//! What review would say twice: layers, sizes, openings, words. It reads the repository's text and knows no crate.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// Lines of a file without its inline tests.
const FILE_LINES_MAX: usize = 500;
/// Lines of a function, from `fn` to its brace.
const FUNCTION_LINES_MAX: usize = 70;
/// Lines of an inline test module.
const INLINE_TEST_LINES_MAX: usize = 200;

/// Words that do not belong in the repository. They are spelt in two parts here, so that this file does not hold them.
const BANNED_WORDS: [(&str, &str); 10] = [
    ("TO", "DO"),
    ("FIX", "ME"),
    ("XX", "X:"),
    ("dbg", "!("),
    ("unimplemented", "!("),
    ("/wo", "rk/"),
    ("/ro", "ot/"),
    ("/ho", "me/"),
    ("index.crates", ".io"),
    ("static.crates", ".io"),
];

/// Names that say nothing about what a file holds.
const BANNED_NAMES: [&str; 7] = ["utils", "util", "common", "helpers", "types", "manager", "misc"];

struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The text without the inline test module that ends the file.
    fn body(&self) -> &str {
        let tests =
            self.text.find("#[cfg(test)]\nmod ").filter(|at| !self.text[*at..].starts_with("#[cfg(test)]\nmod tests;"));
        &self.text[..tests.unwrap_or(self.text.len())]
    }

    fn inline_tests(&self) -> &str {
        &self.text[self.body().len()..]
    }

    fn crate_name(&self) -> Option<&str> {
        self.path.strip_prefix("crates/")?.split('/').next()
    }
}

fn files(extensions: &[&str]) -> Vec<Source> {
    let mut found = vec![];
    for dir in ["crates", "tests", "config", "proto", "benches", "fuzz"] {
        walk(&Path::new(ROOT).join(dir), extensions, &mut found);
    }
    let sources = found.into_iter().filter_map(|path| {
        let text = std::fs::read_to_string(&path).ok()?;
        let path = path.strip_prefix(ROOT).unwrap_or(&path).display().to_string();
        Some(Source { path, text })
    });
    sources.collect()
}

fn walk(dir: &Path, extensions: &[&str], found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                walk(&path, extensions, found);
            }
        } else if path.extension().is_some_and(|e| extensions.iter().any(|ext| e == *ext)) {
            found.push(path);
        }
    }
}

fn rust() -> Vec<Source> {
    let sources = files(&["rs"]);
    assert!(sources.len() > 50, "the repository is not where it should be");
    sources
}

/// Fails with every fault at once.
fn expect_none(rule: &str, faults: Vec<String>) {
    assert!(faults.is_empty(), "{rule}\n  {}", faults.join("\n  "));
}

/// The layer of every crate, from `[workspace.metadata] layers`.
fn layers() -> HashMap<String, usize> {
    let manifest = std::fs::read_to_string(Path::new(ROOT).join("Cargo.toml")).unwrap();
    let rows = manifest.split("layers = [\n").nth(1).unwrap().split("\n]").next().unwrap();
    let rows = rows.lines().filter(|row| row.contains('['));
    let crates = rows.enumerate().flat_map(|(layer, row)| {
        let names: Vec<&str> = row.split('"').skip(1).step_by(2).collect();
        names.into_iter().map(move |name| (name.to_string(), layer))
    });
    crates.collect()
}

#[test]
fn crates_import_only_from_lower_layers() {
    let layers = layers();
    let mut faults = vec![];
    for (name, layer) in &layers {
        let path = Path::new(ROOT).join("crates").join(name).join("Cargo.toml");
        let manifest = std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("no manifest of {name}"));
        let dependencies = manifest.split("[dependencies]").nth(1).unwrap_or_default();
        let dependencies = dependencies.split("\n[").next().unwrap_or_default();
        for line in dependencies.lines() {
            let dependency = line.split(['.', ' ', '=']).next().unwrap_or_default();
            if layers.get(dependency).is_some_and(|below| below >= layer) {
                faults.push(format!("{name} imports {dependency}"));
            }
        }
    }
    let listed = std::fs::read_dir(Path::new(ROOT).join("crates")).unwrap();
    for name in listed.map(|entry| entry.unwrap().file_name().into_string().unwrap()) {
        if !layers.contains_key(&name) {
            faults.push(format!("{name} is in no layer"));
        }
    }
    expect_none("a crate imports only crates of a lower row of `layers`:", faults);
}

#[test]
fn every_file_opens_with_its_purpose() {
    let silent = rust().into_iter().filter(|source| !source.text.starts_with("//! "));
    expect_none("a file opens with `//!`:", silent.map(|source| source.path).collect());
}

#[test]
fn files_and_functions_fit() {
    let mut faults = vec![];
    for source in rust() {
        let lines = source.body().lines().count();
        if lines > FILE_LINES_MAX {
            faults.push(format!("{}: {lines} lines", source.path));
        }
        let tests = source.inline_tests().lines().count();
        if tests > INLINE_TEST_LINES_MAX {
            faults.push(format!("{}: {tests} lines of inline tests", source.path));
        }
        for (name, lines) in functions(source.body()) {
            if lines > FUNCTION_LINES_MAX {
                faults.push(format!("{}: fn {name} has {lines} lines", source.path));
            }
        }
    }
    let rule = format!(
        "files have at most {FILE_LINES_MAX} lines, functions {FUNCTION_LINES_MAX}, inline tests {INLINE_TEST_LINES_MAX}:"
    );
    expect_none(&rule, faults);
}

/// Name and length of each function: formatted code closes it with a brace at the indent of its `fn`.
fn functions(text: &str) -> Vec<(&str, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = vec![];
    for (start, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        let Some(name) = function_name(code) else { continue };
        let closes = |line: &&str| line.len() == indent + 1 && line.ends_with('}') && line.trim_start() == "}";
        let ends_at_once = |line: &str| line.ends_with('}') || line.ends_with(';');
        if ends_at_once(line) {
            continue;
        }
        if let Some(length) = lines[start..].iter().position(closes) {
            found.push((name, length + 1));
        }
    }
    found
}

fn function_name(code: &str) -> Option<&str> {
    let mut rest = code;
    for word in ["pub(crate) ", "pub(super) ", "pub ", "const ", "async ", "unsafe "] {
        rest = rest.strip_prefix(word).unwrap_or(rest);
    }
    rest.strip_prefix("fn ").map(|rest| rest.split(['(', '<']).next().unwrap_or_default())
}

#[test]
fn banned_words_and_names_are_absent() {
    let mut faults = vec![];
    for source in files(&["rs", "toml", "yaml", "proto", "keys"]) {
        let data = source.path.starts_with("tests/golden") || source.path.starts_with("tests/conformance");
        for (number, line) in source.text.lines().enumerate().filter(|_| !data) {
            for word in BANNED_WORDS.map(|(first, second)| first.to_string() + second) {
                if line.contains(&word) {
                    faults.push(format!("{}:{}: {word}", source.path, number + 1));
                }
            }
        }
        let stem = Path::new(&source.path).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if source.path.ends_with(".rs") && BANNED_NAMES.contains(&stem) {
            faults.push(format!("{}: a name that says nothing", source.path));
        }
    }
    expect_none("words and names that do not belong here:", faults);
}

#[test]
fn names_are_reexported_one_by_one() {
    let mut faults = vec![];
    for source in rust() {
        for (number, line) in source.text.lines().enumerate() {
            let code = line.trim_start();
            if code.starts_with("pub use ") && code.contains("::*") {
                faults.push(format!("{}:{}", source.path, number + 1));
            }
        }
    }
    expect_none("`pub use` names what it means:", faults);
}

#[test]
fn code_does_not_unwrap_outside_tests() {
    let mut faults = vec![];
    for source in rust().into_iter().filter(|source| source.crate_name().is_some() && is_code(&source.path)) {
        for (number, line) in source.body().lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if code.contains(".unwrap()") {
                faults.push(format!("{}:{}", source.path, number + 1));
            }
        }
    }
    expect_none("code says why it cannot fail (`expect`) or returns an error:", faults);
}

/// Not a test, a bench, an example or a test's own module.
fn is_code(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    let test_dir = parts.iter().any(|part| ["tests", "benches", "examples", "testing"].contains(part));
    let file = parts.last().copied().unwrap_or_default();
    !test_dir && !file.ends_with("tests.rs") && !file.starts_with("test") && file != "build.rs"
}
