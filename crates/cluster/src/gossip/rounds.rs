//! The rounds: chitchat sends and receives, and after each round the cluster is looked at. Here alone chitchat's own types
//! are known. A chitchat that ends, which it should not, is started again as a new incarnation.

use super::facts::{Facts, forgets, state_key};
use super::screen::Screen;
use super::transport::Enveloped;
use super::view::{Heard, Incarnation, Look, View};
use super::{Core, Own, Seeds};
use chitchat::{ChitchatConfig, ChitchatHandle, ChitchatId, FailureDetectorConfig, NodeState, spawn_chitchat};
use futures::FutureExt;
use futures::future::BoxFuture;
use model::{Error, Result};
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// While nobody is there, seeds are asked as often as this at first, then ever more seldom.
const SEEK_AGAIN_MIN: Duration = Duration::from_millis(500);
const SEEK_AGAIN_MAX: Duration = Duration::from_secs(15);
/// Seeds asked at one time: a name may have any number of addresses.
const SEEDS_MAX: usize = 16;
/// Something that lasts is logged once in this time.
const LOG_EVERY: Duration = Duration::from_secs(30);

pub struct Rounds {
    core: Arc<Core>,
    chitchat: ChitchatHandle,
    ended: BoxFuture<'static, anyhow::Result<()>>,
    view: View,
    /// Until then a cluster without others is not believed: chitchat was started anew.
    patient_until: Option<Instant>,
    last_logged: Option<Instant>,
    /// Seeds to be asked.
    seeds: mpsc::Receiver<SocketAddr>,
}

impl Rounds {
    pub async fn start(core: Arc<Core>, seeds: mpsc::Receiver<SocketAddr>) -> Result<Self> {
        let (chitchat, view) = open(&core, core.settings.generation).await?;
        let ended = chitchat.termination_watcher().boxed();
        Ok(Rounds { core, chitchat, ended, view, patient_until: None, last_logged: None, seeds })
    }

    /// Until it is told to stop, whatever happens.
    pub async fn run(mut self, stopping: CancellationToken) {
        while AssertUnwindSafe(self.rounds(&stopping)).catch_unwind().await.is_err() {
            self.start_again(Err(anyhow::anyhow!("a round has panicked"))).await;
        }
        if let Err(error) = self.chitchat.shutdown().await {
            tracing::warn!(%error, "the gossip ended with an error");
        }
    }

    async fn rounds(&mut self, stopping: &CancellationToken) {
        let mut own = self.core.own.subscribe();
        let mut ticks = tokio::time::interval(self.core.settings.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.look().await,
                Ok(()) = own.changed() => {
                    let told = own.borrow_and_update().clone();
                    self.tell(told).await;
                }
                Some(seed) = self.seeds.recv() => drop(self.chitchat.gossip(seed)),
                ended = &mut self.ended => self.start_again(ended).await,
                () = stopping.cancelled() => return,
            }
        }
    }

    async fn look(&mut self) {
        let held = &self.core.held;
        let listen = |c: &mut chitchat::Chitchat| {
            held.set(c.node_states().values());
            c.node_states().values().map(heard).collect::<Vec<_>>()
        };
        let heard = self.chitchat.with_chitchat(listen).await;
        let now = Instant::now();
        let look = self.view.look(now, &heard);
        self.complain(now, &look);
        if look.contacts == 0 && self.patient_until.is_some_and(|until| now < until) {
            return;
        }
        self.patient_until = None;
        self.core.publish(look, &self.view);
    }

    fn complain(&mut self, now: Instant, look: &Look) {
        let core = &self.core;
        for id in &look.forgotten {
            core.metrics.forgotten.inc();
            tracing::warn!(
                member = id,
                "a member that died long ago is forgotten; what it had not stored is not found"
            );
        }
        if self.last_logged.is_some_and(|last| now.duration_since(last) < LOG_EVERY) {
            return;
        }
        for rival in &look.rivals {
            self.last_logged = Some(now);
            tracing::error!(error = %core.settings.taken(rival), "two processes have one id");
        }
    }

    async fn tell(&mut self, own: Own) {
        let (key, value) = state_key(own.state);
        let tell = |c: &mut chitchat::Chitchat| {
            let state = c.self_node_state();
            state.set(key, value);
            own.forget.iter().for_each(|forget| state.set_with_ttl(forget, ""));
        };
        self.chitchat.with_chitchat(tell).await;
        // Who asks us next must not wait for a round to see it.
        let addresses: Vec<SocketAddr> = self.chitchat.with_chitchat(|c| peers(c)).await;
        addresses.into_iter().for_each(|address| drop(self.chitchat.gossip(address)));
    }

    async fn start_again(&mut self, ended: anyhow::Result<()>) {
        self.core.metrics.restarts.inc();
        tracing::error!(error = ?ended.err(), "the gossip has ended and is started again");
        // It may still run, if it was not that which ended.
        self.chitchat.abort();
        tokio::time::sleep(self.core.settings.interval).await;
        // Others have seen more of the former incarnation than a new one could tell under its name.
        let generation = self.core.settings.generation + u64::from(self.core.metrics.restarts.get() as u32);
        match open(&self.core, generation).await {
            Ok((chitchat, view)) => {
                self.ended = chitchat.termination_watcher().boxed();
                (self.chitchat, self.view) = (chitchat, view);
                self.patient_until = Some(Instant::now() + 2 * self.core.settings.heartbeat_timeout);
            }
            Err(error) => {
                tracing::error!(%error, "the gossip cannot be started again");
                self.ended = std::future::ready(Ok(())).boxed();
            }
        }
    }
}

/// Some who live, to be told at once.
fn peers(chitchat: &chitchat::Chitchat) -> Vec<SocketAddr> {
    let own = chitchat.self_chitchat_id();
    let others = chitchat.live_nodes().filter(|id| *id != own);
    others.map(|id| id.gossip_advertise_addr).take(3).collect()
}

async fn open(core: &Core, generation: u64) -> Result<(ChitchatHandle, View)> {
    let settings = &core.settings;
    let timing = settings.timing();
    let own = Incarnation { id: settings.id.clone(), generation, address: settings.advertise };
    let interval = settings.interval.as_secs_f64();
    let id = ChitchatId::new(settings.id.clone(), generation, settings.advertise);
    let transport = Enveloped {
        network: core.network.clone(),
        screen: Screen { cluster: settings.cluster.clone(), own: id.clone(), held: core.held.clone() },
        metrics: core.transport.clone(),
    };
    let config = ChitchatConfig {
        chitchat_id: id,
        cluster_id: settings.cluster.clone(),
        gossip_interval: settings.interval,
        listen_addr: settings.bind,
        // Ours are looked up and asked by `seek`.
        seed_nodes: vec![],
        failure_detector_config: FailureDetectorConfig {
            phi_threshold: timing.heartbeat_timeout.as_secs_f64() / interval,
            sampling_window_size: 100,
            max_interval: timing.heartbeat_timeout,
            initial_interval: settings.interval,
            // At half of it chitchat tells nobody of the dead any more, which must be before we forget them; at the
            // end it forgets them, which must be later, so that `View` decides.
            dead_node_grace_period: 2 * (timing.forget_after - 2 * timing.heartbeat_timeout),
        },
        marked_for_deletion_grace_period: timing.forget_after,
        catchup_callback: None,
        extra_liveness_predicate: None,
    };
    let mut facts = settings.facts.clone();
    facts.state = core.own.borrow().state;
    let opened = spawn_chitchat(config, facts.write(), &transport).await;
    let chitchat = opened.map_err(|error| {
        let bind = settings.bind;
        Error::unavailable(format!(
            "gossip cannot listen on {bind}/udp (settings: memberlist.bind_addr, memberlist.bind_port): {error:#}"
        ))
    })?;
    Ok((chitchat, View::new(own, timing)))
}

fn heard(state: &NodeState) -> Heard {
    let id = state.chitchat_id();
    let asks = state.key_values().filter_map(|(key, _)| forgets(key));
    Heard {
        incarnation: Incarnation {
            id: id.node_id.to_string(),
            generation: id.generation_id,
            address: id.gossip_advertise_addr,
        },
        heartbeat: state.heartbeat().into(),
        facts: Facts::read(|key| state.get(key)),
        forgets: asks.map(|(generation, id)| (generation, id.to_string())).collect(),
    }
}

impl Core {
    /// Everybody who asks sees this look from here on; members that are the same stay the same `Arc`.
    fn publish(&self, look: Look, view: &View) {
        let changed = look.members[..] != self.members.read()[..];
        if changed {
            self.log_changes(&look);
            *self.members.write() = look.members.clone().into();
        }
        if changed || !look.forgotten.is_empty() {
            *self.forgotten.write() = view.forgotten().cloned().collect();
        }
        self.census.count(&look.members);
        self.metrics.members.set(look.members.len() as i64);
        self.metrics.duplicates.set(look.rivals.len() as i64);
        self.look.send_replace(Arc::new(look));
    }

    fn log_changes(&self, look: &Look) {
        let before = self.members.read().clone();
        let state = |members: &[crate::members::Member], id: &str| {
            members.iter().find(|member| member.id == id).map_or("none", |member| member.state.name())
        };
        let mut ids: Vec<&str> = before.iter().chain(&look.members).map(|member| member.id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            let (was, is) = (state(&before, id), state(&look.members, id));
            if was != is {
                tracing::info!(member = id, was, is, "the cluster has changed");
            }
        }
    }
}

/// Looks up the seeds and asks them, now and then for ever: a cluster whose seeds have changed, or which has fallen apart,
/// finds together again.
pub async fn seek(core: Arc<Core>, seeds: Arc<dyn Seeds>, ask: mpsc::Sender<SocketAddr>, stopping: CancellationToken) {
    let mut wait = SEEK_AGAIN_MIN;
    loop {
        let addresses = seeds.addresses().await;
        let others = addresses.into_iter().filter(|address| *address != core.settings.advertise);
        for address in others.take(SEEDS_MAX) {
            if ask.send(address).await.is_err() {
                return;
            }
        }
        let alone = core.look.borrow().contacts == 0;
        wait = if alone { (2 * wait).min(SEEK_AGAIN_MAX) } else { SEEK_AGAIN_MIN };
        let pause = if alone { wait } else { core.settings.rejoin_interval };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stopping.cancelled() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gossip::{Settings, Told};
    use crate::testing::MemoryNetwork;
    use runtime::metrics::Metrics;
    use tokio::task::JoinSet;

    fn settings() -> Settings {
        let (address, second) = (([10, 0, 0, 1], 7946).into(), Duration::from_secs(1));
        let (grpc_address, zone, version) = ("h:1".into(), String::new(), String::new());
        Settings {
            cluster: "one".into(),
            id: "a".into(),
            generation: 1,
            bind: address,
            advertise: address,
            facts: Facts { grpc_address, zone, roles: vec![], state: Told::Joining, version },
            interval: second,
            heartbeat_timeout: 10 * second,
            forget_after: 60 * second,
            rejoin_interval: 30 * second,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn rounds_that_panic_go_on_as_a_new_incarnation() {
        let core = Core::new(settings(), Arc::new(MemoryNetwork::default()), &Metrics::default());
        let core = Arc::new(core);
        let (_seeds, asked) = mpsc::channel(1);
        let rounds = Rounds::start(core.clone(), asked).await.unwrap();
        // The next version would be one more.
        rounds.chitchat.with_chitchat(|c| c.self_node_state().set_max_version(u64::MAX)).await;
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        tasks.spawn(rounds.run(stop.clone()));
        tokio::time::sleep(Duration::from_secs(2)).await;
        core.own.send_modify(|own| own.state = Told::Active);
        tokio::time::sleep(Duration::from_secs(25)).await;
        assert_eq!(core.metrics.restarts.get(), 1);
        let look = core.look.borrow().clone();
        assert_eq!(look.members[0].state, crate::members::MemberState::Active);
        assert_eq!(look.peers[0].incarnation.generation, 2);
        stop.cancel();
        tasks.join_next().await.unwrap().unwrap();
    }
}
