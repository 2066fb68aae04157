//! What the distributor and the querier make of members in all states.

use super::*;
use cluster::members::MemberState;
use cluster::members::MemberState::{Active, Joining, Leaving, Unhealthy};
use rpc::testing::ScriptedIngester;

/// Members and those who were forgotten.
struct Fixed(Arc<[Member]>, Vec<Member>);

impl Members for Fixed {
    fn all(&self) -> Arc<[Member]> {
        self.0.clone()
    }
    fn forgotten(&self) -> Vec<Member> {
        self.1.clone()
    }
}

fn member(id: &str, state: MemberState) -> Member {
    let zone = id[..1].to_string();
    Member { id: id.into(), grpc_address: format!("{id}:1"), zone, state, roles: vec![INGESTER.into()] }
}

fn ring(states: &[(&str, MemberState)], forgotten: &[&str], replication: usize) -> IngesterRing {
    let members: Vec<Member> = states.iter().map(|(id, state)| member(id, *state)).collect();
    let forgotten = forgotten.iter().map(|id| member(id, Unhealthy)).collect();
    let connect = |_: &str| -> Result<Arc<dyn Ingester>> { Ok(Arc::new(ScriptedIngester::default())) };
    IngesterRing {
        members: Arc::new(Fixed(members.into(), forgotten)),
        pool: Pool::new(None, Box::new(connect)),
        replication,
        zone_awareness: false,
        excluded_zones: vec![],
        last: Mutex::default(),
    }
}

/// Asks everybody; whether the answer is sure to hold everything, and who does not answer.
async fn check(ring: &IngesterRing, complete: bool, silent: &[&str]) {
    let set = ring.members();
    let mut failed = vec![];
    let mut reasons = vec![];
    for (number, ingester) in set.ingesters.iter().enumerate() {
        if let Err(error) = ingester.flush().await {
            failed.push(number);
            reasons.push(error.message);
        }
    }
    assert_eq!(set.can_miss(failed.into_iter()), complete, "{reasons:?}");
    assert_eq!(reasons, silent);
}

#[tokio::test]
async fn everybody_is_asked_and_the_unhealthy_count_as_failed() {
    let b = "the ingester b is unhealthy";
    let c = "the ingester c is unhealthy";
    for (states, replication, complete, silent) in [
        (vec![("a", Active), ("b", Joining), ("c", Leaving)], 3, true, vec![]),
        (vec![("a", Active), ("b", Unhealthy), ("c", Active)], 3, true, vec![b]),
        (vec![("a", Active), ("b", Unhealthy), ("c", Unhealthy)], 3, false, vec![b, c]),
        (vec![("a", Active), ("b", Unhealthy)], 1, false, vec![b]),
        (vec![("a", Active), ("b", Unhealthy)], 2, true, vec![b]),
        (vec![("a", Active), ("b", Unhealthy), ("c", Unhealthy), ("d", Active)], 5, true, vec![b, c]),
    ] {
        check(&ring(&states, &[], replication), complete, &silent).await;
    }
    let nobody = "no ingester is in the ring (settings: memberlist.join_members, common.ring.static_members)";
    check(&ring(&[], &[], 3), false, &[nobody]).await;
}

#[tokio::test]
async fn a_whole_zone_may_be_away_where_replicas_are_in_different_zones() {
    let states = [("a1", Active), ("a2", Active), ("b1", Unhealthy), ("b2", Unhealthy), ("c1", Active), ("c2", Active)];
    let silent = ["the ingester b1 is unhealthy", "the ingester b2 is unhealthy"];
    check(&ring(&states, &[], 3), false, &silent).await;
    let aware = |replication| IngesterRing { zone_awareness: true, ..ring(&states, &[], replication) };
    check(&aware(3), true, &silent).await;
    // With fewer zones than replicas a zone has two of a stream's.
    check(&aware(4), true, &silent).await;
    check(&aware(5), true, &silent).await;
    let excluded = IngesterRing { excluded_zones: vec!["b".into()], ..ring(&states, &[], 3) };
    check(&excluded, true, &[]).await;
    assert_eq!(excluded.members().ingesters.len(), 4);
}

#[test]
fn an_answer_without_more_forgotten_ingesters_than_replicas_can_miss_says_so() {
    let gone = "partial answer: the ingesters b, c are gone, and what they had not stored may be missing";
    for (forgotten, replication, expected) in
        [(vec![], 1, vec![]), (vec!["b"], 3, vec![]), (vec!["b", "c"], 3, vec![gone.to_string()])]
    {
        assert_eq!(ring(&[("a", Active)], &forgotten, replication).members().warnings, expected);
    }
}

#[test]
fn writes_go_to_the_active_and_fail_with_the_numbers_when_they_are_too_few() {
    let few = "at least 2 live replicas required, could only find 1";
    for (states, expected) in [
        (vec![("a", Active), ("b", Joining), ("c", Active), ("d", Active)], Ok(3)),
        (vec![("a", Active), ("b", Leaving), ("c", Unhealthy)], Err(few)),
        (vec![], Err("no ingester is in the ring (settings: memberlist.join_members, common.ring.static_members)")),
    ] {
        let mut out = vec![];
        let found = ring(&states, &[], 3).view().and_then(|view| view.of_token(7, &mut out)).map(|()| out.len());
        assert_eq!(found.map_err(|e| e.message), expected.map_err(str::to_string));
    }
}

#[test]
fn one_of_a_streams_ingesters_compresses_for_the_others() {
    let states = [("a1", Active), ("b1", Active), ("c1", Active), ("d1", Leaving), ("e1", Active)];
    let (ring, rings) = (ring(&states, &[], 3), states.len());
    let mut compress = vec![0; rings];
    for token in (0..u32::MAX).step_by(1 << 22) {
        let mut holders = vec![];
        ring.current().unwrap().of_token(token, &mut holders).unwrap();
        let mut here = 0;
        for (at, (id, _)) in states.iter().enumerate() {
            match ring.compressor(id, token) {
                Compressor::Here(others) if holders.contains(&at) => {
                    assert_eq!(others.len(), 2);
                    (here, compress[at]) = (here + 1, compress[at] + 1);
                }
                Compressor::Here(others) => assert!(others.is_empty(), "{id} holds nothing of it"),
                Compressor::Elsewhere => assert!(holders.contains(&at)),
            }
        }
        assert_eq!(here, 1, "{token}");
    }
    assert!(compress.iter().enumerate().all(|(at, times)| (at == 3) == (*times == 0)), "{compress:?}");
}
