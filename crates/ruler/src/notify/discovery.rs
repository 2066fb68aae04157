//! Which Alertmanagers a URL stands for: itself, the addresses of its host, or the services of its name. It must not
//! know what is sent there.

use super::settings::ALERTMANAGERS_MAX;
use crate::http::parse_url;
use futures::future::BoxFuture;
use reqwest::Url;
use runtime::dns;
use runtime::settings::SecretUrl;
use std::net::SocketAddr;
use std::sync::Arc;

const API: &str = "/api/v2/alerts";

/// One URL of the settings.
#[derive(Clone)]
pub(super) struct Group {
    /// With its user information: for [`Target::url`] alone.
    url: Url,
    /// `None`: the URL is the one Alertmanager.
    pub lookup: Option<Lookup>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    Addresses(String, u16),
    Services(String),
}

/// What a look-up gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Address(SocketAddr),
    Service(String, u16),
}

pub(super) type LookUp = Arc<dyn Fn(Lookup) -> BoxFuture<'static, Result<Vec<Found>, String>> + Send + Sync>;

/// One Alertmanager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Of its API.
    pub url: SecretUrl,
    /// What was looked up, if it was.
    pub found: Option<Found>,
    /// Its URL in metrics and logs.
    pub name: String,
}

impl Target {
    /// Instead of what the URL's host resolves to.
    pub(super) fn connect_to(&self) -> Option<SocketAddr> {
        match self.found {
            Some(Found::Address(address)) => Some(address),
            _ => None,
        }
    }
}

impl Group {
    pub(super) fn parse(url: &SecretUrl, discovery: bool) -> Result<Self, String> {
        parse_url(url)?;
        let mut parsed = Url::parse(url.expose()).map_err(|error| error.to_string())?;
        parsed.set_query(None);
        parsed.set_fragment(None);
        let host = parsed.host_str().unwrap_or_default().to_string();
        let port = parsed.port_or_known_default().unwrap_or(80);
        let service = ["dnssrv+", "dnssrvnoa+"].iter().find_map(|prefix| host.strip_prefix(prefix));
        let lookup = match (service, host.strip_prefix("dns+")) {
            (Some(name), _) => Some(Lookup::Services(name.to_string())),
            (None, Some(name)) => Some(Lookup::Addresses(name.to_string(), port)),
            (None, None) if discovery && host.starts_with('_') => Some(Lookup::Services(host.clone())),
            (None, None) if discovery => Some(Lookup::Addresses(host.clone(), port)),
            (None, None) => None,
        };
        if let Some(Lookup::Addresses(name, _) | Lookup::Services(name)) = &lookup {
            parsed.set_host(Some(name)).map_err(|error| format!("{}: {error}", url.masked()))?;
        }
        parsed.set_path(&format!("{}{API}", parsed.path().trim_end_matches('/')));
        Ok(Group { url: parsed, lookup })
    }

    /// The Alertmanager of a group without look-up.
    pub(super) fn fixed(&self) -> Target {
        Target { url: SecretUrl::new(self.url.as_str()), found: None, name: named(&self.url) }
    }

    pub(super) fn target(&self, found: &Found) -> Result<Target, String> {
        let mut url = self.url.clone();
        let name = match found {
            Found::Service(host, port) => {
                let host = host.trim_end_matches('.');
                url.set_host(Some(host)).map_err(|error| format!("{host}: {error}"))?;
                let _ = url.set_port(Some(*port));
                named(&url)
            }
            Found::Address(address) => {
                let mut shown = url.clone();
                // Neither fails for a URL with a host; the port is written out where it is not the scheme's own.
                let _ = shown.set_ip_host(address.ip());
                let _ = url.set_port(Some(address.port()));
                named(&shown)
            }
        };
        Ok(Target { url: SecretUrl::new(url.as_str()), found: Some(found.clone()), name })
    }
}

/// Without user information.
fn named(url: &Url) -> String {
    let mut url = url.clone();
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string()
}

/// Asks the machine's name servers.
pub(super) fn name_servers() -> LookUp {
    Arc::new(|lookup| Box::pin(look_up(lookup)))
}

async fn look_up(lookup: Lookup) -> Result<Vec<Found>, String> {
    let mut found: Vec<Found> = match lookup {
        Lookup::Addresses(host, port) => {
            dns::resolve(&format!("dns+{host}"), port).await?.into_iter().map(Found::Address).collect()
        }
        Lookup::Services(name) => {
            dns::services(&name).await?.into_iter().map(|(host, port)| Found::Service(host, port)).collect()
        }
    };
    found.truncate(ALERTMANAGERS_MAX);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(url: &str, discovery: bool) -> Result<Group, String> {
        Group::parse(&SecretUrl::new(url), discovery)
    }

    #[test]
    fn a_url_keeps_its_path_and_hides_its_user() {
        for (url, api, name) in [
            ("http://am", "http://am/api/v2/alerts", ""),
            ("http://am:9093/", "http://am:9093/api/v2/alerts", ""),
            ("http://am/alertmanager?x=y#z", "http://am/alertmanager/api/v2/alerts", ""),
            ("https://u:p@am/a/b/", "https://u:p@am/a/b/api/v2/alerts", "https://am/a/b/api/v2/alerts"),
            ("http://[::1]:9093", "http://[::1]:9093/api/v2/alerts", ""),
        ] {
            let target = group(url, false).unwrap().fixed();
            assert_eq!(target.url.expose(), api);
            assert_eq!(target.name, if name.is_empty() { api } else { name });
        }
        for (url, error) in [
            ("am:9093", "am:9093: it must begin with http:// or https:// and name a host"),
            ("am", "am: relative URL without a base"),
            ("ftp://u:p@am", "ftp://********@am: it must begin with http:// or https:// and name a host"),
            ("http://u:p@", "http://********@: empty host"),
        ] {
            assert_eq!(group(url, false).err().as_deref(), Some(error));
        }
    }

    #[test]
    fn what_is_found_becomes_alertmanagers_under_the_same_path() {
        let address = |text: &str| Found::Address(text.parse().unwrap());
        let service = Found::Service("one.am.".into(), 9093);
        for (url, discovery, lookup, found, api, name) in [
            (
                "http://_web._tcp.am/x",
                true,
                Lookup::Services("_web._tcp.am".into()),
                service.clone(),
                "http://one.am:9093/x/api/v2/alerts",
                "http://one.am:9093/x/api/v2/alerts",
            ),
            (
                "https://u:p@dnssrv+_web._tcp.am",
                false,
                Lookup::Services("_web._tcp.am".into()),
                service,
                "https://u:p@one.am:9093/api/v2/alerts",
                "https://one.am:9093/api/v2/alerts",
            ),
            (
                "https://am",
                true,
                Lookup::Addresses("am".into(), 443),
                address("10.0.0.1:443"),
                "https://am/api/v2/alerts",
                "https://10.0.0.1/api/v2/alerts",
            ),
            (
                "http://dns+am:9093",
                false,
                Lookup::Addresses("am".into(), 9093),
                address("10.0.0.1:9093"),
                "http://am:9093/api/v2/alerts",
                "http://10.0.0.1:9093/api/v2/alerts",
            ),
        ] {
            let group = group(url, discovery).unwrap();
            assert_eq!(group.lookup, Some(lookup), "{url}");
            let target = group.target(&found).unwrap();
            assert_eq!((target.url.expose(), target.name.as_str()), (api, name));
            let connect_to = if let Found::Address(address) = found { Some(address) } else { None };
            assert_eq!(target.connect_to(), connect_to);
        }
    }
}
