//! From what is heard to who is there. An incarnation is one start of one process; of those with the same id one is the
//! member. Times are the listener's own and monotonic: no clock of another machine decides. It must not know how things
//! are heard.

use super::facts::{Facts, Told};
use crate::members::Member;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::Instant;

/// Members that died and were forgotten are remembered by name for as long as a querier would have asked them.
const FORGOTTEN_KEPT: Duration = Duration::from_secs(3 * 3600);
const FORGOTTEN_MAX: usize = 100;

/// One start of a process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation {
    pub id: String,
    /// Later starts have greater ones, as far as the clocks are right.
    pub generation: u64,
    /// Of its gossip.
    pub address: SocketAddr,
}

/// What is known of an incarnation at this moment.
#[derive(Clone, Debug)]
pub struct Heard {
    pub incarnation: Incarnation,
    /// Grows while the process lives.
    pub heartbeat: u64,
    pub facts: Option<Facts>,
    /// Which incarnations it asks to forget: generation and id.
    pub forgets: Vec<(u64, String)>,
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Without a heartbeat for this long a member is unhealthy.
    pub heartbeat_timeout: Duration,
    /// Without one for this long it is none any more.
    pub forget_after: Duration,
    /// What heartbeats need at most to come round a cluster that is well.
    pub spread: Duration,
}

/// The cluster as one look found it.
#[derive(Debug, Default)]
pub struct Look {
    /// Sorted by id.
    pub members: Vec<Member>,
    /// What else is known of each, in the same order.
    pub peers: Vec<Peer>,
    /// Other members that are alive.
    pub contacts: usize,
    /// Incarnations of which it is not known yet whether they live.
    pub unproven: usize,
    /// Former incarnations of our own id that may still be alive.
    pub undecided: usize,
    /// Other processes that live under our own id.
    pub rivals: Vec<Incarnation>,
    /// Who was forgotten with this look.
    pub forgotten: Vec<String>,
}

/// A member as its gossip shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub incarnation: Incarnation,
    /// Of its program.
    pub version: String,
    /// How long nothing was heard of it.
    pub silent: Duration,
}

pub struct View {
    own: Incarnation,
    timing: Timing,
    seen: HashMap<Incarnation, Seen>,
    last_look: Option<Instant>,
    forgotten: BTreeMap<String, (Instant, Member)>,
}

struct Seen {
    heartbeat: u64,
    first: Instant,
    advanced: Option<Instant>,
    /// It advanced when rumours of a dead process would have ended.
    lives_on: bool,
}

/// From the least to the most credible.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Forgotten,
    Unproven,
    Dead,
    Quiet,
    Fresh,
}

impl View {
    pub fn new(own: Incarnation, timing: Timing) -> Self {
        View { own, timing, seen: HashMap::new(), last_look: None, forgotten: BTreeMap::new() }
    }

    pub fn look(&mut self, now: Instant, heard: &[Heard]) -> Look {
        self.forgive_pause(now);
        self.note(now, heard);
        let standings = self.standings(now, heard);
        let mut chosen: BTreeMap<&str, (Standing, &Heard)> = BTreeMap::new();
        let mut look = Look::default();
        for (heard, standing) in heard.iter().zip(standings) {
            let own_id = heard.incarnation.id == self.own.id;
            if own_id && heard.incarnation != self.own {
                self.note_rival(now, heard, &mut look);
                continue;
            }
            look.unproven += usize::from(standing == Standing::Unproven);
            if left(heard) {
                continue;
            }
            let better = |(other, rival): &(Standing, &Heard)| {
                (standing, heard.incarnation.generation) > (*other, rival.incarnation.generation)
            };
            if heard.facts.is_some() && chosen.get(heard.incarnation.id.as_str()).is_none_or(better) {
                chosen.insert(&heard.incarnation.id, (standing, heard));
            }
        }
        self.gather(now, chosen, &mut look);
        look
    }

    /// Members that died and were forgotten, and did not come back: what they had not stored is not found.
    pub fn forgotten(&self) -> impl Iterator<Item = &Member> {
        self.forgotten.values().map(|(_, member)| member)
    }

    /// A process that did not run for a while has heard nobody: that is not their fault.
    fn forgive_pause(&mut self, now: Instant) {
        let last = self.last_look.replace(now).unwrap_or(now);
        let pause = now.duration_since(last);
        if pause < self.timing.heartbeat_timeout / 4 {
            return;
        }
        for seen in self.seen.values_mut() {
            seen.first += pause;
            seen.advanced = seen.advanced.map(|at| at + pause);
        }
    }

    fn note(&mut self, now: Instant, heard: &[Heard]) {
        let settled = self.timing.spread;
        for h in heard {
            let heartbeat = h.heartbeat;
            let fresh = || Seen { heartbeat, first: now, advanced: None, lives_on: false };
            let seen = self.seen.entry(h.incarnation.clone()).or_insert_with(fresh);
            if heartbeat > seen.heartbeat {
                seen.heartbeat = heartbeat;
                seen.advanced = Some(now);
                seen.lives_on |= now.duration_since(seen.first) >= settled;
            }
        }
        let known: HashSet<&Incarnation> = heard.iter().map(|h| &h.incarnation).collect();
        self.seen.retain(|incarnation, _| known.contains(incarnation));
    }

    /// One for each of `heard`.
    fn standings(&self, now: Instant, heard: &[Heard]) -> Vec<Standing> {
        let mut standings: Vec<Standing> = heard.iter().map(|h| self.standing(now, h)).collect();
        let alive = |standing: &Standing| *standing == Standing::Fresh;
        let mut addresses: HashMap<String, &str> = HashMap::new();
        let mut forgets: HashSet<(u64, &str)> = HashSet::new();
        for (h, _) in heard.iter().zip(&standings).filter(|(_, standing)| alive(standing)) {
            let id = h.incarnation.id.as_str();
            addresses.extend(own_addresses(h).into_iter().map(|address| (address, id)));
            forgets.extend(h.forgets.iter().map(|(generation, id)| (*generation, id.as_str())));
        }
        for (h, standing) in heard.iter().zip(&mut standings).filter(|(_, standing)| !alive(standing)) {
            let Incarnation { id, generation, .. } = &h.incarnation;
            // Whose address belongs to somebody else by now is dead, however short its silence is.
            if own_addresses(h).iter().any(|address| addresses.get(address).is_some_and(|other| other != id)) {
                *standing = Standing::Dead.min(*standing);
            }
            if forgets.contains(&(*generation, id.as_str())) {
                *standing = Standing::Forgotten;
            }
        }
        standings
    }

    fn standing(&self, now: Instant, heard: &Heard) -> Standing {
        let Timing { heartbeat_timeout, forget_after, spread } = self.timing;
        let Some(seen) = self.seen.get(&heard.incarnation).filter(|_| heard.incarnation != self.own) else {
            return Standing::Fresh;
        };
        let silent = now.duration_since(seen.advanced.unwrap_or(seen.first));
        match seen.advanced {
            _ if silent >= forget_after => Standing::Forgotten,
            None if silent < spread => Standing::Unproven,
            None => Standing::Dead,
            Some(_) if silent >= heartbeat_timeout => Standing::Dead,
            Some(_) if silent >= spread => Standing::Quiet,
            Some(_) => Standing::Fresh,
        }
    }

    fn silence(&self, now: Instant, incarnation: &Incarnation) -> Duration {
        let seen = self.seen.get(incarnation).filter(|_| *incarnation != self.own);
        seen.map_or(Duration::ZERO, |seen| now.duration_since(seen.advanced.unwrap_or(seen.first)))
    }

    /// Another incarnation of our own id: what is left of an earlier start, or somebody who took our name.
    fn note_rival(&self, now: Instant, heard: &Heard, look: &mut Look) {
        let Some(seen) = self.seen.get(&heard.incarnation).filter(|_| !left(heard)) else { return };
        let silent = seen.advanced.map(|at| now.duration_since(at));
        if seen.lives_on && silent.is_some_and(|silent| silent < self.timing.spread) {
            look.rivals.push(heard.incarnation.clone());
        } else if heard.incarnation.generation < self.own.generation
            && now.duration_since(seen.first) < 2 * self.timing.spread
        {
            look.undecided += 1;
        }
    }

    fn gather(&mut self, now: Instant, chosen: BTreeMap<&str, (Standing, &Heard)>, look: &mut Look) {
        for (id, (standing, heard)) in chosen {
            let Some(facts) = &heard.facts else { continue };
            let member = facts.member(id, standing >= Standing::Quiet);
            match standing {
                Standing::Unproven => continue,
                Standing::Forgotten => {
                    if !self.forgotten.contains_key(id) && self.forgotten.len() < FORGOTTEN_MAX {
                        look.forgotten.push(id.into());
                        self.forgotten.insert(id.into(), (now, member));
                    }
                    continue;
                }
                Standing::Dead => {}
                Standing::Quiet | Standing::Fresh => look.contacts += usize::from(heard.incarnation != self.own),
            }
            self.forgotten.remove(id);
            look.members.push(member);
            let silent = self.silence(now, &heard.incarnation);
            let (incarnation, version) = (heard.incarnation.clone(), facts.version.clone());
            look.peers.push(Peer { incarnation, version, silent });
        }
        self.forgotten.retain(|_, (at, _)| now.duration_since(*at) < FORGOTTEN_KEPT);
    }
}

fn left(heard: &Heard) -> bool {
    heard.facts.as_ref().is_some_and(|facts| facts.state == Told::Left)
}

fn own_addresses(heard: &Heard) -> Vec<String> {
    let gossip = format!("gossip {}", heard.incarnation.address);
    let grpc = heard.facts.as_ref().map(|facts| format!("grpc {}", facts.grpc_address));
    std::iter::once(gossip).chain(grpc).collect()
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
