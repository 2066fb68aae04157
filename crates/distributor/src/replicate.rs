//! Replication: every batch is sent at once, and a push is done when each stream's quorum has it. What is still under way
//! then goes on in the background, within its deadline. It must not know what a batch holds.

use crate::replicas::ReplicaView;
use crate::shard::Shards;
use cluster::quorum::Tally;
use model::{Error, Kind, Result, TenantId};
use rpc::ingester::{PushOutcome, Rejection};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// How long an ingester may take for a batch; Loki's `ingester_client.remote_timeout` for pushes is of this order.
pub const PUSH_TIMEOUT: Duration = Duration::from_secs(10);

/// Sends the batches and waits for the quorum; answers what the ingesters refused. `tasks` owns the sending.
pub async fn replicate(
    tenant: &TenantId,
    shards: Shards,
    view: &dyn ReplicaView,
    tasks: &TaskTracker,
) -> Result<Vec<Rejection>> {
    let (sender, mut answers) = mpsc::channel(shards.batches.len().max(1));
    for (number, (ingester, batch)) in shards.batches.into_iter().enumerate() {
        let ingester = view.ingesters()[ingester].clone();
        let (tenant, sender) = (tenant.clone(), sender.clone());
        let sending = async move {
            let answer = tokio::time::timeout(PUSH_TIMEOUT, ingester.push(&tenant, batch)).await;
            let answer =
                answer.unwrap_or_else(|_| Err(Error::new(Kind::Timeout, "an ingester did not answer in time")));
            // Nobody listens any more when the quorum was there before.
            let _ = sender.send((number, answer)).await;
        };
        tasks.spawn(sending.instrument(tracing::info_span!("replica")));
    }
    drop(sender);
    let mut progress = shards.sets.into_iter().map(|set| Progress::new(set, view)).collect::<Result<Vec<_>>>()?;
    let mut rejections = Vec::new();
    while progress.iter().any(|p| !p.tally.is_done()) {
        let Some((number, answer)) = answers.recv().await else {
            return Err(Error::internal("a push to an ingester ended without an answer"));
        };
        note(&mut progress, number, answer, &mut rejections)?;
    }
    Ok(rejections)
}

/// How far the streams of one replica set are.
struct Progress {
    batches: Vec<usize>,
    tally: Tally,
}

impl Progress {
    fn new(batches: Vec<usize>, view: &dyn ReplicaView) -> Result<Self> {
        Ok(Progress { tally: Tally::new(batches.len(), view.replication())?, batches })
    }
}

/// Notes one answer; an error when some stream's quorum can no longer be reached.
fn note(
    progress: &mut [Progress],
    number: usize,
    answer: Result<PushOutcome>,
    rejections: &mut Vec<Rejection>,
) -> Result<()> {
    let mut concerned = progress.iter_mut().filter(|p| p.batches.contains(&number));
    match answer {
        Ok(outcome) => {
            concerned.for_each(|p| p.tally.succeeded());
            // Replicas refuse the same entries with the same words.
            for rejection in outcome.rejected {
                if !rejections.iter().any(|r| r.message == rejection.message) {
                    rejections.push(rejection);
                }
            }
            Ok(())
        }
        Err(error) => concerned.try_for_each(|p| p.tally.failed(error.clone())),
    }
}
