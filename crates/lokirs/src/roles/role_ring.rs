//! The ring of the members that play a role, made anew when the cluster has changed.

use cluster::members::{Member, Members};
use cluster::ring::Ring;
use parking_lot::Mutex;
use std::sync::Arc;

pub struct RoleRing {
    members: Arc<dyn Members>,
    role: &'static str,
    last: Mutex<Option<Seen>>,
}

/// The cluster as it was, and the ring made of it.
struct Seen {
    all: Arc<[Member]>,
    ring: Arc<Ring>,
}

impl RoleRing {
    pub fn new(members: Arc<dyn Members>, role: &'static str) -> Self {
        RoleRing { members, role, last: Mutex::default() }
    }

    /// The ring, whatever the members' states, and whether it is new since the last call.
    pub fn current(&self) -> (Arc<Ring>, bool) {
        let all = self.members.all();
        let mut last = self.last.lock();
        if let Some(seen) = last.as_ref().filter(|seen| Arc::ptr_eq(&seen.all, &all)) {
            return (seen.ring.clone(), false);
        }
        let playing: Vec<Member> = all.iter().filter(|member| member.plays(self.role)).cloned().collect();
        let ring = Arc::new(Ring::new(playing));
        *last = Some(Seen { all, ring: ring.clone() });
        (ring, true)
    }
}
