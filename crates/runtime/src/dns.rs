//! Names of other processes and the addresses behind them, in the forms that Loki's settings have: `host:port`, `dns+`,
//! `dnssrv+` and `dnssrvnoa+`. It must not know who is asked for.

use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::{RData, RecordType};
use std::net::SocketAddr;
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
    if entry_host.parse::<std::net::Ipv6Addr>().is_ok() {
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

/// The addresses behind an entry at this moment; a host without a port has `default_port`.
pub async fn resolve(entry: &str, default_port: u16) -> Result<Vec<SocketAddr>, String> {
    let look_up = async {
        match parse(entry, default_port)? {
            Question::Host(host, port) => addresses(host, port).await,
            Question::Service(name) => {
                let mut found = vec![];
                for (host, port) in services(name).await?.into_iter().take(SERVICES_MAX) {
                    found.extend(addresses(&host, port).await?);
                }
                Ok(found)
            }
        }
    };
    let found = tokio::time::timeout(LOOKUP_TIMEOUT, look_up).await;
    found.unwrap_or_else(|_| Err(format!("{entry}: no answer within {LOOKUP_TIMEOUT:?}")))
}

async fn addresses(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let found = tokio::net::lookup_host((host, port)).await;
    found.map(Iterator::collect).map_err(|error| format!("{host}: {error}"))
}

/// The machine's own configuration is read each time: a container's may change.
async fn services(name: &str) -> Result<Vec<(String, u16)>, String> {
    let fault = |error: hickory_resolver::net::NetError| format!("{name}: {error}");
    let resolver = TokioResolver::builder_tokio().and_then(|builder| builder.build()).map_err(fault)?;
    let answer = resolver.lookup(name, RecordType::SRV).await.map_err(fault)?;
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
            ("::1", Ok(Question::Host("::1", 7946))),
            ("dnssrv+_gossip._tcp.loki", Ok(Question::Service("_gossip._tcp.loki"))),
            ("dnssrvnoa+_gossip._tcp.loki:7946", Ok(Question::Service("_gossip._tcp.loki"))),
            ("host:port", Err("\"host:port\" has no port but \"port\"".to_string())),
            (":1", Err("\":1\" has no host".to_string())),
            ("dnssrv+", Err("\"dnssrv+\" has no name".to_string())),
        ] {
            assert_eq!(parse(entry, 7946), expected, "{entry}");
        }
    }

    #[tokio::test]
    async fn addresses_need_no_server() {
        assert_eq!(resolve("127.0.0.1:5", 1).await, Ok(vec!["127.0.0.1:5".parse().unwrap()]));
        assert_eq!(resolve("dns+[::1]", 6).await, Ok(vec!["[::1]:6".parse().unwrap()]));
    }
}
