//! A message that may have cause to be logged again and again, and is logged now and then. It must not know the
//! message.

use parking_lot::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// How often one message is logged.
const EVERY: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub struct Seldom(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    /// Of what has happened since.
    count: u64,
}

impl Seldom {
    /// How much has happened since it was last said, `more` included, if it may be said now.
    pub fn say(&self, more: u64) -> Option<u64> {
        let mut state = self.0.lock();
        state.count += more;
        let now = Instant::now();
        let may = state.count > 0 && state.last.is_none_or(|last| now.duration_since(last) >= EVERY);
        may.then(|| {
            state.last = Some(now);
            std::mem::take(&mut state.count)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_not_said_is_counted_later() {
        let seldom = Seldom::default();
        assert_eq!((seldom.say(0), seldom.say(2), seldom.say(3), seldom.say(1)), (None, Some(2), None, None));
        tokio::time::advance(EVERY).await;
        assert_eq!((seldom.say(1), seldom.say(1)), (Some(5), None));
    }
}
