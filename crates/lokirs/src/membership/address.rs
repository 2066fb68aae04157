//! Under which addresses the others reach this process: what is set, else the first address of the interfaces that are
//! set, else of one with a private address, as in Loki.

use crate::config::Settings;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Where no interface is set and none has a private address.
const INTERFACES: [&str; 2] = ["eth0", "en0"];

#[derive(Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Where the gossip listens.
    pub bind: SocketAddr,
    /// Where others reach the gossip.
    pub advertise: SocketAddr,
    pub grpc: SocketAddr,
}

pub fn choose(settings: &Settings) -> Result<Addresses, String> {
    let interfaces = if_addrs::get_if_addrs().map_err(|error| format!("the interfaces cannot be listed: {error}"))?;
    let interfaces: Vec<(String, IpAddr)> = interfaces.into_iter().map(|i| (i.name.clone(), i.ip())).collect();
    of_interfaces(settings, &interfaces)
}

fn of_interfaces(settings: &Settings, interfaces: &[(String, IpAddr)]) -> Result<Addresses, String> {
    let (memberlist, lifecycler) = (&settings.memberlist, &settings.ingester.lifecycler);
    let ipv6 = settings.common.ring.instance_enable_ipv6;
    let bind = match memberlist.bind_addr.first().map(String::as_str).unwrap_or_default() {
        "" if ipv6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        "" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        address => parse("memberlist.bind_addr", address)?,
    };
    let instance = match lifecycler.address.as_str() {
        "" => of_names(&lifecycler.interface_names, interfaces, ipv6)?,
        address => parse("common.instance_addr", address)?,
    };
    let advertise = match memberlist.advertise_addr.as_str() {
        "" if bind.is_unspecified() => instance,
        "" => bind,
        address => parse("memberlist.advertise_addr", address)?,
    };
    let or = |port: u16, other: u16| if port == 0 { other } else { port };
    Ok(Addresses {
        bind: SocketAddr::new(bind, memberlist.bind_port),
        advertise: SocketAddr::new(advertise, or(memberlist.advertise_port, memberlist.bind_port)),
        grpc: SocketAddr::new(instance, or(lifecycler.port, settings.server.grpc_listen_port)),
    })
}

fn parse(setting: &str, address: &str) -> Result<IpAddr, String> {
    address.parse().map_err(|_| format!("{setting}: {address:?} is no IP address"))
}

fn of_names(names: &[String], interfaces: &[(String, IpAddr)], ipv6: bool) -> Result<IpAddr, String> {
    let usable = |address: &IpAddr| !address.is_unspecified() && (address.is_ipv4() || ipv6 && !is_link_local(address));
    let of = |name: &str| interfaces.iter().find(|(own, address)| own == name && usable(address)).map(|(_, ip)| *ip);
    if !names.is_empty() {
        let found = names.iter().find_map(|name| of(name));
        return found.ok_or_else(|| {
            let names = names.join(", ");
            format!("no interface of {names} has an address (settings: common.instance_interface_names, common.ring.instance_interface_names)")
        });
    }
    let private = interfaces.iter().map(|(_, address)| *address).find(|address| usable(address) && is_private(address));
    let loopback = || interfaces.iter().map(|(_, address)| *address).find(|address| address.is_loopback());
    let found = private.or_else(|| INTERFACES.into_iter().find_map(of)).or_else(loopback);
    found.ok_or_else(|| "this machine has no address to be called at (setting: common.instance_addr)".into())
}

fn is_private(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private(),
        IpAddr::V6(address) => address.is_unique_local(),
    }
}

fn is_link_local(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// A process that advertises its loopback is reached by nobody on other machines.
pub fn check_reachable(advertise: SocketAddr, seeds: &[SocketAddr]) -> Result<(), String> {
    match seeds.iter().find(|seed| !seed.ip().is_loopback()) {
        Some(seed) if advertise.ip().is_loopback() => Err(format!(
            "the others, such as {seed}, would look for this process at {advertise}, a loopback address \
             (settings: common.instance_addr, common.instance_interface_names, memberlist.advertise_addr)"
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(interfaces: &[(&str, &str)]) -> Vec<(String, IpAddr)> {
        interfaces.iter().map(|(name, ip)| (name.to_string(), ip.parse().unwrap())).collect()
    }

    /// The addresses as `bind advertise grpc`.
    fn check(set: impl Fn(&mut Settings), expected: Result<&str, &str>) {
        let interfaces = machine(&[
            ("lo", "127.0.0.1"),
            ("eth1", "8.8.4.4"),
            ("eth2", "fd00::2"),
            ("eth2", "10.1.0.2"),
            ("eth0", "10.1.0.1"),
        ]);
        let mut settings = Settings::default();
        set(&mut settings);
        let chosen = of_interfaces(&settings, &interfaces);
        let chosen = chosen.map(|a| format!("{} {} {}", a.bind, a.advertise, a.grpc));
        assert_eq!(chosen.as_deref().map_err(String::as_str), expected);
    }

    #[test]
    fn what_is_set_is_taken_else_what_the_interfaces_have() {
        check(|_| {}, Ok("0.0.0.0:7946 10.1.0.2:7946 10.1.0.2:9095"));
        check(
            |s| s.ingester.lifecycler.interface_names = vec!["wlan0".into(), "eth1".into()],
            Ok("0.0.0.0:7946 8.8.4.4:7946 8.8.4.4:9095"),
        );
        check(|s| s.common.ring.instance_enable_ipv6 = true, Ok("[::]:7946 [fd00::2]:7946 [fd00::2]:9095"));
        check(
            |s| {
                s.ingester.lifecycler.address = "1.2.3.4".into();
                s.ingester.lifecycler.port = 5;
                s.memberlist.advertise_port = 6;
            },
            Ok("0.0.0.0:7946 1.2.3.4:6 1.2.3.4:5"),
        );
        check(|s| s.memberlist.bind_addr = vec!["127.0.0.1".into()], Ok("127.0.0.1:7946 127.0.0.1:7946 10.1.0.2:9095"));
        check(
            |s| s.memberlist.advertise_addr = "host".into(),
            Err("memberlist.advertise_addr: \"host\" is no IP address"),
        );
        check(
            |s| s.ingester.lifecycler.interface_names = vec!["wlan0".into()],
            Err(
                "no interface of wlan0 has an address (settings: common.instance_interface_names, common.ring.instance_interface_names)",
            ),
        );
    }

    #[test]
    fn a_loopback_among_other_machines_is_refused_by_the_name_of_its_setting() {
        let at = |address: &str| address.parse::<SocketAddr>().unwrap();
        assert_eq!(check_reachable(at("127.0.0.1:1"), &[at("127.0.0.1:2")]), Ok(()));
        assert_eq!(check_reachable(at("10.0.0.1:1"), &[at("127.0.0.1:2"), at("10.0.0.2:1")]), Ok(()));
        let fault = check_reachable(at("127.0.0.1:1"), &[at("127.0.0.1:2"), at("10.0.0.2:1")]).unwrap_err();
        assert!(fault.contains("common.instance_addr"), "{fault}");
    }
}
