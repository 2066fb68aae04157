//! A profile of the heap in pprof's format: what is in use, by who allocated it, from the stacks that jemalloc has sampled
//! since the process began. Addresses are named by who reads the profile, from the binary.

use super::TEXT;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use jemalloc_pprof::PROF_CTL;

/// What is in use of the heap, by who allocated it, in pprof's format.
pub async fn in_use() -> Response {
    match dump().await {
        Ok(profile) => ([(header::CONTENT_TYPE, "application/octet-stream")], profile).into_response(),
        Err(fault) => (StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("no profile: {fault}\n")).into_response(),
    }
}

async fn dump() -> Result<Vec<u8>, String> {
    let control = PROF_CTL.as_ref().ok_or("the allocator was started without its profiler (MALLOC_CONF)")?;
    let mut control = control.clone().lock_owned().await;
    // It stops what allocates, and reads the process's map.
    let dumped = tokio::task::spawn_blocking(move || control.dump_pprof().map_err(|error| error.to_string()));
    dumped.await.map_err(|error| error.to_string())?
}
