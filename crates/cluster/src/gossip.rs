//! Members that find each other by gossip: chitchat over UDP, each datagram marked with the cluster's name. Nothing durable
//! is gossiped, and nobody has to be told of a death: who is silent is unhealthy, later forgotten.

pub mod envelope;
mod facts;
mod metrics;
pub mod network;
mod rounds;
pub mod screen;
mod transport;
mod view;

pub use facts::{Facts, Told};
pub use view::{Incarnation, Peer};

use crate::census::Census;
use crate::members::{Member, MemberState, Members};
use async_trait::async_trait;
use metrics::{ClusterMetrics, TransportMetrics};
use model::{Error, Result};
use network::Network;
use parking_lot::RwLock;
use runtime::metrics::Metrics;
use runtime::tasks::Tasks;
use screen::Held;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};
use view::{Look, Timing};

/// In so many rounds everything has come round a cluster of some hundred members.
const ROUNDS_TO_SPREAD: u32 = 8;
/// However short a round is: processes may be slow for a moment.
const SPREAD_MIN: Duration = Duration::from_secs(1);
/// Rounds until most have heard what was said.
const ROUNDS_TO_TELL: u32 = 4;
/// How long the last messages may take to be sent.
const STOP_WITHIN: Duration = Duration::from_secs(1);
/// Incarnations that operators have asked to forget, as one process remembers them.
const FORGET_MAX: usize = 100;

/// Who we are and how we gossip.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The cluster's name, at most [`envelope::CLUSTER_BYTES_MAX`] bytes.
    pub cluster: String,
    /// Our id, stable over restarts.
    pub id: String,
    /// Greater at each start: the time of it, in nanoseconds.
    pub generation: u64,
    pub bind: SocketAddr,
    /// Where the others reach our gossip.
    pub advertise: SocketAddr,
    /// What we tell of ourselves to begin with.
    pub facts: Facts,
    /// Of rounds.
    pub interval: Duration,
    pub heartbeat_timeout: Duration,
    pub forget_after: Duration,
    /// How often the seeds are looked up and asked again.
    pub rejoin_interval: Duration,
}

/// Where other members may be found.
#[async_trait]
pub trait Seeds: Send + Sync + 'static {
    /// Those that can be found at this moment.
    async fn addresses(&self) -> Vec<SocketAddr>;
}

#[async_trait]
impl Seeds for Vec<SocketAddr> {
    async fn addresses(&self) -> Vec<SocketAddr> {
        self.clone()
    }
}

/// What we tell the others.
#[derive(Clone)]
struct Own {
    state: Told,
    /// Keys that ask to forget the dead.
    forget: Vec<String>,
}

/// Our place in the cluster.
pub struct Gossip {
    core: Arc<Core>,
    tasks: Tasks,
}

/// What the rounds and those who ask share.
struct Core {
    settings: Settings,
    network: Arc<dyn Network>,
    transport: TransportMetrics,
    held: Held,
    own: watch::Sender<Own>,
    look: watch::Sender<Arc<Look>>,
    members: RwLock<Arc<[Member]>>,
    forgotten: RwLock<Vec<Member>>,
    metrics: ClusterMetrics,
    census: Census,
}

impl Gossip {
    /// Opens the socket and gossips from here on. An error when the address cannot be opened.
    pub async fn start(
        settings: Settings,
        seeds: Arc<dyn Seeds>,
        network: Arc<dyn Network>,
        metrics: &Metrics,
        tasks: &Tasks,
    ) -> Result<Arc<Gossip>> {
        if settings.id.len() > screen::ID_BYTES_MAX {
            let max = screen::ID_BYTES_MAX;
            return Err(Error::invalid(format!("an id may have {max} bytes (setting: memberlist.node_name)")));
        }
        let core = Arc::new(Core::new(settings, network, metrics));
        let (ask, asked) = mpsc::channel(1);
        let rounds = rounds::Rounds::start(core.clone(), asked).await?;
        let tasks = tasks.child();
        tasks.spawn("gossip", rounds.run(tasks.stopping()));
        tasks.spawn("gossip seeds", rounds::seek(core.clone(), seeds, ask, tasks.stopping()));
        Ok(Arc::new(Gossip { core, tasks }))
    }

    /// Waits until the others are known, at most `within`; answers how many are. An error when another process lives
    /// under our id, or when nobody is there and `alone` is not allowed.
    pub async fn joined(&self, within: Duration, alone: bool) -> Result<usize> {
        let mut looks = self.core.look.subscribe();
        let deadline = Instant::now() + within.max(3 * self.core.settings.spread());
        loop {
            let look = looks.borrow_and_update().clone();
            if let Some(rival) = look.rivals.iter().find(|rival| rival.generation < self.core.settings.generation) {
                return Err(self.core.settings.taken(rival));
            }
            if look.contacts > 0 && look.unproven == 0 && look.undecided == 0 {
                return Ok(look.contacts);
            }
            if timeout_at(deadline, looks.changed()).await.is_err() {
                return match look.contacts {
                    0 if !alone => Err(Error::unavailable(format!(
                        "no other member answered within {within:?} (setting: memberlist.join_members)"
                    ))),
                    contacts => Ok(contacts),
                };
            }
        }
    }

    /// Tells the others what we do from now on.
    pub fn set_state(&self, state: MemberState) {
        let told = match state {
            MemberState::Joining => Told::Joining,
            MemberState::Active => Told::Active,
            MemberState::Leaving | MemberState::Unhealthy => Told::Leaving,
        };
        self.core.own.send_modify(|own| own.state = told);
    }

    /// Waits a little until what was said last has spread.
    pub async fn told(&self) {
        if self.core.look.borrow().contacts > 0 {
            tokio::time::sleep(ROUNDS_TO_TELL * self.core.settings.interval).await;
        }
    }

    /// Leaves the cluster for good.
    pub async fn leave(&self) {
        self.core.own.send_modify(|own| own.state = Told::Left);
        self.told().await;
        self.tasks.stop(STOP_WITHIN).await;
    }

    /// Asks everybody to forget a member that is dead. An error when it is not.
    pub fn forget(&self, id: &str) -> Result<()> {
        let look = self.core.look.borrow().clone();
        let found = look.members.iter().zip(&look.peers).find(|(member, _)| member.id == id);
        let Some((member, peer)) = found else {
            return Err(Error::new(model::Kind::NotFound, format!("{id} is no member")));
        };
        if member.state != MemberState::Unhealthy {
            let state = member.state.name();
            return Err(Error::invalid(format!("{id} is {state}: only an unhealthy member can be forgotten")));
        }
        let key = facts::forget_key(id, peer.incarnation.generation);
        self.core.own.send_modify(|own| {
            own.forget.push(key);
            let excess = own.forget.len().saturating_sub(FORGET_MAX);
            own.forget.drain(..excess);
        });
        Ok(())
    }

    /// The members as the gossip shows them, with ourselves.
    pub fn peers(&self) -> Vec<(Member, Peer)> {
        let look = self.core.look.borrow().clone();
        look.members.iter().cloned().zip(look.peers.iter().cloned()).collect()
    }

    pub fn settings(&self) -> &Settings {
        &self.core.settings
    }
}

impl Core {
    fn new(settings: Settings, network: Arc<dyn Network>, metrics: &Metrics) -> Self {
        let own = settings.facts.member(&settings.id, true);
        Core {
            network,
            transport: TransportMetrics::new(metrics),
            held: Held::default(),
            own: watch::Sender::new(Own { state: settings.facts.state, forget: vec![] }),
            look: watch::Sender::default(),
            members: RwLock::new(vec![own].into()),
            forgotten: RwLock::default(),
            metrics: ClusterMetrics::new(metrics),
            census: Census::new(metrics),
            settings,
        }
    }
}

impl Members for Gossip {
    fn all(&self) -> Arc<[Member]> {
        self.core.members.read().clone()
    }

    fn forgotten(&self) -> Vec<Member> {
        self.core.forgotten.read().clone()
    }
}

impl Settings {
    fn spread(&self) -> Duration {
        (ROUNDS_TO_SPREAD * self.interval).max(SPREAD_MIN)
    }

    fn timing(&self) -> Timing {
        let spread = self.spread();
        let heartbeat_timeout = self.heartbeat_timeout.max(2 * spread);
        Timing { heartbeat_timeout, forget_after: self.forget_after.max(5 * heartbeat_timeout), spread }
    }

    fn taken(&self, rival: &Incarnation) -> Error {
        let (id, address) = (&self.id, rival.address);
        Error::invalid(format!(
            "another living process, at {address}, has the id {id} (settings: memberlist.node_name, ingester.lifecycler.id)"
        ))
    }
}
