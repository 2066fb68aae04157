//! Index gateways that answer, fail and come back, as a querier sees them.

use super::*;
use model::{Error, TimeRange};
use rpc::testing::ScriptedIndex;
use runtime::clock::ManualClock;
use std::collections::BTreeSet;

/// Gateways by address, each of which answers with its own address as the only label name.
struct Bench {
    gateways: Gateways,
    scripts: Arc<HashMap<String, Arc<ScriptedIndex>>>,
    clock: Arc<ManualClock>,
    metrics: Metrics,
}

fn bench(gateways: &[(&str, MemberState, Option<Kind>)], replicas: Option<usize>) -> Bench {
    let member = |(id, state, _): &(&str, MemberState, Option<Kind>)| Member {
        id: id.to_string(),
        grpc_address: id.to_string(),
        zone: String::new(),
        state: *state,
        roles: vec![INDEX_GATEWAY.into()],
    };
    let script = |name: &str, error: Option<Kind>| {
        let (names, error) = (vec![name.to_string()], error.map(|kind| Error::new(kind, "broken")));
        (name.to_string(), Arc::new(ScriptedIndex { names, error, ..ScriptedIndex::default() }))
    };
    let scripts: HashMap<_, _> = gateways.iter().map(|(id, _, error)| script(id, *error)).collect();
    let (scripts, own) = (Arc::new(scripts), script("own", None).1);
    let members = Arc::new(StaticMembers::new(gateways.iter().map(member).collect()));
    let of_address = scripts.clone();
    let pool = Pool::new(None, Box::new(move |address: &str| Ok(of_address[address].clone() as Arc<dyn Index>)));
    let (clock, metrics) = (ManualClock::at(0), Metrics::default());
    let gateways = Gateways::new(members, replicas, pool, own, clock.clone(), &metrics);
    Bench { gateways, scripts, clock, metrics }
}

impl Bench {
    /// Who answers.
    async fn ask(&self, tenant: &str) -> Result<String> {
        let (tenant, range) = (TenantId::parse(tenant).unwrap(), TimeRange::new(0, 1));
        let request = IndexRequest { tenant, matchers: vec![], range, shard: None };
        Ok(self.gateways.labels(request, None).await?.value.remove(0))
    }

    fn asked(&self, gateway: &str) -> usize {
        self.scripts[gateway].asked.lock().unwrap().len()
    }
}

use MemberState::{Active, Leaving, Unhealthy};

#[tokio::test]
async fn a_gateway_answers_or_the_process_itself() {
    type Cases<'c> = &'c [(&'c [(&'c str, MemberState, Option<Kind>)], std::result::Result<&'c str, Kind>)];
    let cases: Cases = &[
        (&[], Ok("own")),
        (&[("a", Active, None)], Ok("a")),
        (&[("a", Leaving, None)], Ok("a")),
        (&[("a", Unhealthy, None)], Ok("own")),
        (&[("a", Active, Some(Kind::Unavailable))], Ok("own")),
        (&[("a", Active, Some(Kind::Timeout)), ("b", Active, None)], Ok("b")),
        (&[("a", Active, Some(Kind::Internal)), ("b", Active, Some(Kind::Corrupt))], Ok("own")),
        (&[("a", Active, Some(Kind::Invalid))], Err(Kind::Invalid)),
        (&[("a", Active, Some(Kind::TooLarge))], Err(Kind::TooLarge)),
    ];
    for (gateways, expected) in cases {
        for replicas in [None, Some(3)] {
            let got = bench(gateways, replicas).ask("t").await.map_err(|e| e.kind);
            assert_eq!(got, expected.map(str::to_string), "{gateways:?} {replicas:?}");
        }
    }
}

#[tokio::test]
async fn one_that_failed_is_asked_last_for_a_while() {
    let bench = bench(&[("a", Active, Some(Kind::Unavailable)), ("b", Active, None)], None);
    for _ in 0..6 {
        assert_eq!(bench.ask("t").await.unwrap(), "b");
    }
    assert_eq!(bench.asked("a"), 1);
    bench.clock.advance(LAST_AFTER_FAILURE.as_nanos() as i64);
    for _ in 0..2 {
        bench.ask("t").await.unwrap();
    }
    assert_eq!(bench.asked("a"), 2);
    let text = bench.metrics.print_classic();
    let failed = r#"loki_index_gateway_client_requests_total{operation="labels",outcome="failed"} 2"#;
    assert!(text.contains(failed), "{text}");
}

#[tokio::test]
async fn simple_gateways_share_the_questions_and_ring_gateways_the_tenants() {
    let gateways = ["a", "b", "c", "d", "e"].map(|id| (id, Active, None));
    for (replicas, of_a_tenant, of_all) in [(None, 5, 5), (Some(2), 2, 5)] {
        let bench = bench(&gateways, replicas);
        let mut all = BTreeSet::new();
        for tenant in 0..40 {
            let mut answered = BTreeSet::new();
            for _ in 0..10 {
                answered.insert(bench.ask(&format!("t{tenant}")).await.unwrap());
            }
            assert_eq!(answered.len(), of_a_tenant, "{replicas:?}");
            all.extend(answered);
        }
        assert_eq!(all.len(), of_all, "{replicas:?}");
    }
}

#[test]
fn an_address_may_have_lokis_prefix() {
    for address in ["gateway:9095", "dns:///gateway:9095", "dns+gateway:9095"] {
        assert_eq!(only(address, INDEX_GATEWAY).all()[0].grpc_address, "gateway:9095", "{address}");
    }
}
