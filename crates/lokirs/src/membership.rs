//! How this process is part of a cluster: the gossip where `memberlist.join_members` are set, the list of
//! `common.ring.static_members`, or alone. It must not know what members do.

mod address;
mod pages;
mod seeds;

use crate::admin::VERSION;
use crate::config::Settings;
use crate::members;
use crate::node::Parts;
use crate::services::Services;
use crate::targets;
use cluster::census::Census;
use cluster::gossip::network::Udp;
use cluster::gossip::{self, Facts, Gossip, Told};
use cluster::members::{MemberState, Members, StaticMembers};
use rpc::wire::ClusterId;
use runtime::clock::SharedClock;
use runtime::metrics::Metrics;
use runtime::tasks::Tasks;
use seeds::Seeds;
use std::sync::Arc;
use std::time::Duration;

/// The name of a cluster that was given none.
const CLUSTER: &str = "lokirs";
/// How long a process waits at its start for somebody to answer: the first of a cluster waits in vain.
const JOIN_WITHIN: Duration = Duration::from_secs(3);
/// The same where it must not stay alone.
const JOIN_OR_FAIL_WITHIN: Duration = Duration::from_secs(60);
/// The role whose state the ring is about.
const INGESTER: &str = "ingester";

/// Our place among the members.
#[derive(Clone)]
pub struct Cluster {
    pub members: Arc<dyn Members>,
    /// Our id among them.
    pub id: String,
    pub name: ClusterId,
    gossip: Option<Arc<Gossip>>,
    /// For the pages.
    clock: SharedClock,
}

/// Finds the others. What cannot work is an error that names the setting.
pub async fn join(
    settings: &Settings,
    clock: &SharedClock,
    metrics: &Metrics,
    tasks: &Tasks,
) -> Result<Cluster, String> {
    let name = name(settings);
    let id = members::own_id(settings);
    let cluster = |members, gossip| -> Result<Cluster, String> {
        let name = ClusterId::new(name).map_err(|error| error.message)?;
        Ok(Cluster { members, id: id.clone(), name, gossip, clock: clock.clone() })
    };
    if settings.memberlist.join_members.is_empty() {
        let members = members::members(settings);
        Census::new(metrics).count(&members);
        return cluster(Arc::new(StaticMembers::new(members)), None);
    }
    let seeds = Seeds::of(&settings.memberlist)?;
    let own = gossip_settings(settings, name, &id, clock)?;
    address::check_reachable(own.advertise, &seeds.look_up().await)?;
    let gossip = Gossip::start(own, Arc::new(seeds), Arc::new(Udp), metrics, tasks).await;
    let gossip = gossip.map_err(|error| error.message)?;
    let may_be_alone = !settings.memberlist.abort_if_cluster_join_fails;
    let within = if may_be_alone { JOIN_WITHIN } else { JOIN_OR_FAIL_WITHIN };
    match gossip.joined(within, may_be_alone).await {
        Err(error) => return Err(error.message),
        Ok(0) => tracing::warn!(join_members = ?settings.memberlist.join_members, "no other member answers yet"),
        Ok(others) => tracing::info!(others, "joined the cluster"),
    }
    cluster(gossip.clone(), Some(gossip))
}

fn name(settings: &Settings) -> &str {
    Some(settings.memberlist.cluster_label.as_str()).filter(|label| !label.is_empty()).unwrap_or(CLUSTER)
}

fn heartbeat_timeout(settings: &Settings) -> Duration {
    settings.ingester.lifecycler.ring.heartbeat_timeout.unwrap_or(settings.common.ring.heartbeat_timeout)
}

fn gossip_settings(settings: &Settings, name: &str, id: &str, clock: &SharedClock) -> Result<gossip::Settings, String> {
    let memberlist = &settings.memberlist;
    let heartbeat_timeout = heartbeat_timeout(settings);
    let addresses = address::choose(settings)?;
    let plays = targets::roles(&settings.target);
    let state = if plays.iter().any(|role| role.name() == INGESTER) { Told::Joining } else { Told::Active };
    Ok(gossip::Settings {
        cluster: name.into(),
        id: id.into(),
        generation: clock.now_ns() as u64,
        bind: addresses.bind,
        advertise: addresses.advertise,
        facts: Facts {
            grpc_address: addresses.grpc.to_string(),
            zone: settings.ingester.lifecycler.availability_zone.clone(),
            roles: plays.iter().map(|role| role.name().to_string()).collect(),
            state,
            version: VERSION.into(),
        },
        interval: memberlist.gossip_interval,
        heartbeat_timeout,
        forget_after: memberlist.left_ingesters_timeout.max(10 * heartbeat_timeout),
        rejoin_interval: memberlist.rejoin_interval,
    })
}

impl Cluster {
    /// The pages, and leaving the cluster after everything that is added to `parts` later has stopped.
    pub fn add_to(&self, parts: &mut Parts) {
        parts.http = std::mem::take(&mut parts.http).merge(pages::router(self.clone()));
        if let Some(gossip) = self.gossip.clone() {
            parts.on_stop("gossip", async move { gossip.leave().await });
        }
    }

    /// Tells the others what the ingester of this process does, until everything stops.
    pub fn follow(&self, services: Services, tasks: &Tasks) {
        let Some(gossip) = self.gossip.clone() else { return };
        let stopping = tasks.stopping();
        tasks.spawn("cluster state", async move {
            loop {
                let changed = services.changed();
                gossip.set_state(state(&services));
                tokio::select! {
                    () = changed => {}
                    () = stopping.cancelled() => return,
                }
            }
        });
    }

    /// Waits until the others know that this process is about to leave, so that they send it nothing more.
    pub async fn told(&self) {
        if let Some(gossip) = &self.gossip {
            gossip.told().await;
        }
    }
}

fn state(services: &Services) -> MemberState {
    if services.is_stopping() {
        MemberState::Leaving
    } else if services.is_starting(INGESTER) {
        MemberState::Joining
    } else {
        MemberState::Active
    }
}
