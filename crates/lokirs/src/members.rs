//! Who is in the cluster, as the settings tell it: `common.ring.static_members`, or this process alone.

use crate::config::Settings;
use crate::targets;
use cluster::members::{Member, MemberState};

/// The id of this process among the members: the static member with our name or our address, else our name.
pub fn own_id(settings: &Settings) -> String {
    let (name, address) = (own_name(settings), own_address(settings));
    let members = &settings.common.ring.static_members;
    let named = members.iter().find(|member| member.id == name);
    let own = named.or_else(|| members.iter().find(|member| member.address == address));
    own.map_or(name, |member| member.id.clone())
}

/// All members. A static list is the whole truth: a process that it does not name is called by nobody.
pub fn members(settings: &Settings) -> Vec<Member> {
    let member = |id: &str, address: &str, zone: &str, targets: &[String]| Member {
        id: id.into(),
        grpc_address: address.into(),
        zone: zone.into(),
        state: MemberState::Active,
        roles: targets::roles(targets).iter().map(|role| role.name().to_string()).collect(),
    };
    let listed = &settings.common.ring.static_members;
    if listed.is_empty() {
        let zone = &settings.ingester.lifecycler.availability_zone;
        return vec![member(&own_name(settings), &own_address(settings), zone, &settings.target)];
    }
    listed.iter().map(|listed| member(&listed.id, &listed.address, &listed.zone, &listed.roles)).collect()
}

fn own_name(settings: &Settings) -> String {
    let configured = [&settings.ingester.lifecycler.id, &settings.memberlist.node_name];
    if let Some(name) = configured.into_iter().find(|name| !name.is_empty()) {
        return name.clone();
    }
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match hostname.trim() {
        "" => "lokirs".into(),
        name => name.into(),
    }
}

fn own_address(settings: &Settings) -> String {
    let lifecycler = &settings.ingester.lifecycler;
    let host = if lifecycler.address.is_empty() { "127.0.0.1" } else { &lifecycler.address };
    let port = if lifecycler.port == 0 { settings.server.grpc_listen_port } else { lifecycler.port };
    format!("{host}:{port}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::server::StaticMember;

    fn listed(id: &str, address: &str) -> StaticMember {
        StaticMember { id: id.into(), address: address.into(), roles: vec!["write".into()], ..StaticMember::default() }
    }

    #[test]
    fn this_process_is_found_by_name_or_by_address() {
        let mut settings = Settings::default();
        settings.memberlist.node_name = "me".into();
        assert_eq!((own_id(&settings).as_str(), members(&settings).len()), ("me", 1));
        settings.common.ring.static_members = vec![listed("a", "127.0.0.1:9095"), listed("b", "127.0.0.1:9096")];
        assert_eq!(own_id(&settings), "a");
        settings.server.grpc_listen_port = 9096;
        assert_eq!(own_id(&settings), "b");
        settings.memberlist.node_name = "a".into();
        assert_eq!(own_id(&settings), "a");
        let roles: Vec<String> = members(&settings)[1].roles.clone();
        assert_eq!((members(&settings).len(), roles), (2, vec!["ingester".to_string(), "distributor".into()]));
    }
}
