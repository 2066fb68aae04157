//! Sharding: one batch for each ingester that holds a stream of the push. It must not know how batches are sent.

use crate::replicas::ReplicaView;
use model::{Batch, BatchBuilder, Result};
use std::collections::HashSet;

/// A push, cut by ingester.
#[derive(Debug, Default)]
pub struct Shards {
    /// Index of the ingester and its batch.
    pub batches: Vec<(usize, Batch)>,
    /// The different replica sets of the streams, each as indexes into `batches`.
    pub sets: Vec<Vec<usize>>,
}

/// Cuts `batch`, whose streams have `tokens`. With one ingester the batch is passed on as it is.
pub fn shard(batch: Batch, tokens: &[u32], view: &dyn ReplicaView) -> Result<Shards> {
    if batch.is_empty() {
        return Ok(Shards::default());
    }
    if view.ingesters().len() == 1 {
        view.of_token(tokens.first().copied().unwrap_or_default(), &mut Vec::new())?;
        return Ok(Shards { batches: vec![(0, batch)], sets: vec![vec![0]] });
    }
    let mut builders: Vec<Option<BatchBuilder>> = (0..view.ingesters().len()).map(|_| None).collect();
    let mut sets: HashSet<Vec<usize>> = HashSet::new();
    let mut replicas = Vec::new();
    for (stream, token) in batch.streams().zip(tokens) {
        let stream = stream?;
        replicas.clear();
        view.of_token(*token, &mut replicas)?;
        for ingester in &replicas {
            builders[*ingester].get_or_insert_default().copy_stream(&stream);
        }
        if !sets.contains(&replicas) {
            sets.insert(replicas.clone());
        }
    }
    let batches: Vec<(usize, Batch)> =
        builders.into_iter().enumerate().filter_map(|(i, b)| Some((i, b?.finish()))).collect();
    let position = |ingester: &usize| batches.iter().position(|(i, _)| i == ingester);
    let sets = sets.iter().map(|set| set.iter().filter_map(position).collect()).collect();
    Ok(Shards { batches, sets })
}
