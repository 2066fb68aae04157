//! Who is in the cluster, as the settings tell it: `common.ring.static_members`, or this process alone.

use crate::config::Settings;
use crate::targets;
use cluster::members::{Member, MemberState};

/// The id of this process among the members.
pub fn own_id(settings: &Settings) -> String {
    let id = &settings.ingester.lifecycler.id;
    if !id.is_empty() {
        return id.clone();
    }
    if !settings.memberlist.node_name.is_empty() {
        return settings.memberlist.node_name.clone();
    }
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match hostname.trim() {
        "" => "lokirs".into(),
        name => name.into(),
    }
}

pub fn members(settings: &Settings) -> Vec<Member> {
    let roles = |targets: &[String]| targets::roles(targets).iter().map(|role| role.name().to_string()).collect();
    let others = settings.common.ring.static_members.iter().map(|member| Member {
        id: member.id.clone(),
        grpc_address: member.grpc_address.clone(),
        zone: member.zone.clone(),
        state: MemberState::Active,
        roles: roles(&member.targets),
    });
    let mut members: Vec<Member> = others.collect();
    let id = own_id(settings);
    if !members.iter().any(|member| member.id == id) {
        members.push(Member {
            id,
            grpc_address: own_address(settings),
            zone: settings.ingester.lifecycler.availability_zone.clone(),
            state: MemberState::Active,
            roles: roles(&settings.target),
        });
    }
    members
}

fn own_address(settings: &Settings) -> String {
    let lifecycler = &settings.ingester.lifecycler;
    let host = if lifecycler.address.is_empty() { "127.0.0.1" } else { &lifecycler.address };
    let port = if lifecycler.port == 0 { settings.server.grpc_listen_port } else { lifecycler.port };
    format!("{host}:{port}")
}
