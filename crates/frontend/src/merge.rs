//! What the stages that split have in common: the parts run at once, and their costs added up.

use futures::stream::{self, StreamExt, TryStreamExt};
use logql::engine::Outcome;
use logql::value::QueryValue;
use model::Result;
use rpc::queries::{Queries, QueryRequest, QueryResponse, QueryStats, Tenants};
use runtime::limits::Limits;
use runtime::memory::{Budget, Reservation};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What an entry, a point or a series costs in memory besides its bytes, about.
const VALUE_BYTES: u64 = 128;

/// The strictest of the tenants' limits of parts at once; at least one.
pub fn parallelism(limits: &[Arc<Limits>], of: fn(&Limits) -> usize) -> usize {
    limits.iter().map(|l| of(l)).filter(|n| *n > 0).min().unwrap_or(1)
}

/// Answers of parts as they come in: values in the order of the parts, everything else added up.
pub struct Parts {
    budget: Arc<Budget>,
    reserved: Vec<Reservation>,
    pub values: Vec<QueryValue>,
    warnings: BTreeSet<String>,
    stats: QueryStats,
    started: Instant,
}

impl Parts {
    pub fn new(budget: &Arc<Budget>) -> Self {
        Parts {
            budget: budget.clone(),
            reserved: vec![],
            values: vec![],
            warnings: BTreeSet::new(),
            stats: QueryStats::default(),
            started: Instant::now(),
        }
    }

    /// Runs requests, `at_once` of them at a time.
    pub async fn ask(
        &mut self,
        next: &dyn Queries,
        tenants: &Tenants,
        requests: Vec<QueryRequest>,
        at_once: usize,
    ) -> Result<()> {
        let answers = requests.into_iter().map(|request| next.query(tenants, request));
        let mut answers = stream::iter(answers).buffered(at_once.max(1));
        while let Some(answer) = answers.try_next().await? {
            self.add(answer)?;
        }
        Ok(())
    }

    fn add(&mut self, answer: QueryResponse) -> Result<()> {
        self.reserved.push(reserve(&self.budget, &answer.value)?);
        self.warnings.extend(answer.warnings);
        self.stats.add(&answer.stats);
        self.values.push(answer.value);
        Ok(())
    }

    /// Entries so far.
    pub fn entries(&self) -> usize {
        let of = |value: &QueryValue| match value {
            QueryValue::Streams(streams) => streams.iter().map(|stream| stream.entries.len()).sum(),
            _ => 0,
        };
        self.values.iter().map(of).sum()
    }

    /// The whole answer, of which `merge` makes the value.
    pub fn response(self, merge: impl FnOnce(Vec<QueryValue>) -> Result<Outcome>) -> Result<QueryResponse> {
        let Parts { values, mut warnings, mut stats, started, .. } = self;
        let outcome = merge(values)?;
        warnings.extend(outcome.warnings);
        stats.exec_time = started.elapsed().max(Duration::from_nanos(1));
        stats.entries_returned = entries(&outcome.value);
        Ok(QueryResponse { value: outcome.value, warnings: warnings.into_iter().collect(), stats })
    }
}

/// Entries, points or samples in an answer.
pub fn entries(value: &QueryValue) -> u64 {
    match value {
        QueryValue::Streams(streams) => streams.iter().map(|s| s.entries.len() as u64).sum(),
        QueryValue::Matrix(series) => series.iter().map(|s| s.points.len() as u64).sum(),
        QueryValue::Vector(samples) => samples.len() as u64,
        QueryValue::Scalar { .. } => 1,
    }
}

/// Memory for an answer that becomes a part of another.
pub fn reserve(budget: &Arc<Budget>, value: &QueryValue) -> Result<Reservation> {
    budget.reserve(weight(value), "the parts of a query")
}

/// Bytes of memory that a value holds, about.
fn weight(value: &QueryValue) -> u64 {
    match value {
        QueryValue::Streams(streams) => streams
            .iter()
            .map(|s| VALUE_BYTES + s.entries.iter().map(|e| VALUE_BYTES + e.line.len() as u64).sum::<u64>())
            .sum(),
        QueryValue::Matrix(series) => series.iter().map(|s| VALUE_BYTES + 16 * s.points.len() as u64).sum(),
        QueryValue::Vector(samples) => VALUE_BYTES * samples.len() as u64,
        QueryValue::Scalar { .. } => VALUE_BYTES,
    }
}
