//! The same call asked twice at once is made once.

use crate::{DAY, HOUR, MINUTE, S, Setup, range, request, tenants};
use async_trait::async_trait;
use frontend::single::{JOINED_WITHIN, Single};
use futures::FutureExt;
use logql::value::QueryValue;
use model::{Error, Kind, Result};
use parking_lot::Mutex;
use rpc::call::{Call, Calls, Reply};
use rpc::queries::{QueryRequest, QueryResponse, QueryStats, Tenants};
use runtime::limits::Limits;
use std::sync::Arc;
use tokio::sync::oneshot;

const NOW: i64 = 20_000 * DAY;

/// Holds every call until the test answers it.
#[derive(Default)]
struct Held(Mutex<Vec<oneshot::Sender<Result<Reply>>>>);

#[async_trait]
impl Calls for Held {
    async fn call(&self, _: &Tenants, _: Call) -> Result<Reply> {
        let (answer, answered) = oneshot::channel();
        self.0.lock().push(answer);
        answered.await.expect("the test answers")
    }
}

impl Held {
    /// How many calls wait whose caller is there.
    fn waiting(&self) -> usize {
        self.0.lock().iter().filter(|answer| !answer.is_closed()).count()
    }

    fn answer(&self, value: Result<f64>) {
        let response = |value| QueryResponse {
            value: QueryValue::Scalar { time_ns: 0, value },
            warnings: vec![],
            stats: QueryStats::default(),
        };
        let reply = value.map(|value| Reply::Query(response(value)));
        self.0.lock().drain(..).for_each(|answer| drop(answer.send(reply.clone())));
    }
}

fn single() -> (Arc<Held>, Setup, Single) {
    let (held, setup) = (Arc::new(Held::default()), Setup::new(Limits::default(), NOW));
    let single = Single::new(held.clone(), setup.limits.clone(), setup.clock.clone(), &setup.metrics);
    (held, setup, single)
}

fn query(text: &str, end_ns: i64) -> Call {
    Call::Query(request(text, range(end_ns - HOUR, end_ns, MINUTE)))
}

fn value(reply: Result<Reply>) -> Result<f64> {
    reply.map(|reply| match reply {
        Reply::Query(QueryResponse { value: QueryValue::Scalar { value, .. }, .. }) => value,
        other => panic!("{other:?}"),
    })
}

const LOG: &str = r#"{a="b"}"#;

#[tokio::test]
async fn equal_calls_share_an_answer_and_others_do_not() {
    let (held, setup, single) = single();
    let (a, b) = (tenants("a"), tenants("b"));
    let fresh = Call::Query(QueryRequest { no_cache: true, ..request(LOG, range(NOW - HOUR, NOW, MINUTE)) });
    let calls = [
        (&a, query(LOG, NOW)),
        (&a, query(LOG, NOW)),
        (&b, query(LOG, NOW)),
        (&a, query(LOG, NOW + 1)),
        (&a, query(r#"{a="c"}"#, NOW)),
        (&a, fresh.clone()),
        (&a, fresh),
    ];
    let mut all: Vec<_> = calls.into_iter().map(|(tenants, call)| single.call(tenants, call)).collect();
    assert!(all.iter_mut().all(|call| call.now_or_never().is_none()));
    assert_eq!(held.waiting(), 6);
    held.answer(Ok(5.0));
    for call in all {
        assert_eq!(value(call.await), Ok(5.0));
    }
    assert!(setup.metrics.print_classic().contains("query_frontend_coalesced_calls_total 1"));
    assert!(single.call(&a, query(LOG, NOW)).now_or_never().is_none(), "an answer is not kept");
    assert_eq!(held.waiting(), 0);
}

#[tokio::test]
async fn who_leaves_takes_nothing_from_the_others() {
    let (held, _, single) = single();
    let a = tenants("a");
    let mut all: Vec<_> = (0..3).map(|_| single.call(&a, query(LOG, NOW))).collect();
    assert!(all.iter_mut().all(|call| call.now_or_never().is_none()));
    // Who began goes first.
    drop(all.remove(0));
    assert_eq!(held.waiting(), 1);
    held.answer(Err(Error::unavailable("broken")));
    for call in all {
        assert_eq!(value(call.await).unwrap_err().message, "broken", "errors are shared");
    }
    let mut last: Vec<_> = (0..2).map(|_| single.call(&a, query(LOG, NOW))).collect();
    assert!(last.iter_mut().all(|call| call.now_or_never().is_none()));
    assert_eq!(held.waiting(), 1);
    drop(last);
    assert_eq!(held.waiting(), 0, "with the last caller the call ends");
}

#[tokio::test]
async fn the_time_of_who_began_is_not_that_of_who_joined() {
    let (held, _, single) = single();
    let a = tenants("a");
    let (mut first, mut second) = (single.call(&a, query(LOG, NOW)), single.call(&a, query(LOG, NOW)));
    assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
    held.answer(Err(Error::new(Kind::Timeout, "too late")));
    assert_eq!(first.await.unwrap_err().kind, Kind::Timeout);
    assert!((&mut second).now_or_never().is_none(), "asked once more");
    held.answer(Ok(7.0));
    assert_eq!(value(second.await), Ok(7.0));
}

#[tokio::test]
async fn recent_data_is_not_shared_for_long() {
    let a = tenants("a");
    for (end_ns, age_ns, flights) in [
        (NOW, JOINED_WITHIN.as_nanos() as i64, 1),
        (NOW, JOINED_WITHIN.as_nanos() as i64 + 1, 2),
        (NOW - 11 * MINUTE, 30 * S, 1),
    ] {
        let (held, setup, single) = single();
        let mut first = single.call(&a, query(LOG, end_ns));
        assert!((&mut first).now_or_never().is_none());
        setup.clock.advance(age_ns);
        let mut second = single.call(&a, query(LOG, end_ns));
        assert!((&mut second).now_or_never().is_none());
        assert_eq!(held.waiting(), flights, "{age_ns}");
        held.answer(Ok(7.0));
        assert!(first.await.is_ok() && second.await.is_ok());
    }
}
