//! When a write to several replicas is done: a majority has it. It fails as soon as a majority cannot have it any more,
//! with the error that tells the caller what to do. It must not know how replicas are called.

use crate::ring::{enough, majority};
use model::{Error, Kind, Result};

/// How far one write is.
pub struct Tally {
    /// Acknowledgements that are still needed.
    missing: usize,
    /// Failures that can be borne.
    allowed: usize,
    failed: usize,
    faults_of_caller: usize,
    fault_of_replica: Option<Error>,
}

impl Tally {
    /// Of a write to `replicas`, which may be fewer than `replication` while some are away. An error when they are too few
    /// for a majority.
    pub fn new(replicas: usize, replication: usize) -> Result<Self> {
        enough(replicas, replication)?;
        let missing = majority(replication);
        Ok(Tally { missing, allowed: replicas - missing, failed: 0, faults_of_caller: 0, fault_of_replica: None })
    }

    /// Whether a majority has the write.
    pub fn is_done(&self) -> bool {
        self.missing == 0
    }

    pub fn succeeded(&mut self) {
        self.missing = self.missing.saturating_sub(1);
    }

    /// The write's error, once a majority is out of reach. The request itself is at fault (4xx: do not repeat) only if that
    /// many replicas say so; where replicas failed too, repeating may help, so theirs is the answer.
    pub fn failed(&mut self, error: Error) -> Result<()> {
        if self.is_done() {
            return Ok(());
        }
        self.failed += 1;
        let is_fault_of_caller = is_fault_of_caller(error.kind);
        self.faults_of_caller += usize::from(is_fault_of_caller);
        if self.failed <= self.allowed {
            if !is_fault_of_caller {
                self.fault_of_replica = Some(error);
            }
            return Ok(());
        }
        if is_fault_of_caller && self.faults_of_caller <= self.allowed {
            return Err(self.fault_of_replica.take().unwrap_or(error));
        }
        Err(error)
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

    /// `o` succeeds, `4` and `5` fail with that class, `.` never answers. After how many answers the write is done, or its
    /// error.
    fn check(answers: &str, replication: usize, expected: Result<usize, &str>) {
        let result = count(answers, replication).map_err(|error| error.message);
        assert_eq!(result, expected.map_err(str::to_string), "{answers} of {replication}");
    }

    fn count(answers: &str, replication: usize) -> Result<usize> {
        let mut tally = Tally::new(answers.len(), replication)?;
        for (number, answer) in answers.chars().enumerate() {
            match answer {
                'o' => tally.succeeded(),
                '4' => tally.failed(Error::invalid("4xx"))?,
                '5' => tally.failed(Error::internal("5xx"))?,
                _ => {}
            }
            if tally.is_done() {
                tally.failed(Error::internal("late"))?;
                return Ok(number + 1);
            }
        }
        Err(Error::internal("waits"))
    }

    #[test]
    fn a_majority_is_enough_and_an_impossible_one_fails_at_once() {
        for (answers, replication, expected) in [
            ("ooo", 3, Ok(2)),
            ("oo.", 3, Ok(2)),
            ("5oo", 3, Ok(3)),
            ("4oo", 3, Ok(3)),
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
            ("oo", 2, Ok(2)),
            ("o5", 2, Err("5xx")),
            ("o", 2, Err("at least 2 live replicas required, could only find 1")),
            ("o5oo", 4, Ok(4)),
            ("o5o5", 4, Err("5xx")),
            ("44ooo", 5, Ok(5)),
            ("454oo", 5, Err("5xx")),
            ("ooo", 5, Ok(3)),
            ("oo", 5, Err("at least 3 live replicas required, could only find 2")),
        ] {
            check(answers, replication, expected);
        }
    }
}
