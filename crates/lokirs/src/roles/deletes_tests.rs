//! Delete requests as a process sees them whose compactor answers, does not, and comes back.

use super::*;
use cluster::members::{Member, MemberState, StaticMembers};
use rpc::testing::ScriptedDeletes;
use runtime::clock::ManualClock;

struct Bench {
    deletes: SharedDeletes,
    compactor: Arc<ScriptedDeletes>,
    bucket: Arc<ScriptedDeletes>,
    clock: Arc<ManualClock>,
}

/// A process that plays no compactor, in a cluster with one or without.
fn bench(has_compactor: bool) -> Bench {
    let member = Member {
        id: "c".into(),
        grpc_address: "c:9095".into(),
        zone: String::new(),
        state: MemberState::Active,
        roles: vec![owner::COMPACTOR.into()],
    };
    let members = Arc::new(StaticMembers::new(if has_compactor { vec![member] } else { vec![] }));
    let (compactor, bucket) = (Arc::new(ScriptedDeletes::with_requests()), Arc::new(ScriptedDeletes::with_requests()));
    let client = compactor.clone();
    let pool = Pool::new(None, Box::new(move |_: &str| Ok(client.clone() as Arc<dyn Deletes>)));
    let clock = ManualClock::at(1);
    let deletes = SharedDeletes::new(None, members, pool, bucket.clone(), clock.clone(), &Metrics::default());
    Bench { deletes, compactor, bucket, clock }
}

impl Bench {
    async fn filters(&self) -> Result<usize> {
        Ok(self.deletes.filters(&TenantId::parse("a").unwrap(), EVERYTHING).await?.len())
    }

    /// Lets time pass; answers what the compactor and the bucket were asked since.
    fn advance(&self, by: Duration) -> (Vec<String>, Vec<String>) {
        self.clock.advance(by.as_nanos() as i64);
        let names = |deletes: &ScriptedDeletes| {
            let calls = std::mem::take(&mut *deletes.calls.lock().unwrap());
            calls.iter().map(|call| call.split(' ').next().unwrap().to_string()).collect()
        };
        (names(&self.compactor), names(&self.bucket))
    }
}

fn fail(deletes: &ScriptedDeletes, error: Option<Kind>) {
    *deletes.error.lock().unwrap() = error.map(|kind| Error::new(kind, "broken"));
}

#[tokio::test]
async fn filters_are_asked_for_when_their_generation_has_changed() {
    let bench = bench(true);
    for _ in 0..3 {
        assert_eq!(bench.filters().await, Ok(2));
    }
    assert_eq!(bench.advance(BELIEVED), (vec!["generation".into(), "filters".into()], vec![]));
    assert_eq!(bench.filters().await, Ok(2));
    assert_eq!(bench.advance(Duration::ZERO), (vec!["generation".into()], vec![]));
    bench.deletes.cancel(&TenantId::parse("a").unwrap(), "x", false).await.unwrap();
    assert_eq!(bench.filters().await, Ok(2));
    assert_eq!(bench.advance(READ_ANEW), (vec!["cancel".into(), "generation".into()], vec![]));
    assert_eq!(bench.filters().await, Ok(2));
    assert_eq!(bench.advance(Duration::ZERO), (vec!["generation".into(), "filters".into()], vec![]));
}

#[tokio::test]
async fn without_a_compactor_the_bucket_is_read_and_without_both_the_last_known_hold() {
    let bench = bench(true);
    fail(&bench.compactor, Some(Kind::Unavailable));
    fail(&bench.bucket, Some(Kind::Unavailable));
    assert_eq!(bench.filters().await.map_err(|e| e.kind), Err(Kind::Unavailable), "nothing is known yet");
    fail(&bench.bucket, None);
    assert_eq!(bench.filters().await, Ok(2));
    fail(&bench.bucket, Some(Kind::Unavailable));
    bench.advance(READ_ANEW * 100);
    assert_eq!(bench.filters().await, Ok(2));
    assert_eq!(bench.advance(Duration::ZERO), (vec!["generation".into()], vec!["generation".into()]));
    fail(&bench.compactor, None);
    bench.advance(BELIEVED);
    assert_eq!(bench.filters().await, Ok(2));
    assert_eq!(bench.advance(Duration::ZERO), (vec!["generation".into(), "filters".into()], vec![]));
}

#[tokio::test]
async fn requests_are_taken_by_a_compactor_or_not_at_all() {
    let tenant = TenantId::parse("a").unwrap();
    let new = NewDelete::parse("{a=\"b\"}", 1, 2, 2).unwrap();
    let bench = bench(true);
    assert_eq!(bench.deletes.create(&tenant, new.clone()).await, Ok("01599ad3".into()));
    fail(&bench.compactor, Some(Kind::Forbidden));
    assert_eq!(bench.deletes.list(&tenant).await.map_err(|e| e.kind), Err(Kind::Forbidden));
    let bench = self::bench(false);
    assert_eq!(bench.deletes.create(&tenant, new).await.map_err(|e| e.kind), Err(Kind::Unavailable));
    assert_eq!(bench.filters().await, Ok(2));
    assert_eq!(bench.advance(Duration::ZERO).0, [""; 0]);
}

#[test]
fn a_compactor_is_named_in_either_of_lokis_ways() {
    for (grpc, http, expected) in [
        ("", "", None),
        ("compactor:9095", "", Some("compactor:9095")),
        ("dns:///compactor:9095", "http://other:3100", Some("compactor:9095")),
        ("", "http://compactor:3100/", Some("compactor:9096")),
        ("", "compactor", Some("compactor:9096")),
    ] {
        let mut settings = Settings::default();
        settings.server.grpc_listen_port = 9096;
        settings.common.compactor_grpc_address = grpc.into();
        settings.common.compactor_address = http.into();
        assert_eq!(named_address(&settings).as_deref(), expected, "{grpc} {http}");
    }
}
