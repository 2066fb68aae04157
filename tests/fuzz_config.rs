//! Mutated configuration files and overrides: read or refused with a text, never a panic; what is read is printed, and means
//! the same when it is read again.

#[path = "fuzz/mod.rs"]
mod fuzz;

use fuzz::fuzz;
use lokirs::config::{Keys, load};
use lokirs::flags::Flags;
use runtime::limits::{Limits, parse_overrides};
use runtime::settings::Setting;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn yaml_files(dirs: &[&str]) -> Vec<Vec<u8>> {
    let files = dirs.iter().flat_map(|dir| std::fs::read_dir(format!("{ROOT}/{dir}")).unwrap());
    let paths = files.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .map(|path| std::fs::read(path).unwrap())
        .collect()
}

const PIECES: [&[u8]; 10] = [
    b"${A:-b}",
    b"${",
    b"- ",
    b": ",
    b"&a [*a, *a]",
    b"1e999",
    b"99999999999999999999h",
    b"limits_config: {retention_stream: [{selector: '{', period: 1h}]}\n",
    b"ruler: {alertmanager_url: 'http://a'}\n",
    b"\xef\xbb\xbf",
];

#[test]
fn configuration_files_are_read_or_refused() {
    let seeds = yaml_files(&["config", "tests/config", "tests/golden", "tests/conformance/config"]);
    let keys = Keys::of_loki();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("lokirs.yaml");
    let arguments = [format!("-config.file={}", file.display()), "-config.expand-env".into()];
    let flags = Flags::parse(&arguments, &keys).unwrap();
    let read = |text: &[u8]| {
        std::fs::write(&file, text).unwrap();
        load(&flags, &|_| None, &keys)
    };
    fuzz(&seeds, &PIECES, |input, _| match read(input) {
        Ok(config) => {
            let printed = config.settings.write().print();
            assert!(!printed.is_empty());
            true
        }
        Err(fault) => {
            assert!(!fault.is_empty());
            false
        }
    });
}

#[test]
fn overrides_are_read_or_refused() {
    let mut seeds = vec![std::fs::read(format!("{ROOT}/tests/conformance/config/overrides.yaml")).unwrap()];
    seeds.push(std::fs::read(format!("{ROOT}/config/limits.yaml")).unwrap());
    let keys = Keys::of_loki();
    fuzz(&seeds, &PIECES, |input, _| {
        let Ok(text) = std::str::from_utf8(input) else { return false };
        match parse_overrides(&[text.to_string()], &Limits::default(), &keys) {
            Ok(set) => {
                for (tenant, limits) in &set.tenants {
                    // JSON's strings are YAML's.
                    let name = serde_json::to_string(tenant).unwrap();
                    let again = format!("overrides:\n  {name}:\n{}", indented(&limits.write().print()));
                    let again = parse_overrides(&[again], &Limits::default(), &keys);
                    assert_eq!(again.unwrap().tenants[tenant].write().print(), limits.write().print());
                }
                true
            }
            Err(faults) => {
                assert!(!faults.is_empty());
                false
            }
        }
    });
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}
