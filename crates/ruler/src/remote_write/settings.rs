//! What an operator says of remote write, under Loki's and Prometheus's names. It must not know how samples are sent.

use crate::http::auth::{Auth, Authorization, BasicAuth};
use crate::http::parse_url;
use crate::http::tls::{Tls, TlsConfig};
use crate::relabel::{Relabel, RelabelConfig};
use runtime::settings;
use runtime::settings::{Secret, SecretUrl};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Clients of one tenant.
const CLIENTS_MAX: usize = 64;
/// Requests to one client at one time.
const SHARDS_MAX: usize = 1000;

/// Headers that are part of the protocol, or have settings of their own.
const RESERVED_HEADERS: [&str; 14] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "keep-alive",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-prometheus-remote-write-version",
];

settings! {
    /// One of `ruler.remote_write.clients`.
    pub struct RemoteWriteClient {
        /// User information in it is sent as basic authentication.
        pub url: SecretUrl = SecretUrl::default(),
        /// In metrics and logs; by default made of the tenant and the client's key.
        pub name: String = String::new(),
        /// Of one request.
        pub remote_timeout: Duration = Duration::from_secs(30),
        pub headers: BTreeMap<String, Secret> = BTreeMap::new(),
        /// Rules for the labels of samples before they are queued; they may drop samples.
        pub write_relabel_configs: Vec<RelabelConfig> = vec![],
        pub basic_auth: BasicAuth = BasicAuth::default(),
        pub authorization: Authorization = Authorization::default(),
        pub tls_config: TlsConfig = TlsConfig::default(),
        pub queue_config: QueueConfig = QueueConfig::default(),
    }

    /// `queue_config` of a client.
    pub struct QueueConfig {
        /// Samples that wait in memory, times `max_shards`; of more, the oldest are dropped. Without a meaning where
        /// they wait on disk.
        pub capacity: usize = 10_000,
        /// Requests at one time, at least, when there is enough to send.
        pub min_shards: usize = 1,
        /// Requests at one time, at most; there are as many as the backlog fills.
        pub max_shards: usize = 50,
        /// Samples of one request.
        pub max_samples_per_send: usize = 2000,
        /// How long a sample may wait for a full request.
        pub batch_send_deadline: Duration = Duration::from_secs(5),
        /// Between two tries; doubled with each failure.
        pub min_backoff: Duration = Duration::from_millis(30),
        pub max_backoff: Duration = Duration::from_secs(5),
        /// Whether samples are sent again after status 429. Prometheus's default is to drop them.
        pub retry_on_http_429: bool = true,
    }
}

/// Of one tenant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RemoteWriteSettings {
    /// None where remote write is off.
    pub clients: BTreeMap<String, RemoteWriteClient>,
    /// `ruler.remote_write.add_org_id_header`: the tenant as X-Scope-OrgID, whatever `headers` say.
    pub add_org_id_header: bool,
    /// `ruler.wal.dir`: where samples wait. `None`: in memory alone.
    pub wal_dir: Option<PathBuf>,
    /// `ruler.wal.max_age`: samples on disk that are older are dropped.
    pub wal_max_age: Duration,
}

/// A client's settings, proven to be usable.
pub(super) struct Meaning {
    pub auth: Auth,
    pub tls: Tls,
    pub relabel: Relabel,
    pub headers: BTreeMap<String, Secret>,
    /// Without user information.
    pub shown_url: String,
}

impl RemoteWriteSettings {
    /// What is wrong with the settings, before any file is read.
    pub fn check(&self) -> Result<(), String> {
        if self.clients.len() > CLIENTS_MAX {
            return Err(format!("more than {CLIENTS_MAX} clients"));
        }
        for (id, client) in &self.clients {
            client.meaning().map_err(|fault| format!("client {id:?}: {fault}"))?;
        }
        Ok(())
    }
}

impl RemoteWriteClient {
    pub(super) fn meaning(&self) -> Result<Meaning, String> {
        let (url, _) = parse_url(&self.url).map_err(|fault| format!("url: {fault}"))?;
        if let Some(name) = self.headers.keys().find(|name| is_reserved(name)) {
            return Err(format!("headers: {name:?} is set by the protocol or has settings of its own"));
        }
        if self.remote_timeout.is_zero() {
            return Err("remote_timeout must be above 0".into());
        }
        self.queue_config.check().map_err(|fault| format!("queue_config: {fault}"))?;
        let relabel = Relabel::compile(&self.write_relabel_configs);
        let relabel = relabel.map_err(|fault| format!("write_relabel_configs: {fault}"))?;
        let auth = Auth::new(&self.basic_auth, &self.authorization)?;
        let tls = self.tls_config.tls().map_err(|fault| format!("tls_config: {fault}"))?;
        Ok(Meaning { auth, tls, relabel, headers: self.headers.clone(), shown_url: url.to_string() })
    }
}

impl QueueConfig {
    fn check(&self) -> Result<(), String> {
        let numbers = [self.capacity, self.min_shards, self.max_samples_per_send];
        if numbers.contains(&0) || self.min_backoff.is_zero() {
            return Err("capacity, min_shards, max_samples_per_send and min_backoff must be above 0".into());
        }
        if self.max_shards < self.min_shards || self.max_shards > SHARDS_MAX {
            return Err(format!("max_shards must be between min_shards and {SHARDS_MAX}"));
        }
        if self.max_backoff < self.min_backoff {
            return Err("max_backoff must not be below min_backoff".into());
        }
        Ok(())
    }
}

fn is_reserved(name: &str) -> bool {
    RESERVED_HEADERS.iter().any(|reserved| name.trim().eq_ignore_ascii_case(reserved))
}
