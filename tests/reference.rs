//! `REFERENCE.md`: flags, keys, endpoints and metrics, made of the code. `LOKIRS_REFERENCE=write cargo test -p lokirs --test
//! reference` writes it; without the variable the test fails where the file tells something else than the code.

use lokirs::config::{Keys, Settings, load};
use lokirs::flags::{self, Flags};
use lokirs::log::LogLevel;
use lokirs::node::Node;
use lokirs::otlp::{self, Collector};
use runtime::clock::SystemClock;
use runtime::settings::Setting;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const FILE: &str = "REFERENCE.md";
const OPENING: &str = "\
# Reference

Flags, configuration keys, endpoints and metrics. This file is made of the code:
`LOKIRS_REFERENCE=write cargo test -p lokirs --test reference` writes it, and the same test without the variable fails where
it has become untrue. What a key of Loki's means stands in Loki's own documentation; here stand the type, the default and
what is particular.
";

#[tokio::test]
async fn the_reference_tells_what_the_code_has() {
    let (flags, keys, endpoints, metrics) = (flags(), keys(), endpoints(), metrics().await);
    let made = format!("{OPENING}\n{flags}\n{keys}\n{endpoints}\n{metrics}");
    let path = Path::new(ROOT).join(FILE);
    if std::env::var("LOKIRS_REFERENCE").as_deref() == Ok("write") {
        std::fs::write(&path, &made).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let difference = made.lines().zip(found.lines()).find(|(made, found)| made != found);
    assert!(made == found, "{FILE} is out of date (see its first lines); first difference: {difference:?}");
}

/// A cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{}`", cell(text)) }
}

fn flags() -> String {
    let mut out = String::from(
        "## Flags\n\nEvery key of the next section that names a flag can be set by it; these do something else.\n\n\
         | flag | what |\n|---|---|\n",
    );
    for (name, what) in flags::actions() {
        writeln!(out, "| `-{name}` | {} |", cell(what)).unwrap();
    }
    out
}

fn keys() -> String {
    let mut by_path: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let reference = Keys::of_loki();
    for flag in reference.flags() {
        let (path, _) = reference.of_flag(flag).unwrap();
        by_path.entry(path.to_string()).or_default().insert(format!("-{flag}"));
    }
    let mut all = vec![];
    Settings::default().describe("", &[], &mut all);
    let mut out = String::from(
        "## Configuration\n\nKeys by their path in the YAML file. Loki's keys that are not listed are accepted, mean nothing \
         here and are named once at start.\n\n| key | type | default | flag | what |\n|---|---|---|---|---|\n",
    );
    for setting in all.iter().filter(|setting| !setting.path.is_empty() && !setting.kind.is_empty()) {
        let flags = by_path.get(&setting.path).map(|flags| Vec::from_iter(flags.iter().cloned()).join(" "));
        let (kind, what) = (cell(&setting.kind), cell(&setting.what.replace(['[', ']'], "")));
        let (default, flags) = (code(&setting.default), code(&flags.unwrap_or_default()));
        writeln!(out, "| `{}` | {kind} | {default} | {flags} | {what} |", setting.path).unwrap();
    }
    out
}

async fn metrics() -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.yaml");
    let listen =
        "http_listen_address: 127.0.0.1, http_listen_port: 0, grpc_listen_address: 127.0.0.1, grpc_listen_port: 0";
    let data = dir.path().join("data");
    let yaml = format!(
        "target: all,index-gateway\nserver: {{{listen}}}\ncommon: {{path_prefix: '{}'}}\n\
         compactor: {{retention_enabled: true, delete_request_store: filesystem}}\n",
        data.display()
    );
    std::fs::write(&path, yaml).unwrap();
    let keys = Arc::new(Keys::of_loki());
    let flags = Flags::parse(&[format!("-config.file={}", path.display())], &keys).unwrap();
    let config = load(&flags, &|_| None, &keys).unwrap();
    let endpoint = |name: &str| (name == "OTEL_EXPORTER_OTLP_ENDPOINT").then(|| "http://127.0.0.1:9".to_string());
    let (_, exporter) = otlp::traces(Collector::of_environment(&endpoint).unwrap(), Arc::new(SystemClock));
    let node = Node::assemble(config, keys, LogLevel::detached(), exporter).await.unwrap();
    let mut out = String::from(
        "## Metrics\n\nAt `/metrics`, as Prometheus text or OpenMetrics. Beside these: `process_*`, `loki_build_info`, \
         `lokirs_build_info`.\n\n| metric | type | what |\n|---|---|---|\n",
    );
    for metric in node.metrics().described() {
        writeln!(out, "| `{}` | {} | {} |", metric.name, metric.kind, cell(&metric.help)).unwrap();
    }
    out
}

fn endpoints() -> String {
    let mut rows = BTreeMap::new();
    for file in sources(&Path::new(ROOT).join("crates")) {
        let text = std::fs::read_to_string(&file).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap();
        for route in routes(text) {
            let what = route.what(&file, text);
            let methods: Vec<&str> = route.methods.iter().map(String::as_str).collect();
            for path in expanded(text, &route.path) {
                rows.insert(path, (methods.join(" "), what.clone()));
            }
        }
    }
    let mut out = String::from("## Endpoints\n\n| path | methods | what |\n|---|---|---|\n");
    for (path, (methods, what)) in rows {
        writeln!(out, "| `{path}` | {methods} | {} |", cell(&what)).unwrap();
    }
    out
}

struct Route {
    path: String,
    methods: Vec<String>,
    /// Of each method.
    handlers: Vec<String>,
}

impl Route {
    /// What is said of the handler, or of each method's.
    fn what(&self, file: &Path, text: &str) -> String {
        let docs = self.handlers.iter().map(|name| handler_doc(file, text, name));
        if self.handlers.iter().all(|name| *name == self.handlers[0]) {
            return docs.into_iter().next().unwrap_or_default();
        }
        let docs: Vec<String> = self.methods.iter().zip(docs).map(|(method, doc)| format!("{method}: {doc}")).collect();
        docs.join(" ")
    }
}

/// The calls of `.route(path, get(handler).post(handler))` in a source file.
fn routes(text: &str) -> Vec<Route> {
    let mut found = vec![];
    for (at, _) in text.match_indices(".route(") {
        let call = arguments(&text[at + ".route".len()..]);
        let (path, service) = call.split_once(',').expect("a path and its methods");
        let path = path.trim().trim_start_matches('&').trim_start_matches("format!(").trim_end_matches(')');
        let (mut methods, mut handlers) = (vec![], vec![]);
        for (method, rest) in method_calls(service) {
            methods.push(method.to_uppercase());
            handlers.push(arguments(rest).trim().to_string());
        }
        assert!(!methods.is_empty(), "the methods of {path}: {service}");
        found.push(Route {
            path: path.trim_matches('"').replace("{{", "\u{1}").replace("}}", "\u{2}"),
            methods,
            handlers,
        });
    }
    found
}

fn method_calls(service: &str) -> Vec<(&str, &str)> {
    let mut calls = vec![];
    for method in ["get", "post", "put", "delete"] {
        let call = format!("{method}(");
        let begins = |at: usize| !service[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let at = service.match_indices(&call).map(|(at, _)| at).find(|at| begins(*at));
        calls.extend(at.map(|at| (at, method, &service[at + method.len()..])));
    }
    calls.sort_unstable();
    calls.into_iter().map(|(_, method, rest)| (method, rest)).collect()
}

/// What stands between the parenthesis that opens `text` and the one that closes it.
fn arguments(text: &str) -> &str {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth == 1 => return &text[1..at],
            ')' => depth -= 1,
            _ => {}
        }
    }
    panic!("an open call: {text}");
}

/// The paths that a route's text stands for: one, or one for each value of the loop around it.
fn expanded(text: &str, path: &str) -> Vec<String> {
    let literal = |path: String| path.replace('\u{1}', "{").replace('\u{2}', "}");
    let variable = path.split('{').nth(1).and_then(|rest| rest.split('}').next()).filter(|_| path.contains('{'));
    let variable = variable.or_else(|| (!path.starts_with('/')).then_some(path));
    let Some(variable) = variable else { return vec![literal(path.to_string())] };
    let Some(values) = loop_values(text, variable) else { return vec![literal(path.to_string())] };
    let whole = path == variable;
    let fill = |value: &String| if whole { value.clone() } else { path.replace(&format!("{{{variable}}}"), value) };
    values.iter().map(fill).map(literal).collect()
}

/// The texts over which a loop's variable runs: of an array in the loop's head, or the first of each row of a constant.
fn loop_values(text: &str, variable: &str) -> Option<Vec<String>> {
    let heads = [format!("for {variable} in "), format!("for ({variable}, ")];
    let head = heads.iter().find_map(|head| Some(&text[text.find(head.as_str())?..]))?;
    let over = head.split_once(" in ")?.1.split(" {").next()?;
    if over.starts_with('[') {
        return Some(over.split('"').skip(1).step_by(2).map(str::to_string).collect());
    }
    let rows = text.split_once(&format!("const {over}"))?.1.split_once("];")?.0;
    Some(rows.split("(\"").skip(1).filter_map(|row| Some(row.split('"').next()?.to_string())).collect())
}

/// The first sentence of what is said of a handler, in its file or in another of its crate.
fn handler_doc(file: &Path, text: &str, name: &str) -> String {
    let root = file.ancestors().find(|dir| dir.join("Cargo.toml").is_file()).unwrap();
    let own = (file.to_path_buf(), text.to_string());
    let others = sources(root).into_iter().map(|path| (path.clone(), std::fs::read_to_string(path).unwrap()));
    let (module, name) = name.rsplit_once("::").unwrap_or(("", name));
    let is_module = |path: &Path| path.parent() == file.parent() && path.file_stem().is_some_and(|stem| stem == module);
    let mut files: Vec<(PathBuf, String)> = std::iter::once(own).chain(others).collect();
    files.sort_by_key(|(path, _)| (!is_module(path), path != file));
    let found = files.iter().find_map(|(_, text)| doc_above(text, name));
    let doc = found.unwrap_or_else(|| panic!("{}: no handler {name}", file.display()));
    assert!(!doc.is_empty(), "{}: the handler {name} of a route has no doc comment", file.display());
    doc
}

fn doc_above(text: &str, name: &str) -> Option<String> {
    let places = [format!("fn {name}("), format!("fn {name}<"), format!("let {name} =")];
    let at = places.iter().find_map(|place| text.find(place.as_str()))?;
    let above: Vec<&str> = text[..at].lines().collect();
    let mut above = above.as_slice();
    if !text[..at].ends_with('\n') {
        above = &above[..above.len() - 1];
    }
    let is_doc = |line: &&&str| line.trim().starts_with("//") || line.trim().starts_with("#[");
    let mut doc: Vec<&str> = above.iter().rev().take_while(is_doc).map(|line| line.trim()).collect();
    doc.retain(|line| line.starts_with("//"));
    doc.reverse();
    let doc = doc.iter().map(|line| line.trim_start_matches('/').trim()).collect::<Vec<_>>().join(" ");
    Some(doc.split_inclusive(". ").next().unwrap_or_default().trim().to_string())
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") && !path.to_string_lossy().contains("test") {
            found.push(path);
        }
    }
    found.sort();
    found
}
