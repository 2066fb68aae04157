//! The blocks of the process itself: `server`, `common`, `memberlist`, `runtime_config`, and the small ones.

use runtime::settings;
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
        pub http_server_read_timeout: Duration = 30 * SECOND,
        pub http_server_idle_timeout: Duration = 120 * SECOND,
        pub grpc_server_max_recv_msg_size: usize = 4 << 20,
        pub grpc_server_max_send_msg_size: usize = 4 << 20,
        pub grpc_server_max_concurrent_streams: u32 = 100,
        pub log_format: String = "logfmt".into(),
        pub log_level: String = "info".into(),
    }

    /// The certificate of a listener.
    pub struct ServerTls {
        pub cert_file: String = String::new(),
        pub key_file: String = String::new(),
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
