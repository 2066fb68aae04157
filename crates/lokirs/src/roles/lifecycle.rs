//! How an operator takes an ingester out of service: store everything now, prepare the end of the process, stop. Loki's
//! routes; what changes something is POST (or DELETE) only.

use crate::node::{Base, Parts};
use crate::services::Service;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use ingester::Ingester;
use rpc::ingester::Ingester as _;
use runtime::metrics::Gauge;
use runtime::tasks::Tasks;
use serde::Deserialize;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{Mutex, oneshot};
use tokio_util::sync::CancellationToken;

/// In `ingester.shutdown_marker_path`.
const MARKER_FILE: &str = "shutdown-requested.txt";

/// The ingester of this process on its way out. It stops once, whoever asks.
pub struct Lifecycle {
    ingester: Arc<Ingester>,
    service: Service,
    marker: PathBuf,
    marked: Gauge,
    tasks: Tasks,
    /// Ends the process.
    terminate: CancellationToken,
    /// Whether what is not stored would be found again by the next process.
    has_log: bool,
    /// Whether the ingester has stopped; locked while it does.
    stopped: Arc<Mutex<bool>>,
    flushing: AtomicBool,
}

/// Adds the routes. A marker from before a restart still holds.
pub fn lifecycle(base: &Base, ingester: Arc<Ingester>, service: Service, parts: &mut Parts) -> Arc<Lifecycle> {
    let marker = Path::new(&base.settings.ingester.shutdown_marker_path).join(MARKER_FILE);
    let help = "Whether the ingester is prepared for its shutdown by /ingester/prepare_shutdown";
    let marked = base.metrics.gauge("ingester_shutdown_marker", help);
    if marker.exists() {
        marked.set(1);
        tracing::warn!(marker = %marker.display(), "the ingester is prepared for its shutdown since an earlier run");
    }
    let lifecycle = Arc::new(Lifecycle {
        ingester,
        service,
        marker,
        marked,
        tasks: base.tasks.clone(),
        terminate: base.terminate.clone(),
        has_log: base.settings.ingester.wal.enabled,
        stopped: Arc::default(),
        flushing: AtomicBool::new(false),
    });
    parts.admin = std::mem::take(&mut parts.admin).merge(router(lifecycle.clone()));
    lifecycle
}

fn router(lifecycle: Arc<Lifecycle>) -> Router {
    Router::new()
        .route("/flush", post(flush))
        .route("/ingester/prepare_shutdown", get(is_prepared).post(prepare).delete(unprepare))
        .route("/ingester/shutdown", post(shutdown))
        .with_state(lifecycle)
}

impl Lifecycle {
    /// Stops the ingester, or waits until it has stopped.
    pub async fn stop(&self, flush: bool) {
        let mut stopped = self.stopped.lock().await;
        if !*stopped {
            self.stop_now(flush).await;
            *stopped = true;
        }
    }

    async fn stop_now(&self, flush: bool) {
        self.service.stopping();
        if let Err(e) = self.ingester.shutdown(flush).await {
            tracing::error!(error = %e, "the ingester stopped with an error");
        }
    }
}

/// Stores everything, later: the answer does not wait. While that is under way another call adds nothing.
async fn flush(State(lifecycle): State<Arc<Lifecycle>>) -> Response {
    if lifecycle.stopped.try_lock().is_ok_and(|stopped| !*stopped) {
        if !lifecycle.flushing.swap(true, Ordering::SeqCst) {
            let (flushed, stop) = (lifecycle.clone(), lifecycle.tasks.stopping());
            lifecycle.tasks.spawn("flush", async move {
                if let Some(Err(e)) = stop.run_until_cancelled(flushed.ingester.flush()).await {
                    tracing::error!(error = %e, "a flush failed");
                }
                flushed.flushing.store(false, Ordering::SeqCst);
            });
        }
        return StatusCode::NO_CONTENT.into_response();
    }
    already_stopping()
}

fn already_stopping() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "the ingester is stopping\n").into_response()
}

/// Whether the ingester is so prepared.
async fn is_prepared(State(lifecycle): State<Arc<Lifecycle>>) -> Response {
    let text = if lifecycle.marker.exists() { "set\n" } else { "unset\n" };
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

/// Makes the ingester store everything when it is stopped.
async fn prepare(State(lifecycle): State<Arc<Lifecycle>>) -> Response {
    answer(&lifecycle, 1, write_marker(&lifecycle.marker))
}

/// Takes that back.
async fn unprepare(State(lifecycle): State<Arc<Lifecycle>>) -> Response {
    let removed = match std::fs::remove_file(&lifecycle.marker) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.and_then(|()| sync_parent(&lifecycle.marker)),
    };
    answer(&lifecycle, 0, removed)
}

fn answer(lifecycle: &Lifecycle, marked: i64, done: io::Result<()>) -> Response {
    match done {
        Ok(()) => {
            lifecycle.marked.set(marked);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(e) => {
            let marker = lifecycle.marker.display();
            let text = format!("cannot change {marker} (setting: ingester.shutdown_marker_path): {e}\n");
            tracing::error!("{}", text.trim_end());
            (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
        }
    }
}

/// It is there after a crash of the machine too.
fn write_marker(marker: &Path) -> io::Result<()> {
    if let Some(dir) = marker.parent() {
        std::fs::create_dir_all(dir)?;
    }
    std::fs::File::create(marker)?.sync_all()?;
    sync_parent(marker)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |dir| std::fs::File::open(dir)?.sync_all())
}

/// Loki's parameters. A member's tokens follow from its id, so there are none to delete: that one changes nothing.
#[derive(Deserialize)]
#[serde(default)]
struct Shutdown {
    flush: bool,
    #[allow(dead_code, reason = "accepted for Loki's sake")]
    delete_ring_tokens: bool,
    terminate: bool,
}

impl Default for Shutdown {
    fn default() -> Self {
        Shutdown { flush: true, delete_ring_tokens: false, terminate: true }
    }
}

/// Stops the ingester and answers when it has: with `flush` everything is stored, without it is left to the log, if there
/// is one. With `terminate` the process ends. It goes on if the caller does not wait.
async fn shutdown(State(lifecycle): State<Arc<Lifecycle>>, Query(asked): Query<Shutdown>) -> Response {
    let mut stopped = match lifecycle.stopped.clone().try_lock_owned() {
        Ok(stopped) if !*stopped => stopped,
        _ => return already_stopping(),
    };
    let flush = asked.flush || !lifecycle.has_log;
    let (done, ended) = oneshot::channel();
    let stopping = lifecycle.clone();
    lifecycle.tasks.spawn("ingester shutdown", async move {
        stopping.stop_now(flush).await;
        *stopped = true;
        drop(stopped);
        if asked.terminate {
            stopping.terminate.cancel();
        }
        let _ = done.send(());
    });
    match ended.await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
