//! When a write to several replicas is done: a majority has it. It fails as soon as a majority cannot have it any more,
//! with the error that tells the caller what to do.

use crate::ring::majority;
use futures::stream::{FuturesUnordered, StreamExt};
use model::{Error, Kind, Result};
use std::future::Future;

/// A write that a majority has.
pub struct Done<T, F: Future> {
    /// What the replicas answered that made the majority.
    pub answers: Vec<T>,
    /// The calls that are still under way: dropped, they are given up; the caller may let them end.
    pub rest: FuturesUnordered<F>,
}

/// Calls all replicas at once, numbered from 0, and waits until ⌊`replication`/2⌋+1 of them have succeeded.
/// `replicas` may be fewer than `replication` while some are away.
pub async fn write_quorum<T, F>(
    replicas: usize,
    replication: usize,
    mut call: impl FnMut(usize) -> F,
) -> Result<Done<T, F>>
where
    F: Future<Output = Result<T>>,
{
    let needed = majority(replication);
    if replicas < needed {
        let text = format!("at least {needed} live replicas required, could only find {replicas}");
        return Err(Error::unavailable(text));
    }
    let mut calls: FuturesUnordered<F> = (0..replicas).map(&mut call).collect();
    let mut answers = Vec::with_capacity(needed);
    let mut failures = Failures { allowed: replicas - needed, faults_of_caller: 0, all: 0, fault_of_replica: None };
    while answers.len() < needed {
        match calls.next().await {
            Some(Ok(answer)) => answers.push(answer),
            Some(Err(error)) => failures.add(error)?,
            // Unreachable: fewer than `needed` answers means that `failures` has returned.
            None => return Err(Error::internal("a write ended without a majority and without an error")),
        }
    }
    Ok(Done { answers, rest: calls })
}

/// Counts errors until there are too many.
struct Failures {
    allowed: usize,
    faults_of_caller: usize,
    all: usize,
    fault_of_replica: Option<Error>,
}

impl Failures {
    /// The write's error, once a majority is out of reach. The request itself is at fault (4xx: do not repeat) only if that
    /// many replicas say so; where replicas failed too, repeating may help, so theirs is the answer.
    fn add(&mut self, error: Error) -> Result<()> {
        self.all += 1;
        if is_fault_of_caller(error.kind) {
            self.faults_of_caller += 1;
            if self.faults_of_caller > self.allowed {
                return Err(error);
            }
            if self.all > self.allowed {
                return Err(self.fault_of_replica.take().unwrap_or(error));
            }
        } else {
            if self.all > self.allowed {
                return Err(error);
            }
            self.fault_of_replica = Some(error);
        }
        Ok(())
    }
}

/// Whether an error becomes a 4xx.
fn is_fault_of_caller(kind: Kind) -> bool {
    match kind {
        Kind::Invalid
        | Kind::Unauthenticated
        | Kind::Forbidden
        | Kind::NotFound
        | Kind::TooLarge
        | Kind::Empty
        | Kind::Limited => true,
        Kind::Cancelled | Kind::Internal | Kind::Corrupt | Kind::Unavailable | Kind::Timeout => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use futures::future::{BoxFuture, pending, ready};

    /// `o` succeeds, `4` and `5` fail with that class, `.` never answers.
    fn check(answers: &str, replication: usize, expected: Result<usize, &str>) {
        let calls: Vec<char> = answers.chars().collect();
        let call = |i: usize| -> BoxFuture<'static, Result<char>> {
            match calls[i] {
                'o' => ready(Ok('o')).boxed(),
                '4' => ready(Err(Error::invalid("4xx"))).boxed(),
                '5' => ready(Err(Error::internal("5xx"))).boxed(),
                _ => pending().boxed(),
            }
        };
        let result = write_quorum(calls.len(), replication, call).now_or_never();
        let result = result.unwrap_or_else(|| Err(Error::internal("waits")));
        let result = result.map(|done| done.answers.len()).map_err(|error| error.message);
        assert_eq!(result, expected.map_err(str::to_string), "{answers} of {replication}");
    }

    #[test]
    fn a_majority_is_enough_and_an_impossible_one_fails_at_once() {
        for (answers, replication, expected) in [
            ("ooo", 3, Ok(2)),
            ("oo.", 3, Ok(2)),
            ("5oo", 3, Ok(2)),
            ("4oo", 3, Ok(2)),
            ("o..", 3, Err("waits")),
            ("55.", 3, Err("5xx")),
            ("44.", 3, Err("4xx")),
            ("45.", 3, Err("5xx")),
            ("54.", 3, Err("5xx")),
            ("oo", 3, Ok(2)),
            ("5.", 3, Err("5xx")),
            ("4.", 3, Err("4xx")),
            ("o", 3, Err("at least 2 live replicas required, could only find 1")),
            ("", 1, Err("at least 1 live replicas required, could only find 0")),
            ("o", 1, Ok(1)),
            ("4", 1, Err("4xx")),
            ("44ooo", 5, Ok(3)),
            ("454oo", 5, Err("5xx")),
        ] {
            check(answers, replication, expected);
        }
    }

    #[tokio::test]
    async fn the_rest_can_be_let_end() {
        let call = |i: usize| async move {
            tokio::task::yield_now().await;
            if i == 2 {
                tokio::task::yield_now().await;
            }
            Ok(i)
        };
        let done = write_quorum(3, 3, call).await.unwrap();
        assert_eq!(done.answers.len(), 2);
        assert_eq!(done.rest.collect::<Vec<_>>().await.len(), 1);
    }
}
