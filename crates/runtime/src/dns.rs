//! Names of other processes and the addresses behind them, in the forms that Loki's settings have: `host:port`, `dns+`,
//! `dnssrv+` and `dnssrvnoa+`. It must not know who is asked for.

use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::{RData, RecordType};
use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

/// How long one look-up may take.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// Services behind one name that are looked up further.
const SERVICES_MAX: usize = 128;

/// What is asked for one entry of a list.
#[derive(Debug, PartialEq, Eq)]
enum Question<'a> {
    /// Addresses of a host, at a port.
    Host(&'a str, u16),
    /// Services, each with its own host and port.
    Service(&'a str),
}

fn parse(entry: &str, default_port: u16) -> Result<Question<'_>, String> {
    for prefix in ["dnssrv+", "dnssrvnoa+"] {
        if let Some(name) = entry.strip_prefix(prefix) {
            // A port that stands here means nothing: the records have their own.
            let name = name.rsplit_once(':').map_or(name, |(name, _)| name);
            return if name.is_empty() { Err(format!("{entry:?} has no name")) } else { Ok(Question::Service(name)) };
        }
    }
    let entry_host = entry.strip_prefix("dns+").unwrap_or(entry);
    if entry_host.ends_with(']') || entry_host.parse::<Ipv6Addr>().is_ok() {
        let entry_host = entry_host.trim_start_matches('[').trim_end_matches(']');
        return Ok(Question::Host(entry_host, default_port));
    }
    let (host, port) = match entry_host.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().map_err(|_| format!("{entry:?} has no port but {port:?}"))?),
        None => (entry_host, default_port),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return Err(format!("{entry:?} has no host"));
    }
    Ok(Question::Host(host, port))
}

/// What is wrong with an entry, before anything is looked up.
pub fn check(entry: &str) -> Result<(), String> {
    parse(entry, 1).map(drop)
}

/// The host that an entry names; of services there is none.
pub fn host(entry: &str) -> Option<&str> {
    match parse(entry, 1) {
        Ok(Question::Host(host, _)) => Some(host),
        _ => None,
    }
}

/// The addresses behind an entry at this moment; a host without a port has `default_port`.
pub async fn resolve(entry: &str, default_port: u16) -> Result<Vec<SocketAddr>, String> {
    let look_up = async {
        match parse(entry, default_port)? {
            Question::Host(host, port) => addresses(host, port).await,
            Question::Service(name) => {
                let mut found = vec![];
                for (host, port) in records(name).await?.into_iter().take(SERVICES_MAX) {
                    found.extend(addresses(&host, port).await?);
                }
                Ok(found)
            }
        }
    };
    let found = tokio::time::timeout(LOOKUP_TIMEOUT, look_up).await;
    found.unwrap_or_else(|_| Err(format!("{entry}: no answer within {LOOKUP_TIMEOUT:?}")))
}

/// The hosts and ports of the services behind a name: what `dnssrv+` looks up further.
pub async fn services(name: &str) -> Result<Vec<(String, u16)>, String> {
    let found = tokio::time::timeout(LOOKUP_TIMEOUT, records(name)).await;
    let mut found = found.unwrap_or_else(|_| Err(format!("{name}: no answer within {LOOKUP_TIMEOUT:?}")))?;
    found.truncate(SERVICES_MAX);
    Ok(found)
}

async fn addresses(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let found = tokio::net::lookup_host((host, port)).await;
    found.map(Iterator::collect).map_err(|error| format!("{host}: {error}"))
}

/// The machine's own configuration is read each time: a container's may change.
async fn records(name: &str) -> Result<Vec<(String, u16)>, String> {
    let resolver = TokioResolver::builder_tokio().and_then(|builder| builder.build());
    services_of(&resolver.map_err(|error| format!("{name}: {error}"))?, name).await
}

async fn services_of(resolver: &TokioResolver, name: &str) -> Result<Vec<(String, u16)>, String> {
    let answer = resolver.lookup(name, RecordType::SRV).await.map_err(|error| format!("{name}: {error}"))?;
    let service = |data: &RData| match data {
        RData::SRV(srv) => Some((srv.target.to_utf8(), srv.port)),
        _ => None,
    };
    Ok(answer.answers().iter().filter_map(|record| service(&record.data)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_as_loki_reads_them() {
        for (entry, expected) in [
            ("host:7000", Ok(Question::Host("host", 7000))),
            ("host", Ok(Question::Host("host", 7946))),
            ("dns+host:7000", Ok(Question::Host("host", 7000))),
            ("10.0.0.1:1", Ok(Question::Host("10.0.0.1", 1))),
            ("[::1]:1", Ok(Question::Host("::1", 1))),
            ("dns+[::1]", Ok(Question::Host("::1", 7946))),
            ("::1", Ok(Question::Host("::1", 7946))),
            ("dnssrv+_gossip._tcp.loki", Ok(Question::Service("_gossip._tcp.loki"))),
            ("dnssrvnoa+_gossip._tcp.loki:7946", Ok(Question::Service("_gossip._tcp.loki"))),
            ("host:port", Err("\"host:port\" has no port but \"port\"".to_string())),
            (":1", Err("\":1\" has no host".to_string())),
            ("dnssrv+", Err("\"dnssrv+\" has no name".to_string())),
        ] {
            assert_eq!(parse(entry, 7946), expected, "{entry}");
            let named = matches!(expected, Ok(Question::Host(named, _)) if host(entry) == Some(named));
            assert!(named || host(entry).is_none(), "{entry}");
        }
    }

    #[tokio::test]
    async fn addresses_need_no_server() {
        assert_eq!(resolve("127.0.0.1:5", 1).await, Ok(vec!["127.0.0.1:5".parse().unwrap()]));
        assert_eq!(resolve("dns+[::1]", 6).await, Ok(vec!["[::1]:6".parse().unwrap()]));
    }
    /// Answers every question with two services: `one.loki` at 7001 and `two.loki` at 7002.
    async fn serve(socket: tokio::net::UdpSocket) {
        let mut query = [0; 512];
        loop {
            let (_, from) = socket.recv_from(&mut query).await.unwrap();
            let name_end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap();
            let mut answer = query[..2].to_vec();
            answer.extend([0x81, 0x80, 0, 1, 0, 2, 0, 0, 0, 0]);
            answer.extend(&query[12..name_end + 5]);
            for (host, port) in [(b"one", 7001u16), (b"two", 7002)] {
                // The name asked for, SRV, IN, a time to live, 16 bytes, priority and weight.
                answer.extend([0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 30, 0, 16, 0, 1, 0, 1]);
                answer.extend(port.to_be_bytes());
                answer.extend([&[3][..], host, &[4], b"loki", &[0]].concat());
            }
            socket.send_to(&answer, from).await.unwrap();
        }
    }

    #[tokio::test]
    async fn services_have_their_own_hosts_and_ports() {
        use hickory_resolver::config::{NameServerConfig, ResolverConfig};
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let mut server = NameServerConfig::udp(address.ip());
        server.connections[0].port = address.port();
        let config = ResolverConfig::from_name_servers(vec![server]);
        let resolver = TokioResolver::builder_with_config(config, Default::default()).build().unwrap();
        let expected = vec![("one.loki.".to_string(), 7001), ("two.loki.".to_string(), 7002)];
        tokio::select! {
            () = serve(socket) => {}
            found = services_of(&resolver, "_gossip._udp.loki.") => {
                let mut found = found.unwrap();
                found.sort();
                assert_eq!(found, expected);
            }
        }
    }
}
