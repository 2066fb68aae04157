//! Loki's own reference of keys and flags, read from `loki-3.7.keys`: what is known though it has no meaning here, and
//! which flag sets which key.

use runtime::settings::Reference;
use std::collections::{BTreeMap, HashMap};

const KEYS: &str = include_str!("loki-3.7.keys");

/// Keys that lokirs has and Loki does not, in the same form.
const OUR_KEYS: &str = "[top]
memory_limit memory-limit
[server]
admin_listen_address server.admin-listen-address
admin_listen_port server.admin-listen-port
admin_routes_on_data_port? server.admin-routes-on-data-port
auth_file server.auth-file
[compactor]
merge_chunks_below compactor.merge-chunks-below
[chunk_store_config]
decompressed_cache_size_mb store.decompressed-cache-size-mb
";

pub struct Keys {
    paths: BTreeMap<String, Key>,
    /// Flag name to path.
    flags: HashMap<String, String>,
}

struct Key {
    boolean: bool,
}

/// One line of the file.
struct Line<'a> {
    path: &'a str,
    kind: Kind<'a>,
    flag: &'a str,
}

enum Kind<'a> {
    Value,
    Boolean,
    /// The keys of a block below this one, or at this level where the path is a section's.
    Block(&'a str),
}

impl Keys {
    pub fn of_loki() -> Self {
        let mut blocks: HashMap<&str, Vec<Line>> = HashMap::new();
        let mut block = "";
        for line in KEYS.lines().chain(OUR_KEYS.lines()) {
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                block = name;
            } else if !line.is_empty() && !line.starts_with('#') {
                blocks.entry(block).or_default().push(Line::parse(line));
            }
        }
        let mut keys = Keys { paths: BTreeMap::new(), flags: HashMap::new() };
        keys.add(&blocks, "top", "", "");
        keys
    }

    /// Blocks nest at most a few deep and never hold themselves.
    fn add(&mut self, blocks: &HashMap<&str, Vec<Line>>, block: &str, parent: &str, prefix: &str) {
        for line in blocks.get(block).into_iter().flatten() {
            let path = join(parent, line.path);
            let flag = line.flag.replace("<prefix>", prefix).trim_start_matches('.').to_string();
            match line.kind {
                Kind::Block(inner) => {
                    if !path.is_empty() {
                        self.paths.insert(path.clone(), Key { boolean: false });
                    }
                    self.add(blocks, inner, &path, &flag);
                }
                Kind::Value | Kind::Boolean => {
                    if !flag.is_empty() {
                        self.flags.insert(flag, path.clone());
                    }
                    self.paths.insert(path, Key { boolean: matches!(line.kind, Kind::Boolean) });
                }
            }
        }
    }

    /// The path that a flag sets, and whether the flag stands for `true` when it has no value.
    pub fn of_flag(&self, flag: &str) -> Option<(&str, bool)> {
        let path = self.flags.get(flag)?;
        Some((path, self.paths.get(path).is_some_and(|key| key.boolean)))
    }

    pub fn flags(&self) -> impl Iterator<Item = &str> {
        self.flags.keys().map(String::as_str)
    }
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Self {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["+", block, rest @ ..] => Line { path: "", kind: Kind::Block(block), flag: first(rest) },
            [path, "+", block, rest @ ..] => Line { path, kind: Kind::Block(block), flag: first(rest) },
            [path, block, rest @ ..] if block.starts_with('@') => {
                Line { path, kind: Kind::Block(&block[1..]), flag: first(rest) }
            }
            [path, rest @ ..] => {
                let (path, kind) = match path.strip_suffix('?') {
                    Some(path) => (path, Kind::Boolean),
                    None => (path.trim_end_matches('/'), Kind::Value),
                };
                Line { path, kind, flag: first(rest) }
            }
            [] => Line { path: "", kind: Kind::Value, flag: "" },
        }
    }
}

fn first<'a>(words: &[&'a str]) -> &'a str {
    words.first().copied().unwrap_or_default()
}

fn join(parent: &str, path: &str) -> String {
    match (parent, path) {
        ("", path) => path.to_string(),
        (parent, "") => parent.to_string(),
        (parent, path) => format!("{parent}.{path}"),
    }
}

impl Reference for Keys {
    fn knows(&self, path: &str) -> bool {
        self.paths.contains_key(path)
    }

    fn keys_under(&self, path: &str) -> Vec<String> {
        let prefix = if path.is_empty() { String::new() } else { format!("{path}.") };
        let below = self.paths.range(prefix.clone()..).take_while(|(name, _)| name.starts_with(&prefix));
        let names = below.filter_map(|(name, _)| name[prefix.len()..].split('.').next());
        let mut names: Vec<String> = names.map(str::to_string).collect();
        names.dedup();
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_flags_of_nested_blocks_are_known() {
        let keys = Keys::of_loki();
        for path in [
            "server.http_listen_port",
            "chunk_store_config.chunk_cache_config.memcached_client.addresses",
            "ingester.lifecycler.ring.kvstore.consul.host",
            "storage_config.boltdb_shipper.cache_location",
            "common.storage.s3.backoff_config.max_retries",
            "ruler_storage.s3.bucket_name",
            "frontend.grpc_client_config.tls_ca_path",
        ] {
            assert!(keys.knows(path), "{path}");
        }
        for (flag, path) in [
            ("server.http-listen-port", ("server.http_listen_port", false)),
            ("auth.enabled", ("auth_enabled", true)),
            ("ingester.chunks-idle-period", ("ingester.chunk_idle_period", false)),
            ("memberlist.join", ("memberlist.join_members", false)),
            ("s3.endpoint", ("storage_config.aws.endpoint", false)),
            ("common.storage.s3.url", ("common.storage.s3.s3", false)),
            (
                "store.chunks-cache.memcached.addresses",
                ("chunk_store_config.chunk_cache_config.memcached_client.addresses", false),
            ),
        ] {
            assert_eq!(keys.of_flag(flag), Some(path), "{flag}");
        }
        assert!(!keys.knows("server.http_listen_ports"));
        assert!(keys.keys_under("index_gateway").contains(&"mode".to_string()));
    }
}
