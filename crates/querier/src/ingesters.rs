//! Asking every ingester, and when enough of them have answered. It must not know what is asked.

use crate::notes::Notes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use model::{Error, Result};
use rpc::ingester::Ingester;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How long those are waited for that could be missing, once the others have answered.
const STRAGGLERS_WITHIN: Duration = Duration::from_secs(3);

/// The ingesters of the moment.
pub trait Ingesters: Send + Sync {
    fn members(&self) -> ReadSet;
}

/// Every ingester that may hold data. One that is known not to answer is there too, and fails at once.
#[derive(Clone, Default)]
pub struct ReadSet {
    pub ingesters: Vec<Arc<dyn Ingester>>,
    /// The group of each ingester: what one group holds, other groups hold as well. A zone is a group where replicas are
    /// in different zones, else each ingester is one.
    pub groups: Vec<usize>,
    /// How many groups may fail before an answer could miss something.
    pub may_fail: usize,
    /// What is known to be missing whoever answers.
    pub warnings: Vec<String>,
}

impl ReadSet {
    /// Each ingester by itself.
    pub fn of_each(ingesters: Vec<Arc<dyn Ingester>>, may_fail: usize) -> Self {
        let groups = (0..ingesters.len()).collect();
        ReadSet { ingesters, groups, may_fail, warnings: vec![] }
    }

    /// Whether the others have everything that was acknowledged when these, by their number, do not answer.
    pub fn can_miss(&self, failed: impl Iterator<Item = usize>) -> bool {
        let groups: HashSet<usize> = failed.filter_map(|number| self.groups.get(number).copied()).collect();
        groups.len() <= self.may_fail
    }
}

/// One call to every ingester, to be gathered.
pub struct Calls<T> {
    calls: Vec<BoxFuture<'static, Result<T>>>,
    set: ReadSet,
}

impl<T> Calls<T> {
    pub fn new(ingesters: &dyn Ingesters, call: impl Fn(Arc<dyn Ingester>) -> BoxFuture<'static, Result<T>>) -> Self {
        let set = ingesters.members();
        Calls { calls: set.ingesters.iter().cloned().map(call).collect(), set }
    }

    /// Ingesters asked.
    pub fn count(&self) -> u64 {
        self.calls.len() as u64
    }

    /// The answers. So many calls may fail as replication covers; with more the question fails.
    pub async fn gather(self, notes: &Notes) -> Result<Vec<T>> {
        let Calls { calls, set } = self;
        set.warnings.iter().for_each(|warning| notes.warn(warning.clone()));
        let mut missing: HashSet<usize> = (0..calls.len()).collect();
        let mut failed: HashSet<usize> = HashSet::new();
        let mut answers = Vec::with_capacity(calls.len());
        let numbered = calls.into_iter().enumerate().map(|(number, call)| async move { (number, call.await) });
        let mut calls: FuturesUnordered<_> = numbered.collect();
        let mut patience: Option<Instant> = None;
        loop {
            if patience.is_none() && !missing.is_empty() && set.can_miss(missing.iter().copied()) {
                patience = Some(Instant::now() + STRAGGLERS_WITHIN);
            }
            let next = match patience {
                Some(until) => timeout_at(until, calls.next()).await.unwrap_or(None),
                None => calls.next().await,
            };
            match next {
                Some((number, Ok(answer))) => {
                    missing.remove(&number);
                    answers.push(answer);
                }
                Some((number, Err(error))) => {
                    failed.insert(number);
                    if !set.can_miss(failed.iter().copied()) {
                        return Err(too_many(&set, failed.len(), error));
                    }
                }
                None => return Ok(answers),
            }
        }
    }
}

/// With one ingester its own words say all; else how many failed is said as well.
fn too_many(set: &ReadSet, failed: usize, error: Error) -> Error {
    if set.ingesters.len() < 2 {
        return error;
    }
    let (all, may_fail) = (set.ingesters.len(), set.may_fail);
    Error::new(
        error.kind,
        format!(
            "{failed} of {all} ingesters failed where {may_fail} may (setting: common.replication_factor): {}",
            error.message
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use futures::future::{pending, ready};
    use rpc::testing::ScriptedIngester;
    use std::sync::atomic::{AtomicUsize, Ordering};

    struct Fixed(ReadSet);

    impl Ingesters for Fixed {
        fn members(&self) -> ReadSet {
            self.0.clone()
        }
    }

    /// `o` answers, `5` fails, `.` never answers; `groups` as letters.
    async fn check(answers: &str, groups: &str, may_fail: usize, expected: Result<usize, &str>) {
        let ingesters = answers.chars().map(|_| Arc::new(ScriptedIngester::default()) as Arc<dyn Ingester>).collect();
        let groups = groups.bytes().map(usize::from).collect();
        let set = ReadSet { groups, warnings: vec!["w".into()], ..ReadSet::of_each(ingesters, may_fail) };
        let (script, at) = (answers.as_bytes().to_vec(), AtomicUsize::new(0));
        let calls = Calls::new(&Fixed(set), |_| match script[at.fetch_add(1, Ordering::SeqCst)] {
            b'o' => ready(Ok(())).boxed(),
            b'5' => ready(Err(Error::unavailable("gone"))).boxed(),
            _ => pending().boxed(),
        });
        let notes = Notes::default();
        let gathered = tokio::time::timeout(10 * STRAGGLERS_WITHIN, calls.gather(&notes)).await;
        let result = match gathered {
            Ok(answers) => answers.map(|a| a.len()).map_err(|e| e.message),
            Err(_) => Err("waits".into()),
        };
        assert_eq!(result, expected.map_err(str::to_string), "{answers}, {may_fail} may fail");
        assert_eq!(notes.warnings(), ["w"]);
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_may_fail_and_the_slow_are_not_waited_for_forever() {
        for (answers, groups, may_fail, expected) in [
            ("ooo", "abc", 1, Ok(3)),
            ("oo5", "abc", 1, Ok(2)),
            ("oo.", "abc", 1, Ok(2)),
            ("o5.", "abc", 1, Err("waits")),
            ("o55", "abc", 1, Err("2 of 3 ingesters failed where 1 may (setting: common.replication_factor): gone")),
            ("5", "a", 0, Err("gone")),
            (".", "a", 0, Err("waits")),
            ("", "", 0, Ok(0)),
            // A zone may be lost as a whole, and nothing of another with it.
            ("oo55oo", "aabbcc", 1, Ok(4)),
            ("oo.5oo", "aabbcc", 1, Ok(4)),
            (
                "5o55oo",
                "aabbcc",
                1,
                Err("2 of 6 ingesters failed where 1 may (setting: common.replication_factor): gone"),
            ),
        ] {
            check(answers, groups, may_fail, expected).await;
        }
    }
}
