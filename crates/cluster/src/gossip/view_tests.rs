//! Stories of what is heard, second by second, and who is there then.

use super::*;

const TIMING: Timing = Timing {
    heartbeat_timeout: Duration::from_secs(10),
    forget_after: Duration::from_secs(60),
    spread: Duration::from_secs(2),
};

fn incarnation(id: &str, generation: u64, port: u16) -> Incarnation {
    Incarnation { id: id.into(), generation, address: ([127, 0, 0, 1], port).into() }
}

fn facts(state: Told, grpc: &str) -> Option<Facts> {
    Some(Facts {
        grpc_address: grpc.into(),
        zone: String::new(),
        roles: vec!["ingester".into()],
        state,
        version: "1".into(),
    })
}

/// An incarnation with its gossip at `port` and its gRPC at the same number, active.
fn heard(id: &str, generation: u64, port: u16, heartbeat: u64) -> Heard {
    let facts = facts(Told::Active, &format!("h:{port}"));
    Heard { incarnation: incarnation(id, generation, port), heartbeat, facts, forgets: vec![] }
}

/// One second of a story: who is heard with which heartbeat.
struct Story {
    start: Instant,
    second: u64,
    view: View,
}

impl Story {
    fn of(own: &str) -> Story {
        Story { start: Instant::now(), second: 0, view: View::new(incarnation(own, 100, 1), TIMING) }
    }

    /// The next look, a second later, and the members it finds as `id state port`.
    fn look(&mut self, others: &[Heard]) -> (Look, String) {
        let own = self.view.own.clone();
        let mut all = vec![Heard {
            incarnation: own.clone(),
            heartbeat: self.second,
            facts: facts(Told::Active, "h:1"),
            forgets: vec![],
        }];
        all.extend(others.iter().cloned());
        let look = self.view.look(self.start + Duration::from_secs(self.second), &all);
        self.second += 1;
        let lines: Vec<String> = look
            .members
            .iter()
            .filter(|member| member.id != own.id)
            .map(|member| format!("{} {} {}", member.id, member.state.name(), member.grpc_address))
            .collect();
        (look, lines.join(", "))
    }

    /// The members after `seconds` of `others`, which are told the second.
    fn after(&mut self, seconds: u64, others: impl Fn(u64) -> Vec<Heard>) -> String {
        let mut last = String::new();
        for _ in 0..seconds {
            last = self.look(&others(self.second)).1;
        }
        last
    }
}

#[test]
fn a_member_is_there_once_it_is_known_to_live_and_until_it_is_silent_for_long() {
    let mut story = Story::of("me");
    assert_eq!(story.after(1, |_| vec![heard("a", 1, 2, 5)]), "");
    assert_eq!(story.after(1, |s| vec![heard("a", 1, 2, 5 + s)]), "a ACTIVE h:2");
    assert_eq!(story.after(9, |_| vec![heard("a", 1, 2, 6)]), "a ACTIVE h:2");
    assert_eq!(story.after(1, |_| vec![heard("a", 1, 2, 6)]), "a Unhealthy h:2");
    assert_eq!(story.after(49, |_| vec![heard("a", 1, 2, 6)]), "a Unhealthy h:2");
    let (look, members) = story.look(&[heard("a", 1, 2, 6)]);
    assert_eq!((look.forgotten, members.as_str()), (vec!["a".to_string()], ""));
    assert_eq!(story.view.forgotten().map(|m| m.id.as_str()).collect::<Vec<_>>(), ["a"]);
    assert_eq!(story.look(&[]).0.forgotten, Vec::<String>::new());
    assert_eq!(story.after(2, |s| vec![heard("a", 1, 2, s)]), "a ACTIVE h:2");
    assert_eq!(story.view.forgotten().count(), 0);
}

#[test]
fn of_whom_nothing_new_is_ever_heard_is_dead() {
    let mut story = Story::of("me");
    assert_eq!(story.after(2, |_| vec![heard("a", 1, 2, 5)]), "");
    assert_eq!(story.after(1, |_| vec![heard("a", 1, 2, 5)]), "a Unhealthy h:2");
    let mut untold = heard("b", 1, 3, 1);
    untold.facts = None;
    assert_eq!(story.after(3, |_| vec![untold.clone()]), "");
}

#[test]
fn a_restart_takes_the_place_of_the_incarnation_before() {
    let mut story = Story::of("me");
    story.after(3, |s| vec![heard("a", 1, 2, s)]);
    assert_eq!(story.after(1, |_| vec![heard("a", 1, 2, 2), heard("a", 2, 3, 1)]), "a ACTIVE h:2");
    assert_eq!(story.after(1, |_| vec![heard("a", 1, 2, 2), heard("a", 2, 3, 2)]), "a ACTIVE h:3");
    // Also when the clock went back in between: after a while the dead one is not believed any more.
    let mut story = Story::of("me");
    story.after(3, |s| vec![heard("a", 9, 2, s)]);
    let back = |s: u64| vec![heard("a", 9, 2, 2), heard("a", 2, 3, s)];
    assert_eq!(story.after(1, back), "a ACTIVE h:2");
    assert_eq!(story.after(2, back), "a ACTIVE h:3");
}

#[test]
fn who_left_is_gone_and_may_come_back() {
    let mut story = Story::of("me");
    let mut leaver = heard("a", 1, 2, 0);
    for (state, expected) in [
        (Told::Joining, "a JOINING h:2"),
        (Told::Active, "a ACTIVE h:2"),
        (Told::Leaving, "a LEAVING h:2"),
        (Told::Left, ""),
    ] {
        leaver.facts = facts(state, "h:2");
        let leaver = leaver.clone();
        assert_eq!(story.after(2, |s| vec![Heard { heartbeat: s + 1, ..leaver.clone() }]), expected);
    }
    let gone = Heard { heartbeat: 20, ..leaver };
    assert_eq!(story.after(2, |s| vec![gone.clone(), heard("a", 2, 2, s)]), "a ACTIVE h:2");
}

#[test]
fn an_address_that_somebody_else_has_by_now_is_nobody_elses() {
    let mut story = Story::of("me");
    story.after(3, |s| vec![heard("old", 1, 2, s)]);
    let moved = |s: u64| vec![heard("old", 1, 2, 2), heard("new", 5, 2, s)];
    assert_eq!(story.after(1, moved), "old ACTIVE h:2");
    assert_eq!(story.after(1, moved), "new ACTIVE h:2, old Unhealthy h:2");
}

#[test]
fn an_operator_may_have_the_dead_forgotten_but_not_the_living() {
    let mut story = Story::of("me");
    let asking = |s: u64, dead: u64| {
        let asks = Heard { forgets: vec![(1, "a".into()), (1, "b".into())], ..heard("b", 1, 3, s) };
        vec![heard("a", 1, 2, dead), asks]
    };
    assert_eq!(story.after(3, |s| asking(s, s)), "a ACTIVE h:2, b ACTIVE h:3");
    assert_eq!(story.after(3, |s| asking(s, 2)), "b ACTIVE h:3");
}

#[test]
fn a_process_that_slept_blames_nobody() {
    let mut story = Story::of("me");
    story.after(3, |s| vec![heard("a", 1, 2, s)]);
    story.second += 100;
    assert_eq!(story.after(1, |_| vec![heard("a", 1, 2, 2)]), "a ACTIVE h:2");
    assert_eq!(story.after(11, |_| vec![heard("a", 1, 2, 2)]), "a Unhealthy h:2");
}

#[test]
fn another_process_with_our_id_is_a_rival_if_it_lives_on() {
    // Rumours of our own former start end soon.
    let mut story = Story::of("me");
    assert_eq!(story.look(&[heard("me", 5, 9, 1)]).0.undecided, 1);
    assert_eq!(story.look(&[heard("me", 5, 9, 2)]).0.undecided, 1);
    story.after(2, |_| vec![heard("me", 5, 9, 2)]);
    let (look, _) = story.look(&[heard("me", 5, 9, 2)]);
    assert_eq!((look.undecided, look.rivals.len()), (0, 0));
    // One that lives tells its heartbeat for ever.
    for (generation, undecided) in [(5, 1), (500, 0)] {
        let mut story = Story::of("me");
        assert_eq!(story.look(&[heard("me", generation, 9, 1)]).0.undecided, undecided);
        story.after(3, |s| vec![heard("me", generation, 9, s + 1)]);
        assert_eq!(story.look(&[heard("me", generation, 9, 9)]).0.rivals, [incarnation("me", generation, 9)]);
    }
}
