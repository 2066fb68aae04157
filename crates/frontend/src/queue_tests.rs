//! Whose turn it is.

use super::*;
use futures::FutureExt;
use futures::future::BoxFuture;

fn queue(per_tenant_max: usize) -> Arc<Queue> {
    Queue::new(per_tenant_max, QueueMetrics::register(&Metrics::default()))
}

fn wait(queue: &Arc<Queue>, tenant: &str, failed: &[&str]) -> BoxFuture<'static, Result<Place>> {
    let request = PlaceRequest { tenant: tenant.into(), failed: failed.iter().map(|name| name.to_string()).collect() };
    let queue = queue.clone();
    let mut waiting = async move { queue.wait(request).await }.boxed();
    // It stands in the queue from its first poll on.
    if let Some(answer) = (&mut waiting).now_or_never() {
        return std::future::ready(answer).boxed();
    }
    waiting
}

fn offer(queue: &Arc<Queue>, querier: &str, ticket: u64, spent: Option<Spent>) -> BoxFuture<'static, Option<Taken>> {
    let offer = Offer { querier: querier.into(), ticket, spent };
    let queue = queue.clone();
    let mut offered = async move { queue.offer(offer).await.unwrap() }.boxed();
    if let Some(answer) = (&mut offered).now_or_never() {
        return std::future::ready(answer).boxed();
    }
    offered
}

/// The tenants in the order in which they are served, each query taking as long as `cost` tells.
fn served(
    queue: &Arc<Queue>,
    mut waiting: Vec<(&str, BoxFuture<'static, Result<Place>>)>,
    cost: fn(&str) -> u64,
) -> String {
    let (mut order, mut spent) = (String::new(), None);
    while !waiting.is_empty() {
        let taken = offer(queue, "q", 1, spent.take()).now_or_never().flatten().expect("somebody waits");
        let at = waiting.iter_mut().position(|(_, place)| place.now_or_never().is_some()).expect("somebody is served");
        let (tenant, _) = waiting.remove(at);
        order.push_str(tenant);
        let took = Duration::from_millis(cost(tenant));
        spent = Some(Spent { tenant: tenant.into(), charged: taken.charged, spent: took });
    }
    order
}

#[test]
fn tenants_take_turns_and_dear_queries_count_for_more() {
    let all = |queue: &Arc<Queue>| {
        let tenants = ["a", "a", "a", "a", "a", "a", "b", "b", "b", "b", "b", "b"];
        tenants.map(|tenant| (tenant, wait(queue, tenant, &[]))).into_iter().collect::<Vec<_>>()
    };
    let even = queue(10);
    assert_eq!(served(&even, all(&even), |_| 100), "abababababab");
    // One query of a costs as much as three of b.
    let uneven = queue(10);
    let order = served(&uneven, all(&uneven), |tenant| if tenant == "a" { 300 } else { 100 });
    assert!(order.starts_with("ab") && order[..8].matches('b').count() >= 5, "{order}");
}

#[test]
fn who_comes_anew_has_saved_nothing_up() {
    let queue = queue(10);
    let busy: Vec<_> = (0..4).map(|_| ("a", wait(&queue, "a", &[]))).collect();
    served(&queue, busy, |_| 10_000);
    // Nobody waits when c comes for the first time: it begins where a was served last.
    let late = ["c", "c", "c", "a", "c"].map(|tenant| (tenant, wait(&queue, tenant, &[])));
    let order = served(&queue, late.into_iter().collect(), |_| 20_000);
    assert!(order.find('a') < Some(3), "{order}");
}

#[test]
fn what_a_querier_that_is_gone_had_offered_counts_no_more_and_what_it_offers_anew_does() {
    let queue = queue(10);
    let mut standing = offer(&queue, "gone", 1, None);
    let mut waiting = wait(&queue, "a", &["gone"]);
    assert_eq!((&mut standing).now_or_never(), Some(None), "the offer counts no more");
    assert!((&mut waiting).now_or_never().is_none());
    assert!(offer(&queue, "gone", 2, None).now_or_never().flatten().is_some(), "it is there again");
    assert_eq!(waiting.now_or_never(), Some(Ok(Place { querier: "gone".into(), ticket: 2 })));
}

#[test]
fn who_leaves_frees_the_queue_and_who_is_one_too_many_is_told() {
    let queue = queue(2);
    let (first, second) = (wait(&queue, "a", &[]), wait(&queue, "a", &[]));
    let refused = wait(&queue, "a", &[]).now_or_never().expect("refused at once").unwrap_err();
    assert_eq!((refused.kind, refused.message.as_str()), (model::Kind::Limited, "too many outstanding requests"));
    assert!(wait(&queue, "b", &[]).now_or_never().is_none(), "another tenant may wait");
    drop(first);
    let third = wait(&queue, "a", &[]);
    drop(second);
    assert!(offer(&queue, "q", 1, None).now_or_never().flatten().is_some());
    assert_eq!(third.now_or_never(), Some(Ok(Place { querier: "q".into(), ticket: 1 })));
    let offered = offer(&queue, "q", 2, None);
    drop(offered);
    assert!(wait(&queue, "a", &[]).now_or_never().is_none(), "the offer was taken back");
}
