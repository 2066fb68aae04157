//! The blocks of the process itself: `server`, `common`, `memberlist`, `runtime_config`, and the small ones.

use runtime::settings;
use runtime::settings::Secret;
use runtime::tls::{self, ClientAuth, MinVersion};
use std::path::PathBuf;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

settings! {
    /// `server`: listeners and the log.
    pub struct Server {
        /// Empty: every address.
        pub http_listen_address: String = String::new(),
        pub http_listen_port: u16 = 3100,
        /// Connections at one time; 0: [`runtime::listen::ListenLimits`]' default.
        pub http_listen_conn_limit: usize = 0,
        pub grpc_listen_address: String = String::new(),
        pub grpc_listen_port: u16 = 9095,
        pub grpc_listen_conn_limit: usize = 0,
        pub http_tls_config: ServerTls = ServerTls::default(),
        pub grpc_tls_config: ServerTls = ServerTls::default(),
        /// `VersionTLS12` or `VersionTLS13`, for both listeners.
        pub tls_min_version: String = String::new(),
        /// Where operators' routes (`/config`, `/flush`, `/log_level`, `/debug/...`, rings) are served when
        /// `admin_listen_port` is set (keys of lokirs). They are then not on the data port.
        pub admin_listen_address: String = "127.0.0.1".into(),
        /// 0: a port that the kernel picks, named in the log.
        pub admin_listen_port: Option<u16> = None,
        /// Operators' routes on the data port as well.
        pub admin_routes_on_data_port: bool = false,
        /// Credentials, and what each may do (a key of lokirs); empty: Loki's behaviour, every request is let through.
        pub auth_file: String = String::new(),
        pub http_server_read_timeout: Duration = 30 * SECOND,
        pub http_server_idle_timeout: Duration = 120 * SECOND,
        pub grpc_server_max_recv_msg_size: usize = 4 << 20,
        pub grpc_server_max_send_msg_size: usize = 4 << 20,
        pub grpc_server_max_concurrent_streams: u32 = 100,
        pub log_format: String = "logfmt".into(),
        pub log_level: String = "info".into(),
    }

    /// The certificate of a listener, and what it asks of clients.
    pub struct ServerTls {
        pub cert_file: String = String::new(),
        pub key_file: String = String::new(),
        /// Who signs the certificates of clients.
        pub client_ca_file: String = String::new(),
        /// `NoClientCert`, `RequestClientCert`, `RequireAnyClientCert`, `VerifyClientCertIfGiven` or
        /// `RequireAndVerifyClientCert`.
        pub client_auth_type: String = String::new(),
        /// The same in the file itself: refused, so that nobody believes to be encrypted who is not.
        pub cert: String = String::new(),
        pub key: Secret = Secret::default(),
        pub client_ca: String = String::new(),
    }

    /// A block of settings of gRPC clients: what lokirs reads of it.
    pub struct GrpcClient {
        pub tls_enabled: bool = false,
        /// Empty: the machine's authorities are trusted.
        pub tls_ca_path: String = String::new(),
        pub tls_cert_path: String = String::new(),
        pub tls_key_path: String = String::new(),
        /// Empty: the host that is called.
        pub tls_server_name: String = String::new(),
        pub tls_insecure_skip_verify: bool = false,
    }

    /// `common`: what several blocks take when they say nothing themselves.
    pub struct Common {
        /// Where everything local lives: `wal`, `compactor`, `rules`, `tsdb-shipper-*` below it.
        pub path_prefix: String = String::new(),
        pub storage: super::storage::CommonStorage = super::storage::CommonStorage::default(),
        pub replication_factor: Option<usize> = None,
        pub ring: Ring = Ring::default(),
        pub instance_addr: String = String::new(),
        pub instance_interface_names: Vec<String> = vec![],
        pub compactor_address: String = String::new(),
        pub compactor_grpc_address: String = String::new(),
    }

    /// `common.ring`.
    pub struct Ring {
        pub kvstore: KvStore = KvStore::default(),
        pub instance_addr: String = String::new(),
        pub instance_port: u16 = 0,
        pub instance_interface_names: Vec<String> = vec![],
        pub instance_enable_ipv6: bool = false,
        pub instance_availability_zone: String = String::new(),
        pub zone_awareness_enabled: bool = false,
        pub heartbeat_period: Duration = 15 * SECOND,
        /// Who is silent for this long is unhealthy. Loki's default is a minute, for a heartbeat every 15 seconds; here
        /// they come several times a second.
        pub heartbeat_timeout: Duration = 10 * SECOND,
        /// Members that never change, instead of gossip (a key of lokirs).
        pub static_members: Vec<StaticMember> = vec![],
    }

    pub struct KvStore {
        /// `memberlist` and `inmemory` have a meaning here; `consul` and `etcd` are refused.
        pub store: String = String::new(),
    }

    /// One process of a cluster that does not gossip. The list names every process that others call; all may share it.
    pub struct StaticMember {
        pub id: String = String::new(),
        /// `host:port` of its gRPC listener.
        pub address: String = String::new(),
        pub zone: String = String::new(),
        /// Roles, or groups of roles, as `-target` has them.
        pub roles: Vec<String> = vec!["all".into()],
    }

    /// `memberlist`: the gossip.
    pub struct Memberlist {
        /// Our id; empty: the host's name.
        pub node_name: String = String::new(),
        /// Where others are found: `host:port`, or names with `dns+`, `dnssrv+`, `dnssrvnoa+`. Empty: no gossip.
        pub join_members: Vec<String> = vec![],
        /// One address, or none for all.
        pub bind_addr: Vec<String> = vec![],
        pub bind_port: u16 = 7946,
        pub advertise_addr: String = String::new(),
        /// 0: `bind_port`.
        pub advertise_port: u16 = 0,
        /// The cluster's name: packets and calls of others are refused. Empty: `lokirs`.
        pub cluster_label: String = String::new(),
        pub gossip_interval: Duration = Duration::from_millis(200),
        /// How often `join_members` are looked up and asked again. Loki's default is never.
        pub rejoin_interval: Duration = 30 * SECOND,
        /// Who is silent for this long, and for ten times `heartbeat_timeout`, is forgotten.
        pub left_ingesters_timeout: Duration = 300 * SECOND,
        pub abort_if_cluster_join_fails: bool = false,
    }

    /// `runtime_config`: the overrides file, read again every period when it changed.
    pub struct RuntimeConfig {
        pub file: Vec<String> = vec![],
        pub period: Duration = 10 * SECOND,
    }

    /// `operational_config`: what a push leaves in the log.
    pub struct Operational {
        pub log_stream_creation: bool = false,
        pub log_push_request: bool = false,
        pub limited_log_push_errors: bool = true,
    }

    /// `analytics`: lokirs reports to nobody; the switch is read so that its value is no surprise.
    pub struct Analytics {
        pub reporting_enabled: bool = false,
    }

    /// `tracing`.
    pub struct Tracing {
        pub enabled: bool = true,
    }
}

fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| text.into())
}

impl Server {
    /// `None`: that listener speaks no TLS. `tls` is one of the server's own blocks.
    pub fn tls(&self, tls: &ServerTls) -> Result<Option<tls::ServerTls>, String> {
        if *tls == ServerTls::default() {
            return Ok(None);
        }
        if !tls.cert.is_empty() || !tls.key.is_empty() || !tls.client_ca.is_empty() {
            return Err("cert, key and client_ca are read from files: cert_file, key_file, client_ca_file".into());
        }
        let meaning = tls::ServerTls {
            cert_file: tls.cert_file.clone().into(),
            key_file: tls.key_file.clone().into(),
            client_ca_file: path(&tls.client_ca_file),
            client_auth: ClientAuth::from_name(&tls.client_auth_type)?,
            min_version: MinVersion::from_name(&self.tls_min_version)?,
        };
        meaning.check()?;
        Ok(Some(meaning))
    }
}

impl GrpcClient {
    /// `None`: without TLS.
    pub fn tls(&self) -> Result<Option<tls::ClientTls>, String> {
        if !self.tls_enabled {
            return Ok(None);
        }
        let (ca, cert, key) = (&self.tls_ca_path, &self.tls_cert_path, &self.tls_key_path);
        tls::ClientTls::of_paths(ca, cert, key, self.tls_insecure_skip_verify).map(Some)
    }
}
