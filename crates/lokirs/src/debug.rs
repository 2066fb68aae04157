//! What an operator looks at when a process misbehaves: its tasks, its memory, where its CPU time goes. Routes of operators
//! only. It must not know any role.

#[cfg(feature = "profile")]
mod heap;
#[cfg(feature = "profile")]
mod profile;

use axum::Router;
use axum::extract::State;
#[cfg(not(feature = "profile"))]
use axum::http::StatusCode;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use runtime::memory::Budget;
use runtime::tasks::Tasks;
use std::sync::Arc;

const TEXT: [(header::HeaderName, &str); 1] = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];

/// Lines of the kernel's report that tell of memory and threads.
const STATUS_LINES: [&str; 6] = ["VmPeak:", "VmHWM:", "VmRSS:", "RssAnon:", "RssFile:", "Threads:"];

#[derive(Clone)]
pub struct Debug {
    pub tasks: Tasks,
    pub memory: Arc<Budget>,
}

impl Debug {
    pub fn operators(self) -> Router {
        let routes = Router::new().route("/debug/tasks", get(tasks)).route("/debug/memory", get(memory));
        #[cfg(feature = "profile")]
        let routes =
            routes.route("/debug/pprof/profile", get(profile::cpu)).route("/debug/pprof/heap", get(heap::in_use));
        #[cfg(not(feature = "profile"))]
        let routes = routes.route("/debug/pprof/profile", get(no_profile)).route("/debug/pprof/heap", get(no_heap));
        routes.with_state(self)
    }
}

/// The tasks of the process by name.
async fn tasks(State(debug): State<Debug>) -> Response {
    let runtime = tokio::runtime::Handle::current().metrics();
    let mut text = format!(
        "threads {}\nalive tasks {}\nwaiting for a thread {}\n\n",
        runtime.num_workers(),
        runtime.num_alive_tasks(),
        runtime.global_queue_depth()
    );
    for (name, count) in debug.tasks.counts().into_iter().filter(|(_, count)| *count > 0) {
        text.push_str(&format!("{count:>5} {name}\n"));
    }
    (TEXT, text).into_response()
}

/// What memory is reserved for, and how much of the budget is left.
async fn memory(State(debug): State<Debug>) -> Response {
    let (used, limit) = (debug.memory.used_bytes(), debug.memory.limit_bytes());
    let mut text = format!("reserved bytes {used}\nmemory_limit bytes {limit}\n\n");
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    for line in status.lines().filter(|line| STATUS_LINES.iter().any(|start| line.starts_with(start))) {
        text.push_str(line);
        text.push('\n');
    }
    (TEXT, text).into_response()
}

#[cfg(not(feature = "profile"))]
/// A CPU profile in pprof's format, in a build with the feature `profile`.
async fn no_profile() -> Response {
    without_profiles()
}

#[cfg(not(feature = "profile"))]
/// What is in use of the heap, by who allocated it, in pprof's format, in a build with the feature `profile`.
async fn no_heap() -> Response {
    without_profiles()
}

#[cfg(not(feature = "profile"))]
fn without_profiles() -> Response {
    let text = "this binary was built without profiles: RUSTFLAGS=\"-C force-frame-pointers=yes\" cargo build --release -p lokirs --features profile\n";
    (StatusCode::NOT_IMPLEMENTED, TEXT, text).into_response()
}
