//! Calls that may take long: the side that works says so every few seconds, so that the side that waits can tell work from
//! a process that hangs. It must not know what is worked at.

use super::error::error_of;
use super::server::Parts;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use model::{Error, Kind, Result};
use std::future::Future;
use std::time::Duration;
use tokio::time::{interval, timeout};
use tonic::{Response, Status, Streaming};

/// How often work is reported.
const REPORT_INTERVAL: Duration = Duration::from_secs(2);
/// How long a process may take to say that it has taken a call, opening the connection included.
pub const START_TIMEOUT: Duration = Duration::from_secs(6);
/// A process that is silent for so long while it works is gone.
pub const SILENCE_MAX: Duration = Duration::from_secs(10);

/// What `work` gives, with `working` in front of it for as long as it takes. Work ends when the stream is dropped.
pub(super) fn report<P, W>(working: W, work: BoxFuture<'static, Result<BoxStream<'static, P>, Status>>) -> Parts<P>
where
    P: Send + 'static,
    W: Fn() -> P + Send + 'static,
{
    let mut ticks = interval(REPORT_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let parts = stream::unfold((Some(work), ticks), move |(work, mut ticks)| {
        let first = working();
        async move {
            let mut work = work?;
            tokio::select! {
                biased;
                done = &mut work => {
                    let parts = match done {
                        Ok(parts) => parts.map(Ok).boxed(),
                        Err(status) => stream::iter([Err(status)]).boxed(),
                    };
                    Some((parts, (None, ticks)))
                }
                _ = ticks.tick() => Some((stream::iter([Ok(first)]).boxed(), (Some(work), ticks))),
            }
        }
    });
    parts.flatten().boxed()
}

/// Begins such a call.
pub(super) async fn begin<P>(
    call: impl Future<Output = Result<Response<Streaming<P>>, Status>>,
) -> Result<Streaming<P>> {
    let parts = in_time(START_TIMEOUT, call).await?;
    Ok(parts.into_inner())
}

/// The next part, which may be the report that there is none yet.
pub(super) async fn next<P>(parts: &mut Streaming<P>) -> Result<Option<P>> {
    in_time(SILENCE_MAX, parts.message()).await
}

async fn in_time<T>(within: Duration, call: impl Future<Output = Result<T, Status>>) -> Result<T> {
    match timeout(within, call).await {
        Ok(answer) => answer.map_err(|status| error_of(&status)),
        Err(_) => Err(Error::new(Kind::Unavailable, format!("another node said nothing for {within:?}"))),
    }
}
