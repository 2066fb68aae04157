//! The servers of memcached behind the configured names, looked up again and again, and which of them has a key: the same
//! one for every process that sees the same servers.

use super::server::{Manner, Server};
use crate::metrics::Counts;
use crate::settings::MEMCACHED_PORT;
use arc_swap::ArcSwap;
use runtime::tasks::Tasks;
use runtime::tls::ServerName;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh64::xxh64;

/// Servers of one cache.
const SERVERS_MAX: usize = 1024;

pub struct Servers {
    /// In the order of their addresses as text.
    now: ArcSwap<Vec<Arc<Server>>>,
    consistent: bool,
}

/// What is looked up, and how often.
pub struct LookUp {
    /// Of the cache, for the log.
    pub name: String,
    pub entries: Vec<String>,
    pub interval: Duration,
    /// What certificates must be for, instead of the host.
    pub server_name: Option<ServerName<'static>>,
    pub manner: Arc<Manner>,
    pub counts: Counts,
}

impl Servers {
    /// None at first: they are looked up behind everybody's back, so that a name without an answer holds up nothing.
    pub fn start(look_up: LookUp, consistent: bool, tasks: &Tasks) -> Arc<Self> {
        let servers = Arc::new(Servers { now: ArcSwap::default(), consistent });
        tasks.spawn("cache servers", follow(servers.clone(), look_up, tasks.stopping()));
        servers
    }

    pub fn now(&self) -> Arc<Vec<Arc<Server>>> {
        self.now.load_full()
    }

    /// Which of so many servers has the key. There must be one.
    pub fn place(&self, key: &str, servers: usize) -> usize {
        let hash = xxh64(key.as_bytes(), 0);
        if self.consistent { jump(hash, servers) } else { (hash % servers as u64) as usize }
    }

    /// Servers that stay keep their connections and what is known of them.
    fn set(&self, found: Vec<(SocketAddr, Option<ServerName<'static>>)>, manner: &Arc<Manner>) -> bool {
        let old = self.now();
        let same = |server: &&Arc<Server>, found: &(SocketAddr, Option<ServerName>)| {
            (server.address, &server.name) == (found.0, &found.1)
        };
        let new = found.into_iter().map(|found| match old.iter().find(|server| same(server, &found)) {
            Some(server) => server.clone(),
            None => Arc::new(Server::new(found.0, found.1, manner.clone())),
        });
        let new: Vec<Arc<Server>> = new.collect();
        let changed = new.len() != old.len() || new.iter().zip(old.iter()).any(|(new, old)| !Arc::ptr_eq(new, old));
        self.now.store(Arc::new(new));
        changed
    }
}

/// Jump consistent hashing (Lamping and Veach): of n servers, one more takes one n-th of the keys and moves no other.
fn jump(mut hash: u64, servers: usize) -> usize {
    let (mut place, mut next) = (0i64, 0i64);
    while next < servers as i64 {
        place = next;
        hash = hash.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        next = ((place + 1) as f64 * ((1u64 << 31) as f64 / ((hash >> 33) + 1) as f64)) as i64;
    }
    place as usize
}

async fn follow(servers: Arc<Servers>, look_up: LookUp, stopping: CancellationToken) {
    let mut ticks = tokio::time::interval(look_up.interval);
    let mut silent = false;
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let name = &look_up.name;
        match resolve(&look_up).await {
            Ok(found) => {
                silent = false;
                look_up.counts.servers(found.len());
                let count = found.len();
                if servers.set(found, &look_up.manner) {
                    tracing::info!(cache = name, servers = count, "the servers of a cache have changed");
                }
            }
            Err(fault) if !std::mem::replace(&mut silent, true) => {
                tracing::warn!(cache = name, fault, "the servers of a cache are not found; those known stay in use");
            }
            Err(_) => {}
        }
    }
}

/// All entries' addresses. One that cannot be looked up fails all: without its servers, keys would move for a moment.
async fn resolve(look_up: &LookUp) -> Result<Vec<(SocketAddr, Option<ServerName<'static>>)>, String> {
    let mut found = vec![];
    for entry in &look_up.entries {
        for address in runtime::dns::resolve(entry, MEMCACHED_PORT).await? {
            found.push((address, server_name(look_up, entry, address)?));
        }
    }
    if found.is_empty() {
        return Err("the names have no addresses".into());
    }
    if found.len() > SERVERS_MAX {
        return Err(format!("the names have more than {SERVERS_MAX} addresses"));
    }
    found.sort_by_cached_key(|(address, _)| address.to_string());
    found.dedup_by_key(|(address, _)| *address);
    Ok(found)
}

fn server_name(look_up: &LookUp, entry: &str, address: SocketAddr) -> Result<Option<ServerName<'static>>, String> {
    if look_up.manner.tls.is_none() {
        return Ok(None);
    }
    if let Some(name) = &look_up.server_name {
        return Ok(Some(name.clone()));
    }
    match runtime::dns::host(entry) {
        Some(host) => {
            ServerName::try_from(host.to_string()).map(Some).map_err(|_| format!("{host:?} is no name of a server"))
        }
        None => Ok(Some(ServerName::IpAddress(address.ip().into()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_more_moves_only_its_own_share_of_the_keys() {
        for servers in [1, 2, 5, 40] {
            let mut held = vec![0; servers + 1];
            for key in 0..10_000u64 {
                let hash = xxh64(&key.to_le_bytes(), 0);
                let (before, after) = (jump(hash, servers), jump(hash, servers + 1));
                assert!(before < servers && (after == before || after == servers), "{servers}: {before} {after}");
                held[after] += 1;
            }
            let fair = 10_000 / (servers + 1);
            assert!(held.iter().all(|held| *held > fair / 2 && *held < fair * 2), "{servers}: {held:?}");
        }
    }
}
