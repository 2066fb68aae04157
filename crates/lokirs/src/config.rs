//! The configuration: Loki's YAML, environment and flags become settings; settings that were left open take their value
//! from others; what cannot work is refused before anything starts.

mod check;
mod derive;
mod expand;
mod keys;
mod outbound;
pub mod roles;
pub mod server;
pub mod storage;
mod store;

pub use keys::Keys;
pub use store::{Backend, RuleStorage, Store};

use crate::flags::Flags;
use runtime::limits::Limits;
use runtime::settings;
use runtime::settings::{Reader, Setting, Tree};
use std::time::Duration;

/// Where the file is looked for when no flag names one.
const DEFAULT_FILES: [&str; 2] = ["config.yaml", "config/config.yaml"];

/// Bytes of a configuration or overrides file: thousands of tenants fit.
const FILE_BYTES_MAX: u64 = 64 << 20;

settings! {
    /// Every block that has a meaning here, under Loki's names.
    pub struct Settings {
        /// The roles of this process; see [`crate::targets`].
        pub target: Vec<String> = vec!["all".into()],
        /// Whether requests name their tenant. Without any configuration file: no.
        pub auth_enabled: Option<bool> = None,
        /// Bytes of memory to plan with (a key of lokirs); 0: a share of the machine's or the cgroup's.
        pub memory_limit: u64 = 0,
        /// How long `/ready` says no before anything stops.
        pub shutdown_delay: Duration = Duration::ZERO,
        pub metrics_namespace: String = "loki".into(),
        pub server: server::Server = server::Server::default(),
        pub common: server::Common = server::Common::default(),
        pub memberlist: server::Memberlist = server::Memberlist::default(),
        pub runtime_config: server::RuntimeConfig = server::RuntimeConfig::default(),
        pub operational_config: server::Operational = server::Operational::default(),
        pub limits_config: Limits = Limits::default(),
        pub schema_config: storage::SchemaConfig = storage::SchemaConfig::default(),
        pub storage_config: storage::StorageConfig = storage::StorageConfig::default(),
        pub chunk_store_config: storage::ChunkStoreConfig = storage::ChunkStoreConfig::default(),
        pub distributor: roles::Distributor = roles::Distributor::default(),
        pub ingester_client: roles::IngesterClient = roles::IngesterClient::default(),
        pub ingester: roles::Ingester = roles::Ingester::default(),
        pub querier: roles::Querier = roles::Querier::default(),
        pub frontend: roles::Frontend = roles::Frontend::default(),
        pub frontend_worker: roles::FrontendWorker = roles::FrontendWorker::default(),
        pub query_range: roles::QueryRange = roles::QueryRange::default(),
        pub query_scheduler: roles::QueryScheduler = roles::QueryScheduler::default(),
        pub index_gateway: roles::IndexGateway = roles::IndexGateway::default(),
        pub compactor: roles::Compactor = roles::Compactor::default(),
        pub compactor_grpc_client: server::GrpcClient = server::GrpcClient::default(),
        pub ruler: roles::Ruler = roles::Ruler::default(),
        pub ruler_storage: storage::RulerStore = storage::RulerStore::default(),
        pub pattern_ingester: roles::PatternIngester = roles::PatternIngester::default(),
        pub analytics: server::Analytics = server::Analytics::default(),
        pub tracing: server::Tracing = server::Tracing::default(),
    }
}

/// Settings that can be started, and what was read on the way to them.
#[derive(Debug)]
pub struct Config {
    pub settings: Settings,
    /// Keys that Loki has and that mean nothing here.
    pub ignored: Vec<String>,
    pub file: Option<String>,
}

/// The value of an environment variable.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Defaults, then the file, then the environment, then flags. The error is what the operator reads.
pub fn load(flags: &Flags, environment: Environment, keys: &Keys) -> Result<Config, String> {
    let file = find_file(&flags.config_files)?;
    let text = match &file {
        Some(path) => read_file(path)?,
        None => String::new(),
    };
    let mut config = parse(&text, file.is_some(), flags, environment, keys)?;
    config.file = file;
    Ok(config)
}

/// What [`load`] makes of the file's text.
fn parse(text: &str, has_file: bool, flags: &Flags, environment: Environment, keys: &Keys) -> Result<Config, String> {
    let expanded;
    let text = if flags.expand_env {
        expanded = expand::expand(text, environment).map_err(|fault| format!("failed to expand env vars: {fault}"))?;
        &expanded
    } else {
        text
    };
    let tree = Tree::parse(text).map_err(|fault| format!("failed parsing config: {fault}"))?;
    let mut settings = Settings::default();
    let mut reader = Reader::at("", keys);
    settings.read(&tree, &mut reader);
    settings.read(&environment_settings(environment), &mut reader);
    settings.read(&flags.settings, &mut reader);
    if let Some(dir) = &flags.data_dir {
        settings.common.path_prefix.clone_from(dir);
    }
    if !reader.errors.is_empty() {
        let hint = "Use `-config.expand-env=true` flag if you want to expand environment variables in your config file";
        return Err(format!("failed parsing config: {}. {hint}", reader.errors.join("; ")));
    }
    derive::derive(&mut settings, has_file)?;
    check::check(&settings)?;
    Ok(Config { settings, ignored: reader.ignored.into_iter().collect(), file: None })
}

/// The settings that the environment may decide without a file.
fn environment_settings(environment: Environment) -> Tree {
    let mut tree = Tree::default();
    if let Some(target) = environment("LOKIRS_TARGET").or_else(|| environment("LOKI_TARGET")).filter(|t| !t.is_empty())
    {
        tree.set(&["target"], Tree::scalar(target));
    }
    if let Some(dir) = environment("LOKIRS_DATA_DIR").filter(|dir| !dir.is_empty()) {
        tree.set(&["common", "path_prefix"], Tree::scalar(dir));
    }
    tree
}

/// The first file that exists. None is fine only if none was asked for.
fn find_file(asked: &[String]) -> Result<Option<String>, String> {
    let exists = |path: &&str| std::fs::metadata(path).is_ok_and(|meta| meta.is_file());
    if asked.is_empty() {
        return Ok(DEFAULT_FILES.iter().copied().find(exists).map(str::to_string));
    }
    match asked.iter().map(String::as_str).find(exists) {
        Some(path) => Ok(Some(path.to_string())),
        None => Err(format!("{} does not exist, set config.file for custom config path", asked.join(","))),
    }
}

/// A text file of bounded size.
pub fn read_file(path: &str) -> Result<String, String> {
    let fault = |error: std::io::Error| format!("failed to read {path}: {error}");
    let bytes = std::fs::metadata(path).map_err(fault)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(format!("{path} is larger than {FILE_BYTES_MAX} bytes"));
    }
    std::fs::read_to_string(path).map_err(fault)
}

#[cfg(test)]
#[path = "config/tests.rs"]
mod tests;
