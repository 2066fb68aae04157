//! Connections to Redis: a few, each for many requests at a time, opened when one is needed and replaced when they are old
//! or broken. It must not know what is asked over them.

use crate::metrics::Failed;
use crate::settings::Redis as Settings;
use ::redis::aio::MultiplexedConnection;
use ::redis::cluster::ClusterClient;
use ::redis::cluster_async::ClusterConnection;
use ::redis::cluster_read_routing::RandomReplicaStrategy;
use ::redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use ::redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo, RedisError,
    TlsMode,
};
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// Connections where `pool_size` is 0.
const LINKS_DEFAULT: usize = 4;
/// Connections, whatever `pool_size` says: each takes many requests at a time.
const LINKS_MAX: usize = 64;
/// Times that a cluster's client follows redirects and asks anew, and how long it waits between.
const CLUSTER_RETRIES: u32 = 3;
const CLUSTER_RETRY_WAIT_MS: u64 = 50;

/// One connection, or one to each node of a cluster. Clones are the same.
#[derive(Clone)]
pub enum Link {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// A connection that is being opened, or is open; whoever waits for it waits for the same one.
pub type Opening = Shared<BoxFuture<'static, Result<Link, Failed>>>;

pub struct Links {
    source: Arc<Source>,
    slots: Vec<Mutex<Option<Slot>>>,
    next: AtomicU64,
    idle_timeout: Duration,
    age_max: Duration,
}

struct Slot {
    opening: Opening,
    id: u64,
    opened: Instant,
    used: Instant,
}

/// Where connections come from.
enum Source {
    Server { client: Client, timeout: Duration },
    Cluster(ClusterClient),
    Sentinels { sentinels: Vec<ConnectionAddr>, settings: Settings },
}

impl Links {
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let source = Source::new(settings).map_err(|error| format!("redis: {}", error.category()))?;
        let count = if settings.pool_size == 0 { LINKS_DEFAULT } else { settings.pool_size.min(LINKS_MAX) };
        Ok(Links {
            source: Arc::new(source),
            slots: (0..count).map(|_| Mutex::new(None)).collect(),
            next: AtomicU64::new(0),
            idle_timeout: settings.idle_timeout,
            age_max: settings.max_connection_age,
        })
    }

    /// The connection whose turn it is, and its number.
    pub fn take(&self) -> (Opening, u64) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut slot = self.slots[number as usize % self.slots.len()].lock();
        let now = Instant::now();
        let over = |since: Instant, most: Duration| !most.is_zero() && now.duration_since(since) >= most;
        if slot.as_ref().is_some_and(|slot| over(slot.used, self.idle_timeout) || over(slot.opened, self.age_max)) {
            *slot = None;
        }
        let slot = slot.get_or_insert_with(|| {
            let source = self.source.clone();
            let opening = async move { source.open().await.map_err(|_| Failed::Connection) };
            Slot { opening: opening.boxed().shared(), id: number, opened: now, used: now }
        });
        slot.used = now;
        (slot.opening.clone(), slot.id)
    }

    /// Forgets a connection that is of no use any more.
    pub fn discard(&self, id: u64) {
        let mut slot = self.slots[id as usize % self.slots.len()].lock();
        if slot.as_ref().is_some_and(|slot| slot.id == id) {
            *slot = None;
        }
    }
}

impl Source {
    fn new(settings: &Settings) -> Result<Self, RedisError> {
        let addresses = addresses(settings);
        if !settings.master_name.is_empty() {
            return Ok(Source::Sentinels { sentinels: addresses, settings: settings.clone() });
        }
        if settings.is_cluster() {
            return Ok(Source::Cluster(cluster(settings, addresses)?));
        }
        let address = addresses.into_iter().next().unwrap_or(ConnectionAddr::Tcp(String::new(), 0));
        let client = Client::open(info(address, login(settings))?)?;
        Ok(Source::Server { client, timeout: settings.timeout })
    }

    async fn open(&self) -> Result<Link, RedisError> {
        match self {
            Source::Server { client, timeout } => {
                let config = within(*timeout);
                Ok(Link::Single(client.get_multiplexed_async_connection_with_config(&config).await?))
            }
            Source::Cluster(client) => Ok(Link::Cluster(client.get_async_connection().await?)),
            Source::Sentinels { sentinels, settings } => {
                let mut builder = SentinelClientBuilder::new(
                    sentinels.iter().cloned(),
                    &settings.master_name,
                    SentinelServerType::Master,
                )?
                .set_client_to_redis_db(settings.db);
                if settings.tls_enabled {
                    builder = builder.set_client_to_redis_tls_mode(tls_mode(settings));
                }
                if !settings.password.is_empty() {
                    builder = builder.set_client_to_redis_password(settings.password.expose());
                }
                if !settings.username.is_empty() {
                    builder = builder.set_client_to_redis_username(&settings.username);
                }
                let mut client = builder.build()?;
                Ok(Link::Single(client.get_async_connection_with_config(&within(settings.timeout)).await?))
            }
        }
    }
}

fn within(timeout: Duration) -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_connection_timeout(Some(timeout)).set_response_timeout(Some(timeout))
}

fn addresses(settings: &Settings) -> Vec<ConnectionAddr> {
    let hosts = settings.hosts().unwrap_or_default().into_iter();
    let address = |(host, port)| match settings.tls_enabled {
        true => ConnectionAddr::TcpTls { host, port, insecure: settings.tls_insecure_skip_verify, tls_params: None },
        false => ConnectionAddr::Tcp(host, port),
    };
    hosts.map(address).collect()
}

fn tls_mode(settings: &Settings) -> TlsMode {
    if settings.tls_insecure_skip_verify { TlsMode::Insecure } else { TlsMode::Secure }
}

fn login(settings: &Settings) -> RedisConnectionInfo {
    let mut login = RedisConnectionInfo::default().set_db(settings.db).set_skip_set_lib_name();
    if !settings.password.is_empty() {
        login = login.set_password(settings.password.expose());
    }
    if !settings.username.is_empty() {
        login = login.set_username(&settings.username);
    }
    login
}

fn info(address: ConnectionAddr, login: RedisConnectionInfo) -> Result<ConnectionInfo, RedisError> {
    Ok(address.into_connection_info()?.set_redis_settings(login))
}

fn cluster(settings: &Settings, addresses: Vec<ConnectionAddr>) -> Result<ClusterClient, RedisError> {
    let nodes: Result<Vec<ConnectionInfo>, RedisError> =
        addresses.into_iter().map(|address| info(address, login(settings))).collect();
    let mut builder = ClusterClient::builder(nodes?)
        .retries(CLUSTER_RETRIES)
        .max_retry_wait(CLUSTER_RETRY_WAIT_MS)
        .min_retry_wait(1)
        .connection_timeout(settings.timeout)
        .response_timeout(settings.timeout);
    if settings.tls_enabled {
        builder = builder.tls(tls_mode(settings));
    }
    if settings.route_randomly {
        builder = builder.read_routing_strategy(RandomReplicaStrategy);
    }
    builder.build()
}
