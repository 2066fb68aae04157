//! Leaves a server alone that keeps failing, and tries it again after a while with one request. It must not know what
//! is asked of the server.

use parking_lot::Mutex;
use std::time::Duration;
use tokio::time::Instant;

#[derive(Clone, Copy, Debug)]
pub struct BreakerSettings {
    /// 0: it never opens.
    pub consecutive_failures: u32,
    /// How long a server is left alone.
    pub open_for: Duration,
    /// How often the failures are forgotten while it is closed; 0: only by a success.
    pub forget_after: Duration,
}

pub struct Breaker {
    settings: BreakerSettings,
    state: Mutex<State>,
}

enum State {
    Closed {
        failures: u32,
        since: Instant,
    },
    /// Nothing passes before this moment.
    Open(Instant),
    /// One request is under way, which decides.
    Trying,
}

/// A request that was let through. Dropped without a verdict, it was nobody's fault.
pub struct Turn<'a> {
    breaker: &'a Breaker,
    judged: bool,
}

impl Breaker {
    pub fn new(settings: BreakerSettings) -> Self {
        Breaker { settings, state: Mutex::new(closed(0)) }
    }

    /// `None`: the server is left alone.
    pub fn enter(&self) -> Option<Turn<'_>> {
        let mut state = self.state.lock();
        match *state {
            State::Open(until) if Instant::now() >= until => *state = State::Trying,
            State::Open(_) | State::Trying => return None,
            State::Closed { .. } => {}
        }
        Some(Turn { breaker: self, judged: false })
    }

    fn failed(&self) {
        let mut state = self.state.lock();
        let (now, settings) = (Instant::now(), &self.settings);
        let failures = match *state {
            State::Closed { failures, since } => {
                let forgotten = !settings.forget_after.is_zero() && now.duration_since(since) >= settings.forget_after;
                let (failures, since) = if forgotten { (1, now) } else { (failures.saturating_add(1), since) };
                *state = State::Closed { failures, since };
                failures
            }
            State::Trying => settings.consecutive_failures,
            // One that was let through before it opened.
            State::Open(_) => return,
        };
        if settings.consecutive_failures > 0 && failures >= settings.consecutive_failures {
            *state = State::Open(now + settings.open_for);
        }
    }
}

fn closed(failures: u32) -> State {
    State::Closed { failures, since: Instant::now() }
}

impl Turn<'_> {
    pub fn succeeded(mut self) {
        self.judged = true;
        let mut state = self.breaker.state.lock();
        match &mut *state {
            State::Closed { failures, .. } => *failures = 0,
            // A late answer of before it opened proves as much as a try does.
            State::Trying | State::Open(_) => *state = closed(0),
        }
    }

    pub fn failed(mut self) {
        self.judged = true;
        self.breaker.failed();
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.breaker.state.lock();
        if !self.judged && matches!(*state, State::Trying) {
            *state = State::Open(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn breaker(consecutive_failures: u32) -> Breaker {
        Breaker::new(BreakerSettings { consecutive_failures, open_for: 10 * SECOND, forget_after: 5 * SECOND })
    }

    fn fail(breaker: &Breaker, times: usize) {
        (0..times).for_each(|_| breaker.enter().unwrap().failed());
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_after_failures_in_a_row_and_closes_after_one_good_try() {
        let breaker = breaker(3);
        fail(&breaker, 2);
        breaker.enter().unwrap().succeeded();
        fail(&breaker, 3);
        assert!(breaker.enter().is_none());
        tokio::time::advance(10 * SECOND).await;
        let tried = breaker.enter().unwrap();
        assert!(breaker.enter().is_none(), "one try at a time");
        tried.failed();
        assert!(breaker.enter().is_none(), "a bad try opens it again");
        tokio::time::advance(10 * SECOND).await;
        breaker.enter().unwrap().succeeded();
        fail(&breaker, 2);
        assert!(breaker.enter().is_some(), "closed, it counts from nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_forgotten_and_none_open_it_when_it_is_off() {
        let some = breaker(3);
        fail(&some, 2);
        tokio::time::advance(5 * SECOND).await;
        fail(&some, 2);
        assert!(some.enter().is_some(), "the first two are forgotten");
        fail(&breaker(0), 1000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_try_that_is_given_up_lets_the_next_one_through() {
        let breaker = breaker(1);
        fail(&breaker, 1);
        tokio::time::advance(10 * SECOND).await;
        drop(breaker.enter().unwrap());
        assert!(breaker.enter().is_some());
    }
}
