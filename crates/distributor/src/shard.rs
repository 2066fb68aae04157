//! Sharding: one batch for each ingester that holds a stream of the push. It must not know how batches are sent.

use crate::replicas::ReplicaView;
use model::{Batch, BatchBuilder, Result};
use std::collections::HashMap;

/// A push, cut by ingester.
#[derive(Debug, Default)]
pub struct Shards {
    /// Index of the ingester and its batch.
    pub batches: Vec<(usize, Batch)>,
    /// The different replica sets of the streams, each as indexes into `batches`.
    pub sets: Vec<Vec<usize>>,
}

/// Cuts `batch`, whose streams have `tokens`. An ingester that holds all of them gets the batch as it is.
pub fn shard(batch: Batch, tokens: &[u32], view: &dyn ReplicaView) -> Result<Shards> {
    if batch.is_empty() {
        return Ok(Shards::default());
    }
    if view.ingesters().len() == 1 {
        view.of_token(tokens.first().copied().unwrap_or_default(), &mut Vec::new())?;
        return Ok(Shards { batches: vec![(0, batch)], sets: vec![vec![0]] });
    }
    let held = holders(tokens, view)?;
    let mut builders: Vec<BatchBuilder> = Vec::new();
    builders.resize_with(view.ingesters().len(), BatchBuilder::default);
    let shared = |ingester: &usize| held.streams[*ingester] == tokens.len();
    for (stream, holders) in batch.streams().zip(&held.of_streams) {
        let stream = stream?;
        for ingester in held.sets[*holders].iter().filter(|ingester| !shared(ingester)) {
            builders[*ingester].copy_stream(&stream);
        }
    }
    let mut batches: Vec<(usize, Batch)> = vec![];
    for (ingester, builder) in builders.into_iter().enumerate().filter(|(i, _)| held.streams[*i] > 0) {
        batches.push((ingester, if shared(&ingester) { batch.clone() } else { builder.finish() }));
    }
    let position = |ingester: &usize| batches.iter().position(|(i, _)| i == ingester);
    let sets = held.sets.iter().map(|set| set.iter().filter_map(position).collect()).collect();
    Ok(Shards { batches, sets })
}

/// Which ingesters hold the streams of a push.
struct Held {
    /// The different replica sets.
    sets: Vec<Vec<usize>>,
    /// For each stream its set.
    of_streams: Vec<usize>,
    /// How many streams each ingester holds: one that holds all gets the batch as it is.
    streams: Vec<usize>,
}

fn holders(tokens: &[u32], view: &dyn ReplicaView) -> Result<Held> {
    let mut held = Held { sets: vec![], of_streams: vec![], streams: vec![0; view.ingesters().len()] };
    let mut known: HashMap<Vec<usize>, usize> = HashMap::new();
    let mut replicas = Vec::new();
    for token in tokens {
        replicas.clear();
        view.of_token(*token, &mut replicas)?;
        let set = known.get(&replicas).copied().unwrap_or_else(|| {
            held.sets.push(replicas.clone());
            known.insert(replicas.clone(), held.sets.len() - 1);
            held.sets.len() - 1
        });
        held.of_streams.push(set);
        replicas.iter().for_each(|ingester| held.streams[*ingester] += 1);
    }
    Ok(held)
}
