//! A cache's block of settings, the same wherever Loki has one. It must not know which cache it is for.

use runtime::settings;
use runtime::settings::Secret;
use runtime::tls::ClientTls;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
/// Of every server of memcached whose address names none.
pub const MEMCACHED_PORT: u16 = 11211;
/// Of every server of Redis whose address names none.
pub const REDIS_PORT: u16 = 6379;

settings! {
    /// A cache: in memory, in memcached, in Redis, or in memory before one of the two. Without any of them there is none.
    pub struct Settings {
        /// How long entries live where the block of their cache does not say it.
        pub default_validity: Duration = 3600 * SECOND,
        pub background: Writeback = Writeback::default(),
        pub memcached: MemcachedBatches = MemcachedBatches::default(),
        pub memcached_client: Memcached = Memcached::default(),
        pub redis: Redis = Redis::default(),
        pub embedded_cache: Embedded = Embedded::default(),
    }

    /// What waits to be written to memcached or Redis. Beyond the bounds, entries are dropped and counted.
    pub struct Writeback {
        /// Batches of entries that are written at a time.
        pub writeback_goroutines: usize = 1,
        /// Entries that wait at most.
        pub writeback_buffer: usize = 500_000,
        /// Bytes that wait at most.
        pub writeback_size_limit: u64 = 500 << 20,
    }

    pub struct MemcachedBatches {
        /// How long entries live; 0: `default_validity`.
        pub expiration: Duration = Duration::ZERO,
        /// Keys that one request asks for.
        pub batch_size: usize = 4,
        /// Requests that one look-up has under way.
        pub parallelism: usize = 5,
    }

    /// The servers of memcached, and how they are spoken to.
    pub struct Memcached {
        /// A name whose SRV records, with `service`, are the servers.
        pub host: String = String::new(),
        pub service: String = "memcached".into(),
        /// The servers instead: `host:port`, or names with `dns+`, `dnssrv+`, `dnssrvnoa+`.
        pub addresses: Vec<String> = vec![],
        /// For one request, its connection included.
        pub timeout: Duration = Duration::from_millis(100),
        /// Connections to a server that are kept open while they are not used.
        pub max_idle_conns: usize = 16,
        /// Larger values are neither stored nor read; 0: the largest chunk.
        pub max_item_size: usize = 0,
        /// How often the names are looked up.
        pub update_interval: Duration = 60 * SECOND,
        /// A server more or less moves few keys.
        pub consistent_hash: bool = true,
        /// After so many failures in a row a server is left alone; 0: never.
        pub circuit_breaker_consecutive_failures: u32 = 10,
        /// For how long it is left alone.
        pub circuit_breaker_timeout: Duration = 10 * SECOND,
        /// How often the failures are forgotten; 0: never.
        pub circuit_breaker_interval: Duration = 10 * SECOND,
        pub tls_enabled: bool = false,
        /// Empty: the machine's authorities are trusted.
        pub tls_ca_path: String = String::new(),
        pub tls_cert_path: String = String::new(),
        pub tls_key_path: String = String::new(),
        /// Empty: the host in the server's address.
        pub tls_server_name: String = String::new(),
        pub tls_insecure_skip_verify: bool = false,
    }

    /// One server of Redis, a cluster, or what sentinels say is the master.
    pub struct Redis {
        /// `host:port`; several are nodes of a cluster, or the sentinels when there is a `master_name`.
        pub endpoint: Vec<String> = vec![],
        /// What the sentinels call the servers.
        pub master_name: String = String::new(),
        /// For one request.
        pub timeout: Duration = Duration::from_millis(500),
        /// How long entries live; 0: `default_validity`.
        pub expiration: Duration = Duration::ZERO,
        pub db: i64 = 0,
        /// Connections, each for many requests at a time; 0: four.
        pub pool_size: usize = 0,
        pub username: String = String::new(),
        pub password: Secret = Secret::default(),
        pub tls_enabled: bool = false,
        pub tls_insecure_skip_verify: bool = false,
        /// A connection that was not used for this long is replaced; 0: never.
        pub idle_timeout: Duration = Duration::ZERO,
        /// A connection that is this old is replaced; 0: never.
        pub max_connection_age: Duration = Duration::ZERO,
        /// Read from the replicas of a cluster as well.
        pub route_randomly: bool = false,
    }

    /// The cache in the process's own memory.
    pub struct Embedded {
        pub enabled: bool = false,
        /// MiB that the values may take.
        pub max_size_mb: u64 = 100,
        /// Entries that it may hold; 0: any number.
        pub max_size_items: u64 = 0,
        /// How long entries live; 0: `default_validity`.
        pub ttl: Duration = 3600 * SECOND,
    }
}

impl Settings {
    /// Whether there is any cache.
    pub fn is_set(&self) -> bool {
        self.embedded_cache.enabled || self.memcached_client.is_set() || self.redis.is_set()
    }

    /// The lifetime that a cache's own block says, or the common one.
    pub fn validity(&self, own: Duration) -> Duration {
        if own.is_zero() { self.default_validity } else { own }
    }

    /// Everything that cannot work.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = vec![];
        if self.memcached_client.is_set() && self.redis.is_set() {
            let named = if self.memcached_client.addresses.is_empty() { "host" } else { "addresses" };
            faults.push(format!(
                "use of multiple cache storage systems is not supported: memcached_client.{named} and redis.endpoint"
            ));
        }
        if self.memcached_client.is_set() {
            if self.memcached.batch_size == 0 || self.memcached.parallelism == 0 {
                faults.push("memcached: batch_size and parallelism must be at least 1".into());
            }
            let own = self.memcached_client.faults().into_iter();
            faults.extend(own.map(|fault| format!("memcached_client.{fault}")));
        }
        if self.redis.is_set() {
            faults.extend(self.redis.faults().into_iter().map(|fault| format!("redis.{fault}")));
        }
        if self.embedded_cache.enabled && self.embedded_cache.max_size_mb == 0 {
            faults.push("embedded_cache.max_size_mb must be at least 1: every cache has a bound".into());
        }
        faults
    }
}

impl Memcached {
    pub fn is_set(&self) -> bool {
        !self.addresses.is_empty() || !self.host.is_empty()
    }

    /// The entries that are looked up for servers.
    pub fn servers(&self) -> Vec<String> {
        match self.addresses.is_empty() && !self.host.is_empty() {
            true => vec![format!("dnssrv+_{}._tcp.{}", self.service, self.host)],
            false => self.addresses.clone(),
        }
    }

    /// `None`: without TLS.
    pub fn tls(&self) -> Result<Option<ClientTls>, String> {
        if !self.tls_enabled {
            return Ok(None);
        }
        let (ca, cert, key) = (&self.tls_ca_path, &self.tls_cert_path, &self.tls_key_path);
        ClientTls::of_paths(ca, cert, key, self.tls_insecure_skip_verify).map(Some)
    }

    fn faults(&self) -> Vec<String> {
        let servers = self.servers();
        let mut faults: Vec<String> = servers.iter().filter_map(|entry| runtime::dns::check(entry).err()).collect();
        faults.iter_mut().for_each(|fault| fault.insert_str(0, "addresses: "));
        if self.timeout.is_zero() || self.update_interval.is_zero() {
            faults.push("timeout and memcached_client.update_interval must be more than 0".into());
        }
        faults.extend(self.tls().err());
        faults
    }
}

impl Redis {
    pub fn is_set(&self) -> bool {
        !self.endpoint.is_empty()
    }

    pub fn is_cluster(&self) -> bool {
        self.endpoint.len() > 1 && self.master_name.is_empty()
    }

    /// Host and port of every endpoint.
    pub fn hosts(&self) -> Result<Vec<(String, u16)>, String> {
        self.endpoint.iter().map(|endpoint| host_and_port(endpoint)).collect()
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = vec![];
        faults.extend(self.hosts().err());
        if self.timeout.is_zero() {
            faults.push("timeout must be more than 0".into());
        }
        if self.is_cluster() && self.db != 0 {
            faults.push("db: a cluster has only the database 0".into());
        }
        if self.db < 0 {
            faults.push(format!("db: {} is no database", self.db));
        }
        if !self.username.is_empty() && self.password.is_empty() {
            faults.push("username is of no use without redis.password".into());
        }
        faults
    }
}

fn host_and_port(endpoint: &str) -> Result<(String, u16), String> {
    let fault = || format!("endpoint: {endpoint:?} is not host:port");
    let (host, port) = match endpoint.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().map_err(|_| fault())?),
        None => (endpoint, REDIS_PORT),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() || host.contains('/') { Err(fault()) } else { Ok((host.to_string(), port)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::settings::{NoReference, Reader, Setting, Tree};

    fn settings(yaml: &str) -> Settings {
        let mut settings = Settings::default();
        let mut reader = Reader::at("", &NoReference);
        settings.read(&Tree::parse(yaml).unwrap(), &mut reader);
        assert_eq!(reader.errors, Vec::<String>::new(), "{yaml}");
        settings
    }

    #[test]
    fn what_cannot_work_is_named() {
        for (yaml, fault) in [
            ("{}", ""),
            ("embedded_cache: {enabled: true}", ""),
            ("memcached_client: {addresses: 'dns+a.b:11211,c'}", ""),
            ("memcached_client: {host: a.b}", ""),
            ("redis: {endpoint: 'a:1,b:2'}", ""),
            (
                "{memcached_client: {addresses: a}, redis: {endpoint: b}}",
                "use of multiple cache storage systems is not supported: memcached_client.addresses and redis.endpoint",
            ),
            (
                "{memcached_client: {host: a}, redis: {endpoint: b}}",
                "use of multiple cache storage systems is not supported: memcached_client.host and redis.endpoint",
            ),
            ("memcached_client: {addresses: 'a:b'}", "memcached_client.addresses: \"a:b\" has no port but \"b\""),
            (
                "memcached_client: {addresses: a, timeout: 0s}",
                "memcached_client.timeout and memcached_client.update_interval must be more than 0",
            ),
            (
                "{memcached: {batch_size: 0}, memcached_client: {addresses: a}}",
                "memcached: batch_size and parallelism must be at least 1",
            ),
            (
                "memcached_client: {addresses: a, tls_enabled: true, tls_key_path: k}",
                "memcached_client.tls_cert_path and tls_key_path are only of use together",
            ),
            ("redis: {endpoint: 'redis://a'}", "redis.endpoint: \"redis://a\" is not host:port"),
            ("redis: {endpoint: 'a,b', db: 1}", "redis.db: a cluster has only the database 0"),
            ("redis: {endpoint: a, username: u}", "redis.username is of no use without redis.password"),
            (
                "embedded_cache: {enabled: true, max_size_mb: 0}",
                "embedded_cache.max_size_mb must be at least 1: every cache has a bound",
            ),
        ] {
            assert_eq!(settings(yaml).faults().join("; "), fault, "{yaml}");
        }
    }

    #[test]
    fn a_host_is_the_name_of_services() {
        assert_eq!(
            settings("memcached_client: {host: a.b}").memcached_client.servers(),
            ["dnssrv+_memcached._tcp.a.b"]
        );
        assert!(!settings("{}").is_set() && settings("redis: {endpoint: x}").is_set());
    }

    #[test]
    fn a_password_does_not_come_out() {
        let settings = settings("redis: {endpoint: x, password: hunter2}");
        assert!(!format!("{settings:?}{}", settings.write().print()).contains("hunter2"));
    }
}
